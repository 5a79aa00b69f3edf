//! What a store holds, as plain maps: read from it, or made by applying changes.

use crate::harness::ensure;
use std::collections::BTreeMap;
use std::ops::Bound;
use tidelog_engine::{Direction, Result, Snapshot, TableId, WriteBatch};

/// The tables of the fuzzed store.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tables {
    pub(super) messages: TableId,
    pub(super) values: TableId,
}

/// One change of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// A payload to timelines; each with its seq, 0 as long as it is not known.
    Send {
        targets: Vec<(Vec<u8>, u64)>,
        payload: Vec<u8>,
    },
    Put {
        key: Vec<u8>,
        value: Vec<u8>,
    },
    Delete {
        key: Vec<u8>,
    },
    Add {
        key: Vec<u8>,
        amount: i64,
    },
    Max {
        key: Vec<u8>,
        value: i64,
    },
}

/// Payloads of so many bytes are large.
const LARGE_FROM: usize = 1300;

/// Entries by timeline, values by key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) timelines: BTreeMap<Vec<u8>, Vec<(u64, Vec<u8>)>>,
    pub(super) values: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Tables {
    /// The batch of some changes.
    pub(super) fn batch(self, changes: &[Change]) -> Result<WriteBatch> {
        // The longest third of all payloads goes to extents of its own.
        let mut batch = WriteBatch::new().with_large_from(LARGE_FROM);
        for change in changes {
            match change {
                Change::Send { targets, payload } => {
                    let first_is_origin = targets.len() > 1;
                    let list = targets.iter().map(|(key, _)| (self.messages, &key[..]));
                    batch.fan_out(list, payload, None, None, first_is_origin)?;
                }
                Change::Put { key, value } => batch.put(self.values, key, value)?,
                Change::Delete { key } => batch.delete(self.values, key)?,
                Change::Add { key, amount } => batch.add(self.values, key, *amount)?,
                Change::Max { key, value } => batch.max(self.values, key, *value)?,
            }
        }
        Ok(batch)
    }
}

impl Contents {
    /// Takes changes with known seqs.
    pub(super) fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Send { targets, payload } => {
                    for (key, seq) in targets {
                        let entries = self.timelines.entry(key.clone()).or_default();
                        entries.push((*seq, payload.clone()));
                    }
                }
                Change::Put { key, value } => {
                    self.values.insert(key.clone(), value.clone());
                }
                Change::Delete { key } => {
                    self.values.remove(key);
                }
                Change::Add { key, amount } => {
                    let sum = self.counter(key).unwrap_or(0).wrapping_add(*amount);
                    self.values.insert(key.clone(), sum.to_le_bytes().to_vec());
                }
                Change::Max { key, value } => {
                    let max = self.counter(key).map_or(*value, |now| now.max(*value));
                    self.values.insert(key.clone(), max.to_le_bytes().to_vec());
                }
            }
        }
    }

    /// A value that is not 8 bytes long is no counter.
    fn counter(&self, key: &[u8]) -> Option<i64> {
        let bytes = self.values.get(key)?.as_slice().try_into().ok()?;
        Some(i64::from_le_bytes(bytes))
    }

    /// The changes with the seqs that they have in `self`, where they come behind `before`.
    pub(super) fn numbered_like(&self, before: &Contents, changes: &[Change]) -> Vec<Change> {
        let mut counts: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        let mut numbered = changes.to_vec();
        for change in &mut numbered {
            let Change::Send { targets, .. } = change else {
                continue;
            };
            for (key, seq) in targets {
                let start = before.timelines.get(key).map_or(0, Vec::len);
                let index = counts.entry(key.clone()).or_insert(start);
                let entry = self.timelines.get(key).and_then(|entries| entries.get(*index));
                *seq = entry.map_or(0, |(seq, _)| *seq);
                *index += 1;
            }
        }
        numbered
    }

    /// Everything that a snapshot shows, read in every way that must agree.
    pub(super) fn read(snapshot: &Snapshot, tables: Tables) -> Result<Contents> {
        let mut contents = Contents::default();
        for timeline in snapshot.timelines(tables.messages, b"", None)? {
            let key = timeline?.key.to_vec();
            let scan = |direction| -> Result<Vec<(u64, Vec<u8>)>> {
                let entries = snapshot.scan(tables.messages, &key, 0, u64::MAX, direction)?;
                entries.map(|entry| entry.map(|e| (e.seq, e.payload.to_vec()))).collect()
            };
            let forward = scan(Direction::Forward)?;
            let mut backward = scan(Direction::Backward)?;
            backward.reverse();
            assert!(forward == backward, "both directions of {key:?} agree");
            assert!(forward.is_sorted_by(|one, next| one.0 < next.0), "seqs of {key:?} rise");
            assert_eq!(snapshot.len(tables.messages, &key)?, forward.len() as u64);
            if let Some((seq, payload)) = forward.last() {
                assert!(snapshot.latest_seq(tables.messages, &key)? >= *seq);
                let entry = snapshot.get(tables.messages, &key, *seq)?;
                assert_eq!(entry.map(|entry| entry.payload.to_vec()).as_ref(), Some(payload));
                contents.timelines.insert(key, forward);
            }
        }
        for pair in snapshot.values(tables.values, Bound::Unbounded, Bound::Unbounded)? {
            let (key, value) = pair?;
            let read = snapshot.value(tables.values, &key)?;
            assert_eq!(read.as_deref(), Some(&value[..]), "a listed value is read");
            contents.values.insert(key.to_vec(), value.to_vec());
        }
        Ok(contents)
    }

    /// The first difference, in words.
    pub(super) fn compare(&self, expected: &Contents) -> std::result::Result<(), String> {
        let keys = self.timelines.keys().chain(expected.timelines.keys());
        for key in keys {
            let seqs = |contents: &Contents| -> Vec<(u64, usize)> {
                let entries = contents.timelines.get(key).into_iter().flatten();
                entries.map(|(seq, payload)| (*seq, payload.len())).collect()
            };
            ensure(self.timelines.get(key) == expected.timelines.get(key), || {
                let (found, expected) = (seqs(self), seqs(expected));
                format!("{key:?} holds {found:?} (seq, length), expected {expected:?}")
            })?;
        }
        ensure(self.values == expected.values, || {
            format!("values {:?}, expected {:?}", self.values, expected.values)
        })
    }
}
