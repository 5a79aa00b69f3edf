//! [`Table`]: a named set of timelines, and its creation.

use super::core::Core;
use super::definition::Definition;
use crate::backend::{BackendSnapshot, TableDescription};
use crate::error::{Error, ErrorKind, Result};
use crate::fanout::FanOut;
use crate::id::{IntoTimelineId, TimelineId, TimelinePrefix};
use crate::message::Message;
use crate::timeline::Timeline;
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;
use tidelog_engine::{Compression, Sequence, TableId, TableOptions};

/// A table to be created or opened; see [`Store::table`](crate::Store::table).
#[must_use = "nothing happens before create or open"]
pub struct TableBuilder<M> {
    definition: Definition,
    message: PhantomData<fn() -> M>,
}

impl<M: Message> TableBuilder<M> {
    pub(super) fn new(core: Arc<Core>, name: String) -> TableBuilder<M> {
        let definition = Definition { core, name, options: TableOptions::timeline() };
        TableBuilder { definition, message: PhantomData }
    }

    /// Entries older than this, by commit time, are never returned, and their space comes back.
    /// At least 1 ms. Default: kept for ever.
    pub fn ttl(mut self, ttl: Duration) -> TableBuilder<M> {
        self.definition.options = self.definition.options.ttl(ttl);
        self
    }

    /// Only so many of the newest entries of each timeline are shown, at least 1; the space of
    /// others comes back. Deleted entries count. Default: all. Not together with given ids.
    pub fn keep_last(mut self, count: u64) -> TableBuilder<M> {
        self.definition.options = self.definition.options.keep_last(count);
        self
    }

    /// Once a retraction ([`Timeline::retract`]) is older than this, what it took back is in the
    /// file no more: the message, every copy that was fanned out from it, and what amendments had
    /// replaced it by. The entries stay in their places. At least a minute. Default: such bytes
    /// stay until their place happens to be used again. To erase a message, retract it: what
    /// expires, is trimmed or deleted has no deadline. See [`TableOptions::erase_after`] for what
    /// may delay it.
    pub fn erase_after(mut self, age: Duration) -> TableBuilder<M> {
        self.definition.options = self.definition.options.erase_after(age);
        self
    }

    /// Sequence ids are given by the caller ([`Timeline::store_at`]): strictly increasing in each
    /// timeline. Default: assigned, 1, 2, 3, …
    pub fn given_ids(mut self) -> TableBuilder<M> {
        self.definition.options.sequence = Sequence::Given;
        self
    }

    /// What is older than this, by commit time, at least 1 ms, goes to the cold tier: larger blocks
    /// that are compressed more, in the same file or in [`Options::cold_file`]. It is read as ever.
    /// Moved window by window, so up to a twentieth later. Default: everything stays hot. Backends
    /// without tiers take no notice.
    ///
    /// [`Options::cold_file`]: crate::Options::cold_file
    pub fn cold_after(mut self, age: Duration) -> TableBuilder<M> {
        self.definition.options = self.definition.options.cold_after(age);
        self
    }

    /// All goes to the cold tier at once, see [`TableBuilder::cold_after`]: for what is hardly ever
    /// read. Default: it begins hot.
    pub fn born_cold(mut self) -> TableBuilder<M> {
        self.definition.options = self.definition.options.born_cold();
        self
    }

    /// How the engine compresses the table. Default: not at all.
    pub fn compression(mut self, compression: Compression) -> TableBuilder<M> {
        self.definition.options.compression = compression;
        self
    }

