//! Opening beside a full disk: everything is read, and nothing is committed until there is room.
//!
//! A store that was killed full may have no room to take over its log: what does not fit into the
//! ring twice cannot be flushed either. Then no new log is begun. The root goes on naming the old
//! one, which stays as it is; all that it holds is in frozen memtables, and the worker that flushes
//! tries again and again. What needs the root alone goes on: reads, dropping and altering tables,
//! expiry. Once the last memtable is flushed the old log is empty, and a new one begins behind it.
//!
//! # Invariants
//! 1. Nothing is written into the ring before a root names the new log, together with the epoch
//!    that it begins, so a crash at any step finds the old one, from the head of its root on.
//! 2. Commits are refused until then, before a timeline is pinned (`check_writable`).
//! 3. What readers see here and a failed sync of this boot may have kept from the disk counts as
//!    unsynced: the next opening begins an epoch, unless everything was flushed before.
//!
//! # Concurrency
//! The opening makes it; the worker that flushes ends it, under no lock but those of the root.

use super::super::Core;
use super::super::root::Change;
use crate::commit::Leader;
use crate::error::{Error, Result};
use crate::file::Identity;
use crate::file::superblock::Superblock;
use crate::limits;
use crate::memtable::Memtable;
use crate::sync::{Arc, AtomicBool, Mutex, Ordering};
use crate::version::Edit;
use crate::wal::{WalPosition, Writer};

/// Whether a log has still to begin, and why it did not.
#[derive(Debug, Default)]
pub(crate) struct WithoutLog {
    refused: AtomicBool,
    waiting: Mutex<Option<(Error, NewLog)>>,
}

/// The log that an opening begins.
#[derive(Debug, Clone)]
pub(crate) struct NewLog {
    /// The first byte behind the old log, on a block of the device.
    pub(super) position: WalPosition,
    pub(super) salt: u64,
    pub(super) identity: Identity,
    /// The file is another inode than that of the last writer.
    pub(super) moved: bool,
    /// A power loss may have taken commits that readers had seen, behind this one.
    pub(super) lost_behind: Option<u64>,
    /// The newest commit of the old log.
    pub(super) commit: u64,
}

impl NewLog {
    /// The root names it from the next superblock on.
    pub(crate) fn name_in(&self, superblock: &mut Superblock) {
        superblock.wal.lsn = self.position.lsn;
        superblock.wal.previous = self.position.previous;
        superblock.wal.salt = self.salt;
        superblock.identity = self.identity;
        superblock.incarnation += u64::from(self.moved);
    }

    /// What the manifest has to know of the opening.
    pub(super) fn edits(&self) -> Vec<Edit> {
        self.lost_behind.map(|commit| Edit::EpochBegun { commit }).into_iter().collect()
    }
}

impl WithoutLog {
    /// Fails while no log has begun.
    pub(crate) fn check(&self) -> Result<()> {
        match self.refused.load(Ordering::Acquire) {
            false => Ok(()),
            true => self.waiting.lock().as_ref().map_or(Ok(()), |(error, _)| Err(error.clone())),
        }
    }
}

impl Core {
    /// The first commit number of a log behind this commit. Commit numbers that may have been seen
    /// are not given out again, like sequence ids; nor after a further opening that found no commit
    /// since.
    pub(super) fn first_commit_behind(&self, commit: u64) -> u64 {
        let view = self.views.current();
        let epochs = view.epochs.iter().filter(|epoch| **epoch >= commit).count() as u64;
        commit + 1 + limits::UNSYNCED_ENTRIES_MAX * epochs
    }

    /// The opening goes on without a log, over `error`. `end`: of the old log.
    pub(super) fn go_without_log(
        &self,
        found: &Superblock,
        end: WalPosition,
        new: NewLog,
        error: Error,
    ) -> Result<()> {
        if !self.views.current().active.is_empty() {
            self.freeze(end, new.commit + 1);
        }
        let forgotten = found.identity.boot == [0; 16];
        if forgotten && !found.unsynced {
            // A sync of this boot has failed: what was read well may not be on the disk.
            self.commit_root(Change { unsynced: Some(true), ..Change::default() })?;
        }
        self.published.store(new.commit, Ordering::Release);
        let flushed = self.root.lock().superblock.commit;
        self.flushed_through.store(flushed, Ordering::Release);
        *self.without_log.waiting.lock() = Some((error, new));
        self.without_log.refused.store(true, Ordering::Release);
        Ok(())
    }

    /// Begins the log that the opening had no room for, once all of the old one is flushed.
    pub(crate) fn begin_late_log(&self) -> Result<()> {
        let waiting = self.without_log.waiting.lock().as_ref().map(|(_, new)| new.clone());
        let Some(new) = waiting.filter(|_| self.views.current().frozen.is_empty()) else {
            return Ok(());
        };
        let edits = new.edits();
        let log = Some(new.clone());
        self.commit_root(Change { edits, log, unsynced: Some(false), ..Change::default() })?;
        self.log.begin_at(new.position.lsn);
        let (disk, state) = (Arc::clone(&self.disk), Arc::clone(&self.log));
        let ring = self.root.lock().superblock.ring;
        let mut writer = Writer::over(disk, self.file, ring, new.salt, new.position, state);
        let next_commit = self.first_commit_behind(new.commit);
        let fresh = Memtable::in_pool(next_commit, self.clock.commit_now(), &self.memory);
        self.views.replace(|view| view.active = Arc::new(fresh));
        self.choose_unsynced(&mut writer);
        *self.leader.lock() = Some(Leader::new(writer, next_commit, new.position.lsn));
        self.without_log.refused.store(false, Ordering::Release);
        *self.without_log.waiting.lock() = None;
        Ok(())
    }
}
