//! [`FanOut`]: one message to a conversation and to many inboxes, in one commit with one payload
//! (write diffusion); in several commits where one does not hold them (`parts`).

mod parts;

use crate::backend::{Batch, BatchMessage, Committed, KeyedWrite, Target};
use crate::error::{Error, Result};
use crate::id::{IntoTimelineId, TimelineId};
use crate::message::{Message, encoded};
use crate::pending::Pending;
use crate::store::core::Request;
use crate::store::{MetaTable, Table};
use crate::timeline::first_seq;
use std::collections::HashSet;
use std::time::Duration;
use tidelog_engine::{Durability, Payload, Precondition, TableId};

pub use parts::{Delivery, SentInParts};

/// One message to a conversation and to many inboxes; see [`Table::fan_out`].
///
/// The conversation's entry is the *origin* of all others, and they name it. All are written, under
/// one commit number, or none.
#[must_use = "nothing is written before commit"]
pub struct FanOut<M> {
    table: Table<M>,
    conversation: TimelineId,
    payload: Payload,
    inboxes: Vec<(TableId, TimelineId)>,
    seen: HashSet<(TableId, TimelineId)>,
    event_time: Option<i64>,
    ttl: Option<Duration>,
    durability: Durability,
    latest: Option<u64>,
    keyed: Vec<KeyedWrite>,
}

/// What a fan-out wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sent {
    /// The sequence id in the conversation.
    pub seq: u64,
    /// The commit's number, of all entries.
    pub commit: u64,
    /// The commit's time, in milliseconds since 1970 (UTC), of all entries.
    pub time: u64,
    /// The inboxes, each once, in the order in which they were named.
    pub inboxes: Vec<Delivered>,
}

/// One inbox entry of a fan-out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivered {
    /// The inbox's table.
    pub table: TableId,
    /// The inbox.
    pub timeline: TimelineId,
    /// The sequence id there.
    pub seq: u64,
}

impl<M: Message> FanOut<M> {
    pub(crate) fn new(table: Table<M>, conversation: TimelineId, message: &M) -> Result<FanOut<M>> {
        let payload = Payload::from_vec(encoded(message)?);
        let seen = HashSet::from([(table.id(), conversation.clone())]);
        let durability = table.core.durability;
        Ok(FanOut {
            table,
            conversation,
            payload,
            inboxes: Vec::new(),
            seen,
            event_time: None,
            ttl: None,
            durability,
            latest: None,
            keyed: Vec::new(),
        })
    }

    /// Adds inboxes of a table of the same store. Each gets the message once, however often it is
    /// named.
    ///
    /// # Errors
    /// Those of the ids; [`InvalidUse`](crate::ErrorKind::InvalidUse) for a table of another store.
    pub fn to<I>(mut self, table: &Table<M>, ids: I) -> Result<FanOut<M>>
    where
        I: IntoIterator,
        I::Item: IntoTimelineId,
    {
        if !std::sync::Arc::ptr_eq(&self.table.core, &table.core) {
            return Err(Error::invalid(format!("table {} is of another store", table.name())));
        }
        for id in ids {
            let inbox = (table.id(), id.into_timeline_id()?);
            if self.seen.insert(inbox.clone()) {
                self.inboxes.push(inbox);
            }
        }
        Ok(self)
    }

    /// When it happened, in milliseconds since 1970 (UTC).
    pub fn event_time(mut self, milliseconds: i64) -> FanOut<M> {
        self.event_time = Some(milliseconds);
        self
    }

    /// A time to live of the entries' own, the conversation's and those in the inboxes; see
    /// [`Append::ttl`](crate::Append::ttl).
    pub fn ttl(mut self, ttl: Duration) -> FanOut<M> {
        self.ttl = Some(ttl);
        self
    }

    /// What survives. Default: the store's.
    pub fn durability(mut self, durability: Durability) -> FanOut<M> {
        self.durability = durability;
        self
    }

