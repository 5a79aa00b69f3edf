//! The reference: what a store must hold after a list of batches, in fifty lines of maps.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;
use tidelog_engine::{
    AppendOptions, Committed, Direction, Durability, Engine, Entry, Gap, GapReason, Item, Result,
    Snapshot, TableId, WriteBatch,
};

/// One write of a batch.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// One payload to some timelines; the first is the origin of the others.
    Send {
        timelines: Vec<u8>,
        payload: Vec<u8>,
    },
    /// The same, and the entries have a time to live of their own, in milliseconds.
    SendFor {
        timelines: Vec<u8>,
        payload: Vec<u8>,
        ttl_ms: u64,
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
    Trim {
        timeline: u8,
        before: u64,
    },
    DeleteRange {
        timeline: u8,
        from: u64,
        to: u64,
    },
    DeleteTimeline {
        timeline: u8,
    },
    /// From now on the timeline shows its newest [`KEPT`] entries.
    KeepLast {
        timeline: u8,
    },
}

/// Payloads of so many bytes go to extents of their own.
pub(crate) const LARGE_FROM: usize = 700;

/// What [`Step::KeepLast`] leaves.
pub(crate) const KEPT: u64 = 12;

/// Everything that readers can see.
#[derive(Debug, Clone, Default)]
pub(crate) struct Contents {
    /// The entries that are shown.
    pub(crate) timelines: BTreeMap<Vec<u8>, Vec<(u64, Vec<u8>)>>,
    /// The origins of the entries that have one.
    pub(crate) origins: BTreeMap<Place, Place>,
    /// The highest seq that each timeline had.
    pub(crate) latest: BTreeMap<Vec<u8>, u64>,
    /// What is missing of each timeline, and why.
    pub(crate) gaps: BTreeMap<Vec<u8>, Vec<Gap>>,
    pub(crate) values: BTreeMap<Vec<u8>, Vec<u8>>,
    marks: BTreeMap<Vec<u8>, Marks>,
    /// What the clock shows, and when entries expire that have a time to live of their own.
    now_ms: u64,
    expiries: BTreeMap<Place, u64>,
}

/// What hides entries of a timeline.
#[derive(Debug, Clone, Default)]
struct Marks {
    trimmed_below: u64,
    deleted_below: u64,
    deleted: BTreeSet<u64>,
    kept: bool,
}

impl Marks {
    /// Why a seq is not shown, if it is not.
    fn reason(&self, seq: u64, latest: u64) -> Option<GapReason> {
        let deleted = seq < self.deleted_below;
        let trimmed = seq < self.trimmed_below || self.kept && seq + KEPT <= latest;
        match (deleted || self.deleted.contains(&seq) && seq >= self.trimmed_below, trimmed) {
            (true, _) => Some(GapReason::Deleted),
            (false, true) => Some(GapReason::Trimmed),
            (false, false) => None,
        }
    }
}

