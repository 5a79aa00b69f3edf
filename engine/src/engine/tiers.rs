//! The cold tier of an open store: what moves there, and what happens when it cannot be written.
//!
//! 1. Moves and compactions take turns, so that neither keeps the other waiting for long.
//! 2. A failure to write cold SSTables is nobody else's: hot data are written, flushed and
//!    compacted as ever. Tables that are born cold are flushed to the hot tier meanwhile, and the
//!    cold tier is tried again after a while.
//! 3. Time is the clamped clock by which entries expire, so a clock that jumps moves nothing early.
//!
//! # Concurrency
//! Called by the workers. Nothing here waits.

use super::Core;
use super::claims::Claim;
use super::workers::Work;
use crate::compaction::{CompactionJob, Job, Kept, next_move_ms, pick_move};
use crate::entry::TableId;
use crate::error::{ColdFileProblem, Error};
use crate::file::cold;
use crate::options::TableOptions;
use crate::read::View;
use crate::sstable::Sstable;
use crate::sync::{Arc, Mutex};
use crate::version::{AMENDMENT_TABLE, HasMeta, Tier};
use std::collections::BTreeSet;
use std::time::Duration;

/// After a failure of the cold tier, the time before the next try, in milliseconds.
const COLD_RETRY_MS: u64 = 10_000;
/// Longest and shortest rest before moves are looked for again, in milliseconds. The clamped clock
/// may pass a moment later than it says now, never earlier.
const REST_MS: (u64, u64) = (50, 30_000);

/// How it stands with the cold tier.
pub(crate) struct ColdState {
    /// Why the cold file cannot be used, in a store that was opened all the same.
    refused: Option<Error>,
    /// Why the cold tier could not be written the last time, and when to try again, on the
    /// monotonic clock.
    pub(super) error: Mutex<Option<(Error, u64)>>,
}

impl ColdState {
    pub(super) fn new(refused: Option<Error>) -> ColdState {
        ColdState { refused, error: Mutex::new(None) }
    }
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Turn {
    #[default]
    Compaction,
    Move,
}

impl Turn {
    /// Whose turn it is now; the next time it is the other's.
    pub(super) fn next(&mut self) -> Turn {
        let other = match self {
            Turn::Compaction => Turn::Move,
            Turn::Move => Turn::Compaction,
        };
        std::mem::replace(self, other)
    }
}

impl Core {
    /// The job, with what it needs of the table.
    pub(super) fn merge(
        self: &Arc<Self>,
        view: &View,
        claim: Claim,
        job: Job<Arc<Sstable>>,
        now_ms: u64,
    ) -> Work {
        let dead = self.burial(view, job.table, claim.numbers(), job.leaves_tier());
        let table = view.tables.get(&job.table).expect("SSTables belong to tables");
        let compression = table.options.compression;
        let amendments =
            (job.table == AMENDMENT_TABLE).then(|| Core::amendment_fences(view, now_ms));
        let kept = Kept { snapshots: self.snapshots.commits(), amendments };
        let job = CompactionJob::new(self.output.clone(), job, compression, kept);
        let job = match dead {
            Some(dead) => job.burying(dead),
            None => job,
        };
        Work::Merge(claim, Box::new(job))
    }

    /// The next move to the cold tier that needs nothing `damaged` and nothing that others work on,
    /// if one is due.
    pub(super) fn pick_move(self: &Arc<Self>, damaged: &BTreeSet<u64>) -> Option<Work> {
        if !self.cold_usable() {
            return None;
        }
        loop {
            let busy = &self.claims.numbers() | damaged;
            let now_ms = self.expiry_now();
            let view = self.views.current();
            let job = pick_move(&view.version, options(&view), now_ms, &busy)?;
            let claim = self.claims.claim(job.numbers().collect());
            // Somebody may have been quicker, and may have taken away what was claimed then.
            let same = Arc::ptr_eq(&self.views.current().version, &view.version);
            if let Some(claim) = claim.filter(|_| same) {
                return Some(self.merge(&view, claim, job, now_ms));
            }
        }
    }

    /// How long nothing is to be moved; `None`: until something is written.
    pub(super) fn until_next_move(&self) -> Option<Duration> {
        if self.cold.refused.is_some() {
            return None;
        }
        let view = self.views.current();
        let due_ms = next_move_ms(&view.version, options(&view))?;
        let rest_ms = due_ms.saturating_sub(self.expiry_now());
        Some(Duration::from_millis(rest_ms.clamp(REST_MS.0, REST_MS.1)))
    }

    /// Whether the cold tier is likely to be writable.
    pub(super) fn cold_usable(&self) -> bool {
        let now = self.raw_clock.monotonic_ms();
        let waiting = self.cold.error.lock().as_ref().is_some_and(|(_, retry)| now < *retry);
        self.cold.refused.is_none() && !waiting
    }

    /// Whether it lies in a cold file that cannot be read.
    pub(super) fn is_out_of_reach(&self, sstable: &Sstable) -> bool {
        self.cold.refused.is_some() && sstable.meta().shard.tier == Tier::Cold
    }

    /// Why the cold tier cannot be written now, in words.
    pub(super) fn cold_problem(&self) -> Option<String> {
        let failed = self.cold.error.lock().as_ref().map(|(error, _)| error.to_string());
        self.cold.refused.as_ref().map(ToString::to_string).or(failed)
    }

    /// The cold tier could not be written.
    pub(super) fn cold_failed(&self, error: &Error) {
        let error = match error {
            // Its allocator refuses, not the store.
            Error::Poisoned { cause } => cold::problem(ColdFileProblem::Failing, &**cause),
            other => other.clone(),
        };
        let retry_ms = self.raw_clock.monotonic_ms().saturating_add(COLD_RETRY_MS);
        *self.cold.error.lock() = Some((error, retry_ms));
    }

    /// `busy`, and all cold SSTables while the cold tier cannot be written.
    pub(super) fn with_unusable_cold(&self, busy: &BTreeSet<u64>) -> BTreeSet<u64> {
        let mut busy = busy.clone();
        if !self.cold_usable() {
            let view = self.views.current();
            let metas = view.version.iter().map(|(_, _, sstable)| sstable.meta());
            let cold = metas.filter(|meta| meta.shard.tier == Tier::Cold);
            busy.extend(cold.map(|meta| meta.number));
        }
        busy
    }
}

fn options(view: &View) -> impl Iterator<Item = (TableId, &TableOptions)> {
    view.tables.values().map(|record| (record.id, &record.options))
}
