//! [`Delivery`]: a fan-out in parts, to more inboxes than one commit holds.
//!
//! ```text
//! record of the delivery                  commit
//!   none               ─────────────►     the conversation's entry, the first inboxes, the record
//!   so many delivered  ─────────────►     the next inboxes, the record; and so on
//!   all delivered, or retracted           none: who asks again is told what was
//! ```
//! The record is a value by an id of the caller's. Whoever comes with the same id, message and
//! inboxes goes on where the record says, in this process or in the next one.
//!
//! # Invariants
//! 1. Each commit requires the record as it was read, and writes the one that comes behind it: so
//!    each inbox gets the message once, whatever fails, and whoever else does the same.
//! 2. The first commit requires that `after` is the newest sequence id of the conversation: so the
//!    entry is the one behind it, but for ids that a power loss took. (Where these and the entry
//!    were trimmed together before the record says its seq, one of them is taken for it.)
//! 3. A part is committed with the message as it was when the record was read, or later. An
//!    amendment by the record changes that: so it comes before a part, which is looked at again
//!    then, or behind it, and counts for its inboxes.

use super::FanOut;
use crate::backend::{Batch, BatchMessage, Direction, ScanRequest, Target, target_bytes};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{IntoTimelineId, TimelineId};
use crate::message::{Message, Row};
use crate::store::core::{Core, Request};
use crate::store::{MetaTable, Table};
use crate::timeline::{Origin, amend_request};
use std::sync::Arc;
use tidelog_engine::{GapReason, Item, Payload, Precondition, TableId};

/// Bytes of a part, where the limit of a batch is not lower: others' commits come between two.
const PART_BYTES: usize = 1 << 20;
/// A part has at least so many times the bytes of its payload, which is written once for each.
const PART_PAYLOADS: usize = 4;
/// How often in a row somebody else may have been faster.
const CONFLICTS_MAX: usize = 1000;

/// How far a fan-out in parts has come; see [`FanOut::commit_in_parts`]. The values of a
/// [`MetaTable`], by the id of the delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivery {
    /// Inboxes that have the message: the first so many of those that were named, each once.
    pub delivered: u64,
    /// Inboxes that were named.
    pub inboxes: u64,
    /// It was taken back: no other inbox gets it.
    pub retracted: bool,
    /// Of the conversation.
    table: TableId,
    conversation: TimelineId,
    /// The newest sequence id of the conversation before its entry.
    after: u64,
    /// The sequence id of the entry; 0 where the record does not say it yet.
    seq: u64,
    /// Of message and inboxes.
    digest: u64,
    /// Amendments by the record.
    changes: u64,
}

/// What a fan-out in parts has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SentInParts {
    /// The sequence id in the conversation.
    pub seq: u64,
    /// Inboxes that have the message.
    pub delivered: u64,
    /// It was taken back meanwhile: inboxes behind these do not get it.
    pub retracted: bool,
}

impl Delivery {
    /// Whether nothing is left to be delivered.
    pub fn is_complete(&self) -> bool {
        self.retracted || self.delivered >= self.inboxes
    }

    /// The sequence id of the conversation's entry.
    fn place(&self, core: &Core) -> Result<u64> {
        if self.seq != 0 {
            return Ok(self.seq);
        }
        let snapshot = core.snapshot()?;
        let key = self.conversation.as_bytes();
        let mut from = self.after.saturating_add(1);
        loop {
            let direction = Direction::Forward;
            let request = ScanRequest { from, to: u64::MAX, direction, limit: 1, byte_limit: 1 };
            let page = snapshot.inner.scan_items(self.table, key, &request)?;
            match page.items.first() {
                Some(Item::Entry(entry)) => return Ok(entry.seq),
                Some(Item::Gap(gap)) if gap.reason != GapReason::Lost => return Ok(gap.from),
                Some(Item::Gap(gap)) => from = gap.to.saturating_add(1),
                None => {
                    let text = format!("not found: entry of {} that was sent", self.conversation);
                    return Err(Error::new(ErrorKind::NotFound, text));
                }
            }
        }
    }
}

