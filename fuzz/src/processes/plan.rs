//! What each writer does: a pure function of the seed, the operation, and how long the timelines of
//! the writer are. So the parent knows what the child does without being told.

use super::payload::{Author, HEADER_BYTES, Payload};
use super::setup::Setup;
use super::timeline::{EACH, Key, Kind, Timeline};
use std::collections::HashMap;
use std::time::Duration;
use tidelog_engine::testing::Random;
use tidelog_engine::{Durability, Result, TableId, WriteBatch, limits};

/// The newest sequence id of each timeline of one writer.
pub(super) type Latest = HashMap<Timeline, u64>;

/// One thing that an operation does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// A payload to one timeline, or to many, of which the first is the origin of the others.
    Append {
        targets: Vec<Timeline>,
        payload: Payload,
    },
    Put {
        key: Key,
        payload: Payload,
    },
    Delete {
        key: Key,
    },
    Add {
        key: Key,
        amount: i64,
    },
    Trim {
        timeline: Timeline,
        before: u64,
    },
    DeleteTimeline {
        timeline: Timeline,
    },
    DeleteEntry {
        timeline: Timeline,
        seq: u64,
    },
    Amend {
        timeline: Timeline,
        seq: u64,
        payload: Payload,
    },
    Retract {
        timeline: Timeline,
        seq: u64,
    },
}

/// One operation: a batch, committed as a whole.
#[derive(Debug, Clone)]
pub(super) struct Operation {
    pub(super) durability: Durability,
    pub(super) actions: Vec<Action>,
    /// A group of its own that nobody wants synced, and too large to be stored: where the disk is
    /// written directly, the kernel writes it beside its leader.
    pub(super) bulk: bool,
}

impl Operation {
    /// The operation of an author. `latest` goes on to what it is behind it.
    pub(super) fn draw(setup: &Setup, author: Author, latest: &mut Latest) -> Operation {
        let Author { round, writer, number } = author;
        let place = u64::from(round) << 32 ^ u64::from(writer) << 24;
        let mut random = Random::new(setup.seed.rotate_left(20) ^ place);
        let mut random = Random::new(random.next_u64() ^ number);
        let before = latest.clone();
        let bulk_bytes = (setup.options.batch_bytes_max() * 3 / 4).min(120 * 1024);
        let mut draft = Draft { author, latest, actions: Vec::new(), payloads: 0 };
        draft.append(vec![Timeline::journal(writer)], HEADER_BYTES);
        let kind = random.below(100);
        let bulk = (40..48).contains(&kind);
        match kind {
            0..40 => draft.small(&mut random),
            40..48 => draft.bulk(&mut random, bulk_bytes),
            48..60 => draft.fan_out(&mut random),
            60..73 => draft.keyed(&mut random),
            73..82 => draft.mark(&mut random, &before),
            82..92 => draft.amend(&mut random, &before),
            92..94 => {
                let length = limits::LARGE_PAYLOAD_BYTES + random.index(40_000);
                draft.append(vec![draft.direct(&mut random)], length);
            }
            _ => {
                draft.fan_out(&mut random);
                draft.mark(&mut random, &before);
                draft.amend(&mut random, &before);
                draft.keyed(&mut random);
            }
        }
        let actions = draft.actions;
        let drawn = match random.below(4) {
            0 => Durability::Interval(Duration::from_millis(1 + random.below(20))),
            1 => Durability::Buffered,
            _ => Durability::Sync,
        };
        let durability = match bulk {
            true => Durability::Buffered,
            false => setup.durability.unwrap_or(drawn),
        };
        Operation { durability, actions, bulk }
    }

    /// The batch that does it.
    pub(super) fn batch(&self, seed: u64, tables: [TableId; 3]) -> Result<WriteBatch> {
        let mut batch = WriteBatch::new();
        let place = |timeline: &Timeline| (tables[timeline.table()], timeline.key());
        let values = tables[2];
        for action in &self.actions {
            match action {
                Action::Append { targets, payload } => {
                    let places: Vec<_> = targets.iter().map(place).collect();
                    let targets = places.iter().map(|(table, key)| (*table, key.as_slice()));
                    let copies = places.len() > 1;
                    batch.fan_out(targets, &payload.bytes(seed), None, None, copies)?;
                }
                Action::Put { key, payload } => {
                    batch.put(values, &key.bytes(), &payload.bytes(seed))?;
                }
                Action::Delete { key } => batch.delete(values, &key.bytes())?,
                Action::Add { key, amount } => batch.add(values, &key.bytes(), *amount)?,
                Action::Trim { timeline, before } => {
                    let (table, key) = place(timeline);
                    batch.trim(table, &key, *before)?;
                }
                Action::DeleteTimeline { timeline } => {
                    let (table, key) = place(timeline);
                    batch.delete_timeline(table, &key)?;
                }
                Action::DeleteEntry { timeline, seq } => {
                    let (table, key) = place(timeline);
                    batch.delete_entry(table, &key, *seq)?;
                }
                Action::Amend { timeline, seq, payload } => {
                    let (table, key) = place(timeline);
                    batch.amend(table, &key, *seq, &payload.bytes(seed))?;
                }
                Action::Retract { timeline, seq } => {
                    let (table, key) = place(timeline);
                    batch.retract(table, &key, *seq)?;
                }
            }
        }
        Ok(batch)
    }
}