/// What readers see is compared, not how it came about.
impl PartialEq for Contents {
    fn eq(&self, other: &Contents) -> bool {
        self.timelines == other.timelines
            && self.latest == other.latest
            && self.gaps == other.gaps
            && self.values == other.values
    }
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
                Step::Send { timelines, payload } => self.send(timelines, payload, None),
                Step::SendFor { timelines, payload, ttl_ms } => {
                    self.send(timelines, payload, Some(*ttl_ms));
                }
                Step::Amend { timeline, seq, payload } => {
                    let place = (timeline_key(*timeline), *seq);
                    let payload = payload.as_deref().unwrap_or(RETRACTED);
                    let copies = self.origins.iter().filter(|(_, origin)| **origin == place);
                    let copies: Vec<Place> = copies.map(|(copy, _)| copy.clone()).collect();
                    for (key, seq) in copies.iter().chain([&place]) {
                        let entries = self.timelines.get_mut(key).into_iter().flatten();
                        // Those that are hidden stay so.
                        for entry in entries.filter(|entry| entry.0 == *seq) {
                            entry.1 = payload.to_vec();
                        }
                    }
                }
                Step::Trim { timeline, before } => {
                    self.mark(*timeline, |marks, end| {
                        marks.trimmed_below = marks.trimmed_below.max((*before).min(end));
                    });
                }
                Step::DeleteRange { timeline, from, to } => {
                    self.mark(*timeline, |marks, end| {
                        marks.deleted.extend(*from..end.min(to + 1).max(*from));
                    });
                }
                Step::DeleteTimeline { timeline } => {
                    self.mark(*timeline, |marks, end| marks.deleted_below = end);
                }
                Step::KeepLast { timeline } => {
                    self.mark(*timeline, |marks, _| marks.kept = true);
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

    fn send(&mut self, timelines: &[u8], payload: &[u8], ttl_ms: Option<u64>) {
        let mut first = None;
        for timeline in timelines {
            let key = timeline_key(*timeline);
            let latest = self.latest.entry(key.clone()).or_default();
            *latest += 1;
            let entry = (*latest, payload.to_vec());
            self.timelines.entry(key.clone()).or_default().push(entry);
            let place = (key.clone(), *latest);
            if let Some(ttl_ms) = ttl_ms {
                self.expiries.insert(place.clone(), self.now_ms + ttl_ms);
            }
            match &first {
                None => first = Some(place),
                Some(first) => {
                    self.origins.insert(place, first.clone());
                }
            }
            self.hide(&key);
        }
    }

    /// It has become so late: some entries expire.
    pub(crate) fn pass(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        let keys: Vec<Vec<u8>> = self.timelines.keys().cloned().collect();
        keys.iter().for_each(|key| self.hide(key));
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
            .filter_map(|timeline| Some((timeline, self.timelines.get(&timeline_key(timeline))?)))
            .filter(|(_, entries)| !entries.is_empty());
        let (timeline, entries) = written.next()?;
        let back = usize::try_from(back).unwrap() % entries.len();
        let seq = entries[entries.len() - 1 - back].0;
        Some(Step::Amend { timeline, seq, payload })
    }

    fn mark(&mut self, timeline: u8, change: impl FnOnce(&mut Marks, u64)) {
        let key = timeline_key(timeline);
        let end = self.latest.get(&key).copied().unwrap_or(0) + 1;
        change(self.marks.entry(key.clone()).or_default(), end);
        self.hide(&key);
    }

    /// Takes away what marks hide, and says what is missing.
    fn hide(&mut self, key: &[u8]) {
        let marks = self.marks.get(key).cloned().unwrap_or_default();
        let Some(latest) = self.latest.get(key).copied() else { return };
        let reason = |seq| {
            let expiry = self.expiries.get(&(key.to_vec(), seq));
            let expired = expiry.is_some_and(|expiry| *expiry <= self.now_ms);
            marks.reason(seq, latest).or(expired.then_some(GapReason::Expired))
        };
        let entries = self.timelines.get_mut(key).expect("it was written");
        entries.retain(|(seq, _)| reason(*seq).is_none());
        let mut gaps: Vec<Gap> = Vec::new();
        for seq in 1..=latest {
            let Some(reason) = reason(seq) else { continue };
            match gaps.last_mut() {
                Some(last) if last.to + 1 == seq && last.reason == reason => last.to = seq,
                _ => gaps.push(Gap { from: seq, to: seq, reason }),
            }
        }
        self.gaps.insert(key.to_vec(), gaps);
        if self.gaps[key].is_empty() {
            self.gaps.remove(key);
        }
    }

    /// A value that is not 8 bytes long is no counter.
    fn counter(&self, key: u8) -> Option<i64> {
        let bytes = self.values.get(&vec![key])?;
        Some(i64::from_le_bytes(bytes.as_slice().try_into().ok()?))
    }
}

/// The batch of some steps.
pub(crate) fn batch(tables: Tables, steps: &[Step]) -> WriteBatch {
    let mut batch = WriteBatch::new().with_large_from(LARGE_FROM);
    for step in steps {
        match step {
            Step::Send { timelines, payload } => {
                let keys: Vec<_> =
                    timelines.iter().map(|timeline| timeline_key(*timeline)).collect();
                let targets = keys.iter().map(|key| (tables.messages, &key[..]));
                batch.fan_out(targets, payload, None, None, keys.len() > 1).unwrap();
            }
            Step::SendFor { timelines, payload, ttl_ms } => {
                let keys: Vec<_> =
                    timelines.iter().map(|timeline| timeline_key(*timeline)).collect();
                let targets = keys.iter().map(|key| (tables.messages, &key[..]));
                let options = AppendOptions {
                    ttl: Some(Duration::from_millis(*ttl_ms)),
                    first_is_origin: keys.len() > 1,
                    ..AppendOptions::default()
                };
                batch.append_with(targets, payload, &options).unwrap();
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
            Step::Trim { timeline, before } => {
                batch.trim(tables.messages, &timeline_key(*timeline), *before).unwrap();
            }
            Step::DeleteRange { timeline, from, to } => {
                let key = timeline_key(*timeline);
                batch.delete_range(tables.messages, &key, *from..=*to).unwrap();
            }
            Step::DeleteTimeline { timeline } => {
                batch.delete_timeline(tables.messages, &timeline_key(*timeline)).unwrap();
            }
            Step::KeepLast { timeline } => {
                let key = timeline_key(*timeline);
                batch.set_keep_last(tables.messages, &key, Some(KEPT)).unwrap();
            }
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
        let latest_seq = snapshot.latest_seq(tables.messages, key)?;
        contents.latest.insert(key.to_vec(), latest_seq);
        let gaps = gaps(&snapshot, tables, key, &forward)?;
        if !gaps.is_empty() {
            contents.gaps.insert(key.to_vec(), gaps);
        }
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

/// What is missing of a timeline, read both ways, which must agree with its entries.
fn gaps(
    snapshot: &Snapshot,
    tables: Tables,
    key: &[u8],
    entries: &[(u64, Vec<u8>)],
) -> Result<Vec<Gap>> {
    let read = |direction| {
        snapshot
            .scan_items(tables.messages, key, 0, u64::MAX, direction)?
            .collect::<Result<Vec<Item>>>()
    };
    let forward = read(Direction::Forward)?;
    let mut backward = read(Direction::Backward)?;
    backward.reverse();
    assert_eq!(forward, backward, "both directions agree");
    let mut gaps = Vec::new();
    let mut found = Vec::new();
    for item in forward {
        match item {
            Item::Entry(entry) => found.push(entry.seq),
            Item::Gap(gap) => gaps.push(gap),
        }
    }
    assert_eq!(found, entries.iter().map(|(seq, _)| *seq).collect::<Vec<_>>());
    Ok(gaps)
}
