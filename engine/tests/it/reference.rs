//! The reference: what a store must hold after a list of batches, in fifty lines of maps.

use std::collections::BTreeMap;
use std::ops::Bound;
use tidelog_engine::{
    Committed, Direction, Durability, Engine, Entry, Result, TableId, WriteBatch,
};

/// One write of a batch.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// One payload to some timelines; the first is the origin of the others.
    Send {
        timelines: Vec<u8>,
        payload: Vec<u8>,
    },
    /// The payload of an entry that is there becomes another one, or nothing where it is retracted.
    Amend {
        timeline: u8,
        seq: u64,
        payload: Option<Vec<u8>>,
    },
    Put {
        key: u8,
        value: Vec<u8>,
    },
    Delete {
        key: u8,
    },
    Add {
        key: u8,
        amount: i64,
    },
    Max {
        key: u8,
        value: i64,
    },
}

/// Everything that readers can see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) timelines: BTreeMap<Vec<u8>, Vec<(u64, Vec<u8>)>>,
    /// The origins of those entries that have one.
    pub(crate) origins: BTreeMap<Place, Place>,
    pub(crate) values: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Key of a timeline, and a seq.
pub(crate) type Place = (Vec<u8>, u64);

/// What is shown of a retracted entry, so that it is not taken for an empty one.
pub(crate) const RETRACTED: &[u8] = b"\0retracted";

/// The tables that the reference writes to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tables {
    pub(crate) messages: TableId,
    pub(crate) values: TableId,
}

/// Ids of different lengths, some a prefix of others.
pub(crate) fn timeline_key(timeline: u8) -> Vec<u8> {
    vec![b't'; 1 + usize::from(timeline % 3)].into_iter().chain([timeline]).collect()
}

impl Contents {
    pub(crate) fn apply(&mut self, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Send { timelines, payload } => {
                    let mut first = None;
                    for timeline in timelines {
                        let key = timeline_key(*timeline);
                        let entries = self.timelines.entry(key.clone()).or_default();
                        let seq = entries.last().map_or(1, |(seq, _)| seq + 1);
                        entries.push((seq, payload.clone()));
                        match &first {
                            None => first = Some((key, seq)),
                            Some(first) => {
                                self.origins.insert((key, seq), first.clone());
                            }
                        }
                    }
                }
                Step::Amend { timeline, seq, payload } => {
                    let place = (timeline_key(*timeline), *seq);
                    let payload = payload.as_deref().unwrap_or(RETRACTED);
                    let copies = self.origins.iter().filter(|(_, origin)| **origin == place);
                    let copies: Vec<Place> = copies.map(|(copy, _)| copy.clone()).collect();
                    for (key, seq) in copies.iter().chain([&place]) {
                        let entries = self.timelines.get_mut(key).into_iter().flatten();
                        let mut found = entries.filter(|entry| entry.0 == *seq);
                        found.next().expect("what is amended is there").1 = payload.to_vec();
                    }
                }
                Step::Put { key, value } => {
                    self.values.insert(vec![*key], value.clone());
                }
                Step::Delete { key } => {
                    self.values.remove(&vec![*key]);
                }
                Step::Add { key, amount } => {
                    let sum = self.counter(*key).unwrap_or(0).wrapping_add(*amount);
                    self.values.insert(vec![*key], sum.to_le_bytes().to_vec());
                }
                Step::Max { key, value } => {
                    let max = self.counter(*key).map_or(*value, |now| now.max(*value));
                    self.values.insert(vec![*key], max.to_le_bytes().to_vec());
                }
            }
        }
    }

    /// An amendment of some entry that is there, if there is any: the timeline is that or a later
    /// one, the seq is counted from the newest.
    pub(crate) fn amendment(
        &self,
        timeline: u8,
        back: u64,
        payload: Option<Vec<u8>>,
    ) -> Option<Step> {
        let timelines = (0..=u8::MAX).map(|more| timeline.wrapping_add(more));
        let mut written = timelines
            .filter_map(|timeline| Some((timeline, self.timelines.get(&timeline_key(timeline))?)));
        let (timeline, entries) = written.next()?;
        let back = usize::try_from(back).unwrap() % entries.len();
        let seq = entries[entries.len() - 1 - back].0;
        Some(Step::Amend { timeline, seq, payload })
    }

    /// A value that is not 8 bytes long is no counter.
    fn counter(&self, key: u8) -> Option<i64> {
        let bytes = self.values.get(&vec![key])?;
        Some(i64::from_le_bytes(bytes.as_slice().try_into().ok()?))
    }
}

