//! [`Backend`]: what stands between this crate and the store that keeps the bytes.
//!
//! It is the original's `IStore`, for a whole store instead of one table. The embedded engine is
//! the default; [`MemoryBackend`] serves tests; a program that outgrows one machine implements it
//! over a distributed engine and changes one line. One conformance suite
//! (`tests/it/conformance`) runs against every backend.
//!
//! # What a backend must keep
//! 1. A batch is committed whole or not at all, under one commit number; numbers grow.
//! 2. Sequence ids of a timeline of assigned ids are 1, 2, 3, … in commit order; on a table of
//!    given ids a batch whose id is not above the last one is refused, never an overwrite.
//! 3. Batches given by one thread, by either commit call, take effect in the order of the calls.
//! 4. A snapshot shows one moment, for ever, except that entries that have outlived a time to live,
//!    of their table, timeline or own, are shown by no one.
//! 5. A commit is visible to each snapshot taken after the call (or its future) returned.
//! 6. `latest_seq` never goes back, whatever expires or is deleted.
//! 7. A mark hides what its timeline has at its place of the batch, and nothing that comes later;
//!    snapshots of earlier moments go on showing it.
//! 8. On tables of assigned ids, the items of a scan tile the range asked for, as far as the
//!    timeline had come: what is missing is told once, with its reason.
//! 9. An entry is read with the payload of the newest amendment, as of the snapshot, of itself or
//!    of its origin, and says so by its revision; a retracted one stays in its place, with an empty
//!    payload. Amendments count for entries of their own commit and of older ones, also when the
//!    origin has expired. What was never written cannot be amended: that is `NotFound`.

mod batch;
mod embedded;
mod memory;

use crate::error::{Error, ErrorKind, Result};
use std::future::Future;
use std::ops::Bound;
use std::pin::Pin;
use std::sync::Arc;
use tidelog_engine::{
    Durability, Entry, Item, Payload, Scrub, ScrubOptions, TableId, TableOptions,
};

pub(crate) use batch::target_bytes;
pub use batch::{Amendment, Batch, BatchMessage, KeyedWrite, MarkChange, Target, TimelineMark};
pub use embedded::EmbeddedBackend;
pub use memory::MemoryBackend;

/// What a commit answers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Committed {
    /// The commit's number, over the whole store.
    pub commit: u64,
    /// When it was committed, in milliseconds since 1970 (UTC).
    pub time_ms: u64,
    /// The sequence id of each target of each message, in the order of the batch.
    pub seqs: Vec<u64>,
}

impl Committed {
    /// The answer to a commit.
    pub fn new(commit: u64, time_ms: u64, seqs: Vec<u64>) -> Committed {
        Committed { commit, time_ms, seqs }
    }
}

/// The future of [`Backend::commit_async`]. It may be dropped: the write happens whole or not.
pub type CommitFuture = Pin<Box<dyn Future<Output = Result<Committed>> + Send>>;

/// A table as the backend describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableDescription {
    /// Its id, never reused.
    pub id: TableId,
    /// Its name, unique in the store.
    pub name: String,
    /// Its options.
    pub options: TableOptions,
}

impl TableDescription {
    /// A description.
    pub fn new(id: TableId, name: impl Into<String>, options: TableOptions) -> TableDescription {
        TableDescription { id, name: name.into(), options }
    }
}

/// Which way a scan goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Direction {
    /// Oldest first, by rising sequence ids.
    #[default]
    Forward,
    /// Newest first, by falling sequence ids.
    Backward,
}

/// One page of a scan to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanRequest {
    /// Where it begins, inclusive: the lowest id of a forward scan, the highest of a backward one.
    pub from: u64,
    /// Where it ends, inclusive.
    pub to: u64,
    /// Which way.
    pub direction: Direction,
    /// Most entries, at least 1.
    pub limit: usize,
    /// Bytes after which the page ends; it has at least one entry, if there is any. An entry counts
    /// [`entry_bytes`], a gap [`ITEM_BYTES`].
    pub byte_limit: usize,
}

/// What each entry and each gap counts towards the bytes of a page, beside what it holds: about
/// what it takes of memory. So a page of empty messages has an end too.
pub const ITEM_BYTES: usize = 128;

/// What an entry counts towards the bytes of a page: its payload, the key of its origin, and
/// [`ITEM_BYTES`].
pub fn entry_bytes(entry: &Entry) -> usize {
    let origin = entry.origin.as_ref().map_or(0, |origin| origin.key.len());
    entry.payload.len() + origin + ITEM_BYTES
}

