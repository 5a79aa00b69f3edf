//! What the worker that compacts does at one time.
//!
//! # Concurrency
//! Owned by that worker.

use super::claims::Claim;
use super::expiry::DropJob;
use crate::compaction::CompactionJob;
use crate::version::Tier;
use std::collections::BTreeSet;

/// What compaction does at one time, with its claim on the inputs.
pub(super) enum Work {
    Merge(Claim, Box<CompactionJob>),
    /// All in these SSTables is dead.
    Drop(Box<DropJob>),
}

impl Work {
    /// The tier that it writes to.
    pub(super) fn tier(&self) -> Tier {
        match self {
            Work::Merge(_, job) => job.tier(),
            Work::Drop(_) => Tier::Hot,
        }
    }

    /// Whether it is a move to the cold tier.
    pub(super) fn changes_tier(&self) -> bool {
        matches!(self, Work::Merge(_, job) if job.changes_tier())
    }

    /// Whether it is as good as nothing to do, however much it is of: nobody waits for it.
    pub(super) fn is_of_metadata(&self) -> bool {
        matches!(self, Work::Merge(_, job) if job.is_of_metadata())
    }

    /// The SSTable that could not be read, where a step failed over one.
    pub(super) fn unread(&self) -> Option<u64> {
        match self {
            Work::Merge(_, job) => job.unread(),
            Work::Drop(job) => job.unread(),
        }
    }

    /// The SSTables without which a step would not have failed, as far as is known.
    pub(super) fn blamed(&self) -> BTreeSet<u64> {
        match (self.unread(), self) {
            (Some(number), _) => BTreeSet::from([number]),
            (None, Work::Merge(claim, _)) => claim.numbers().clone(),
            (None, Work::Drop(job)) => job.blamed(),
        }
    }

    /// Whether damage that a step met is of the inputs themselves.
    pub(super) fn met_itself(&self) -> bool {
        matches!(self, Work::Merge(..)) || self.unread().is_some()
    }

    pub(super) fn claim(&self) -> &Claim {
        match self {
            Work::Merge(claim, _) => claim,
            Work::Drop(job) => job.claim(),
        }
    }
}