impl Message for Delivery {
    fn encode(&self, out: &mut Vec<u8>) -> Result<()> {
        let row = Row::new()
            .with("delivered", self.delivered.cast_signed())
            .with("inboxes", self.inboxes.cast_signed())
            .with("retracted", self.retracted)
            .with("table", self.table.0)
            .with("conversation", self.conversation.as_bytes())
            .with("after", self.after.cast_signed())
            .with("seq", self.seq.cast_signed())
            .with("digest", self.digest.cast_signed())
            .with("changes", self.changes.cast_signed());
        row.encode(out)
    }

    fn decode(bytes: &[u8]) -> Result<Delivery> {
        let row = Row::decode(bytes)?;
        let number = |name: &str| {
            let number = row.integer(name).map(i64::cast_unsigned);
            number.ok_or_else(|| Error::decode(format!("a delivery without {name}")))
        };
        let table = u32::try_from(number("table")?);
        Ok(Delivery {
            delivered: number("delivered")?,
            inboxes: number("inboxes")?,
            retracted: row.boolean("retracted").unwrap_or_default(),
            table: TableId(table.map_err(|_| Error::decode("a delivery of no table"))?),
            conversation: TimelineId::from_encoded(row.bytes("conversation").unwrap_or_default())?,
            after: number("after")?,
            seq: number("seq")?,
            digest: number("digest")?,
            changes: number("changes")?,
        })
    }
}