/// A page of a scan.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The entries, in the order of the scan.
    pub entries: Vec<Entry>,
    /// Where the next page begins; `None` when the scan has ended.
    pub next: Option<u64>,
}

impl Page {
    /// A page of the entries of a scan, up to the limits of the request: for backends that iterate.
    ///
    /// # Errors
    /// The first among the entries; [`InvalidUse`](crate::ErrorKind::InvalidUse) for a limit of 0.
    pub fn fill(
        entries: impl Iterator<Item = Result<Entry>>,
        request: &ScanRequest,
    ) -> Result<Page> {
        if request.limit == 0 {
            return Err(Error::invalid("a page of no entries"));
        }
        let mut page = Page::default();
        let mut bytes = 0;
        for entry in entries {
            let entry = entry?;
            let full = page.entries.len() == request.limit || bytes >= request.byte_limit;
            if full && !page.entries.is_empty() {
                page.next = Some(entry.seq);
                break;
            }
            bytes += entry_bytes(&entry);
            page.entries.push(entry);
        }
        Ok(page)
    }
}

/// A page of a scan with gaps.
#[derive(Debug, Clone, Default)]
pub struct ItemPage {
    /// Entries and gaps, in the order of the scan.
    pub items: Vec<Item>,
    /// Where the next page begins; `None` when the scan has ended.
    pub next: Option<u64>,
}

impl ItemPage {
    /// A page of the items of a scan, as [`Page::fill`].
    ///
    /// # Errors
    /// As [`Page::fill`].
    pub fn fill(
        items: impl Iterator<Item = Result<Item>>,
        request: &ScanRequest,
    ) -> Result<ItemPage> {
        if request.limit == 0 {
            return Err(Error::invalid("a page of no entries"));
        }
        let mut page = ItemPage::default();
        let mut bytes = 0;
        for item in items {
            let item = item?;
            let full = page.items.len() == request.limit || bytes >= request.byte_limit;
            if full && !page.items.is_empty() {
                page.next = Some(match (&item, request.direction) {
                    (Item::Entry(entry), _) => entry.seq,
                    (Item::Gap(gap), Direction::Forward) => gap.from,
                    (Item::Gap(gap), Direction::Backward) => gap.to,
                });
                break;
            }
            bytes += match &item {
                Item::Entry(entry) => entry_bytes(entry),
                Item::Gap(_) => ITEM_BYTES,
            };
            page.items.push(item);
        }
        Ok(page)
    }
}

/// A key of a keyed table and its value.
pub type KeyValue = (Box<[u8]>, Payload);

/// A timeline of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineDescription {
    /// Its encoded id.
    pub key: Box<[u8]>,
    /// The sequence id of its newest entry, whether or not that is still shown.
    pub latest_seq: u64,
}