/// An operation that is being drawn.
struct Draft<'a> {
    author: Author,
    latest: &'a mut Latest,
    actions: Vec<Action>,
    payloads: u16,
}

impl Draft<'_> {
    fn payload(&mut self, length: usize) -> Payload {
        let index = self.payloads;
        self.payloads += 1;
        let length = u32::try_from(length.max(HEADER_BYTES)).expect("a payload is small");
        Payload { author: self.author, index, length }
    }

    fn append(&mut self, targets: Vec<Timeline>, length: usize) {
        for timeline in targets.iter().filter(|timeline| timeline.is_owned()) {
            *self.latest.entry(*timeline).or_default() += 1;
        }
        let payload = self.payload(length);
        self.actions.push(Action::Append { targets, payload });
    }

    fn own(&self, kind: Kind, random: &mut Random) -> Timeline {
        let index = u8::try_from(random.below(u64::from(EACH))).expect("it is below them");
        Timeline { kind, writer: self.author.writer, index }
    }

    fn direct(&self, random: &mut Random) -> Timeline {
        self.own(Kind::Direct, random)
    }

    fn small(&mut self, random: &mut Random) {
        for _ in 0..=random.below(3) {
            let timeline = match random.chance(1, 4) {
                true => Timeline::shared(self.direct(random).index),
                false => self.direct(random),
            };
            let length = if random.chance(1, 10) { random.index(6000) } else { random.index(200) };
            self.append(vec![timeline], length);
        }
    }

    fn bulk(&mut self, random: &mut Random, bytes_max: usize) {
        let bytes = 34_000 + random.index(bytes_max - 34_000);
        let each = 300 + random.index(2000);
        for _ in 0..bytes / (each + 32) {
            let timeline = self.direct(random);
            self.append(vec![timeline], each);
        }
    }

    fn fan_out(&mut self, random: &mut Random) {
        let mut targets = vec![self.direct(random)];
        for _ in 0..=random.below(6) {
            let copy = self.own(Kind::Copies, random);
            let copy = if random.chance(1, 3) { Timeline::shared(copy.index) } else { copy };
            if !targets.contains(&copy) {
                targets.push(copy);
            }
        }
        self.append(targets, random.index(400));
    }

    fn keyed(&mut self, random: &mut Random) {
        let index = self.direct(random).index;
        let key = |counter| Key { writer: self.author.writer, counter, index };
        let action = match random.below(6) {
            0 => Action::Delete { key: key(random.chance(1, 2)) },
            1 | 2 => {
                let amount = i64::try_from(random.below(2000)).expect("it is small") - 1000;
                Action::Add { key: key(true), amount }
            }
            _ => {
                let key = key(false);
                Action::Put { key, payload: self.payload(random.index(300)) }
            }
        };
        self.actions.push(action);
    }

    /// A sequence id that the timeline had before this operation.
    fn seq(timeline: Timeline, random: &mut Random, before: &Latest) -> Option<u64> {
        let latest = before.get(&timeline).copied().unwrap_or(0);
        latest.checked_sub(random.below(30)).filter(|seq| *seq > 0)
    }

    fn mark(&mut self, random: &mut Random, before: &Latest) {
        let kind = [Kind::Direct, Kind::Copies][random.index(2)];
        let timeline = self.own(kind, random);
        let Some(seq) = Draft::seq(timeline, random, before) else { return };
        self.actions.push(match random.below(10) {
            0 => Action::DeleteTimeline { timeline },
            1..4 => Action::Trim { timeline, before: seq },
            _ => Action::DeleteEntry { timeline, seq },
        });
    }

    fn amend(&mut self, random: &mut Random, before: &Latest) {
        let timeline = self.direct(random);
        let Some(seq) = Draft::seq(timeline, random, before) else { return };
        let action = match random.chance(1, 4) {
            true => Action::Retract { timeline, seq },
            false => Action::Amend { timeline, seq, payload: self.payload(random.index(300)) },
        };
        self.actions.push(action);
    }
}
