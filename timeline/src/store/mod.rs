//! [`Store`]: tables of timelines, over a backend.

mod callback;
pub(crate) mod core;
mod definition;
mod meta;
mod options;
mod scrub;
mod snapshot;
mod table;

use self::core::{Core, Settings};
use crate::backend::{Backend, TableDescription};
use crate::error::{Error, ErrorKind, Result};
use crate::message::Message;
use std::path::Path;
use std::sync::Arc;
use tidelog_engine::ScrubOptions;

pub use meta::{MetaBuilder, MetaEntries, MetaTable};
pub use options::StoreOptions;
pub use scrub::Scrub;
pub use snapshot::Snapshot;
pub use table::{Table, TableBuilder, TimelineInfo, Timelines};

/// A store: tables of timelines, in one file or in another backend.
///
/// A store is a handle; its clones are the same store, from any thread. [`Store::close`] writes
/// what the batch buffer holds and tells what failed. Dropping the last handle (tables and
/// timelines are handles too) does the same, but can tell nobody.
///
/// ```
/// use tidelog::Store;
/// let store = Store::in_memory();
/// let history = store.table::<String>("message").create()?;
/// let room = history.timeline(("group", 42))?;
/// room.store(&"hello".to_string())?;
/// assert_eq!(room.latest()?.expect("one is there").message, "hello");
/// store.close()?;
/// # Ok::<(), tidelog::Error>(())
/// ```
#[derive(Clone)]
pub struct Store {
    pub(crate) core: Arc<Core>,
}

impl Store {
    /// Options for opening a store.
    pub fn options() -> StoreOptions {
        StoreOptions::default()
    }

