//! The shared core of an open store: what commits, reads and background work have in common.
//!
//! # Concurrency
//! Everything is shared; each field says who changes it. Locks are taken in the order `leader`,
//! `grids`, `root`, `views`; the leader takes `root` only when it has poisoned the store, and never
//! `grids`.

use super::flush_pace::FlushWaiters;
use super::open::WithoutLog;
use super::root::{Change, Root};
use super::space::SpaceWish;
use super::sync_due::SyncDue;
use super::tiers::ColdState;
use super::wish::Wishes;
use super::workers::Wakes;
use super::{Claims, Counters, Erasure, ScrubState};
use crate::commit::{CommitQueue, Leader, Slot};
use crate::entry::{Payload, TableId};
use crate::error::{Error, Result};
use crate::file::superblock::{self, Superblock};
use crate::file::{Allocator, Disk, FileId, Pacer};
use crate::health::Health;
use crate::limits;
use crate::marks::TimelineMarks;
use crate::memory::{OwnProcess, Pool};
use crate::memtable::Memtable;
use crate::options::{Options, Sequence, TableOptions};
use crate::read::{
    Fences, Frozen, Snapshots, View, Views, kept_from, known_state, recorded_state, value_in,
};
use crate::runtime::{Clock, Scheduler, StoreClock};
use crate::state::{StateCache, StateCell, StateRecord};
use crate::sync::{Arc, AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Mutex, Ordering};
use crate::wal::{WalPosition, WalState, sync_written};
use std::sync::OnceLock;
use std::time::Duration;

/// See the module.
pub(crate) struct Core {
    pub(crate) disk: Arc<dyn Disk>,
    /// The same disk before its sync gate: for the last word of a store whose syncs fail.
    pub(crate) ungated_disk: Arc<dyn Disk>,
    pub(crate) file: FileId,
    pub(crate) options: Options,
    pub(crate) raw_clock: Arc<dyn Clock>,
    pub(crate) clock: StoreClock,
    pub(crate) scheduler: Arc<dyn Scheduler>,
    pub(crate) health: Health,
    /// Replaced by the leader (freeze) and by whoever holds `root`.
    pub(crate) views: Views,
    /// Stored by the leader alone.
    pub(crate) published: AtomicU64,
    /// Everything up to this commit is in SSTables.
    pub(crate) flushed_through: AtomicU64,
    pub(crate) states: StateCache,
    /// What memtables lie in.
    pub(crate) memory: Arc<Pool>,
    pub(crate) queue: CommitQueue<Arc<Slot>>,
    /// Taken only by whoever has leadership over `queue`; `None` in a store opened for reading.
    pub(crate) leader: Mutex<Option<Leader>>,
    pub(crate) log: Arc<WalState>,
    /// Superblock, manifest, catalog: taken by background work and table creation, held across
    /// their syncs; the commit path takes it only for the first unsynced commit of an opening.
    pub(crate) root: Mutex<Root>,
    /// Held while the record of a table is altered, its root included, and by whoever begins a
    /// flush for as long as it looks at the records. Taken before `root`. So a flush waits for no
    /// other root before it begins.
    pub(crate) grids: Mutex<()>,
    pub(crate) allocator: Arc<Allocator>,
    pub(crate) pacer: Arc<Pacer>,
    pub(crate) output: crate::compaction::OutputContext,
    pub(crate) snapshots: Snapshots,
    pub(crate) counters: Counters,
    pub(crate) wakes: OnceLock<Wakes>,
    /// Workers that have not ended.
    pub(crate) live_workers: Arc<AtomicUsize>,
    /// The clock's mark in the newest superblock: what expires is told by a clock that never runs
    /// further ahead of it than `CLOCK_LEASE_MS`.
    pub(crate) durable_clock_ms: AtomicU64,
    pub(crate) flush_waiters: FlushWaiters,
    /// Why the last flush failed, until one succeeds.
    pub(crate) flush_error: Mutex<Option<Error>>,
    /// Why the last compaction failed, until one succeeds: whoever waits for it gets it instead.
    pub(crate) compaction_error: Mutex<Option<Error>>,
    /// What compactions met in SSTables that are left alone. Nobody waits for those.
    pub(crate) unread_error: Mutex<Option<Error>>,
    pub(crate) cold: ColdState,
    pub(crate) space: SpaceWish,
    pub(crate) erasure: Erasure,
    /// What scrubs have found.
    pub(crate) scrub: Arc<ScrubState>,
    /// Odd while the superblock is being written, and another number behind it: a scrub tells by it
    /// that a copy which it read was nobody's half-written one.
    pub(crate) root_writes: Arc<AtomicU64>,
    /// Callers that sleep for their bytes, since level 0 is deep.
    pub(crate) slowed: AtomicU32,
    /// When the log must be synced.
    pub(crate) sync_due: SyncDue,
    /// Users' wishes for compaction to go on until there is one level.
    pub(crate) compact_all: Wishes,
    /// The superblock says that unsynced entries may have been published.
    pub(crate) unsynced_declared: AtomicBool,
    /// The superblock says nothing of this boot any more, see `poison_log`.
    pub(crate) boot_forgotten: AtomicBool,
    /// What background jobs work on.
    pub(crate) claims: Arc<Claims>,
    /// The process that opened the store: the only one that may use it.
    pub(crate) process: OwnProcess,
    /// New commits are refused.
    pub(crate) closing: AtomicBool,
    /// Workers end, reads are refused.
    pub(crate) closed: AtomicBool,
    /// Whether this opening has still to begin a log: there was no room for it.
    pub(crate) without_log: WithoutLog,
    /// The superblock that this opening began with.
    pub(crate) opened_sequence: u64,
}

