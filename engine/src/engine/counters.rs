//! What the engine counts, and the sizes a user can ask for.

use super::{Core, ErasureStats, ScrubStats};
use crate::compaction::{debt_bytes, due_moves};
use crate::read::View;
use crate::sync::{AtomicU64, Ordering};
use crate::version::{TableStats, Tier, summarize};
use std::collections::BTreeSet;

/// Counters since the store was opened.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) commits: AtomicU64,
    pub(crate) groups: AtomicU64,
    pub(crate) synced_groups: AtomicU64,
    pub(crate) flushes: AtomicU64,
    pub(crate) flushed_bytes: AtomicU64,
    pub(crate) compactions: AtomicU64,
    pub(crate) dead_compactions: AtomicU64,
    pub(crate) locality_compactions: AtomicU64,
    pub(crate) compacted_bytes: AtomicU64,
    /// Of compactions that move data to the cold tier.
    pub(crate) moved_bytes: AtomicU64,
    pub(crate) log_bytes: AtomicU64,
    pub(crate) root_bytes: AtomicU64,
    pub(crate) relocated_bytes: AtomicU64,
    pub(crate) input_bytes: AtomicU64,
    pub(crate) dropped_sstables: AtomicU64,
    pub(crate) dropped_bytes: AtomicU64,
    pub(crate) expiry_lag_ms: AtomicU64,
    pub(crate) stalled_nanos: AtomicU64,
    /// Batches with marks, and how many there were when a round over them last began.
    pub(crate) marks: AtomicU64,
    pub(crate) marks_seen: AtomicU64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, value: u64) {
        counter.fetch_add(value, Ordering::Relaxed);
    }
}

