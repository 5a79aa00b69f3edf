//! [`Append`]: one write with its options.

use super::{Timeline, TimelineEntry};
use crate::backend::{Batch, Committed, KeyedWrite, Target};
use crate::error::{Error, Result};
use crate::id::IntoTimelineId;
use crate::message::{Message, encoded};
use crate::pending::Pending;
use crate::store::MetaTable;
use crate::store::core::Request;
use std::time::Duration;
use tidelog_engine::{Durability, Payload, Precondition, Sequence};

/// One write with its options; see [`Timeline::write`].
#[must_use = "nothing is written before store, store_async, store_with_callback or batch"]
pub struct Append<'a, M> {
    timeline: &'a Timeline<M>,
    message: &'a M,
    event_time: Option<i64>,
    ttl: Option<Duration>,
    durability: Durability,
    latest: Option<u64>,
    seq: Option<u64>,
    keyed: Vec<KeyedWrite>,
}

impl<'a, M: Message> Append<'a, M> {
    pub(super) fn new(timeline: &'a Timeline<M>, message: &'a M) -> Append<'a, M> {
        let durability = timeline.table.core.durability;
        let (event_time, ttl, latest, seq) = (None, None, None, None);
        let keyed = Vec::new();
        Append { timeline, message, event_time, ttl, durability, latest, seq, keyed }
    }

    /// When it happened, in milliseconds since 1970 (UTC). Default: not said.
    pub fn event_time(mut self, milliseconds: i64) -> Append<'a, M> {
        self.event_time = Some(milliseconds);
        self
    }

    /// A time to live of its own, in whole milliseconds, from 1 on. It only shortens: the message
    /// is shown until the earliest of what its table, its timeline and it itself keep; see
    /// [`AppendOptions::ttl`](tidelog_engine::AppendOptions::ttl).
    pub fn ttl(mut self, ttl: Duration) -> Append<'a, M> {
        self.ttl = Some(ttl);
        self
    }

    /// What survives. Default: the store's. Writes that the batch buffer commits together get the
    /// strongest durability among them.
    pub fn durability(mut self, durability: Durability) -> Append<'a, M> {
        self.durability = durability;
        self
    }

    /// Writes only if this is still the newest sequence id (0: the timeline was never written); it
    /// is a [`Conflict`](crate::ErrorKind::Conflict) otherwise.
    pub fn expect_latest(mut self, seq: u64) -> Append<'a, M> {
        self.latest = Some(seq);
        self
    }

    /// The sequence id, on tables of given ids.
    pub fn at(mut self, seq: u64) -> Append<'a, M> {
        self.seq = Some(seq);
        self
    }

    /// Sets a value of a table of the same store, in the same commit: both are written, or none.
    ///
    /// ```
    /// # let store = tidelog::Store::in_memory();
    /// # let room = store.table::<String>("message").create()?.timeline("room")?;
    /// let last = store.meta::<String>("last").create()?;
    /// let hello = "hello".to_string();
    /// room.write(&hello).put(&last, "room", &hello)?.store()?;
    /// assert_eq!(last.get("room")?, Some(hello));
    /// # Ok::<(), tidelog::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of the id and of the encoder; [`InvalidUse`](crate::ErrorKind::InvalidUse) for a table
    /// of another store.
    pub fn put<V: Message>(
        mut self,
        meta: &MetaTable<V>,
        id: impl IntoTimelineId,
        value: &V,
    ) -> Result<Append<'a, M>> {
        self.keyed.push(meta.write_in(&self.timeline.table.core, id, value)?);
        Ok(self)
    }

    /// Writes; see [`Timeline::store`].
    ///
    /// # Errors
    /// As [`Timeline::store`].
    pub fn store(self) -> Result<TimelineEntry<M>> {
        let committed = self.timeline.table.core.commit(self.request()?)?;
        Ok(self.finish()(&committed))
    }

    /// Writes without waiting; see [`Timeline::store_async`].
    ///
    /// # Errors
    /// As [`Timeline::store`], by the future.
    #[must_use = "the answer, and its error, is lost with the future"]
    pub fn store_async(self) -> Pending<TimelineEntry<M>> {
        match self.request() {
            Err(error) => Pending::ready(Err(error)),
            Ok(request) => {
                let finish = self.finish();
                let future = self.timeline.table.core.commit_async(request);
                Pending::commit(future, move |committed| finish(&committed))
            }
        }
    }

    /// Writes and calls back; see [`Timeline::store_with_callback`].
    ///
    /// # Errors
    /// As [`Timeline::store_with_callback`].
    pub fn store_with_callback(
        self,
        callback: impl FnOnce(Result<TimelineEntry<M>>) + Send + 'static,
    ) -> Result<()> {
        let finish = self.finish();
        let deliver = move |result: Result<Committed>| callback(result.map(|c| finish(&c)));
        self.timeline.table.core.commit_with_callback(self.request()?, Box::new(deliver))
    }

    /// Leaves it in the batch buffer; see [`Timeline::batch`].
    ///
    /// # Errors
    /// As [`Timeline::batch`].
    pub fn batch(self) -> Result<Pending<TimelineEntry<M>>> {
        let finish = self.finish();
        let (promise, pending) = Pending::promised();
        let answer = move |result: Result<Committed>| promise.answer(result.map(|c| finish(&c)));
        self.timeline.table.core.buffer(self.request()?, answer, None)?;
        Ok(pending)
    }

    /// As [`Append::batch`], with a callback; see [`Timeline::batch_with_callback`].
    ///
    /// # Errors
    /// As [`Timeline::batch`].
    pub fn batch_with_callback(
        self,
        callback: impl FnOnce(Result<TimelineEntry<M>>) + Send + 'static,
    ) -> Result<Pending<TimelineEntry<M>>> {
        let (finish, again) = (self.finish(), self.finish());
        let (promise, pending) = Pending::promised();
        let answer = move |result: Result<Committed>| promise.answer(result.map(|c| finish(&c)));
        let deliver = move |result: Result<Committed>| callback(result.map(|c| again(&c)));
        self.timeline.table.core.buffer(self.request()?, answer, Some(Box::new(deliver)))?;
        Ok(pending)
    }

    fn request(&self) -> Result<Request> {
        let table = &self.timeline.table;
        match (table.options().sequence, self.seq) {
            (Sequence::Assigned, Some(_)) => {
                let what = format!("table {} assigns its sequence ids: use store", table.name());
                return Err(Error::invalid(what));
            }
            (Sequence::Given, None) => {
                let what = format!("table {} takes given ids: use store_at", table.name());
                return Err(Error::invalid(what));
            }
            (Sequence::Given, Some(0)) => return Err(Error::invalid("sequence id 0")),
            _ => {}
        }
        let key: Box<[u8]> = self.timeline.id.as_bytes().into();
        let target = Target { table: table.id(), key: key.clone(), seq: self.seq };
        let payload = Payload::from_vec(encoded(self.message)?);
        let mut batch = Batch::append(target, payload, self.event_time);
        batch.messages.iter_mut().for_each(|message| message.ttl = self.ttl);
        batch.keyed = self.keyed.clone();
        if let Some(latest) = self.latest {
            let Some(seq) = latest.checked_add(1) else {
                return Err(Error::invalid(format!("no sequence id lies behind {latest}")));
            };
            batch.preconditions.push(Precondition::NextSeq { table: table.id(), key, seq });
        }
        Ok(Request {
            batch,
            durability: self.durability,
            table: table.name.clone(),
            timeline: self.timeline.id.clone(),
        })
    }

    fn finish(&self) -> impl FnOnce(&Committed) -> TimelineEntry<M> + Send + use<M> {
        let (event_time, ttl, message) = (self.event_time, self.ttl, self.message.clone());
        // As it is read: in whole milliseconds.
        let millis = |ttl: Duration| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let ttl = ttl.map(|ttl| Duration::from_millis(millis(ttl)));
        move |committed| TimelineEntry::stored(committed, event_time, ttl, message)
    }
}