    /// Writes only if this is still the conversation's newest sequence id (0: never written).
    pub fn expect_latest(mut self, seq: u64) -> FanOut<M> {
        self.latest = Some(seq);
        self
    }

    /// Sets a value of a table of the same store, in the same commit: both are written, or none.
    ///
    /// # Errors
    /// Those of the id and of the encoder; [`InvalidUse`](crate::ErrorKind::InvalidUse) for a table
    /// of another store.
    pub fn put<V: Message>(
        mut self,
        meta: &MetaTable<V>,
        id: impl IntoTimelineId,
        value: &V,
    ) -> Result<FanOut<M>> {
        self.keyed.push(meta.write_in(&self.table.core, id, value)?);
        Ok(self)
    }

    /// Writes the conversation's entry and all inbox entries, in one commit.
    ///
    /// # Errors
    /// As [`Timeline::store`](crate::Timeline::store). [`TooLarge`](crate::ErrorKind::TooLarge)
    /// for a payload above 16 MiB, and when the payload (28 bytes in place of one of 256 KiB or
    /// more), values, and 14 bytes and the id for each inbox are above the engine's limit for a
    /// batch (16 MiB, or a quarter of its ring): nothing was written, and nothing is ever split
    /// silently. [`FanOut::commit_in_parts`] has no such limit.
    pub fn commit(self) -> Result<Sent> {
        let request = self.request()?;
        let committed = self.table.core.commit(request)?;
        Ok(sent(&committed, self.inboxes))
    }

    /// As [`FanOut::commit`], without waiting; see
    /// [`Timeline::store_async`](crate::Timeline::store_async).
    ///
    /// # Errors
    /// As [`FanOut::commit`], by the future.
    #[must_use = "the answer, and its error, is lost with the future"]
    pub fn commit_async(self) -> Pending<Sent> {
        match self.request() {
            Err(error) => Pending::ready(Err(error)),
            Ok(request) => {
                let future = self.table.core.commit_async(request);
                Pending::commit(future, move |committed| sent(&committed, self.inboxes))
            }
        }
    }

    fn request(&self) -> Result<Request> {
        let conversation = (self.table.id(), self.conversation.clone());
        let targets = std::iter::once(&conversation).chain(&self.inboxes);
        let targets = targets
            .map(|(table, id)| Target { table: *table, key: id.as_bytes().into(), seq: None })
            .collect();
        let mut batch = Batch::of(BatchMessage {
            payload: self.payload.clone(),
            event_ms: self.event_time,
            ttl: self.ttl,
            origin: None,
            first_is_origin: !self.inboxes.is_empty(),
            targets,
        });
        batch.keyed = self.keyed.clone();
        if let Some(latest) = self.latest {
            let Some(seq) = latest.checked_add(1) else {
                return Err(Error::invalid(format!("no sequence id lies behind {latest}")));
            };
            let (table, key) = (self.table.id(), self.conversation.as_bytes().into());
            batch.preconditions.push(Precondition::NextSeq { table, key, seq });
        }
        let limit = self.table.core.backend.batch_bytes_max();
        let bytes = batch.frame_bytes();
        if bytes > limit {
            let what = format!("fan-out to {} inboxes, in bytes", self.inboxes.len());
            return Err(Error::too_large(&what, bytes, limit));
        }
        Ok(Request {
            batch,
            durability: self.durability,
            table: self.table.name.clone(),
            timeline: self.conversation.clone(),
        })
    }
}

fn sent(committed: &Committed, inboxes: Vec<(TableId, TimelineId)>) -> Sent {
    let seqs = committed.seqs.iter().skip(1);
    let inboxes = inboxes.into_iter().zip(seqs);
    Sent {
        seq: first_seq(committed),
        commit: committed.commit,
        time: committed.time_ms,
        inboxes: inboxes
            .map(|((table, timeline), seq)| Delivered { table, timeline, seq: *seq })
            .collect(),
    }
}
