//! [`Timeline`]: one append-only queue of messages, its writes and its reads.

mod amend;
mod append;
mod entry;
mod items;
mod retention;
mod scan;
mod stream;
mod view;

use crate::error::Result;
use crate::id::TimelineId;
use crate::message::Message;
use crate::pending::Pending;
use crate::store::{Snapshot, Table};

pub(crate) use amend::request as amend_request;
pub use append::Append;
pub(crate) use entry::first_seq;
pub use entry::{Origin, Revision, TimelineEntry};
pub use items::{Items, TimelineItem};
pub use scan::{Entries, Scan};
pub use stream::EntryStream;
pub use view::TimelineView;

/// One timeline: the original's `Timeline` and `TimelineQueue`. A cheap handle, for any thread.
///
/// The order of a timeline is the order of the calls of one thread, whichever of `store`,
/// `store_async`, `store_with_callback`, `batch` and fan-out it mixes.
///
/// Each read shows the present moment, so that what one's own earlier (waited-for) writes wrote is
/// seen. For several reads of one moment, see [`Timeline::at`].
pub struct Timeline<M> {
    pub(crate) table: Table<M>,
    pub(crate) id: TimelineId,
}

impl<M> Clone for Timeline<M> {
    fn clone(&self) -> Timeline<M> {
        Timeline { table: self.table.clone(), id: self.id.clone() }
    }
}

/// Writing.
impl<M: Message> Timeline<M> {
    pub(crate) fn new(table: Table<M>, id: TimelineId) -> Timeline<M> {
        Timeline { table, id }
    }

    /// The timeline's id.
    pub fn id(&self) -> &TimelineId {
        &self.id
    }

    /// The timeline's table.
    pub fn table(&self) -> &Table<M> {
        &self.table
    }

    /// A write with its options: event time, durability, conditions, a given sequence id.
    ///
    /// ```
    /// # let store = tidelog::Store::in_memory();
    /// # let room = store.table::<String>("message").create()?.timeline("room")?;
    /// use tidelog::{Durability, ErrorKind};
    /// let hello = "hello".to_string();
    /// let entry = room.write(&hello).event_time(1_700_000_000_000).store()?;
    /// assert_eq!(entry.event_time, Some(1_700_000_000_000));
    /// room.write(&hello).durability(Durability::Buffered).expect_latest(entry.seq).store()?;
    /// let stale = room.write(&hello).expect_latest(entry.seq).store().unwrap_err();
    /// assert_eq!(stale.kind(), ErrorKind::Conflict);
    /// # Ok::<(), tidelog::Error>(())
    /// ```
    pub fn write<'a>(&'a self, message: &'a M) -> Append<'a, M> {
        Append::new(self, message)
    }

    /// Appends a message, and returns when it has the store's durability.
    ///
    /// # Errors
    /// Those of the encoder; [`TooLarge`](crate::ErrorKind::TooLarge) above 16 MiB, or below
    /// 256 KiB and above a quarter of the engine's ring;
    /// [`InvalidUse`](crate::ErrorKind::InvalidUse) on a table of
    /// given ids; [`Closed`](crate::ErrorKind::Closed), [`NoSpace`](crate::ErrorKind::NoSpace),
    /// [`Poisoned`](crate::ErrorKind::Poisoned) and [`Io`](crate::ErrorKind::Io) as they say.
    pub fn store(&self, message: &M) -> Result<TimelineEntry<M>> {
        self.write(message).store()
    }

    /// As [`Timeline::store`], with the time at which it happened, in milliseconds since 1970
    /// (UTC), for imports and backfill. The commit time is the store's all the same.
    ///
    /// # Errors
    /// As [`Timeline::store`].
    pub fn store_at_event(&self, event_time: i64, message: &M) -> Result<TimelineEntry<M>> {
        self.write(message).event_time(event_time).store()
    }

    /// As [`Timeline::store`], with a sequence id of the caller's: on tables of given ids only.
    /// (The original overwrites an id that exists; here a stale id is refused.)
    ///
    /// # Errors
    /// As [`Timeline::store`]; [`Conflict`](crate::ErrorKind::Conflict) when the id is not above
    /// the last; [`InvalidUse`](crate::ErrorKind::InvalidUse) on a table that assigns ids, and for
    /// 0.
    pub fn store_at(&self, seq: u64, message: &M) -> Result<TimelineEntry<M>> {
        self.write(message).at(seq).store()
    }

    /// Appends a message if `latest` is still the newest sequence id (0: the timeline was never
    /// written): the entry gets `latest + 1` where ids are assigned.
    ///
    /// # Errors
    /// As [`Timeline::store`]; [`Conflict`](crate::ErrorKind::Conflict) when somebody was faster.
    pub fn store_if_latest(&self, latest: u64, message: &M) -> Result<TimelineEntry<M>> {
        self.write(message).expect_latest(latest).store()
    }

