//! The reference: what readers must see of a store, in maps, after any list of batches, changes of
//! tables, passing of time, and crashes.
//!
//! ```text
//! batch ──► Contents (what is written, marks, amendments) ──┐
//! table options, fences of expiry ──────────────────────────┼──► what each seq may look like
//! clock of expiry, as far as it is known from outside ──────┘
//! power loss ──► which of the contents behind the last durable one is there: Reference
//! ```
//! - `timeline`: one timeline with its marks, and what each of its seqs may look like
//! - `clock`: what is known of the clock by which entries expire
//! - `check`: reads a store in every way that must agree, and compares
//! - `dump`: what a store shows, without any promise
//! - `erasure`: what must have been erased from the file
//! - `recovery`: tables, what is durable, and what a crash left
//!
//! Each batch writes its number under [`BATCH_KEY`], so that the store itself says which of them
//! a crash left. Tiers are not known here: nobody may see them.

mod check;
mod clock;
mod dump;
mod erasure;
mod recovery;
mod timeline;

pub(crate) use clock::{ExpiryClock, Range};
pub(crate) use dump::Dump;
pub(crate) use recovery::Reference;

use erasure::{Erased, Erasure};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tidelog_engine::{AppendOptions, Origin, Precondition, Result, TableId, WriteBatch};
use timeline::{Timeline, Written};

/// A timeline of a table.
pub(crate) type Id = (TableId, Vec<u8>);
/// An entry.
pub(crate) type Place = (Id, u64);

/// Payloads of so many bytes go to extents of their own.
pub(crate) const LARGE_FROM: usize = 1200;
/// The key of the number of the newest batch.
pub(crate) const BATCH_KEY: &[u8] = b"#";

/// Where the payload of copies is said to come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum From {
    Nowhere,
    /// The first target is the origin of the others.
    First,
    /// An entry that is there already.
    Entry(Place),
}

/// One write of a batch.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Send {
        targets: Vec<Id>,
        payload: Vec<u8>,
        ttl_ms: Option<u64>,
        from: From,
    },
    /// The payload of an entry becomes another one, or nothing where it is retracted.
    Amend {
        place: Place,
        payload: Option<Vec<u8>>,
    },
    Trim {
        id: Id,
        before: u64,
    },
    DeleteRange {
        id: Id,
        from: u64,
        to: u64,
    },
    DeleteTimeline {
        id: Id,
    },
    KeepLast {
        id: Id,
        count: Option<u64>,
    },
    TimelineTtl {
        id: Id,
        ttl_ms: Option<u64>,
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
    /// The batch is refused unless the key has this value before it.
    Require {
        key: u8,
        value: Option<Vec<u8>>,
    },
}

/// One payload to some timelines, the first of which is the origin of the others.
pub(crate) fn send(targets: Vec<Id>, payload: Vec<u8>) -> Step {
    let from = if targets.len() > 1 { From::First } else { From::Nowhere };
    Step::Send { targets, payload, ttl_ms: None, from }
}

/// A value takes the place of another one, which must still be there.
pub(crate) fn replace(contents: &Contents, key: u8, value: Vec<u8>) -> [Step; 2] {
    let required = contents.values.get(&vec![key]).cloned();
    [Step::Require { key, value: required }, Step::Put { key, value }]
}

/// Everything that was written and is not lost.
#[derive(Debug, Clone, Default)]
pub(crate) struct Contents {
    /// The number of the newest batch.
    pub(crate) batch: u64,
    pub(crate) timelines: BTreeMap<Id, Timeline>,
    pub(crate) values: BTreeMap<Vec<u8>, Vec<u8>>,
    /// By the entry that they were made of, oldest first.
    amendments: BTreeMap<Place, Vec<Amendment>>,
}

#[derive(Debug, Clone)]
struct Amendment {
    batch: u64,
    /// Its place in the batch.
    index: usize,
    /// Its number in the store, or one above.
    commit: u64,
    payload: Option<Arc<[u8]>>,
}

/// A payload that an entry has, or had.
#[derive(Debug)]
struct Version {
    /// `None` is retracted.
    payload: Option<Arc<[u8]>>,
    erasure: Erasure,
}

