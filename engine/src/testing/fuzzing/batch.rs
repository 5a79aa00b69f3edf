//! Frame bodies: what a batch writes and what everybody reads.

use crate::amendment::{AmendmentKind, decode_written};
use crate::batch::{Content, KeyedOperation, Op, WriteBatch, decode, message_at};
use crate::entry::{Origin, OriginRef, TableId};
use crate::limits;

/// A target of a message: table, key, seq.
pub type Target = (TableId, Vec<u8>, u64);

/// One record of a body, copied out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A payload and where it goes.
    Message {
        /// Event time of the caller.
        event_ms: Option<i64>,
        /// The time to live that its entries have of their own.
        ttl_ms: Option<u64>,
        /// The payload.
        payload: Vec<u8>,
        /// Where it goes.
        targets: Vec<Target>,
        /// The origin that an entry has, target by target.
        origins: Vec<Option<Origin>>,
    },
    /// A keyed write.
    Keyed {
        /// What is done.
        operation: KeyedOperation,
        /// The table.
        table: TableId,
        /// The key.
        key: Vec<u8>,
        /// The operand.
        value: Vec<u8>,
    },
    /// An amendment.
    Amend {
        /// The entry.
        target: Target,
        /// What replaces its payload; nothing where it is retracted.
        payload: Option<Vec<u8>>,
    },
    /// A mark of a timeline.
    Mark {
        /// The table.
        table: TableId,
        /// The timeline.
        key: Vec<u8>,
        /// The operand.
        value: Vec<u8>,
    },
}

/// The body of a batch.
pub fn body(batch: &WriteBatch) -> Vec<u8> {
    batch.body().to_vec()
}

/// Gives the targets of a batch their seqs, in the order of the calls.
pub fn assign(batch: &mut WriteBatch, mut seq: impl FnMut(TableId, &[u8]) -> u64) {
    for index in 0..batch.append_count() {
        let target = batch.target(index);
        let assigned = seq(target.table, target.key);
        batch.widen_for(std::iter::once(assigned));
        batch.assign(index, assigned);
    }
    for index in 0..batch.mark_count() {
        batch.settle_mark(index, u64::MAX, 0);
    }
}

/// The records of a body, up to the first that does not decode; then the error.
pub fn records(body: &[u8]) -> (Vec<Record>, Option<String>) {
    let mut records = Vec::new();
    for (place, op) in (0u32..).zip(decode(body)) {
        match op {
            Err(error) => return (records, Some(error.to_string())),
            Ok(Op::Keyed { index, operation, table, key, value }) => {
                assert_eq!(index, place, "records are counted");
                let (key, value) = (body[key].to_vec(), body[value].to_vec());
                records.push(Record::Keyed { operation, table, key, value });
            }
            Ok(Op::Amend { index, target, value }) => {
                assert_eq!(index, place, "records are counted");
                let kind = decode_written(&body[value.clone()]).expect("it was decoded");
                let replaced = kind == AmendmentKind::Replaced;
                let payload = replaced.then(|| body[value][1..].to_vec());
                let target = (target.table, target.key.to_vec(), target.seq);
                records.push(Record::Amend { target, payload });
            }
            Ok(Op::Mark { index, mark }) => {
                assert_eq!(index, place, "records are counted");
                assert!(mark.stored_key().len() <= limits::MARK_KEY_LENGTH_MAX);
                let (key, value) = (mark.key.to_vec(), body[mark.value.clone()].to_vec());
                records.push(Record::Mark { table: mark.table, key, value });
            }
            Ok(Op::Message(message)) => {
                let shared = message_at(body, message.offset).expect("the record was decoded");
                let mut targets = Vec::new();
                let mut origins = Vec::new();
                for (target, offset) in message.targets_placed() {
                    assert_eq!(&body[offset..offset + target.key.len()], target.key);
                    let (table, key, seq) = (target.table, target.key, target.seq);
                    let origin = shared.origin(OriginRef { table, key, seq });
                    origins.push(origin.map(OriginRef::to_origin));
                    targets.push((target.table, target.key.to_vec(), target.seq));
                }
                assert_eq!(targets.len(), message.target_count);
                let payload = match &shared.content {
                    Content::Inline(range) => body[range.clone()].to_vec(),
                    // It is elsewhere: the bytes that say where stand for it.
                    Content::Large(large) => large.encode().to_vec(),
                };
                let (event_ms, ttl_ms) = (shared.event_ms, shared.ttl_ms);
                assert_eq!(message.ttl_ms, ttl_ms);
                records.push(Record::Message { event_ms, ttl_ms, payload, targets, origins });
            }
        }
    }
    (records, None)
}
