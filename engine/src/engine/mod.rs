//! The engine: opening, committing, reading. Wiring only; the algorithms live in the other modules.

mod alter;
mod burial;
mod claims;
mod commit_pace;
mod compact_worker;
mod core;
mod counters;
mod dead_shares;
mod erasure;
mod expiry;
mod flush_pace;
mod kept_memory;
mod leading;
#[cfg(test)]
mod memory_tests;
mod open;
mod root;
mod scrub;
mod segment_copy;
#[cfg(test)]
mod segment_copy_tests;
mod space;
mod space_moves;
mod sync_due;
#[cfg(test)]
mod tests;
mod tiers;
mod unreadable;
mod wish;
mod work;
mod workers;

pub(crate) use self::claims::Claims;
pub(crate) use self::core::Core;
pub(crate) use counters::Counters;
pub use counters::{PendingWork, Stats};
pub(crate) use erasure::Erasure;
pub use erasure::ErasureStats;
pub use open::{OpenCold, Parts};
pub(crate) use scrub::ScrubState;
pub use scrub::{
    EntrySpan, Scrub, ScrubCancel, ScrubCounts, ScrubFault, ScrubProgress, ScrubReport, ScrubStats,
    ScrubStructure,
};

use crate::batch::WriteBatch;
use crate::commit::{CommitFuture, Committed};
use crate::entry::TableId;
use crate::error::Result;
use crate::options::{Durability, Options, ScrubOptions, TableOptions};
use crate::read::Snapshot;
use crate::sync::Arc;
#[cfg(any(test, feature = "testing"))]
use crate::sync::Ordering;
use std::path::Path;

/// An open store. Cloning shares it; the last clone to go closes it.
///
/// It belongs to the process that opened it. In a child of fork every call that reads or writes
/// fails with [`Error::Closed`](crate::Error::Closed), and dropping it does nothing; the file stays
/// locked until the child has ended too, or has become another program.
///
/// ```
/// use tidelog_engine::{Direction, Durability, Engine, Options, TableOptions, WriteBatch};
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("chat.tide");
/// let engine = Engine::open(&path, Options::default())?;
/// let messages = engine.create_table("message", TableOptions::timeline())?;
/// let mut batch = WriteBatch::new();
/// batch.append(messages, b"room", b"hello", None)?;
/// let committed = engine.commit(batch, Durability::Sync)?;
/// assert_eq!(committed.seqs, [1]);
/// let newest = engine.snapshot().scan(messages, b"room", 1, u64::MAX, Direction::Backward)?;
/// assert_eq!(&*newest.take(20).next().expect("one entry")?.payload, b"hello");
/// engine.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Engine {
    handle: Arc<Handle>,
}

/// A table of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableInfo {
    /// Its id, never reused.
    pub id: TableId,
    /// Its name.
    pub name: String,
    /// Its options.
    pub options: TableOptions,
}

/// Closes the store when the last clone of its engine goes. What fails then is not lost: the log
/// has it.
struct Handle {
    core: Arc<Core>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Nobody is left to hear of a failure; the next opening replays the log.
        let _ = self.core.close();
    }
}