/// Keeps the tables of a store. See the [module](self) for what it must hold to.
pub trait Backend: Send + Sync + 'static {
    /// Creates a table.
    ///
    /// # Errors
    /// [`AlreadyExists`](crate::ErrorKind::AlreadyExists), whatever its options.
    fn create_table(&self, name: &str, options: &TableOptions) -> Result<TableId>;

    /// Gives a table other options, for what is in it and for what comes. Its kind, and who gives
    /// its sequence ids, cannot change. What has expired stays expired.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) for one that is not there;
    /// [`InvalidUse`](crate::ErrorKind::InvalidUse) for options that it cannot have; those of the
    /// backend. Nothing has changed then.
    fn alter_table(&self, table: TableId, options: &TableOptions) -> Result<()>;

    /// Drops a table and everything in it. Its id is never used again, its name may be.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) for one that is not there.
    fn drop_table(&self, table: TableId) -> Result<()>;

    /// A table by its name.
    ///
    /// # Errors
    /// Those of the backend; a table that does not exist is none.
    fn table(&self, name: &str) -> Result<Option<TableDescription>>;

    /// All tables, ordered by name.
    ///
    /// # Errors
    /// Those of the backend.
    fn tables(&self) -> Result<Vec<TableDescription>>;

    /// Commits a batch, and returns when it has the durability asked for.
    ///
    /// # Errors
    /// [`Conflict`](crate::ErrorKind::Conflict), [`TooLarge`](crate::ErrorKind::TooLarge),
    /// [`NotFound`](crate::ErrorKind::NotFound), [`InvalidUse`](crate::ErrorKind::InvalidUse),
    /// [`NoSpace`](crate::ErrorKind::NoSpace), [`Corruption`](crate::ErrorKind::Corruption) and
    /// [`ColdFile`](crate::ErrorKind::ColdFile) mean that nothing was written.
    fn commit(&self, batch: Batch, durability: Durability) -> Result<Committed>;

    /// As [`Backend::commit`], without waiting. The batch takes its place among the commits during
    /// the call, and goes on whether or not the future is polled. Where a commit would be held back
    /// the future is pending, and the call returns all the same.
    fn commit_async(&self, batch: Batch, durability: Durability) -> CommitFuture;

    /// The present moment.
    ///
    /// # Errors
    /// Those of the backend.
    fn snapshot(&self) -> Result<Arc<dyn BackendSnapshot>>;

    /// Whether reads may wait for a disk or a network: then asynchronous reads go to threads.
    fn reads_block(&self) -> bool;

    /// Most bytes ([`Batch::frame_bytes`]) of one batch.
    fn batch_bytes_max(&self) -> usize;

    /// Makes durable what was committed before the call, whatever its durability.
    ///
    /// # Errors
    /// Those of the backend.
    fn sync(&self) -> Result<()>;

    /// Begins a scrub of the file.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where there is no file; those of the backend.
    fn scrub(&self, options: ScrubOptions) -> Result<Scrub> {
        let _ = options;
        let text = "unsupported: this backend has no file to scrub";
        Err(Error::new(ErrorKind::Unsupported, text))
    }

    /// Syncs and closes. Later writes are [`Closed`](crate::ErrorKind::Closed); a second close does
    /// nothing.
    ///
    /// # Errors
    /// Those of the backend.
    fn close(&self) -> Result<()>;
}

/// One moment of a store: the token that all reads name.
pub trait BackendSnapshot: Send + Sync + 'static {
    /// The last commit it shows.
    fn commit(&self) -> u64;

    /// One entry of a timeline.
    ///
    /// # Errors
    /// Those of the backend; an entry that is not there is none. So for all reads.
    fn get(&self, table: TableId, key: &[u8], seq: u64) -> Result<Option<Entry>>;

    /// An entry as it was written, then as each amendment of it, or of its origin, made it, oldest
    /// first; nothing where [`BackendSnapshot::get`] gives nothing.
    ///
    /// # Errors
    /// As [`BackendSnapshot::get`].
    fn versions(&self, table: TableId, key: &[u8], seq: u64) -> Result<Vec<Entry>>;

    /// The newest entry of a timeline.
    ///
    /// # Errors
    /// As [`BackendSnapshot::get`].
    fn latest(&self, table: TableId, key: &[u8]) -> Result<Option<Entry>>;

    /// The sequence id of the newest entry that was ever written; 0 for none.
    ///
    /// # Errors
    /// As [`BackendSnapshot::get`].
    fn latest_seq(&self, table: TableId, key: &[u8]) -> Result<u64>;

    /// How many entries of a timeline can be read.
    ///
    /// # Errors
    /// As [`BackendSnapshot::get`].
    fn len(&self, table: TableId, key: &[u8]) -> Result<u64>;

    /// A page of a timeline's entries.
    ///
    /// # Errors
    /// As [`BackendSnapshot::get`].
    fn scan(&self, table: TableId, key: &[u8], request: &ScanRequest) -> Result<Page>;

    /// A page of a timeline's entries, with what is missing between them. Entries and gaps count
    /// towards the limit.
    ///
    /// # Errors
    /// As [`BackendSnapshot::get`].
    fn scan_items(&self, table: TableId, key: &[u8], request: &ScanRequest) -> Result<ItemPage>;

    /// The value of a key of a keyed table.
    ///
    /// # Errors
    /// As [`BackendSnapshot::get`].
    fn value(&self, table: TableId, key: &[u8]) -> Result<Option<Payload>>;

    /// Up to `limit` keys and values of a keyed table in ascending order. The next page begins
    /// behind the last key of this one.
    ///
    /// # Errors
    /// As [`BackendSnapshot::get`].
    fn values(
        &self,
        table: TableId,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        limit: usize,
    ) -> Result<Vec<KeyValue>>;

    /// Up to `limit` timelines whose encoded ids begin with `prefix` and lie behind `after`, in
    /// ascending order.
    ///
    /// # Errors
    /// As [`BackendSnapshot::get`].
    fn timelines(
        &self,
        table: TableId,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<TimelineDescription>>;
}