/// A store's counters and sizes; see [`Engine::stats`](crate::Engine::stats).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The newest commit number that readers see.
    pub published_commit: u64,
    /// Batches committed since the store was opened.
    pub commits: u64,
    /// Commit groups written since then: one WAL write each.
    pub groups: u64,
    /// Groups that were synced.
    pub synced_groups: u64,
    /// Memtables flushed since then.
    pub flushes: u64,
    /// Bytes written by flushes: SSTables and payload segments.
    pub flushed_bytes: u64,
    /// Compactions finished since then.
    pub compactions: u64,
    /// Compactions and drops begun because much of an SSTable was dead.
    pub dead_compactions: u64,
    /// Compactions begun because scans of timelines had to look into many SSTables, though no level
    /// was full.
    pub locality_compactions: u64,
    /// Bytes written by compactions that stay in their tier.
    pub compacted_bytes: u64,
    /// Bytes written to the cold tier by moves from the hot one.
    pub moved_bytes: u64,
    /// Bytes written to the log by commits, headers and padding included.
    pub log_bytes: u64,
    /// Bytes written by changes of the root: records of the manifest, copies of the superblock, the
    /// header of the cold file, and the state of timelines whose last SSTable was dropped.
    pub root_bytes: u64,
    /// Bytes of SSTables that were copied to a lower place of the file, so that it could be cut.
    pub relocated_bytes: u64,
    /// Bytes that commits have brought since the store was opened: payloads, values, timeline ids
    /// and keys. A payload that is fanned out counts once, the id of each target counts.
    pub input_bytes: u64,
    /// SSTables dropped since then, since all in them had expired.
    pub dropped_sstables: u64,
    /// Bytes of dropped SSTables.
    pub dropped_bytes: u64,
    /// The longest time from the moment an entry expired under its table's time to live until its
    /// space was free, in milliseconds. The time during which the store was closed counts too, and
    /// a time to live that was made shorter counts as if it had always been so.
    pub expiry_lag_ms: u64,
    /// Nanoseconds that writers were slowed down or stopped: of each that waits for its commit, and
    /// once of all those together that have futures.
    pub stalled_nanos: u64,
    /// Batches that wait to be committed. Where writers are stopped those of futures may become
    /// many, see [`Engine::commit_async`](crate::Engine::commit_async).
    pub queued_commits: u64,
    /// Bytes in memtables.
    pub memtable_bytes: u64,
    /// Timelines whose state is in memory.
    pub state_cells: u64,
    /// Bytes that they take.
    pub state_bytes: u64,
    /// Bytes in the block cache.
    pub cache_bytes: u64,
    /// Bytes that the flush and the compaction at work hold for the SSTables they write.
    pub output_bytes: u64,
    /// Bytes that the list of SSTables takes, and what is kept of each open one.
    pub sstable_list_bytes: u64,
    /// Loads of timeline state from memtables or the file.
    pub state_loads: u64,
    /// Blocks that were found in the cache.
    pub cache_hits: u64,
    /// Blocks that had to be read.
    pub cache_misses: u64,
    /// Live SSTables.
    pub sstables: u64,
    /// Bytes of live SSTables.
    pub sstable_bytes: u64,
    /// Live SSTables of the cold tier, among them.
    pub cold_sstables: u64,
    /// Bytes of those.
    pub cold_bytes: u64,
    /// Bytes of the cold file; 0 where there is none.
    pub cold_file_bytes: u64,
    /// Free bytes inside the cold file.
    pub cold_free_bytes: u64,
    /// Why the cold tier cannot be written now, if it cannot.
    pub cold_problem: Option<String>,
    /// Live payload segments.
    pub segments: u64,
    /// Bytes of live payload segments.
    pub segment_bytes: u64,
    /// Live SSTables by level, all tables together, the engine's own included.
    pub levels: Vec<u64>,
    /// Users' tables in the order of their creation: tiers, windows, and levels.
    pub tables: Vec<TableStats>,
    /// What background work has still to do.
    pub pending: PendingWork,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Free bytes inside the file.
    pub free_bytes: u64,
    /// Of these, bytes without room on the device.
    pub hole_bytes: u64,
    /// Bytes that only older roots need: free two roots later.
    pub released_bytes: u64,
    /// Bytes of SSTables that are live no more, and that readers of this process hold.
    pub held_bytes: u64,
    /// The commit of the oldest snapshot that this process holds: compaction keeps the values of
    /// keyed tables, and what was deleted, that it shows; what was retracted later is not erased.
    pub oldest_snapshot_commit: Option<u64>,
    /// Milliseconds since that snapshot was taken; 0 where there is none.
    pub oldest_snapshot_age_ms: u64,
    /// Bytes of the ring in use.
    pub ring_used_bytes: u64,
    /// How it stands with the erasure of what was retracted.
    pub erasure: ErasureStats,
    /// What scrubs have found. Where [`ScrubStats::faults`] is not 0, data are damaged: find out
    /// what by `tidelog verify`, and restore it from a copy.
    pub scrub: ScrubStats,
}

/// What background work has still to do at one moment. What is being worked on is pending until
/// its outcome is live.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PendingWork {
    /// Bytes of memtables that take no more writes and wait for their flush.
    pub flush_bytes: u64,
    /// Bytes of SSTables that compaction would read and rewrite now: for every level that is
    /// beyond its due one job. What these jobs will make due, and what is rewritten because much
    /// of it is dead, is not foreseen.
    pub compaction_bytes: u64,
    /// Hot windows that are to move to the cold tier now.
    pub moves: u64,
    /// Bytes of their SSTables.
    pub move_bytes: u64,
    /// SSTables of which every entry has expired, and that are not dropped yet.
    pub drops: u64,
    /// Bytes of those.
    pub drop_bytes: u64,
}

impl Stats {
    /// Bytes that the store has written since it was opened: log, flushes, compactions, moves to
    /// the cold tier, roots, and copies to a lower place. Not counted: what the opening wrote, and
    /// jobs that were given up.
    pub fn written_bytes(&self) -> u64 {
        let background = self.flushed_bytes + self.compacted_bytes + self.moved_bytes;
        self.log_bytes + background + self.root_bytes + self.relocated_bytes
    }

    /// [`Stats::written_bytes`] for each byte of [`Stats::input_bytes`]; `None` before the first
    /// commit. It is below its steady value until what was taken in has been flushed and compacted.
    pub fn write_amplification(&self) -> Option<f64> {
        let input = self.input_bytes;
        (input > 0).then(|| self.written_bytes() as f64 / input as f64)
    }
}

