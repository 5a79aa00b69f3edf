//! Which compaction makes hot timelines lie together, where nothing else is due. Pure.
//!
//! ```text
//! level 0   [..T..][..T..][..T..]     a scan of timeline T looks into six runs of this shard;
//! level 1        [....T....]          the fifth and the sixth are charged for it
//! level 2     [..T..]                 ◄─ charged
//! level 3   [....T......]             ◄─ charged: what lies over it is taken down
//! ```
//! 1. Scans charge SSTables that they reach only behind [`LOCALITY_RUNS`] other runs of the shard.
//! 2. A charge pays for rewriting [`LOCALITY_BYTES_PER_READ`] bytes. Of the SSTables with at least
//!    [`LOCALITY_READS_MIN`] charges the one with most comes first; the job is what
//!    [`pick_over`] makes of it, and it is picked when the charges of the inputs and of that
//!    SSTable pay for reading and writing all inputs. So what is seldom read is not rewritten, and
//!    what is rewritten has cost its readers as much before.
//! 3. Metadata that move cost nothing.
//!
//! # Invariants
//! 1. It comes to an end: every job takes data down, outputs begin without charges, and a timeline
//!    in at most [`LOCALITY_RUNS`] runs of a shard is not charged.
//! 2. Those of the picker.

use super::picker::{Job, JobKind, PickerOptions, pick_over};
use crate::limits::{LOCALITY_BYTES_PER_READ, LOCALITY_READS_MIN};
use crate::version::{HasMeta, Version};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// The job that reads have paid for, if there is one. `charges`: by number of the SSTable.
pub(crate) fn pick_scattered<T: HasMeta + Clone>(
    version: &Version<T>,
    charges: &BTreeMap<u64, u64>,
    options: &PickerOptions,
    busy: &BTreeSet<u64>,
) -> Option<Job<T>> {
    let mut wanted: Vec<_> = charges
        .iter()
        .filter(|(_, charge)| **charge >= LOCALITY_READS_MIN)
        .map(|(number, charge)| (Reverse(*charge), *number))
        .collect();
    wanted.sort_unstable();
    wanted.into_iter().find_map(|(_, number)| {
        let job = pick_over(version, number, options, busy)?;
        let bytes = match job.kind {
            JobKind::Merge => job.inputs.iter().map(|(_, item)| item.meta().bytes).sum(),
            JobKind::Move | JobKind::Drop => 0,
        };
        let charged: BTreeSet<u64> = job.numbers().chain([number]).collect();
        let paid: u64 = charged.iter().filter_map(|number| charges.get(number)).sum();
        (paid.saturating_mul(LOCALITY_BYTES_PER_READ) >= bytes).then_some(job)
    })
}