    /// Creates the table. One that exists with the same options is opened (as in version 1 of the
    /// original; in version 2 that is an error).
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) when it exists with other options;
    /// [`InvalidUse`](ErrorKind::InvalidUse) for an empty name or options out of their bounds;
    /// [`TooLarge`](ErrorKind::TooLarge) for a name above 128 bytes or table 1,025;
    /// [`Unsupported`](ErrorKind::Unsupported) for zstd in a build without it.
    pub fn create(self) -> Result<Table<M>> {
        let created = self.definition.create()?;
        Ok(Table::new(self.definition.core, created))
    }

    /// Opens the table with the options it was created with; those said here do not matter.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when it does not exist;
    /// [`InvalidUse`](ErrorKind::InvalidUse) when it is no table of timelines.
    pub fn open(self) -> Result<Table<M>> {
        let found = self.definition.open()?;
        Ok(Table::new(self.definition.core, found))
    }

    /// Opens the table with whatever options it has, or creates it with those said here.
    ///
    /// # Errors
    /// As [`TableBuilder::create`], except that other options are no error.
    pub fn create_or_open(self) -> Result<Table<M>> {
        let found = self.definition.create_or_open()?;
        Ok(Table::new(self.definition.core, found))
    }

    /// Opens the table and gives it the options said here, as [`Table::alter`], or creates it with
    /// them: for options that change from one version of a program to the next.
    ///
    /// # Errors
    /// As [`TableBuilder::create`] and [`Table::alter`].
    pub fn create_or_alter(self) -> Result<Table<M>> {
        let options = self.definition.options.clone();
        self.create_or_open()?.alter(|_| options.clone())
    }
}

/// A named set of timelines with options of their own: the original's `IStore` and `TimelineStore`.
/// A cheap handle.
pub struct Table<M> {
    pub(crate) core: Arc<Core>,
    pub(crate) name: Arc<str>,
    pub(crate) description: Arc<TableDescription>,
    message: PhantomData<fn() -> M>,
}

impl<M> Clone for Table<M> {
    fn clone(&self) -> Table<M> {
        Table {
            core: Arc::clone(&self.core),
            name: Arc::clone(&self.name),
            description: Arc::clone(&self.description),
            message: PhantomData,
        }
    }
}

/// A timeline as [`Table::timelines`] lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TimelineInfo {
    /// Its id.
    pub id: TimelineId,
    /// The sequence id of its newest entry ever.
    pub latest_seq: u64,
}