    /// Appends a message without waiting. The write takes its place during this call; the future
    /// may be dropped, the write then happens whole or not at all. No runtime is needed. May read
    /// one block of the file, where the timeline is not in memory, and writes a message of 256 KiB
    /// and more.
    ///
    /// Where the engine holds writers back the future is pending until there is room; the call does
    /// not block. Until then the message is in memory, so how many there are at one time is for the
    /// caller to bound: by waiting for answers, or by [`Timeline::store_with_callback`], which has
    /// a bound.
    ///
    /// # Errors
    /// As [`Timeline::store`], by the future.
    #[must_use = "the answer, and its error, is lost with the future"]
    pub fn store_async(&self, message: &M) -> Pending<TimelineEntry<M>> {
        self.write(message).store_async()
    }

    /// Appends a message without waiting, and calls back with the answer: once, on the store's
    /// thread of callbacks, one callback after the other. A callback may write, but must not flush
    /// or close. A panic in it is caught, counted ([`Store::callback_panics`]) and told by the next
    /// flush. Blocks while 16,384 callbacks wait ([`BufferOptions::capacity`]).
    ///
    /// [`Store::callback_panics`]: crate::Store::callback_panics
    /// [`BufferOptions::capacity`]: crate::BufferOptions::capacity
    ///
    /// # Errors
    /// What makes the write impossible at once; the callback does not run then.
    pub fn store_with_callback(
        &self,
        message: &M,
        callback: impl FnOnce(Result<TimelineEntry<M>>) + Send + 'static,
    ) -> Result<()> {
        self.write(message).store_with_callback(callback)
    }

    /// Leaves a message in the store's batch buffer, to be written with others: when the buffer is
    /// full, after a delay, at [`Timeline::flush`] or at close (see
    /// [`BufferOptions`](crate::BufferOptions)). Until then it is in memory only. Blocks while the
    /// buffer is at its capacity.
    ///
    /// The future may be dropped: a failure is told by the next flush in any case.
    ///
    /// ```
    /// # let store = tidelog::Store::in_memory();
    /// # let room = store.table::<String>("message").create()?.timeline("room")?;
    /// let first = room.batch(&"one".to_string())?;
    /// let second = room.batch(&"two".to_string())?;
    /// room.flush()?;
    /// assert_eq!((first.wait()?.seq, second.wait()?.seq), (1, 2));
    /// # Ok::<(), tidelog::Error>(())
    /// ```
    ///
    /// # Errors
    /// What makes the write impossible at once: nothing was buffered then.
    pub fn batch(&self, message: &M) -> Result<Pending<TimelineEntry<M>>> {
        self.write(message).batch()
    }

    /// As [`Timeline::batch`], with a callback, as of [`Timeline::store_with_callback`].
    ///
    /// # Errors
    /// As [`Timeline::batch`]; the callback does not run then.
    pub fn batch_with_callback(
        &self,
        message: &M,
        callback: impl FnOnce(Result<TimelineEntry<M>>) + Send + 'static,
    ) -> Result<Pending<TimelineEntry<M>>> {
        self.write(message).batch_with_callback(callback)
    }

    /// Flushes the batch buffer of the whole store, as the original does: see
    /// [`Store::flush`](crate::Store::flush).
    ///
    /// # Errors
    /// As [`Store::flush`](crate::Store::flush).
    pub fn flush(&self) -> Result<()> {
        self.table.core.check_open()?;
        self.table.core.flush()
    }
}

/// Reading. All reads have a twin that does not block: with no runtime, it answers at once where
/// the backend is in memory, and from a thread of the store otherwise.
impl<M: Message> Timeline<M> {
    /// The timeline at one moment of the store. Where the snapshot is of another store, all reads
    /// answer [`InvalidUse`](crate::ErrorKind::InvalidUse).
    pub fn at(&self, snapshot: &Snapshot) -> TimelineView<M> {
        TimelineView::new(self.clone(), snapshot.clone())
    }

    fn now(&self) -> Result<TimelineView<M>> {
        self.table.core.check_open()?;
        Ok(TimelineView::new(self.clone(), self.table.core.snapshot()?))
    }

    /// One entry; `None` where there is none (not yet, not any more).
    ///
    /// # Errors
    /// [`Decode`](crate::ErrorKind::Decode) when it is no `M`, and those of the backend: so for all
    /// reads.
    pub fn get(&self, seq: u64) -> Result<Option<TimelineEntry<M>>> {
        self.now()?.get(seq)
    }

    /// The newest entry that can be read.
    ///
    /// # Errors
    /// As [`Timeline::get`].
    pub fn latest(&self) -> Result<Option<TimelineEntry<M>>> {
        self.now()?.latest()
    }

    /// The sequence id of the newest entry that was ever written; 0 for none. Never goes back,
    /// whatever expires or is deleted (the original's does).
    ///
    /// # Errors
    /// As [`Timeline::get`].
    pub fn latest_seq(&self) -> Result<u64> {
        self.now()?.latest_seq()
    }

    /// How many entries can be read.
    ///
    /// # Errors
    /// As [`Timeline::get`].
    pub fn len(&self) -> Result<u64> {
        self.now()?.len()
    }