impl Engine {
    /// Opens the store at `path`, creating it where [`Options::create`] says so.
    ///
    /// Time is bounded by the WAL ring, whatever the size of the data.
    ///
    /// Where the disk is too full to take over the log of a store that was killed, the store opens
    /// all the same: everything is read, tables can be dropped and altered, what expires goes, and
    /// commits fail with `NoSpace`. They are taken again as soon as there is room.
    ///
    /// # Errors
    /// `Locked` when another writer has it, `NotFound`, `Corruption` when acknowledged data are
    /// damaged, `Unsupported` for a file of another version, `InvalidUse` for bad options.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Engine> {
        Engine::open_with(Parts::real(path.as_ref(), &options)?, options)
    }

    /// Opens a store over other seams: a simulated disk, clock and scheduler.
    ///
    /// # Errors
    /// As [`Engine::open`].
    pub fn open_with(parts: Parts, options: Options) -> Result<Engine> {
        let core = open::open(parts, options)?;
        Ok(Engine { handle: Arc::new(Handle { core }) })
    }

    /// Creates a table; durable on return.
    ///
    /// # Errors
    /// `AlreadyExists`; `InvalidUse` or `TooLarge` for a bad name; `NoSpace`.
    pub fn create_table(&self, name: &str, options: TableOptions) -> Result<TableId> {
        self.handle.core.create_table(name, options)
    }

    /// Drops a table and everything in it; durable on return. Its id is never used again, its name
    /// may be. Reads and commits that name it fail from now on; iterators that are open go on. Its
    /// bytes are free once nobody reads them.
    ///
    /// # Errors
    /// `NotFound` for an unknown table; `NoSpace`. Nothing has changed then.
    pub fn drop_table(&self, table: TableId) -> Result<()> {
        self.handle.core.drop_table(table)
    }

    /// Gives a table other options, for what is in it and for what comes; durable on return. Its
    /// kind, and who gives its sequence ids, cannot change.
    ///
    /// What has expired stays expired: a longer time to live is that of the entries which are still
    /// alive. A shorter one hides at once what is older. Compression is that of SSTables written
    /// from now on.
    ///
    /// # Errors
    /// `NotFound` for an unknown table; `InvalidUse` for options that the table cannot have;
    /// `NoSpace`. Nothing has changed then.
    pub fn alter_table(&self, table: TableId, options: TableOptions) -> Result<()> {
        self.handle.core.alter_table(table, &options)
    }

    /// The table of that name.
    pub fn table(&self, name: &str) -> Option<TableInfo> {
        self.tables().into_iter().find(|table| table.name == name)
    }

    /// All tables, in the order of their creation.
    pub fn tables(&self) -> Vec<TableInfo> {
        let view = self.handle.core.views.current();
        let records = view.tables.values().filter(|record| !record.id.is_engine_owned());
        records
            .map(|record| TableInfo {
                id: record.id,
                name: record.name.clone(),
                options: record.options.clone(),
            })
            .collect()
    }

    /// Commits a batch, atomically, and waits for what `durability` promises.
    ///
    /// # Errors
    /// `Conflict` when a precondition fails, `TooLarge`, `NotFound` for an unknown table,
    /// `NoSpace`; in all of these nothing was written. `Poisoned` after a failed write: the batch
    /// may or may not be there after the store is opened again.
    pub fn commit(&self, batch: WriteBatch, durability: Durability) -> Result<Committed> {
        self.handle.core.commit(batch, durability)
    }

    /// Queues a batch and returns a future of its outcome. May read one block of the file for each
    /// timeline that is not in memory, and writes payloads of
    /// [`LARGE_PAYLOAD_BYTES`](crate::limits::LARGE_PAYLOAD_BYTES) and more; waits for no other
    /// write of the disk.
    ///
    /// Where [`Engine::commit`] would be slowed down or stopped, since compaction is behind, the
    /// call returns at once all the same. The future stays pending, and is woken once its batch is
    /// committed, or refused for what a commit that waits would be refused for. A store that is
    /// closed meanwhile commits what was queued before.
    ///
    /// So the store bounds what it has taken in, but not what is queued: a batch is in memory until
    /// it is committed. That bound is the caller's. A server that sends the next batch of a
    /// connection when the last one is answered, or lets so many futures exist at one time, has it.
    /// [`Stats::queued_commits`] says how many wait.
    ///
    /// # Errors
    /// As [`Engine::commit`], by the future.
    pub fn commit_async(&self, batch: WriteBatch, durability: Durability) -> CommitFuture {
        self.handle.core.submit(batch, durability)
    }

    /// A consistent moment of the whole store: everything committed so far.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(&self.handle.core)
    }

    /// Makes everything committed so far durable, whatever its durability.
    ///
    /// # Errors
    /// A failed sync poisons the store.
    pub fn sync(&self) -> Result<()> {
        self.handle.core.sync()
    }

    /// Moves everything in memory to SSTables, and waits for it.
    ///
    /// # Errors
    /// `NoSpace` or `Io` of the last attempt; nothing is lost, the engine goes on trying.
    pub fn flush(&self) -> Result<()> {
        self.handle.core.flush()
    }

    /// Flushes, compacts until no level has anything to do, and gives all free space back to the
    /// file system: what lies high in the file is moved to lower places, and the file is cut off
    /// behind it. What expiry or an erasure is taking away meanwhile is waited for. What readers of
    /// this process hold stays until they let go.
    ///
    /// # Errors
    /// As [`Engine::flush`].
    pub fn compact(&self) -> Result<()> {
        self.handle.core.compact()
    }

    /// Begins a scrub: reads all that the store holds from the device, past every cache, and
    /// verifies every checksum, at a pace, on the thread that steps it. Commits, reads and
    /// background work go on. One at a time.
    ///
    /// # Errors
    /// `AlreadyExists` while there is one; `InvalidUse` for a pace below its limit, and for a store
    /// opened for reading only; `Closed`.
    pub fn scrub(&self, options: ScrubOptions) -> Result<Scrub> {
        Scrub::new(&self.handle.core, options)
    }

    /// Flushes, stops the background work and marks the file as closed in order. Later calls fail
    /// with `Closed`; closing twice is fine.
    ///
    /// # Errors
    /// As [`Engine::flush`]; the log keeps what could not be flushed.
    pub fn close(&self) -> Result<()> {
        self.handle.core.close()
    }

    /// Lets go of the store as a killed process does: nothing is flushed, nothing is written.
    #[cfg(any(test, feature = "testing"))]
    pub fn abandon(self) {
        self.handle.core.closing.store(true, Ordering::Release);
    }

    /// Counters and sizes at this moment.
    pub fn stats(&self) -> Stats {
        self.handle.core.stats()
    }
}