/// When a batch was committed: bounds of its commit time, and of the clock of expiry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) time_ms: Range,
    pub(crate) clock_ms: Range,
    /// Power losses before it.
    pub(crate) losses: u64,
    /// Its number in the store, or one above.
    pub(crate) commit: u64,
}

impl Contents {
    /// Takes the next batch in; `seqs` are those of its targets, in their order.
    pub(crate) fn apply(&mut self, steps: &[Step], seqs: &[u64], moment: Moment) {
        self.batch += 1;
        let batch = self.batch;
        let mut seqs = seqs.iter().copied();
        for (index, step) in steps.iter().enumerate() {
            match step {
                Step::Send { targets, payload, ttl_ms, from } => {
                    let payload: Arc<[u8]> = payload.as_slice().into();
                    let mut origin = match from {
                        From::Entry(place) => Some(place.clone()),
                        From::Nowhere | From::First => None,
                    };
                    for (number, id) in targets.iter().enumerate() {
                        let seq = seqs.next().expect("each target has a seq");
                        let (payload, time_ms) = (Arc::clone(&payload), moment.time_ms);
                        let entry = Written {
                            payload,
                            batch,
                            time_ms,
                            ttl_ms: *ttl_ms,
                            origin: origin.clone(),
                            expired: false,
                            sharers: targets.len(),
                            is_origin: *from == From::First && number == 0,
                        };
                        self.timeline(id).append(seq, entry, moment.losses);
                        if *from == From::First {
                            origin.get_or_insert((id.clone(), seq));
                        }
                    }
                }
                Step::Amend { place, payload } => {
                    let payload = payload.as_deref().map(Arc::from);
                    let amendments = self.amendments.entry(place.clone()).or_default();
                    let commit = moment.commit;
                    amendments.push(Amendment { batch, index, commit, payload });
                }
                Step::Trim { id, before } => self.timeline(id).trim(*before),
                Step::DeleteRange { id, from, to } => self.timeline(id).delete(*from, *to),
                Step::DeleteTimeline { id } => self.timeline(id).delete_all(),
                Step::KeepLast { id, count } => self.timeline(id).keep_last(*count),
                Step::TimelineTtl { id, ttl_ms } => {
                    self.timeline(id).set_ttl(*ttl_ms, moment.clock_ms);
                }
                Step::Require { .. } => {}
                keyed => self.apply_keyed(keyed),
            }
        }
        let number = batch.to_le_bytes().to_vec();
        self.values.insert(BATCH_KEY.to_vec(), number);
    }

    fn apply_keyed(&mut self, step: &Step) {
        match step {
            Step::Put { key, value } => _ = self.values.insert(vec![*key], value.clone()),
            Step::Delete { key } => _ = self.values.remove(&vec![*key]),
            Step::Add { key, amount } => {
                let sum = self.counter(*key).unwrap_or(0).wrapping_add(*amount);
                self.values.insert(vec![*key], sum.to_le_bytes().to_vec());
            }
            Step::Max { key, value } => {
                let max = self.counter(*key).map_or(*value, |now| now.max(*value));
                self.values.insert(vec![*key], max.to_le_bytes().to_vec());
            }
            other => unreachable!("{other:?} is not of a keyed table"),
        }
    }

    fn timeline(&mut self, id: &Id) -> &mut Timeline {
        self.timelines.entry(id.clone()).or_default()
    }

    /// A value that is not 8 bytes long is no counter.
    fn counter(&self, key: u8) -> Option<i64> {
        let bytes = self.values.get(&vec![key])?;
        Some(i64::from_le_bytes(bytes.as_slice().try_into().ok()?))
    }