impl<M: Message> Table<M> {
    fn new(core: Arc<Core>, description: TableDescription) -> Table<M> {
        let name = description.name.as_str().into();
        Table { core, name, description: Arc::new(description), message: PhantomData }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its id, which origins of entries name.
    pub fn id(&self) -> TableId {
        self.description.id
    }

    /// Its options, as they were when it was created or opened, or [altered](Table::alter), by this
    /// handle.
    pub fn options(&self) -> &TableOptions {
        &self.description.options
    }

    /// Gives the table other options, durable on return: `change` makes them of those that it has
    /// now, and may be called again where somebody else alters it at the same time. Its kind, and
    /// who gives its sequence ids, stay. All handles write and read by them at once; the one that
    /// is returned knows them.
    ///
    /// What has expired stays expired: a longer time to live is that of the entries which are alive
    /// yet. A shorter one hides at once what is older.
    ///
    /// ```
    /// use std::time::Duration;
    /// # let store = tidelog::Store::in_memory();
    /// let day = Duration::from_secs(86_400);
    /// let inbox = store.table::<String>("sync").ttl(7 * day).create()?;
    /// let inbox = inbox.alter(|options| options.ttl(14 * day).keep_last(10_000))?;
    /// assert_eq!(inbox.options().keep_last, Some(10_000));
    /// # Ok::<(), tidelog::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) once the table was dropped,
    /// [`InvalidUse`](ErrorKind::InvalidUse) for options that it cannot have, and those of the
    /// backend. Nothing has changed then.
    pub fn alter(&self, change: impl Fn(TableOptions) -> TableOptions) -> Result<Table<M>> {
        self.core.check_open()?;
        loop {
            let found = self.present()?;
            let options = change(found.options.clone());
            // No code of the caller's runs under the lock.
            let altering = self.core.altering.lock();
            if self.present()? != found {
                continue;
            }
            if options != found.options {
                self.core.backend.alter_table(found.id, &options)?;
            }
            drop(altering);
            let altered = TableDescription { options, ..found };
            return Ok(Table::new(Arc::clone(&self.core), altered));
        }
    }

    /// The table as it is now. One of its name that was created later is another one.
    fn present(&self) -> Result<TableDescription> {
        let found = self.core.backend.table(&self.name)?.filter(|found| found.id == self.id());
        found.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("not found: table {}", self.name))
        })
    }

    /// A timeline. It needs no creation: one that was never written is empty.
    ///
    /// # Errors
    /// As [`TimelineId::new`].
    pub fn timeline(&self, id: impl IntoTimelineId) -> Result<Timeline<M>> {
        Ok(Timeline::new(self.clone(), id.into_timeline_id()?))
    }

    /// Sends one message to a timeline of this table, and to inboxes in other tables, in one commit
    /// that holds the payload once.
    ///
    /// ```
    /// # let store = tidelog::Store::in_memory();
    /// let history = store.table::<String>("message").create()?;
    /// let inbox = store.table::<String>("sync").create()?;
    /// let sent = history
    ///     .fan_out(("group", 42), &"hello".to_string())?
    ///     .to(&inbox, ["alice", "bob"])?
    ///     .commit()?;
    /// assert_eq!((sent.seq, sent.inboxes.len()), (1, 2));
    /// let origin = inbox.timeline("bob")?.latest()?.and_then(|entry| entry.origin);
    /// assert_eq!(origin.expect("named").timeline.to_string(), "t:group,i:42");
    /// # Ok::<(), tidelog::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of the id and of the message's encoder.
    pub fn fan_out(&self, id: impl IntoTimelineId, message: &M) -> Result<FanOut<M>> {
        FanOut::new(self.clone(), id.into_timeline_id()?, message)
    }

    /// The timelines that begin with some fields, in the order of their ids, as of now. Timelines
    /// whose entries have all expired are listed too.
    ///
    /// # Errors
    /// Those of the backend, at once or as an item, which ends the listing. A name that is no id of
    /// this library is an item of its own ([`Decode`](ErrorKind::Decode)), and the listing goes on.
    pub fn timelines(&self, prefix: &TimelinePrefix) -> Result<Timelines> {
        self.core.check_open()?;
        Ok(Timelines {
            snapshot: self.core.backend.snapshot()?,
            table: self.id(),
            table_name: Arc::clone(&self.name),
            prefix: prefix.as_bytes().to_vec(),
            page: VecDeque::new(),
            after: None,
            ended: false,
        })
    }
}

/// Timelines listed in a page.
const TIMELINES_PAGE: usize = 256;

/// The timelines of a table: see [`Table::timelines`]. Reads page by page, from one snapshot.
pub struct Timelines {
    snapshot: Arc<dyn BackendSnapshot>,
    table: TableId,
    /// For errors.
    table_name: Arc<str>,
    prefix: Vec<u8>,
    page: VecDeque<Result<TimelineInfo>>,
    after: Option<Box<[u8]>>,
    ended: bool,
}

impl Timelines {
    fn read_page(&mut self) -> Result<()> {
        let after = self.after.as_deref();
        let found = self.snapshot.timelines(self.table, &self.prefix, after, TIMELINES_PAGE)?;
        self.ended = found.len() < TIMELINES_PAGE;
        for timeline in found {
            let id = TimelineId::from_encoded(&timeline.key).map_err(|error| {
                let (table, key) = (&self.table_name, timeline.key.escape_ascii());
                Error::decode(format!("table {table}, timeline of the bytes {key}: {error}"))
            });
            let latest_seq = timeline.latest_seq;
            self.page.push_back(id.map(|id| TimelineInfo { id, latest_seq }));
            self.after = Some(timeline.key);
        }
        Ok(())
    }
}

impl Iterator for Timelines {
    type Item = Result<TimelineInfo>;

    fn next(&mut self) -> Option<Result<TimelineInfo>> {
        if self.page.is_empty()
            && !self.ended
            && let Err(error) = self.read_page()
        {
            self.ended = true;
            return Some(Err(error));
        }
        self.page.pop_front()
    }
}