    /// Whether no entry can be read.
    ///
    /// # Errors
    /// As [`Timeline::get`].
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Entries in order, page by page, of the moment of this call.
    ///
    /// ```
    /// # let store = tidelog::Store::in_memory();
    /// # let room = store.table::<String>("message").create()?.timeline("room")?;
    /// use tidelog::Scan;
    /// for text in ["a", "b", "c"] {
    ///     room.store(&text.to_string())?;
    /// }
    /// let newest: Vec<u64> = room
    ///     .scan(Scan::backward().limit(2))?
    ///     .map(|entry| Ok(entry?.seq))
    ///     .collect::<tidelog::Result<_>>()?;
    /// assert_eq!(newest, [3, 2]);
    /// # Ok::<(), tidelog::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidUse`](crate::ErrorKind::InvalidUse) for bounds in the wrong order; those of the
    /// backend at once, or as an item, which ends the scan. An entry that does not decode is an
    /// item of its own, and the scan goes on behind it.
    pub fn scan(&self, scan: Scan) -> Result<Entries<M>> {
        self.now()?.scan(scan)
    }

    /// As [`Timeline::scan`], with what is missing: between the entries, and before and behind
    /// them as far as the timeline has come. Each missing stretch comes once, in the order of the
    /// scan, with its reason; where nothing is missing there is none, so a reader tells "nothing
    /// new" from "expired", "trimmed", "deleted" and "lost". Not on tables of given ids. The scan's
    /// limit counts entries alone.
    ///
    /// ```
    /// # let store = tidelog::Store::in_memory();
    /// # let room = store.table::<String>("message").create()?.timeline("room")?;
    /// use tidelog::{Gap, GapReason, Scan, TimelineItem};
    /// for text in ["a", "b", "c"] {
    ///     room.store(&text.to_string())?;
    /// }
    /// room.delete(2)?;
    /// let items = room.scan_items(Scan::forward().from(2))?.collect::<tidelog::Result<Vec<_>>>()?;
    /// let deleted = Gap { from: 2, to: 2, reason: GapReason::Deleted };
    /// assert_eq!(items[0], TimelineItem::Gap(deleted));
    /// assert!(matches!(&items[1], TimelineItem::Entry(entry) if entry.seq == 3));
    /// # Ok::<(), tidelog::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Timeline::scan`].
    pub fn scan_items(&self, scan: Scan) -> Result<Items<M>> {
        self.now()?.scan_items(scan)
    }

    /// As [`Timeline::get`].
    ///
    /// # Errors
    /// As [`Timeline::get`], by the future.
    #[must_use = "the answer is lost with the future"]
    pub fn get_async(&self, seq: u64) -> Pending<Option<TimelineEntry<M>>> {
        self.read_async(move |view| view.get(seq))
    }

    /// As [`Timeline::latest`].
    ///
    /// # Errors
    /// As [`Timeline::get`], by the future.
    #[must_use = "the answer is lost with the future"]
    pub fn latest_async(&self) -> Pending<Option<TimelineEntry<M>>> {
        self.read_async(|view| view.latest())
    }

    /// As [`Timeline::latest_seq`].
    ///
    /// # Errors
    /// As [`Timeline::get`], by the future.
    #[must_use = "the answer is lost with the future"]
    pub fn latest_seq_async(&self) -> Pending<u64> {
        self.read_async(|view| view.latest_seq())
    }

    /// As [`Timeline::len`].
    ///
    /// # Errors
    /// As [`Timeline::get`], by the future.
    #[must_use = "the answer is lost with the future"]
    pub fn len_async(&self) -> Pending<u64> {
        self.read_async(|view| view.len())
    }

    /// As [`Timeline::scan`], awaited entry by entry.
    ///
    /// # Errors
    /// As [`Timeline::scan`].
    pub fn scan_async(&self, scan: Scan) -> Result<EntryStream<M>> {
        Ok(EntryStream::new(self.scan(scan)?))
    }

    /// All entries of a scan at once: give it a limit.
    ///
    /// # Errors
    /// As [`Timeline::scan`], by the future; an entry that does not decode fails it.
    #[must_use = "the answer is lost with the future"]
    pub fn read_page_async(&self, scan: Scan) -> Pending<Vec<TimelineEntry<M>>> {
        self.read_async(move |view| view.scan(scan)?.collect())
    }

    fn read_async<T: Send + 'static>(
        &self,
        read: impl FnOnce(TimelineView<M>) -> Result<T> + Send + 'static,
    ) -> Pending<T> {
        match self.now() {
            Ok(view) => {
                // A job on the store's threads must not hold the store: it gets its own parts.
                let reader = view.detached();
                self.table.core.read_async(move || read(reader))
            }
            Err(error) => Pending::ready(Err(error)),
        }
    }
}

impl<M> std::fmt::Debug for Timeline<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Timeline({}/{})", self.table.name, self.id)
    }
}
