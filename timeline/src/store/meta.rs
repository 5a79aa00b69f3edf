//! [`MetaTable`]: one value for each identifier: what a conversation, a group or a user is.
//!
//! It is the original's `TimelineMetaStore`. A value is replaced as a whole, by a write of its own
//! or in the commit of a message; who changes a part of it reads it, and writes on condition that
//! it is still the same.

use super::core::{Core, Request};
use super::definition::Definition;
use crate::backend::{BackendSnapshot, Batch, KeyValue, KeyedWrite, TableDescription};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{IntoTimelineId, TimelineId, TimelinePrefix};
use crate::message::{Message, encoded};
use crate::pending::Pending;
use crate::store::Snapshot;
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;
use tidelog_engine::{KeyedOperation, Payload, Precondition, TableId, TableOptions};

/// Times that [`MetaTable::update`] tries.
const UPDATE_TRIES: usize = 1000;
/// Values read in a page of a listing.
const PAGE_VALUES: usize = 64;

/// A table of values to be created or opened; see [`Store::meta`](crate::Store::meta).
#[must_use = "nothing happens before create or open"]
pub struct MetaBuilder<M> {
    definition: Definition,
    message: PhantomData<fn() -> M>,
}

impl<M: Message> MetaBuilder<M> {
    pub(super) fn new(core: Arc<Core>, name: String) -> MetaBuilder<M> {
        let definition = Definition { core, name, options: TableOptions::keyed() };
        MetaBuilder { definition, message: PhantomData }
    }

    /// A value that was written longer ago than this, by commit time, is gone. At least 1 ms.
    /// Default: kept for ever.
    pub fn ttl(mut self, ttl: Duration) -> MetaBuilder<M> {
        self.definition.options = self.definition.options.ttl(ttl);
        self
    }

    /// Creates the table. One that exists with the same options is opened.
    ///
    /// # Errors
    /// As [`TableBuilder::create`](crate::TableBuilder::create).
    pub fn create(self) -> Result<MetaTable<M>> {
        let created = self.definition.create()?;
        Ok(MetaTable::new(self.definition.core, created))
    }

    /// Opens the table with the options it has; those said here do not matter.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when it does not exist;
    /// [`InvalidUse`](ErrorKind::InvalidUse) when it is a table of timelines.
    pub fn open(self) -> Result<MetaTable<M>> {
        let found = self.definition.open()?;
        Ok(MetaTable::new(self.definition.core, found))
    }

    /// Opens the table with whatever options it has, or creates it with those said here.
    ///
    /// # Errors
    /// As [`MetaBuilder::create`], except that other options are no error.
    pub fn create_or_open(self) -> Result<MetaTable<M>> {
        let found = self.definition.create_or_open()?;
        Ok(MetaTable::new(self.definition.core, found))
    }
}

/// One value for each identifier, of up to 16 MiB; see [`Store::meta`](crate::Store::meta). A cheap
/// handle, for any thread.
///
/// ```
/// # let store = tidelog::Store::in_memory();
/// use tidelog::Row;
/// let groups = store.meta::<Row>("group").create()?;
/// groups.put(42, &Row::new().with("name", "sailing"))?;
/// groups.update(42, |group| Some(group.unwrap_or_default().with("members", 3)))?;
/// let group = groups.get(42)?.expect("it was written");
/// assert_eq!((group.text("name"), group.integer("members")), (Some("sailing"), Some(3)));
///
/// let history = store.table::<String>("message").create()?;
/// let hello = history.fan_out(("group", 42), &"hello".to_string())?;
/// hello.put(&groups, 42, &group.with("last", "hello"))?.commit()?; // both, or none
/// # Ok::<(), tidelog::Error>(())
/// ```
pub struct MetaTable<M> {
    core: Arc<Core>,
    name: Arc<str>,
    id: TableId,
    message: PhantomData<fn() -> M>,
}

impl<M> Clone for MetaTable<M> {
    fn clone(&self) -> MetaTable<M> {
        let (core, name) = (Arc::clone(&self.core), Arc::clone(&self.name));
        MetaTable { core, name, id: self.id, message: PhantomData }
    }
}