impl Core {
    /// Fails unless the store takes commits.
    pub(crate) fn check_writable(&self) -> Result<()> {
        self.check_changeable()?;
        self.without_log.check()
    }

    /// Fails unless the root may be changed for a user.
    pub(crate) fn check_changeable(&self) -> Result<()> {
        self.check_process()?;
        if self.options.read_only {
            return Err(Error::Closed { what: "the store was opened for reading only" });
        }
        if self.closing.load(Ordering::Acquire) {
            return Err(Error::Closed { what: "the store was closed" });
        }
        self.health.check()
    }

    /// Fails in a child of fork: it has none of the threads, and what it wrote it would write
    /// beside its parent.
    pub(crate) fn check_process(&self) -> Result<()> {
        match self.process.is_here() {
            true => Ok(()),
            false => Err(Error::Closed { what: "another process opened the store: open it anew" }),
        }
    }

    /// Whether the store is closed, or about to be; in a child of fork it always is.
    pub(crate) fn is_closing(&self) -> bool {
        let closing = self.closing.load(Ordering::Acquire) || self.closed.load(Ordering::Acquire);
        closing || !self.process.is_here()
    }

    /// Writes the superblock, so that whoever reads it meanwhile can tell.
    pub(super) fn write_superblock(&self, disk: &dyn Disk, next: &Superblock) -> Result<()> {
        self.root_writes.fetch_add(1, Ordering::SeqCst);
        let written = superblock::write(disk, next);
        self.root_writes.fetch_add(1, Ordering::SeqCst);
        written
    }

    /// Fails once the store was closed.
    pub(crate) fn check_open(&self) -> Result<()> {
        self.check_process()?;
        match self.closed.load(Ordering::Acquire) {
            true => Err(Error::Closed { what: "the store was closed" }),
            false => Ok(()),
        }
    }

    /// Pins the state of a timeline. May read the disk.
    pub(crate) fn pin(&self, table: TableId, key: &[u8]) -> Result<Arc<StateCell>> {
        self.states.pin(table, key, || self.load_cell(table, key))
    }

    /// Pins the states of many timelines, in their order. May read the disk, unless one of them is
    /// an error.
    pub(crate) fn pin_all<'a>(
        &self,
        timelines: impl ExactSizeIterator<Item = Result<(TableId, &'a [u8])>>,
    ) -> Result<Vec<Arc<StateCell>>> {
        self.states.pin_all(timelines, |table, key| self.load_cell(table, key))
    }

    fn load_cell(&self, table: TableId, key: &[u8]) -> Result<(StateRecord, u64)> {
        let record = self.load_state(table, key)?;
        Ok((self.with_epochs(table, &record), record.next_seq))
    }

    /// What memtables, SSTables and the state table know of a timeline.
    pub(crate) fn load_state(&self, table: TableId, key: &[u8]) -> Result<StateRecord> {
        let view = self.views.current();
        Ok(known_state(&view, table, key)?.unwrap_or(StateRecord::NEW))
    }

    /// The epoch rule: a jump of G for every power loss since the timeline's last commit in which
    /// readers may have seen entries that were lost.
    pub(crate) fn with_epochs(&self, table: TableId, record: &StateRecord) -> StateRecord {
        let view = self.views.current();
        let given = view.tables.get(&table).map(|r| r.options.sequence) == Some(Sequence::Given);
        if given {
            return *record;
        }
        let epochs = view.epochs.iter().filter(|epoch| **epoch >= record.last_commit).count();
        let jump = limits::UNSYNCED_ENTRIES_MAX.saturating_mul(epochs as u64);
        StateRecord { next_seq: record.next_seq.saturating_add(jump), ..*record }
    }

