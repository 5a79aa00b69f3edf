//! How far the log is written, synced and released: shared by the leader, the flush worker and the
//! interval worker.
//!
//! # Invariants
//! 1. released <= synced <= written at every moment; each only grows.
//! 2. Everything before `synced` is on the disk, or its effects are in durable SSTables.
//! 3. No byte is stored to a page that holds bytes before `asked`; synced <= asked.
//! 4. After the first failure nothing counts as synced any more: a later sync that succeeds proves
//!    nothing about pages that an earlier one has given up.
//!
//! # Concurrency
//! Plain atomics. `written` is stored by the leader alone, with release, after the write returned:
//! whoever loads it with acquire and then syncs has synced all of it. A reader of two values loads
//! the smaller one first, so that a difference is never negative. `asked` has a lock, since a store
//! must not begin in a page that a sync has just begun to speak of.

use crate::error::{Error, Result};
use crate::file::Disk;
use crate::file::disk;
use crate::health::Health;
use crate::limits::BLOCK_SIZE;
use crate::planted::Planted;
use crate::sync::{AtomicU64, Mutex, Ordering};

/// Bytes of the ring that always stay free, so that a full ring and an empty one differ.
const SPARE_BYTES: u64 = BLOCK_SIZE;

/// Progress of the log. All values are logical positions.
#[derive(Debug)]
pub(crate) struct WalState {
    ring_bytes: u64,
    written: AtomicU64,
    synced: AtomicU64,
    released: AtomicU64,
    /// Everything before this is on the disk, or a sync on its way speaks of it: pages that hold
    /// some of it are not stored to any more.
    asked: Mutex<u64>,
    failure: Health,
}

impl WalState {
    /// An empty log that starts at `lsn`.
    pub(crate) fn new(ring_bytes: u64, lsn: u64) -> WalState {
        WalState::behind(ring_bytes, lsn, lsn)
    }

    /// An empty log that starts at `lsn`, in a ring in which an older one from `released` on must
    /// stay whole for now.
    pub(super) fn behind(ring_bytes: u64, lsn: u64, released: u64) -> WalState {
        assert!(ring_bytes > SPARE_BYTES && released <= lsn);
        WalState {
            ring_bytes,
            written: AtomicU64::new(lsn),
            synced: AtomicU64::new(lsn),
            released: AtomicU64::new(released),
            asked: Mutex::new(lsn),
            failure: Health::default(),
        }
    }

    /// The log begins here, empty; what this state told of before has gone.
    pub(crate) fn begin_at(&self, lsn: u64) {
        self.written.fetch_max(lsn, Ordering::AcqRel);
        self.release(lsn);
    }

    /// End of the last group that was handed to the disk.
    pub(crate) fn written_lsn(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// Everything before this survives a power loss.
    pub(crate) fn synced_lsn(&self) -> u64 {
        if Planted::NothingUnsynced.is_on() {
            return self.written_lsn();
        }
        self.synced.load(Ordering::Acquire)
    }

    /// Everything before this may be overwritten.
    pub(crate) fn released_lsn(&self) -> u64 {
        self.released.load(Ordering::Acquire)
    }

    /// Written bytes that a power loss may take.
    pub(crate) fn unsynced_bytes(&self) -> u64 {
        let synced = self.synced_lsn();
        self.written_lsn() - synced
    }

    /// Bytes of the ring.
    pub(crate) fn ring_bytes(&self) -> u64 {
        self.ring_bytes
    }

    /// Bytes of the ring that replay would need.
    pub(crate) fn used_bytes(&self) -> u64 {
        let released = self.released_lsn();
        self.written_lsn() - released
    }

    /// Bytes that groups can still take before something must be released.
    pub(crate) fn free_bytes(&self) -> u64 {
        WalState::room_of(self.ring_bytes).saturating_sub(self.used_bytes())
    }

    /// Bytes that the groups of one log can take in a ring of so many.
    pub(crate) fn room_of(ring_bytes: u64) -> u64 {
        ring_bytes.saturating_sub(SPARE_BYTES)
    }

    /// The head has moved to `lsn` in a durable superblock: what lies before it is free. It counts
    /// as synced as well, since nobody will look for it in the log again.
    pub(crate) fn release(&self, lsn: u64) {
        self.mark_synced(lsn);
        self.released.fetch_max(lsn, Ordering::AcqRel);
    }

    /// A sync that began after everything before `lsn` was written has returned well.
    pub(super) fn mark_synced(&self, lsn: u64) {
        assert!(lsn <= self.written_lsn(), "only what was written can be on the disk");
        self.ask(lsn);
        self.synced.fetch_max(lsn, Ordering::AcqRel);
    }

    /// Before a sync that is to speak of everything before `lsn`.
    pub(super) fn ask(&self, lsn: u64) {
        let mut asked = self.asked.lock();
        *asked = lsn.max(*asked);
    }

    /// Syncs the file for something else than the log, and with it what is written of the log at
    /// the time of the call. Returns up to where that is.
    ///
    /// # Errors
    /// The disk's. The caller poisons the store.
    pub(crate) fn sync_beside(&self, disk: &dyn Disk, operation: &'static str) -> Result<u64> {
        let target = self.written_lsn();
        self.ask(target);
        disk::sync(disk, operation)?;
        self.mark_synced(target);
        Ok(target)
    }

    /// The leader's: stores a group from `lsn` to `end`, unless its first page holds bytes that a
    /// sync speaks of; returns whether it did. The page would be written again with those, and a
    /// power loss could tear them. A sync that is asked for meanwhile waits for the store.
    pub(super) fn store(
        &self,
        lsn: u64,
        end: u64,
        store: impl FnOnce() -> Result<()>,
    ) -> Result<bool> {
        let asked = self.asked.lock();
        if *asked > lsn - lsn % BLOCK_SIZE && !Planted::StoreBesideSynced.is_on() {
            return Ok(false);
        }
        store()?;
        self.mark_written(end);
        Ok(true)
    }

    /// Fails if a write or a sync of this log failed before.
    pub(super) fn check(&self) -> Result<()> {
        self.failure.check()
    }

    /// Remembers the first failure and hands it on.
    pub(super) fn fail(&self, error: Error) -> Error {
        if !Planted::LogFailureForgotten.is_on() {
            let _ = self.failure.poison("the WAL", &error);
        }
        error
    }

    /// The leader's: a group up to `lsn` was handed to the disk.
    pub(super) fn mark_written(&self, lsn: u64) {
        debug_assert!(lsn >= self.written_lsn());
        self.written.store(lsn, Ordering::Release);
    }
}

/// Syncs what is written at the time of the call, from any thread, and returns up to where the log
/// is on the disk.
///
/// # Errors
/// The disk's error, or [`Error::Poisoned`] where the log failed before or meanwhile. The caller
/// poisons the store.
pub(crate) fn sync_written(state: &WalState, disk: &dyn Disk) -> Result<u64> {
    state.check()?;
    let target = state.written_lsn();
    if state.synced_lsn() < target {
        state.ask(target);
        disk::sync(disk, "sync the WAL").map_err(|error| state.fail(error))?;
        // Of two syncs at the same time the kernel may tell only one about a page it has lost.
        state.check()?;
        state.mark_synced(target);
    }
    Ok(state.synced_lsn())
}