    /// The payload of an entry as it was written, and as each amendment made it.
    fn versions(&self, place: &Place, erased: &Erased) -> Vec<Version> {
        let entry = &self.timelines[&place.0].entries[&place.1];
        let none = Vec::new();
        let of = |place| {
            let amendments = self.amendments.get(place).unwrap_or(&none).iter();
            amendments.map(move |amendment| (place, amendment))
        };
        let mut later: Vec<(&Place, &Amendment)> =
            of(place).chain(entry.origin.iter().flat_map(of)).collect();
        // An amendment counts for entries of its own batch and of older ones.
        later.retain(|(_, amendment)| amendment.batch >= entry.batch);
        later.sort_by_key(|(_, amendment)| (amendment.batch, amendment.index));
        let later = later.into_iter().map(|(place, amendment)| {
            let payload = amendment.payload.clone();
            let since = (amendment.batch, amendment.index);
            let erasure = match payload.is_some() {
                true => self.taken_back(place, since, erased),
                false => Erasure::Not,
            };
            Version { payload, erasure }
        });
        let erasure = self.written_payload(place, erased);
        let written = Version { payload: Some(Arc::clone(&entry.payload)), erasure };
        std::iter::once(written).chain(later).collect()
    }

    /// A table is gone, and everything in it. What was amended in it still shows elsewhere.
    fn drop_table(&mut self, table: TableId) {
        self.timelines.retain(|id, _| id.0 != table);
    }

    /// Some entry, whether or not it is shown still.
    pub(crate) fn some_entry(&self, index: usize) -> Option<Place> {
        let count: usize = self.timelines.values().map(|timeline| timeline.entries.len()).sum();
        let places = self
            .timelines
            .iter()
            .flat_map(|(id, timeline)| timeline.entries.keys().map(|seq| (id.clone(), *seq)));
        let index = index.checked_rem(count)?;
        places.into_iter().nth(index)
    }
}

/// The batch of some steps, with its number.
pub(crate) fn batch(values: TableId, number: u64, steps: &[Step]) -> Result<WriteBatch> {
    let mut batch = WriteBatch::new().with_large_from(LARGE_FROM);
    for step in steps {
        match step {
            Step::Send { targets, payload, ttl_ms, from } => {
                let origin = match from {
                    From::Entry(((table, key), seq)) => {
                        Some(Origin { table: *table, key: key.as_slice().into(), seq: *seq })
                    }
                    From::Nowhere | From::First => None,
                };
                let options = AppendOptions {
                    ttl: ttl_ms.map(Duration::from_millis),
                    origin: origin.as_ref(),
                    first_is_origin: *from == From::First,
                    ..AppendOptions::default()
                };
                let targets = targets.iter().map(|(table, key)| (*table, &key[..]));
                batch.append_with(targets, payload, &options)?;
            }
            Step::Amend { place: ((table, key), seq), payload: Some(payload) } => {
                batch.amend(*table, key, *seq, payload)?;
            }
            Step::Amend { place: ((table, key), seq), payload: None } => {
                batch.retract(*table, key, *seq)?;
            }
            Step::Trim { id: (table, key), before } => batch.trim(*table, key, *before)?,
            Step::DeleteRange { id: (table, key), from, to } => match from == to {
                true => batch.delete_entry(*table, key, *from)?,
                false => batch.delete_range(*table, key, *from..=*to)?,
            },
            Step::DeleteTimeline { id: (table, key) } => batch.delete_timeline(*table, key)?,
            Step::KeepLast { id: (table, key), count } => {
                batch.set_keep_last(*table, key, *count)?;
            }
            Step::TimelineTtl { id: (table, key), ttl_ms } => {
                batch.set_timeline_ttl(*table, key, ttl_ms.map(Duration::from_millis))?;
            }
            Step::Put { key, value } => batch.put(values, &[*key], value)?,
            Step::Delete { key } => batch.delete(values, &[*key])?,
            Step::Add { key, amount } => batch.add(values, &[*key], *amount)?,
            Step::Max { key, value } => batch.max(values, &[*key], *value)?,
            Step::Require { key, value } => {
                let (key, value) = (vec![*key].into_boxed_slice(), value.clone());
                batch.require(Precondition::Value { table: values, key, value });
            }
        }
    }
    batch.put(values, BATCH_KEY, &number.to_le_bytes())?;
    Ok(batch)
}

/// The targets of a batch, in the order of the calls.
pub(crate) fn targets(steps: &[Step]) -> impl Iterator<Item = &Id> {
    steps.iter().flat_map(|step| match step {
        Step::Send { targets, .. } => &targets[..],
        _ => &[],
    })
}