    /// The seq from which on entries are shown at a commit: the low-water mark of the timeline, or
    /// what keep-last leaves, whichever is higher.
    pub(crate) fn shown_from(
        &self,
        view: &Arc<View>,
        table: TableId,
        key: &[u8],
        commit: u64,
        marks: &TimelineMarks,
    ) -> Result<u64> {
        let of_table = || view.tables.get(&table).and_then(|record| record.options.keep_last);
        let kept = match marks.keep_last.value().or_else(of_table) {
            None => 0,
            Some(count) => {
                let latest = self.latest_seq_in(view, table, key, commit)?;
                kept_from(view, table, key, commit, (latest, count))?
            }
        };
        Ok(marks.low_water().max(kept))
    }

    /// The highest seq at a commit; 0 if there was none.
    pub(crate) fn latest_seq(&self, table: TableId, key: &[u8], commit: u64) -> Result<u64> {
        self.latest_seq_in(&self.views.current(), table, key, commit)
    }

    /// The same, in a given view.
    pub(crate) fn latest_seq_in(
        &self,
        view: &Arc<View>,
        table: TableId,
        key: &[u8],
        commit: u64,
    ) -> Result<u64> {
        for memtable in view.memtables() {
            let Some(run) = memtable.run(table, key) else {
                continue;
            };
            if let Some(last) = run.count_at(commit).checked_sub(1) {
                return Ok(run.seq(last));
            }
        }
        let state = known_state(view, table, key)?.unwrap_or(StateRecord::NEW);
        if state.last_commit <= commit {
            return Ok(state.next_seq - 1);
        }
        // What a snapshot saw may have expired, and been dropped since.
        let record = view.tables.get(&table);
        let may_be_dropped = record.is_some_and(|record| {
            let TableOptions { sequence, ttl_ms, .. } = record.options;
            let own_ttl = view.own_ttl.contains(&table);
            let expires = ttl_ms.is_some() || record.expired_before_ms > 0 || own_ttl;
            sequence == Sequence::Assigned && expires
        });
        // Compaction may have taken what marks hide.
        let hidden = Fences::read(view, table, key, commit)?.highest_hidden();
        let recorded = recorded_state(view, table, key, commit)?.unwrap_or(StateRecord::NEW);
        let latest = crate::read::latest_seq_at(view, table, key, commit, may_be_dropped)?;
        Ok(latest.max(hidden).max(recorded.next_seq - 1))
    }

    /// The newest value of a key, published or about to be: for preconditions. (At an older commit
    /// that no snapshot holds, a flush might have folded the value away.) `now_ms`: of the expiry
    /// clock, read before the view.
    pub(crate) fn newest_value(
        &self,
        view: &Arc<View>,
        table: TableId,
        key: &[u8],
        now_ms: u64,
    ) -> Result<Option<Payload>> {
        let record = view.tables.get(&table);
        let alive_from_ms = record.map_or(0, |record| record.alive_from_ms(now_ms));
        value_in(view, table, key, u64::MAX, alive_from_ms)
    }

    /// Leader only: the active memtable takes no more; a new one takes its place.
    pub(crate) fn freeze(&self, end: WalPosition, next_commit: u64) {
        let time_ms = self.clock.commit_now();
        let fresh = Arc::new(Memtable::in_pool(next_commit, time_ms, &self.memory));
        self.views.replace(|view| {
            let memtable = std::mem::replace(&mut view.active, fresh);
            let frozen = Frozen { memtable, end, commit: next_commit - 1 };
            view.frozen.insert(0, Arc::new(frozen));
        });
        self.wake(|wakes| &wakes.flush);
    }

    /// The time against which entries expire. It never runs far ahead of what the superblock knows,
    /// so that what was hidden as expired stays hidden after a crash.
    pub(crate) fn expiry_now(&self) -> u64 {
        let now = self.clock.expiry_now();
        match self.options.read_only {
            true => now,
            false => {
                now.min(self.durable_clock_ms.load(Ordering::Acquire) + limits::CLOCK_LEASE_MS)
            }
        }
    }

    /// After a failure of background work: if a failed sync has poisoned the store, see
    /// [`Core::poison_log`].
    pub(crate) fn after_failure(&self) {
        if self.health.check().is_err() {
            let root = self.root.lock();
            self.forget_boot(&root.superblock);
        }
    }

    /// On a full disk: what older roots alone needed is free once another root is durable.
    pub(crate) fn free_released(&self, error: &Error) {
        if matches!(error, Error::NoSpace { .. }) && self.released() > 0 {
            // A failure poisons the store, which everybody hears of.
            let _ = self.commit_root(Change::default());
        }
    }

    /// Bytes that older roots alone need, of the first file and of the cold one.
    pub(crate) fn released(&self) -> u64 {
        let cold = self.output.cold.as_ref().map_or(0, |cold| cold.allocator.released());
        self.allocator.released() + cold
    }

