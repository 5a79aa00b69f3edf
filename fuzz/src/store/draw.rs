//! The writes of a batch: messages to some timelines, amendments of what they are, marks that hide
//! it, and values by key.
//!
//! Timelines are named by prefixes of each other, and messages may name one several times. Numbers
//! lie mostly where something is still shown, and now and then at the end of what is allowed.

use super::setup::PLAIN;
use crate::mutation::length;
use crate::prove::whole::draw::from;
use crate::prove::whole::reference::{Id, Reference, Step, replace};
use tidelog_engine::TableId;
use tidelog_engine::limits::SEQ_MAX;
use tidelog_engine::testing::Random;

/// Timelines of each table.
const TIMELINES: usize = 6;
/// Keys of the keyed table.
const KEYS: u64 = 8;
/// The longest payload. The longest fifth of all go to extents of their own.
const PAYLOAD_MAX: usize = 2000;
/// Bytes at the front of each payload that no other payload has.
const FRONT: usize = 16;

/// The writes of one batch.
pub(super) fn batch(random: &mut Random, reference: &Reference) -> Vec<Step> {
    let count = 1 + length(random, 3);
    let mut steps: Vec<Step> = (0..count).filter_map(|_| step(random, reference)).collect();
    if random.chance(1, 16) {
        let value = value(random);
        steps.extend(replace(reference.contents(), key(random), value));
    }
    steps
}

/// What kind of write it is, in a word or two.
pub(super) fn kind(step: &Step) -> &'static str {
    match step {
        Step::Send { ttl_ms: None, .. } => "send",
        Step::Send { ttl_ms: Some(_), .. } => "send for a time",
        Step::Amend { payload: Some(_), .. } => "replace",
        Step::Amend { payload: None, .. } => "retract",
        Step::Trim { .. } => "trim",
        Step::DeleteRange { .. } => "delete a range",
        Step::DeleteTimeline { .. } => "delete a timeline",
        Step::KeepLast { .. } => "keep the last",
        Step::TimelineTtl { .. } => "let a timeline expire",
        Step::Put { .. } => "put",
        Step::Delete { .. } => "delete",
        Step::Add { .. } => "add",
        Step::Max { .. } => "raise",
        Step::Require { .. } => "require",
    }
}

fn step(random: &mut Random, reference: &Reference) -> Option<Step> {
    match random.below(20) {
        0..10 => Some(send(random, reference)),
        10..13 => amend(random, reference),
        13..16 => Some(mark(random, reference)),
        _ => Some(keyed(random)),
    }
}

/// A timeline of a table that is there.
fn id(random: &mut Random, reference: &Reference) -> Id {
    let tables = reference.tables.iter().filter_map(|table| table.state.as_ref());
    let tables: Vec<_> = tables.map(|state| state.id).collect();
    (tables[random.index(tables.len())], vec![b't'; 1 + random.index(TIMELINES)])
}

/// A message to some timelines, that comes from nowhere, from the first of them, or from an entry.
fn send(random: &mut Random, reference: &Reference) -> Step {
    let targets: Vec<Id> = (0..=length(random, 5)).map(|_| id(random, reference)).collect();
    let from = from(random, reference, targets.len());
    let ttl_ms = random.chance(1, 4).then(|| time_to_live(random));
    Step::Send { targets, payload: payload(random), ttl_ms, from }
}

/// Another payload for an entry, shown or not, or none; `None` where nothing was written yet.
fn amend(random: &mut Random, reference: &Reference) -> Option<Step> {
    let place = reference.contents().some_entry(random.index(1 << 20))?;
    let payload = random.chance(2, 3).then(|| payload(random));
    Some(Step::Amend { place, payload })
}

/// What hides entries of a timeline.
fn mark(random: &mut Random, reference: &Reference) -> Step {
    let id = id(random, reference);
    let latest = reference.contents().timelines.get(&id).map_or(0, |timeline| timeline.latest);
    let back = length(random, 40) as u64;
    let seq = match random.chance(1, 16) {
        true => SEQ_MAX,
        false => (latest + 2).saturating_sub(back).max(1),
    };
    let is_plain = |table: TableId| {
        let mut plain = reference.tables.iter().filter(|table| table.name == PLAIN);
        plain.any(|plain| plain.state.as_ref().is_some_and(|state| state.id == table))
    };
    // The last ones are what is said of a timeline itself.
    match random.below(if is_plain(id.0) { 11 } else { 16 }) {
        0..4 => Step::Trim { id, before: seq },
        4..7 => Step::DeleteRange { id, from: seq, to: seq },
        7..10 => {
            let more = length(random, 12) as u64;
            Step::DeleteRange { id, from: seq, to: seq + more }
        }
        10 => Step::DeleteTimeline { id },
        11..13 => {
            let count = match random.below(6) {
                0 | 1 => None,
                2 => Some(u64::MAX),
                _ => Some(1 + random.below(20)),
            };
            Step::KeepLast { id, count }
        }
        _ => {
            let ttl_ms = random.chance(2, 3).then(|| time_to_live(random));
            Step::TimelineTtl { id, ttl_ms }
        }
    }
}

/// In milliseconds.
fn time_to_live(random: &mut Random) -> u64 {
    match random.below(12) {
        0 => 1,
        1 => u64::MAX,
        _ => 1 + random.below(20_000),
    }
}

/// A value is put, deleted or counted; some are too short for a counter.
fn keyed(random: &mut Random) -> Step {
    let key = key(random);
    let number = i64::from_le_bytes(random.next_u64().to_le_bytes());
    match random.below(4) {
        0 => Step::Put { key, value: value(random) },
        1 => Step::Delete { key },
        2 => Step::Add { key, amount: number },
        _ => Step::Max { key, value: number },
    }
}

fn key(random: &mut Random) -> u8 {
    u8::try_from(random.below(KEYS)).expect("there are few keys")
}

fn value(random: &mut Random) -> Vec<u8> {
    random.next_u64().to_le_bytes()[..random.index(9)].to_vec()
}

/// Half of them can be compressed. Some are long enough to fill blocks.
fn payload(random: &mut Random) -> Vec<u8> {
    let mut payload = vec![b'~'; length(random, PAYLOAD_MAX)];
    let front = if random.chance(1, 2) { payload.len() } else { payload.len().min(FRONT) };
    random.fill(&mut payload[..front]);
    payload
}