/// The batch of some steps.
pub(crate) fn batch(tables: Tables, steps: &[Step]) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for step in steps {
        match step {
            Step::Send { timelines, payload } => {
                let keys: Vec<_> =
                    timelines.iter().map(|timeline| timeline_key(*timeline)).collect();
                let targets = keys.iter().map(|key| (tables.messages, &key[..]));
                batch.fan_out(targets, payload, None, None, keys.len() > 1).unwrap();
            }
            Step::Amend { timeline, seq, payload } => {
                let (table, key) = (tables.messages, timeline_key(*timeline));
                match payload {
                    Some(payload) => batch.amend(table, &key, *seq, payload).unwrap(),
                    None => batch.retract(table, &key, *seq).unwrap(),
                }
            }
            Step::Put { key, value } => batch.put(tables.values, &[*key], value).unwrap(),
            Step::Delete { key } => batch.delete(tables.values, &[*key]).unwrap(),
            Step::Add { key, amount } => batch.add(tables.values, &[*key], *amount).unwrap(),
            Step::Max { key, value } => batch.max(tables.values, &[*key], *value).unwrap(),
        }
    }
    batch
}

/// Commits some steps.
pub(crate) fn commit(
    engine: &Engine,
    tables: Tables,
    steps: &[Step],
    durability: Durability,
) -> Result<Committed> {
    engine.commit(batch(tables, steps), durability)
}

/// Everything in a store, read in every way that must agree.
pub(crate) fn contents(engine: &Engine, tables: Tables) -> Result<Contents> {
    let snapshot = engine.snapshot();
    let mut contents = Contents::default();
    for timeline in snapshot.timelines(tables.messages, b"", None)? {
        let timeline = timeline?;
        let key = &timeline.key[..];
        let forward = snapshot
            .scan(tables.messages, key, 0, u64::MAX, Direction::Forward)?
            .map(|entry| entry.map(|entry| (entry.seq, shown(&entry))))
            .collect::<Result<Vec<_>>>()?;
        let mut backward = snapshot
            .scan(tables.messages, key, 0, u64::MAX, Direction::Backward)?
            .map(|entry| entry.map(|entry| (entry.seq, shown(&entry))))
            .collect::<Result<Vec<_>>>()?;
        backward.reverse();
        assert_eq!(forward, backward, "both directions agree");
        assert_eq!(snapshot.len(tables.messages, key)?, forward.len() as u64);
        let last = forward.last().map_or(0, |(seq, _)| *seq);
        assert_eq!(snapshot.latest_seq(tables.messages, key)?, last);
        let latest = snapshot.latest(tables.messages, key)?.map(|entry| entry.seq);
        assert_eq!(latest.unwrap_or(0), last);
        for (seq, payload) in forward.iter().step_by(7) {
            let entry = snapshot.get(tables.messages, key, *seq)?.expect("it was scanned");
            assert_eq!(shown(&entry), *payload);
            let versions = snapshot.versions(tables.messages, key, *seq)?;
            assert_eq!(versions.last(), Some(&entry), "the last version is what is shown");
        }
        for entry in snapshot.scan(tables.messages, key, 0, u64::MAX, Direction::Forward)? {
            let entry = entry?;
            if let Some(origin) = entry.origin {
                let place = (key.to_vec(), entry.seq);
                contents.origins.insert(place, (origin.key.to_vec(), origin.seq));
            }
        }
        contents.timelines.insert(key.to_vec(), forward);
    }
    for pair in snapshot.values(tables.values, Bound::Unbounded, Bound::Unbounded)? {
        let (key, value) = pair?;
        let read = snapshot.value(tables.values, &key)?.expect("it was listed");
        assert_eq!(&read[..], &value[..]);
        contents.values.insert(key.to_vec(), value.to_vec());
    }
    Ok(contents)
}

/// The payload of an entry as the reference writes it down.
pub(crate) fn shown(entry: &Entry) -> Vec<u8> {
    match entry.revision.is_some_and(|revision| revision.retracted) {
        true => RETRACTED.to_vec(),
        false => entry.payload.to_vec(),
    }
}