    /// Opens the store in the file at `path` with default options, and creates it where there is
    /// none. For others, [`Store::options`].
    ///
    /// ```
    /// # let folder = tempfile::tempdir().expect("a folder");
    /// # let path = folder.path().join("chat.tide");
    /// let store = tidelog::Store::open(&path)?;
    /// let room = store.table::<String>("message").create()?.timeline("room")?;
    /// room.store(&"hello".to_string())?;
    /// store.close()?;
    /// drop((store, room)); // the last handle gives the file's lock back
    /// let store = tidelog::Store::open(&path)?;
    /// let room = store.table::<String>("message").open()?.timeline("room")?;
    /// assert_eq!(room.latest_seq()?, 1);
    /// # Ok::<(), tidelog::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`StoreOptions::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Store> {
        Store::options().open(path)
    }

    /// A store over any backend, with default options. For others,
    /// [`StoreOptions::open_with`].
    ///
    /// # Errors
    /// None with the default options.
    pub fn with_backend(backend: Arc<dyn Backend>) -> Result<Store> {
        Store::new(backend, Settings::default())
    }

    /// An empty store in memory, for tests: see [`MemoryBackend`](crate::MemoryBackend).
    pub fn in_memory() -> Store {
        let backend = Arc::new(crate::MemoryBackend::new());
        Store::with_backend(backend).expect("the default options are valid")
    }

    fn new(backend: Arc<dyn Backend>, settings: Settings) -> Result<Store> {
        Ok(Store { core: Arc::new(Core::new(backend, settings)?) })
    }

    /// A table of timelines that hold messages of type `M`, to be created or opened. The type is
    /// not stored: reading with another one than was written gives
    /// [`Decode`](crate::ErrorKind::Decode), or whatever those bytes mean to it.
    pub fn table<M: Message>(&self, name: impl Into<String>) -> TableBuilder<M> {
        TableBuilder::new(Arc::clone(&self.core), name.into())
    }

    /// A table of one value of type `M` for each identifier, to be created or opened: what a
    /// conversation, a group or a user is. A value is written alone, or in the commit of a message
    /// ([`Append::put`](crate::Append::put), [`FanOut::put`](crate::FanOut::put)).
    pub fn meta<M: Message>(&self, name: impl Into<String>) -> MetaBuilder<M> {
        MetaBuilder::new(Arc::clone(&self.core), name.into())
    }

    /// Whether a table exists.
    ///
    /// # Errors
    /// Those of the backend.
    pub fn table_exists(&self, name: &str) -> Result<bool> {
        self.core.check_open()?;
        Ok(self.core.backend.table(name)?.is_some())
    }

    /// All tables, ordered by name.
    ///
    /// # Errors
    /// Those of the backend.
    pub fn tables(&self) -> Result<Vec<TableDescription>> {
        self.core.check_open()?;
        self.core.backend.tables()
    }

    /// Drops a table and everything in it; durable on return. Handles of it fail with
    /// [`NotFound`](crate::ErrorKind::NotFound) from now on; its name may be used again.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) for one that is not there; those of the backend.
    pub fn drop_table(&self, name: &str) -> Result<()> {
        self.core.check_open()?;
        let Some(table) = self.core.backend.table(name)? else {
            let text = format!("not found: table {name}");
            return Err(Error::new(ErrorKind::NotFound, text));
        };
        self.core.backend.drop_table(table.id)
    }

    /// The present moment of the whole store: everything read through it belongs to one commit.
    ///
    /// # Errors
    /// Those of the backend.
    pub fn snapshot(&self) -> Result<Snapshot> {
        self.core.check_open()?;
        self.core.snapshot()
    }

    /// Writes what was left in the batch buffer before this call, waits until the futures and
    /// callbacks of those messages are done (the original's flush does not), and those of
    /// `store_with_callback` too.
    ///
    /// # Errors
    /// [`FlushFailed`](crate::ErrorKind::FlushFailed) when some of those messages were not written,
    /// or a callback panicked: it names them, also those that failed before and that no flush has
    /// told of yet. [`InvalidUse`](crate::ErrorKind::InvalidUse) in a callback, which flush would
    /// wait for.
    pub fn flush(&self) -> Result<()> {
        self.core.check_open()?;
        self.core.flush()
    }

    /// Makes everything durable that was committed before the call, whatever its durability. Does
    /// not flush the batch buffer.
    ///
    /// # Errors
    /// Those of the backend.
    pub fn sync(&self) -> Result<()> {
        self.core.check_open()?;
        self.core.backend.sync()
    }

    /// Begins a scrub: reads all that the store holds from the device, past every cache, and
    /// verifies every checksum. The store is used as ever meanwhile; one scrub at a time. What is
    /// found counts in the engine's `Stats` as well.
    ///
    /// ```
    /// use tidelog::{ScrubOptions, Store};
    /// # let folder = tempfile::tempdir().expect("a folder");
    /// let store = Store::open(folder.path().join("chat.tide"))?;
    /// let scrub = store.scrub(ScrubOptions::default().pace(64 << 20))?; // 64 MiB a second
    /// let worker = std::thread::spawn(move || scrub.run());
    /// store.table::<String>("message").create()?.timeline("room")?.store(&"hello".to_string())?;
    /// let report = worker.join().expect("no panic")?;
    /// assert_eq!((report.faults.len(), report.whole), (0, true));
    /// store.close()?;
    /// # Ok::<(), tidelog::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`AlreadyExists`](crate::ErrorKind::AlreadyExists) while there is one,
    /// [`InvalidUse`](crate::ErrorKind::InvalidUse) for a pace below its limit and for a store
    /// opened for reading only, [`Unsupported`](crate::ErrorKind::Unsupported) for a backend
    /// without a file.
    pub fn scrub(&self, options: ScrubOptions) -> Result<Scrub> {
        self.core.check_open()?;
        Ok(Scrub { inner: self.core.backend.scrub(options)? })
    }

    /// Callbacks that panicked since the store was opened. Each panic was caught; its text was told
    /// by the next flush.
    pub fn callback_panics(&self) -> u64 {
        self.core.callback_panics()
    }

    /// Flushes, ends the store's threads and closes the backend. Later calls on any handle are
    /// [`Closed`](crate::ErrorKind::Closed); a second close does nothing.
    ///
    /// # Errors
    /// As [`Store::flush`], and those of the backend. The store is closed all the same.
    pub fn close(&self) -> Result<()> {
        self.core.close()
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}