impl<M: Message> FanOut<M> {
    /// As [`FanOut::commit`], to any number of inboxes: in as many commits as it takes, of a
    /// mebibyte or so, between which others commit. The conversation's entry is in the first one,
    /// so inboxes get it one part after the other, in the order in which they were named.
    ///
    /// How far it is says the [`Delivery`] of this `id`, which is written with each part. Whoever
    /// repeats the call with the same id, message and inboxes goes on where it ended, after an
    /// error or a crash, or beside another one that does the same: each inbox gets the message
    /// once. Repeated behind the end it writes nothing and answers the same, as long as the record
    /// is kept: it should outlive every repetition.
    ///
    /// While it goes on, edit and recall by [`MetaTable::amend_delivery`] and
    /// [`MetaTable::retract_delivery`], which reach every inbox. [`Timeline::amend`] and
    /// [`Timeline::retract`] reach the inboxes that have the message, and most of the others: each
    /// part is committed with the message as it is just before; one that is amended in this moment
    /// goes to the inboxes of the part as it was. An entry that is trimmed, deleted or expired
    /// meanwhile is delivered as it was written, whatever these two did to it just before; where
    /// the record knows of a change, the delivery ends with [`NotFound`](ErrorKind::NotFound).
    ///
    /// Inboxes are to be named in the same order, and the message must encode to the same bytes.
    /// Values ([`FanOut::put`]) and [`FanOut::expect_latest`] are of the first commit; the event
    /// time and the time to live of a part are those of the call that writes it, and a time to live
    /// begins with each part.
    ///
    /// [`Timeline::amend`]: crate::Timeline::amend
    /// [`Timeline::retract`]: crate::Timeline::retract
    ///
    /// ```
    /// # let store = tidelog::Store::in_memory();
    /// use tidelog::Delivery;
    /// let posts = store.table::<String>("post").create()?;
    /// let homes = store.table::<String>("home").create()?;
    /// let deliveries = store.meta::<Delivery>("delivery").create()?;
    /// let hello = "hello".to_string();
    /// let post = || posts.fan_out("star", &hello)?.to(&homes, (0..100_000).map(|id| ("fan", id)));
    /// let sent = post()?.commit_in_parts(&deliveries, "post-17")?;
    /// assert_eq!((sent.seq, sent.delivered), (1, 100_000));
    /// assert_eq!(post()?.commit_in_parts(&deliveries, "post-17")?, sent);
    /// # Ok::<(), tidelog::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`FanOut::commit`], but for the number of inboxes; what was delivered before an error
    /// stays, and a repetition goes on. [`Conflict`](ErrorKind::Conflict) where the id is that of
    /// another message, or of other inboxes, and where others write faster to the conversation a
    /// thousand times in a row: messages to it in the batch buffer count as such others.
    /// [`NotFound`](ErrorKind::NotFound), for good, where the entry was amended and is gone.
    pub fn commit_in_parts(
        self,
        deliveries: &MetaTable<Delivery>,
        id: impl IntoTimelineId,
    ) -> Result<SentInParts> {
        let id = id.into_timeline_id()?;
        check_store(&self.table, deliveries)?;
        let run = Run { sent: &self, deliveries, id, digest: self.digest() };
        let mut conflicts = 0;
        loop {
            let outcome = match deliveries.get(&run.id)? {
                None => {
                    let begun = run.begin();
                    if let Err(error) = &begun
                        && self.latest.is_some()
                        && deliveries.get(&run.id)?.is_none()
                    {
                        return Err(error.clone());
                    }
                    begun
                }
                Some(delivery) if delivery.digest != run.digest => {
                    let what = "is of another message, or of other inboxes";
                    let text = format!("conflict: delivery {} {what}", run.id);
                    return Err(Error::new(ErrorKind::Conflict, text));
                }
                Some(delivery) if delivery.is_complete() => return run.answer(&delivery),
                Some(delivery) => run.go_on(&delivery),
            };
            match outcome {
                Ok(()) => conflicts = 0,
                Err(error) if error.kind() == ErrorKind::Conflict && conflicts < CONFLICTS_MAX => {
                    conflicts += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Tells another message or other inboxes from these: FNV-1a, the same in every process.
    fn digest(&self) -> u64 {
        let mut digest = 0xCBF2_9CE4_8422_2325_u64;
        let mut add = |bytes: &[u8]| {
            for byte in (bytes.len() as u64).to_le_bytes().iter().chain(bytes) {
                digest = (digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
            }
        };
        add(&self.payload);
        add(&self.table.id().0.to_le_bytes());
        add(self.conversation.as_bytes());
        for (table, id) in &self.inboxes {
            add(&table.0.to_le_bytes());
            add(id.as_bytes());
        }
        digest
    }

    /// Adds inboxes to the one message of a batch, from one on, as far as a part reaches: to which.
    fn fill(&self, batch: &mut Batch, from: usize) -> Result<usize> {
        let limit = self.table.core.backend.batch_bytes_max();
        let part = PART_BYTES.max(PART_PAYLOADS.saturating_mul(self.payload.len())).min(limit);
        let mut bytes = batch.frame_bytes();
        let mut end = from;
        for (table, id) in self.inboxes.iter().skip(from) {
            let more = bytes + target_bytes(id.as_bytes());
            if more > limit && end == from {
                return Err(Error::too_large("part of a fan-out, in bytes", more, limit));
            }
            if more > part && end > from {
                break;
            }
            bytes = more;
            end += 1;
            let target = Target { table: *table, key: id.as_bytes().into(), seq: None };
            if let Some(message) = batch.messages.first_mut() {
                message.targets.push(target);
            }
        }
        Ok(end)
    }
}

/// A call of [`FanOut::commit_in_parts`].
struct Run<'a, M> {
    sent: &'a FanOut<M>,
    deliveries: &'a MetaTable<Delivery>,
    id: TimelineId,
    digest: u64,
}

impl<M: Message> Run<'_, M> {
    /// The first commit.
    fn begin(&self) -> Result<()> {
        let sent = self.sent;
        let (table, key) = (sent.table.id(), sent.conversation.as_bytes());
        let core = &sent.table.core;
        let after = match sent.latest {
            Some(latest) => latest,
            None => core.snapshot()?.inner.latest_seq(table, key)?,
        };
        let Some(seq) = after.checked_add(1) else {
            return Err(Error::invalid(format!("no sequence id lies behind {after}")));
        };
        let mut delivery = Delivery {
            delivered: 0,
            inboxes: sent.inboxes.len() as u64,
            retracted: false,
            table,
            conversation: sent.conversation.clone(),
            after,
            seq: 0,
            digest: self.digest,
            changes: 0,
        };
        let target = Target { table, key: key.into(), seq: None };
        let mut batch = Batch::of(self.message(sent.payload.clone(), None, vec![target]));
        batch.keyed = sent.keyed.clone();
        batch.keyed.push(self.deliveries.write(&self.id, Some(&delivery))?);
        let end = sent.fill(&mut batch, 0)?;
        batch.messages.iter_mut().for_each(|message| message.first_is_origin = end > 0);
        delivery.delivered = end as u64;
        batch.keyed.pop();
        batch.preconditions.push(Precondition::NextSeq { table, key: key.into(), seq });
        self.commit(batch, None, &delivery)
    }

    /// The next part.
    fn go_on(&self, before: &Delivery) -> Result<()> {
        let sent = self.sent;
        let core = &sent.table.core;
        let seq = before.place(core)?;
        let key = before.conversation.as_bytes();
        let mut delivery = Delivery { seq, ..before.clone() };
        // The record was read before: what is amended by it behind this look makes the commit fail.
        let payload = match core.snapshot()?.inner.get(before.table, key, seq)? {
            Some(entry) if entry.revision.is_some_and(|revision| revision.retracted) => {
                delivery.retracted = true;
                return self.commit(Batch::default(), Some(before), &delivery);
            }
            Some(entry) => {
                if entry.revision.is_some() {
                    // Once it is gone nobody can say what it was amended to.
                    delivery.changes = delivery.changes.max(1);
                }
                entry.payload
            }
            None if before.changes == 0 => sent.payload.clone(),
            None => {
                let text = format!("not found: entry {seq} of {}, amended", before.conversation);
                return Err(Error::new(ErrorKind::NotFound, text));
            }
        };
        let origin = tidelog_engine::Origin { table: before.table, key: key.into(), seq };
        let mut batch = Batch::of(self.message(payload, Some(origin), Vec::new()));
        batch.keyed.push(self.deliveries.write(&self.id, Some(&delivery))?);
        let from = usize::try_from(before.delivered).unwrap_or(usize::MAX);
        delivery.delivered = sent.fill(&mut batch, from)? as u64;
        batch.keyed.pop();
        self.commit(batch, Some(before), &delivery)
    }

    fn message(
        &self,
        payload: Payload,
        origin: Option<tidelog_engine::Origin>,
        targets: Vec<Target>,
    ) -> BatchMessage {
        let (event_ms, ttl) = (self.sent.event_time, self.sent.ttl);
        BatchMessage { payload, event_ms, ttl, origin, first_is_origin: false, targets }
    }

    /// Commits a batch with the record that comes behind it.
    fn commit(&self, batch: Batch, before: Option<&Delivery>, after: &Delivery) -> Result<()> {
        let mut request = Request {
            batch,
            durability: self.sent.durability,
            table: Arc::clone(&self.sent.table.name),
            timeline: self.sent.conversation.clone(),
        };
        put_record(&mut request, self.deliveries, &self.id, before, after)?;
        self.sent.table.core.commit(request).map(drop)
    }

    fn answer(&self, delivery: &Delivery) -> Result<SentInParts> {
        let Delivery { delivered, retracted, .. } = *delivery;
        Ok(SentInParts { seq: delivery.place(&self.sent.table.core)?, delivered, retracted })
    }
}

/// Edit and recall of what is delivered in parts.
impl MetaTable<Delivery> {
    /// As [`Timeline::amend`](crate::Timeline::amend) of the conversation's entry, also for the
    /// inboxes that do not have it yet. `table` is that of the conversation.
    ///
    /// # Errors
    /// As [`Timeline::amend`](crate::Timeline::amend); [`NotFound`](ErrorKind::NotFound) for an id
    /// of no delivery, [`InvalidUse`](ErrorKind::InvalidUse) for another table,
    /// [`Conflict`](ErrorKind::Conflict) where parts are faster a thousand times in a row.
    pub fn amend_delivery<M: Message>(
        &self,
        id: impl IntoTimelineId,
        table: &Table<M>,
        message: &M,
    ) -> Result<()> {
        change(self, &id.into_timeline_id()?, table, Some(message))
    }

    /// As [`Timeline::retract`](crate::Timeline::retract) of the conversation's entry: the inboxes
    /// that have it show it as taken back, and no other one gets it.
    ///
    /// # Errors
    /// As [`MetaTable::amend_delivery`] and [`Timeline::retract`](crate::Timeline::retract).
    pub fn retract_delivery<M: Message>(
        &self,
        id: impl IntoTimelineId,
        table: &Table<M>,
    ) -> Result<()> {
        change(self, &id.into_timeline_id()?, table, None)
    }
}

fn change<M: Message>(
    deliveries: &MetaTable<Delivery>,
    id: &TimelineId,
    table: &Table<M>,
    message: Option<&M>,
) -> Result<()> {
    check_store(table, deliveries)?;
    let mut conflicts = 0;
    loop {
        let Some(before) = deliveries.get(id)? else {
            return Err(Error::new(ErrorKind::NotFound, format!("not found: delivery {id}")));
        };
        if before.table != table.id() {
            let text = format!("delivery {id} is of no conversation of table {}", table.name());
            return Err(Error::invalid(text));
        }
        let seq = before.place(&table.core)?;
        let timeline = before.conversation.clone();
        let place = Origin { table: before.table, timeline, seq };
        let mut request = amend_request(table, &place, message)?;
        let retracted = before.retracted || message.is_none();
        let changes = before.changes.wrapping_add(1);
        let after = Delivery { seq, retracted, changes, ..before.clone() };
        put_record(&mut request, deliveries, id, Some(&before), &after)?;
        match table.core.commit(request) {
            Err(error) if error.kind() == ErrorKind::Conflict && conflicts < CONFLICTS_MAX => {
                conflicts += 1;
            }
            result => return result.map(drop),
        }
    }
}

/// Makes a commit require one record and write another.
fn put_record(
    request: &mut Request,
    deliveries: &MetaTable<Delivery>,
    id: &TimelineId,
    before: Option<&Delivery>,
    after: &Delivery,
) -> Result<()> {
    request.batch.keyed.push(deliveries.write(id, Some(after))?);
    request.batch.preconditions.push(deliveries.require(id, before)?);
    Ok(())
}

fn check_store<M: Message>(table: &Table<M>, deliveries: &MetaTable<Delivery>) -> Result<()> {
    match deliveries.is_of(&table.core) {
        true => Ok(()),
        false => {
            let text = format!("table {} is of another store", deliveries.name());
            Err(Error::invalid(text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;
    use crate::message::encoded;

    #[test]
    fn a_record_comes_back_and_a_hostile_one_is_refused() {
        let delivery = Delivery {
            delivered: 7,
            inboxes: 9,
            retracted: true,
            table: TableId(16),
            conversation: TimelineId::new(("group", 42)).unwrap(),
            after: u64::MAX,
            seq: 5,
            digest: 1 << 63,
            changes: 1,
        };
        let bytes = encoded(&delivery).unwrap();
        assert_eq!(Delivery::decode(&bytes).unwrap(), delivery);
        let mut row = Row::decode(&bytes).unwrap();
        for (name, wrong) in [("table", -1), ("conversation", 0), ("after", 0)] {
            let right = row.remove(name).unwrap();
            assert_eq!(Delivery::decode(&encoded(&row).unwrap()).unwrap_err().kind(), KIND);
            if name != "after" {
                row.set(name, wrong);
                assert_eq!(Delivery::decode(&encoded(&row).unwrap()).unwrap_err().kind(), KIND);
            }
            row.set(name, right);
        }
        assert_eq!(Delivery::decode(b"").unwrap_err().kind(), KIND);
    }

    const KIND: ErrorKind = ErrorKind::Decode;

    /// It is kept in files.
    #[test]
    fn golden_digest() {
        let store = Store::in_memory();
        let posts = store.table::<String>("post").create().unwrap();
        let homes = store.table::<String>("home").create().unwrap();
        let post = posts.fan_out("star", &"hello".to_owned()).unwrap();
        let post = post.to(&homes, ["ann"]).unwrap();
        assert_eq!((posts.id(), homes.id()), (TableId(16), TableId(17)));
        assert_eq!(post.digest(), 0x3154_5AA4_8BA5_A9C1);
    }
}