    /// The last flush's failure, if it was not followed by a success: writers that need its room
    /// get it instead of waiting.
    pub(crate) fn flush_failure(&self) -> Result<()> {
        match &*self.flush_error.lock() {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// Makes sure that the log is synced within `delay` from now.
    pub(crate) fn sync_within(&self, delay: Duration) {
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        if self.sync_due.ask(self.raw_clock.monotonic_ms().saturating_add(delay_ms)) {
            self.wake(|wakes| &wakes.sync);
        }
    }

    /// Syncs the log as far as it is written.
    pub(crate) fn sync(&self) -> Result<()> {
        self.check_writable()?;
        self.sync_log()
    }

    /// The same of a store that is being closed.
    pub(crate) fn sync_log(&self) -> Result<()> {
        sync_written(&self.log, &*self.disk).map(|_| ()).map_err(|error| self.poison_log(&error))
    }

    /// A write or a sync of the log failed: the store takes no more writes. What readers have seen
    /// unsynced may be gone at the next opening although the machine never went down, so the
    /// superblock forgets the boot, which makes that opening begin an epoch. The best that can be
    /// done: should this write fail as well, the disk has lost the file anyway.
    pub(crate) fn poison_log(&self, error: &Error) -> Error {
        let error = self.health.poison("writing or syncing the log failed", error);
        if self.unsynced_declared.load(Ordering::Acquire) {
            let root = self.root.lock();
            self.forget_boot(&root.superblock);
        }
        error
    }

    /// See [`Core::poison_log`].
    pub(crate) fn forget_boot(&self, last: &Superblock) {
        let doubted = self.unsynced_declared.load(Ordering::Acquire);
        if doubted && !self.boot_forgotten.swap(true, Ordering::AcqRel) {
            let mut next = last.clone();
            // A root that failed half way may have taken the next number.
            next.sequence += 2;
            next.identity.boot = [0; 16];
            let _ = self.write_superblock(&*self.ungated_disk, &next);
        }
    }

    /// Wakes a worker, once there are workers.
    pub(crate) fn wake(&self, which: impl FnOnce(&Wakes) -> &Arc<dyn crate::runtime::Wake>) {
        if let Some(wakes) = self.wakes.get() {
            which(wakes).wake();
        }
    }

    /// Freezes the active memtable and waits until no memtable waits for its flush.
    pub(crate) fn flush(&self) -> Result<()> {
        self.check_writable()?;
        self.flush_memtables()
    }

    /// Freezes the active memtable, so that it will be flushed, unless somebody leads, or another
    /// one waits for its flush already.
    pub(crate) fn freeze_active(&self) {
        if let Some(leadership) = self.queue.try_lead() {
            if let Some(leader) = self.leader.lock().as_mut() {
                leader.freeze(self);
            }
            self.give_away(leadership);
        }
    }

    pub(crate) fn flush_memtables(&self) -> Result<()> {
        let goal = self.published.load(Ordering::Acquire);
        *self.flush_error.lock() = None;
        let _waits = self.flush_waiters.join();
        while self.flushed_through.load(Ordering::Acquire) < goal {
            self.health.check()?;
            self.freeze_active();
            self.wake(|wakes| &wakes.flush);
            self.flush_failure()?;
            self.scheduler.pause(Duration::from_micros(200));
        }
        Ok(())
    }

    /// Flushes and compacts until nothing is left to do.
    pub(crate) fn compact(&self) -> Result<()> {
        self.flush()?;
        *self.compaction_error.lock() = None;
        *self.unread_error.lock() = None;
        self.retry_cold();
        self.wake(|wakes| &wakes.expire);
        let wish = self.compact_all.make();
        while !self.compact_all.is_heard(wish) {
            self.check_writable()?;
            if let Some(error) = self.compaction_error.lock().clone() {
                return Err(error);
            }
            self.wake(|wakes| &wakes.compact);
            self.scheduler.pause(Duration::from_micros(500));
        }
        let cold = self.cold.error.lock().as_ref().map(|(error, _)| error.clone());
        let unread = self.unread_error.lock().clone();
        let error = self.compaction_error.lock().clone().or(unread).or(cold);
        match error {
            Some(error) => Err(error),
            None => self.give_space_back(),
        }
    }

    /// Beside a live writer, damage may be no damage: the writer may have reused the place, given
    /// it back as a hole, or cut it off.
    pub(crate) fn explain(&self, error: Error) -> Error {
        let place = error.damaged_place().filter(|_| self.options.read_only);
        let Some((what, offset)) = place else {
            return error;
        };
        match superblock::read(&*self.disk) {
            Ok(now) if now.sequence == self.opened_sequence => error,
            _ => Error::SnapshotTooOld { what, offset },
        }
    }
}