impl Core {
    pub(crate) fn stats(&self) -> Stats {
        let view = self.views.current();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        let cold = self.output.cold.as_ref();
        let oldest = self.snapshots.oldest();
        let (cache_hits, cache_misses) = self.output.source.cache.hits_and_misses();
        let mut stats = Stats {
            published_commit: self.published.load(Ordering::Acquire),
            commits: read(&counters.commits),
            groups: read(&counters.groups),
            synced_groups: read(&counters.synced_groups),
            flushes: read(&counters.flushes),
            flushed_bytes: read(&counters.flushed_bytes),
            compactions: read(&counters.compactions),
            dead_compactions: read(&counters.dead_compactions),
            locality_compactions: read(&counters.locality_compactions),
            compacted_bytes: read(&counters.compacted_bytes),
            moved_bytes: read(&counters.moved_bytes),
            log_bytes: read(&counters.log_bytes),
            root_bytes: read(&counters.root_bytes),
            relocated_bytes: read(&counters.relocated_bytes),
            input_bytes: read(&counters.input_bytes),
            tables: summarize(view.tables.values(), &view.version),
            pending: self.pending(&view),
            dropped_sstables: read(&counters.dropped_sstables),
            dropped_bytes: read(&counters.dropped_bytes),
            expiry_lag_ms: read(&counters.expiry_lag_ms),
            stalled_nanos: read(&counters.stalled_nanos),
            queued_commits: self.queue.len() as u64,
            memtable_bytes: view.memtables().map(|memtable| memtable.bytes() as u64).sum(),
            state_cells: self.states.len() as u64,
            state_bytes: self.states.bytes() as u64,
            cache_bytes: self.output.source.cache.bytes() as u64,
            output_bytes: self.output.memory.bytes(),
            state_loads: self.states.loads(),
            cache_hits,
            cache_misses,
            file_bytes: self.allocator.file_length(),
            free_bytes: self.allocator.free_bytes(),
            hole_bytes: self.allocator.holes(),
            released_bytes: self.allocator.released(),
            held_bytes: self.allocator.held(),
            oldest_snapshot_commit: oldest.map(|(commit, _)| commit),
            oldest_snapshot_age_ms: oldest
                .map_or(0, |(_, since_ms)| self.raw_clock.monotonic_ms().saturating_sub(since_ms)),
            ring_used_bytes: self.log.used_bytes(),
            cold_file_bytes: cold.map_or(0, |cold| cold.allocator.file_length()),
            cold_free_bytes: cold.map_or(0, |cold| cold.allocator.free_bytes()),
            cold_problem: self.cold_problem(),
            segments: view.segments.count,
            segment_bytes: view.segments.bytes,
            erasure: self.erasure_stats(),
            scrub: self.scrub.stats(),
            ..Stats::default()
        };
        for (_, level, sstable) in view.version.iter() {
            let level = usize::from(level);
            stats.levels.resize(stats.levels.len().max(level + 1), 0);
            stats.levels[level] += 1;
            stats.sstables += 1;
            stats.sstable_bytes += sstable.meta().extent.length;
            if sstable.meta().shard.tier == Tier::Cold {
                stats.cold_sstables += 1;
                stats.cold_bytes += sstable.meta().extent.length;
            }
            stats.sstable_list_bytes += sstable.memory() as u64;
        }
        stats
    }

    /// What background work has to do with what `view` shows.
    fn pending(&self, view: &View) -> PendingWork {
        let options = || view.tables.values().map(|record| (record.id, &record.options));
        let (moves, move_bytes) = due_moves(&view.version, options(), self.expiry_now());
        let (expired, _) = self.expired_sstables(&BTreeSet::new());
        let frozen = view.frozen.iter();
        PendingWork {
            flush_bytes: frozen.map(|frozen| frozen.memtable.bytes() as u64).sum(),
            compaction_bytes: debt_bytes(&view.version, &self.picker_options(false)),
            moves,
            move_bytes,
            drops: expired.len() as u64,
            drop_bytes: expired.iter().map(|sstable| sstable.meta().extent.length).sum(),
        }
    }
}
