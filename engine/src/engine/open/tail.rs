//! What the log held when the store was opened: it goes into memtables, and from the old log into
//! the new one.
//!
//! ```text
//! ring   | … | old log: group group group | new log: the same groups | free … |
//!            ▲ head of the old root       ▲ head of the root that ends recovery
//! memtables        frozen    active   ── both adopted, and flushed by the workers later
//! ```
//! Why the groups are written again: after a failed sync, pages that read well may not be on the
//! disk, and no later sync says so. What is written anew, and synced before the root that names it,
//! is. Why they are not flushed instead: building SSTables takes many times longer, and an opening
//! should take no longer than reading the ring.
//!
//! 1. Replay fills memtables. Before a third would be needed, the oldest is flushed.
//! 2. What does not fit into the ring a second time is flushed, too, the oldest first. On a full
//!    disk all memtables stay, and the store opens without a log (`without_log.rs`).
//! 3. The groups of the memtables that are left are written behind the end of the old log, under
//!    the new salt, with the commits and times that they had.
//!
//! # Invariants
//! 1. Nothing of the old log is overwritten before a root names the new one: a crash in between
//!    finds the old log under the old salt, and behind its end groups that mean nothing to it.
//! 2. The groups of a memtable follow each other in the new log, those of the frozen one first.

use super::super::Core;
use super::replay::Replayed;
use crate::compaction::FlushJob;
use crate::error::{Error, Result};
use crate::planted::Planted;
use crate::read::Frozen;
use crate::sync::Arc;
use crate::wal::{WalPosition, Writer};

/// Who takes what replay finds.
pub(super) trait Sink {
    /// The active memtable is full; it holds the log up to this position and commit.
    fn full(&mut self, core: &Core, position: WalPosition, commit: u64) -> Result<()>;
    /// The active memtable holds this group now.
    fn group(&mut self, group: Replayed);
}

/// A store opened for reading keeps all memtables, and writes nothing.
pub(super) struct KeepAll;

impl Sink for KeepAll {
    fn full(&mut self, core: &Core, position: WalPosition, commit: u64) -> Result<()> {
        core.freeze(position, commit + 1);
        Ok(())
    }

    fn group(&mut self, _: Replayed) {}
}

/// The groups of the memtables that a store opened for writing adopts.
#[derive(Default)]
pub(super) struct Tail {
    frozen: Vec<Replayed>,
    active: Vec<Replayed>,
    /// There was no room to flush a memtable: there are more of them than these groups are of.
    full: Option<Error>,
}

impl Sink for Tail {
    fn full(&mut self, core: &Core, position: WalPosition, commit: u64) -> Result<()> {
        match self.flush_frozen(core) {
            Err(error @ Error::NoSpace { .. }) => self.full = Some(error),
            outcome => outcome?,
        }
        core.freeze(position, commit + 1);
        self.frozen = std::mem::take(&mut self.active);
        Ok(())
    }

    fn group(&mut self, group: Replayed) {
        self.active.push(group);
    }
}

impl Tail {
    /// Whether the active memtable was filled from the log.
    pub(super) fn fills_active(&self) -> bool {
        !self.active.is_empty()
    }

    /// Flushes until the rest fits into the free part of the new log's ring. `position` and
    /// `commit` are the end of the old log.
    ///
    /// # Errors
    /// `NoSpace` where they cannot be flushed: all that the old log holds is in memtables then, and
    /// the old log is whole.
    pub(super) fn shrink_to_fit(
        &mut self,
        core: &Core,
        writer: &Writer,
        position: WalPosition,
        commit: u64,
    ) -> Result<()> {
        if let Some(error) = self.full.take() {
            return Err(error);
        }
        while self.bytes(writer) > writer.state().free_bytes() {
            if self.frozen.is_empty() {
                core.freeze(position, commit + 1);
                self.frozen = std::mem::take(&mut self.active);
            }
            self.flush_frozen(core)?;
            // The old log begins later now.
            writer.state().release(core.root.lock().superblock.wal.lsn);
        }
        Ok(())
    }

    /// Writes all groups to the new log. Returns where the groups of the active memtable begin.
    pub(super) fn write(&self, core: &Core, writer: &mut Writer) -> Result<u64> {
        write_groups(&self.frozen, writer)?;
        let end = writer.position();
        core.views.replace(|view| {
            for frozen in &mut view.frozen {
                let (memtable, commit) = (Arc::clone(&frozen.memtable), frozen.commit);
                *frozen = Arc::new(Frozen { memtable, end, commit });
            }
        });
        if !Planted::TailNotCopied.is_on() {
            write_groups(&self.active, writer)?;
        }
        Ok(end.lsn)
    }

    /// Bytes that the groups take in the ring of `writer`.
    fn bytes(&self, writer: &Writer) -> u64 {
        let groups = self.frozen.iter().chain(&self.active);
        let bytes =
            |group: &Replayed| writer.group_bytes(group.bodies.iter().map(|body| body.len()));
        groups.map(bytes).sum()
    }

    /// Flushes the frozen memtable, if there is one, without workers. The root then says that the
    /// old log begins behind it, so a crash from here on recovers only the rest.
    fn flush_frozen(&mut self, core: &Core) -> Result<()> {
        self.frozen.clear();
        let view = core.views.current();
        let Some(frozen) = view.frozen.last() else {
            return Ok(());
        };
        loop {
            let mut job = core.flush_job(frozen);
            match flush(core, frozen, &mut job) {
                Err(error) if job.writes_cold() && core.health.check().is_ok() => {
                    // The next try goes to the hot tier.
                    core.cold_failed(&error);
                }
                outcome => return outcome,
            }
        }
    }
}

fn flush(core: &Core, frozen: &Arc<Frozen>, job: &mut FlushJob) -> Result<()> {
    let output = loop {
        if let Some(output) = job.step()? {
            break output;
        }
    };
    core.finish_flush(Arc::clone(frozen), output)
}

fn write_groups(groups: &[Replayed], writer: &mut Writer) -> Result<()> {
    let groups = groups.iter().map(|group| {
        let bodies = group.bodies.iter().map(|body| body.as_slice());
        (group.first_commit, group.time_ms, bodies)
    });
    writer.write_groups(groups)?;
    Ok(())
}