impl<M> std::fmt::Debug for MetaTable<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MetaTable({})", self.name)
    }
}

impl<M: Message> MetaTable<M> {
    fn new(core: Arc<Core>, description: TableDescription) -> MetaTable<M> {
        let name = description.name.as_str().into();
        MetaTable { core, name, id: description.id, message: PhantomData }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value of an identifier; `None` where there is none.
    ///
    /// # Errors
    /// Those of the id, [`Decode`](ErrorKind::Decode) when it is no `M`, and those of the backend.
    pub fn get(&self, id: impl IntoTimelineId) -> Result<Option<M>> {
        let (id, snapshot) = self.now(id)?;
        self.read(&snapshot, &id)
    }

    /// As [`MetaTable::get`], at one moment of the store.
    ///
    /// # Errors
    /// As [`MetaTable::get`]; [`InvalidUse`](ErrorKind::InvalidUse) for a snapshot of another
    /// store.
    pub fn get_at(&self, snapshot: &Snapshot, id: impl IntoTimelineId) -> Result<Option<M>> {
        if snapshot.store != self.core.number {
            let text = format!("table {}: the snapshot is of another store", self.name);
            return Err(Error::invalid(text));
        }
        self.read(snapshot, &id.into_timeline_id()?)
    }

    /// The values of several identifiers, in their order, of one moment.
    ///
    /// # Errors
    /// As [`MetaTable::get`].
    pub fn get_many<I>(&self, ids: I) -> Result<Vec<Option<M>>>
    where
        I: IntoIterator,
        I::Item: IntoTimelineId,
    {
        self.core.check_open()?;
        let snapshot = self.core.snapshot()?;
        ids.into_iter().map(|id| self.read(&snapshot, &id.into_timeline_id()?)).collect()
    }

    /// As [`MetaTable::get`].
    ///
    /// # Errors
    /// As [`MetaTable::get`], by the future.
    #[must_use = "the answer is lost with the future"]
    pub fn get_async(&self, id: impl IntoTimelineId) -> Pending<Option<M>> {
        match self.now(id) {
            Err(error) => Pending::ready(Err(error)),
            Ok((id, snapshot)) => {
                // A job on the store's threads must not hold the store.
                let (table, name) = (self.id, Arc::clone(&self.name));
                self.core.read_async(move || {
                    let found = snapshot.inner.value(table, id.as_bytes())?;
                    found.map(|payload| decode(&name, &id, payload)).transpose()
                })
            }
        }
    }

    /// The identifiers that begin with some fields, and their values, in the order of the
    /// identifiers, as of now. At most 64 values are in memory at a time, of up to 16 MiB each:
    /// list large ones by narrow prefixes.
    ///
    /// # Errors
    /// Those of the backend, at once or as an item, which ends the listing. A value that does not
    /// decode is an item of its own, and the listing goes on.
    pub fn list(&self, prefix: &TimelinePrefix) -> Result<MetaEntries<M>> {
        self.core.check_open()?;
        let prefix = prefix.as_bytes();
        let from = match prefix.is_empty() {
            true => Bound::Unbounded,
            false => Bound::Included(prefix.to_vec()),
        };
        Ok(MetaEntries {
            snapshot: self.core.snapshot()?.inner,
            table: self.id,
            name: Arc::clone(&self.name),
            from: Some(from),
            end: end_of(prefix),
            page: VecDeque::new(),
            message: PhantomData,
        })
    }

    /// Sets the value of an identifier, whatever it was. Writes of one thread take effect in the
    /// order of the calls, also behind messages in the batch buffer that set the same value.
    ///
    /// # Errors
    /// Those of the id and of the encoder, and those of [`Timeline::store`](crate::Timeline::store)
    /// for the backend.
    pub fn put(&self, id: impl IntoTimelineId, value: &M) -> Result<()> {
        let request = self.request(&id.into_timeline_id()?, Some(value))?;
        self.core.commit(request).map(drop)
    }

    /// As [`MetaTable::put`], without waiting; the write goes on where the future is dropped.
    ///
    /// # Errors
    /// As [`MetaTable::put`], by the future.
    #[must_use = "the answer, and its error, is lost with the future"]
    pub fn put_async(&self, id: impl IntoTimelineId, value: &M) -> Pending<()> {
        self.write_async(id, Some(value))
    }

    /// Takes the value of an identifier away, if there is one. Its timelines stay.
    ///
    /// # Errors
    /// As [`MetaTable::put`].
    pub fn delete(&self, id: impl IntoTimelineId) -> Result<()> {
        let request = self.request(&id.into_timeline_id()?, None)?;
        self.core.commit(request).map(drop)
    }

    /// As [`MetaTable::delete`], without waiting.
    ///
    /// # Errors
    /// As [`MetaTable::put`], by the future.
    #[must_use = "the answer, and its error, is lost with the future"]
    pub fn delete_async(&self, id: impl IntoTimelineId) -> Pending<()> {
        self.write_async(id, None)
    }

    /// Sets a value, or takes it away with `None`, if it is still what is expected: `None` where
    /// there must be none. Values are compared by their bytes.
    ///
    /// # Errors
    /// As [`MetaTable::put`]; [`Conflict`](ErrorKind::Conflict) where it is another one.
    pub fn replace(
        &self,
        id: impl IntoTimelineId,
        expected: Option<&M>,
        value: Option<&M>,
    ) -> Result<()> {
        let expected = expected.map(encoded).transpose()?;
        self.replace_bytes(&id.into_timeline_id()?, expected, value)
    }

    /// Makes another value of the one that there is, and writes it if nobody was faster; otherwise
    /// reads it again, and so on, so `change` may be called several times. `None` stands for no
    /// value, before and behind it. Answers with what was written.
    ///
    /// # Errors
    /// As [`MetaTable::get`] and [`MetaTable::put`]; [`Conflict`](ErrorKind::Conflict) where
    /// somebody was faster a thousand times.
    pub fn update(
        &self,
        id: impl IntoTimelineId,
        change: impl Fn(Option<M>) -> Option<M>,
    ) -> Result<Option<M>> {
        let id = id.into_timeline_id()?;
        let mut tries = 1;
        loop {
            self.core.check_open()?;
            let found = self.core.snapshot()?.inner.value(self.id, id.as_bytes())?;
            let before = found.as_deref().map(<[u8]>::to_vec);
            let value = found.map(|payload| decode(&self.name, &id, payload)).transpose()?;
            let value = change(value);
            match self.replace_bytes(&id, before, value.as_ref()) {
                Err(error) if error.kind() == ErrorKind::Conflict && tries < UPDATE_TRIES => {
                    tries += 1;
                }
                result => return result.map(|()| value),
            }
        }
    }

    /// The write of a value in a commit of the same store.
    pub(crate) fn write_in(
        &self,
        core: &Arc<Core>,
        id: impl IntoTimelineId,
        value: &M,
    ) -> Result<KeyedWrite> {
        if !self.is_of(core) {
            return Err(Error::invalid(format!("table {} is of another store", self.name)));
        }
        self.write(&id.into_timeline_id()?, Some(value))
    }

    /// Whether it is of the store with this core.
    pub(crate) fn is_of(&self, core: &Arc<Core>) -> bool {
        Arc::ptr_eq(&self.core, core)
    }

    /// The condition that a value is this one; `None` where there must be none.
    pub(crate) fn require(&self, id: &TimelineId, value: Option<&M>) -> Result<Precondition> {
        Ok(self.require_bytes(id, value.map(encoded).transpose()?))
    }

    fn require_bytes(&self, id: &TimelineId, value: Option<Vec<u8>>) -> Precondition {
        Precondition::Value { table: self.id, key: id.as_bytes().into(), value }
    }

    /// The write that sets a value, or takes it away.
    pub(crate) fn write(&self, id: &TimelineId, value: Option<&M>) -> Result<KeyedWrite> {
        let (operation, value) = match value {
            Some(value) => (KeyedOperation::Put, encoded(value)?),
            None => (KeyedOperation::Delete, Vec::new()),
        };
        Ok(KeyedWrite { operation, table: self.id, key: id.as_bytes().into(), value })
    }

    fn request(&self, id: &TimelineId, value: Option<&M>) -> Result<Request> {
        let keyed = vec![self.write(id, value)?];
        Ok(Request {
            batch: Batch { keyed, ..Batch::default() },
            durability: self.core.durability,
            table: Arc::clone(&self.name),
            timeline: id.clone(),
        })
    }

    fn write_async(&self, id: impl IntoTimelineId, value: Option<&M>) -> Pending<()> {
        match id.into_timeline_id().and_then(|id| self.request(&id, value)) {
            Err(error) => Pending::ready(Err(error)),
            Ok(request) => Pending::commit(self.core.commit_async(request), drop),
        }
    }

    fn replace_bytes(
        &self,
        id: &TimelineId,
        expected: Option<Vec<u8>>,
        value: Option<&M>,
    ) -> Result<()> {
        let mut request = self.request(id, value)?;
        request.batch.preconditions.push(self.require_bytes(id, expected));
        self.core.commit(request).map(drop)
    }

    fn now(&self, id: impl IntoTimelineId) -> Result<(TimelineId, Snapshot)> {
        self.core.check_open()?;
        Ok((id.into_timeline_id()?, self.core.snapshot()?))
    }

    fn read(&self, snapshot: &Snapshot, id: &TimelineId) -> Result<Option<M>> {
        let found = snapshot.inner.value(self.id, id.as_bytes())?;
        found.map(|payload| decode(&self.name, id, payload)).transpose()
    }
}

/// The value with this payload; an error says whose it is.
fn decode<M: Message>(table: &str, id: &TimelineId, payload: Payload) -> Result<M> {
    M::from_payload(payload).map_err(|error| {
        let text = format!("table {table}, the value of {id}: {error}");
        Error::with_source(error.kind(), text, error)
    })
}

/// The first bytes behind all that begin with a prefix, if any are.
fn end_of(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// Identifiers and their values: see [`MetaTable::list`]. Reads page by page, from one snapshot.
pub struct MetaEntries<M> {
    snapshot: Arc<dyn BackendSnapshot>,
    table: TableId,
    name: Arc<str>,
    /// Where the next page begins, none behind the last.
    from: Option<Bound<Vec<u8>>>,
    /// The first key that is listed no more.
    end: Option<Vec<u8>>,
    page: VecDeque<KeyValue>,
    message: PhantomData<fn() -> M>,
}

impl<M: Message> MetaEntries<M> {
    fn read_page(&mut self) -> Result<()> {
        let Some(from) = self.from.take() else {
            return Ok(());
        };
        let from = from.as_ref().map(Vec::as_slice);
        let to = self.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let found = self.snapshot.values(self.table, from, to, PAGE_VALUES)?;
        if found.len() == PAGE_VALUES {
            self.from = found.last().map(|(key, _)| Bound::Excluded(key.to_vec()));
        }
        self.page = found.into();
        Ok(())
    }

    fn decode(&self, key: &[u8], payload: Payload) -> Result<(TimelineId, M)> {
        let id = TimelineId::from_encoded(key).map_err(|error| {
            let (table, key) = (&self.name, key.escape_ascii());
            Error::decode(format!("table {table}, id of the bytes {key}: {error}"))
        })?;
        let value = decode(&self.name, &id, payload)?;
        Ok((id, value))
    }
}

impl<M: Message> Iterator for MetaEntries<M> {
    type Item = Result<(TimelineId, M)>;

    fn next(&mut self) -> Option<Result<(TimelineId, M)>> {
        if self.page.is_empty()
            && let Err(error) = self.read_page()
        {
            return Some(Err(error));
        }
        let (key, payload) = self.page.pop_front()?;
        Some(self.decode(&key, payload))
    }
}
