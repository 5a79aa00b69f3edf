//! The cold tier of an open store: what moves there, and what happens when it cannot be written.
//!
//! 1. Moves and compactions take turns, so that neither keeps the other waiting for long: a window
//!    moves in pieces, and what is due meanwhile comes between them.
//! 2. A failure to write cold SSTables is nobody else's: hot data are written, flushed and
//!    compacted as ever. Tables that are born cold are flushed to the hot tier meanwhile, and the
//!    cold tier is tried again after a while; after a failed sync of the cold file only when the
//!    store is opened again. No writer waits for the compaction of cold shards meanwhile.
//! 3. Time is the clamped clock by which entries expire, so a clock that jumps moves nothing early.
//!
//! # Concurrency
//! Called by the workers. Nothing here waits.

use super::Core;
use super::claims::Claim;
use super::open::ColdFile;
use super::work::Work;
use crate::compaction::{CompactionJob, Job, Kept, next_move_ms, pick_move};
use crate::entry::TableId;
use crate::error::{ColdFileProblem, Error, Result};
use crate::file::{GatedDisk, cold};
use crate::limits;
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
    /// The gate of the cold file's syncs, if there is a file.
    gate: Option<Arc<GatedDisk>>,
    /// Why the cold tier could not be written the last time, and when to try again, on the
    /// monotonic clock.
    pub(super) error: Mutex<Option<(Error, u64)>>,
}

impl ColdState {
    pub(super) fn new(file: Option<ColdFile>) -> ColdState {
        let (gate, refused) = file.map_or((None, None), |file| (file.gate, file.refused));
        ColdState { refused, gate, error: Mutex::new(None) }
    }

    /// Whether the store was opened without its cold file.
    pub(super) fn is_refused(&self) -> bool {
        self.refused.is_some()
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
        let most = limits::MOVE_PIECE_SSTABLES * self.options.sstable_bytes;
        loop {
            let busy = &self.claims.busy() | damaged;
            let now_ms = self.expiry_now();
            let view = self.views.current();
            let job = pick_move(&view.version, options(&view), now_ms, most, &busy)?;
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
        if self.cold.is_refused() || self.cold_closed() {
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
        !self.cold.is_refused() && !self.cold_closed() && !waiting
    }

    /// Whether a sync of the cold file has failed: what is written to it can never be made durable
    /// before the store is opened again.
    fn cold_closed(&self) -> bool {
        let allocator = self.output.cold.as_ref().map(|cold| &cold.allocator);
        self.cold.gate.as_ref().is_some_and(|gate| gate.is_closed())
            || allocator.is_some_and(|allocator| allocator.is_poisoned())
    }

    /// Whether it lies in a cold file that cannot be read.
    pub(super) fn is_out_of_reach(&self, sstable: &Sstable) -> bool {
        self.cold.is_refused() && sstable.meta().shard.tier == Tier::Cold
    }

    /// Fails for an SSTable in a cold file that cannot be read.
    pub(super) fn check_reach(&self, sstable: &Sstable) -> Result<()> {
        match &self.cold.refused {
            Some(error) if self.is_out_of_reach(sstable) => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// Why the cold tier cannot be written now, in words.
    pub(super) fn cold_problem(&self) -> Option<String> {
        let failed = self.cold.error.lock().as_ref().map(|(error, _)| error.to_string());
        self.cold.refused.as_ref().map(ToString::to_string).or(failed)
    }

    /// The cold tier could not be written.
    pub(super) fn cold_failed(&self, error: &Error) {
        let error = match self.cold_closed() {
            true => cold::problem(ColdFileProblem::Failing, error.to_string()),
            false => error.clone(),
        };
        let retry_ms = self.raw_clock.monotonic_ms().saturating_add(COLD_RETRY_MS);
        *self.cold.error.lock() = Some((error, retry_ms));
        self.show_cold_failing(true);
    }

    /// The cold tier was written.
    pub(super) fn cold_worked(&self) {
        *self.cold.error.lock() = None;
        self.show_cold_failing(false);
    }

    /// The cold tier is tried again at once, where that can help.
    pub(super) fn retry_cold(&self) {
        if !self.cold_closed() {
            *self.cold.error.lock() = None;
        }
    }

    fn show_cold_failing(&self, failing: bool) {
        if self.views.current().cold_failing != failing {
            self.views.replace(|view| {
                view.cold_failing = failing;
                view.level0_depth = view.measure_level0();
            });
        }
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
