//! Any list of batches, read at any snapshot, against maps of what they wrote.

use super::Leader;
use crate::batch::{KeyedOperation, WriteBatch};
use crate::entry::{Direction, Entry, KeyedVersion, TableId};
use crate::memtable::Memtable;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

#[derive(Debug, Clone)]
enum Write {
    Message { targets: Vec<(u32, u8)>, payload: Vec<u8>, event_ms: Option<i64> },
    Keyed { operation: KeyedOperation, table: u32, key: u8, value: i64 },
}

fn write() -> impl Strategy<Value = Write> {
    let targets = prop::collection::vec((1u32..4, 0u8..12), 1..6);
    let payload = prop::collection::vec(any::<u8>(), 0..20);
    let message = (targets, payload, any::<Option<i64>>())
        .prop_map(|(targets, payload, event_ms)| Write::Message { targets, payload, event_ms });
    let operation = prop::sample::select(vec![
        KeyedOperation::Put,
        KeyedOperation::Delete,
        KeyedOperation::Add,
        KeyedOperation::Max,
    ]);
    let keyed = (operation, 25u32..27, 0u8..6, any::<i64>())
        .prop_map(|(operation, table, key, value)| Write::Keyed { operation, table, key, value });
    prop_oneof![3 => message, 2 => keyed]
}

/// What the memtable should hold.
#[derive(Default)]
struct Model {
    timelines: BTreeMap<(u32, Vec<u8>), Vec<Entry>>,
    /// In the order of the list: by key, newest first.
    keyed: BTreeMap<u32, Vec<KeyedVersion>>,
}

impl Model {
    fn batch(&mut self, writes: &[Write], commit: u64, time_ms: u64) -> WriteBatch {
        let mut batch = WriteBatch::new();
        for (index, write) in (0u32..).zip(writes) {
            match write {
                Write::Message { targets, payload, event_ms } => {
                    let keys: Vec<_> =
                        targets.iter().map(|(table, key)| (TableId(*table), [*key])).collect();
                    let list = keys.iter().map(|(table, key)| (*table, &key[..]));
                    batch.fan_out(list, payload, *event_ms, None, false).unwrap();
                    for (table, key) in targets {
                        let run = self.timelines.entry((*table, vec![*key])).or_default();
                        run.push(Entry {
                            seq: run.len() as u64 + 1,
                            commit,
                            time_ms,
                            event_ms: *event_ms,
                            ttl_ms: None,
                            origin: None,
                            payload: crate::entry::Payload::from_vec(payload.clone()),
                            revision: None,
                            erased: false,
                        });
                    }
                }
                Write::Keyed { operation, table, key, value } => {
                    let (id, name) = (TableId(*table), &[*key][..]);
                    match operation {
                        KeyedOperation::Put => batch.put(id, name, &value.to_le_bytes()),
                        KeyedOperation::Delete => batch.delete(id, name),
                        KeyedOperation::Add => batch.add(id, name, *value),
                        KeyedOperation::Max => batch.max(id, name, *value),
                        KeyedOperation::Mark => unreachable!("not for users' tables"),
                    }
                    .unwrap();
                    let value = match operation {
                        KeyedOperation::Delete => Vec::new(),
                        _ => value.to_le_bytes().to_vec(),
                    };
                    let value = crate::entry::Payload::from_vec(value);
                    let (key, operation) = (name.into(), *operation);
                    let version = KeyedVersion { key, commit, index, time_ms, operation, value };
                    self.keyed.entry(*table).or_default().push(version);
                }
            }
        }
        for versions in self.keyed.values_mut() {
            let newest_first = |v: &KeyedVersion| std::cmp::Reverse((v.commit, v.index));
            versions.sort_by_key(|version| (version.key.clone(), newest_first(version)));
        }
        batch
    }

    fn check(&self, memtable: &Arc<Memtable>, snapshot: u64) {
        for ((table, key), entries) in &self.timelines {
            let visible = entries.iter().filter(|entry| entry.commit <= snapshot).count();
            let run = memtable.run(TableId(*table), key).expect("a run for each timeline");
            assert_eq!(run.count_at(snapshot), visible);
            assert_eq!((run.key(), run.first_seq()), (&key[..], 1));
            let found = run.cursor(0, Direction::Forward).take(visible).map(Result::unwrap);
            for (found, expected) in found.zip(entries) {
                assert_eq!(format!("{found:?}"), format!("{expected:?}"));
            }
            for time_ms in [0, 1000, 1007, 1100, u64::MAX] {
                let before = entries[..visible].iter().filter(|e| e.time_ms < time_ms).count();
                assert_eq!(run.rank_time(time_ms, visible), before);
            }
            for seq in 0..visible as u64 + 2 {
                let index = usize::try_from(seq.saturating_sub(1)).unwrap().min(visible);
                assert_eq!(run.lower_bound(seq, visible), index);
            }
        }
        for (table, versions) in &self.keyed {
            let table = TableId(*table);
            assert!(memtable.keyed_range(table, Bound::Unbounded).eq(versions.iter().cloned()));
            for key in 0u8..7 {
                let of_key = versions.iter().filter(|v| *v.key == [key]);
                let seen: Vec<_> = of_key.clone().filter(|v| v.commit <= snapshot).collect();
                let stop = seen.iter().position(|v| {
                    matches!(v.operation, KeyedOperation::Put | KeyedOperation::Delete)
                });
                let expected = &seen[..stop.map_or(seen.len(), |stop| stop + 1)];
                assert!(
                    memtable.versions(table, &[key], snapshot).iter().eq(expected.iter().copied())
                );
                let after = of_key.clone().any(|v| v.commit > snapshot);
                assert_eq!(memtable.has_write_after(table, &[key], snapshot), after);
                let from = versions.iter().filter(|v| *v.key > [key][..]).cloned();
                assert!(memtable.keyed_range(table, Bound::Excluded(&[key])).eq(from));
                let from = versions.iter().filter(|v| *v.key >= [key][..]).cloned();
                assert!(memtable.keyed_range(table, Bound::Included(&[key])).eq(from));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_memtable_equals_its_model(
        batches in prop::collection::vec(
            (prop::collection::vec(write(), 1..6), 1u64..4, 0u64..9),
            1..40,
        ),
    ) {
        let mut leader = Leader::new(50, 1000);
        let mut model = Model::default();
        let (mut commit, mut time_ms) = (50, 1000);
        let mut entries = 0;
        for (writes, gap, pause) in &batches {
            let batch = model.batch(writes, commit, time_ms);
            entries += batch.append_count() as u64;
            entries += writes.iter().filter(|w| matches!(w, Write::Keyed { .. })).count() as u64;
            leader.commit(batch, commit, time_ms);
            (commit, time_ms) = (commit + gap, time_ms + pause);
        }
        prop_assert_eq!(leader.memtable.entries(), entries);
        for snapshot in [0, 49, 50, 57, (50 + commit) / 2, commit, u64::MAX] {
            model.check(&leader.memtable, snapshot);
        }
        let listed: usize = leader.memtable.tables().iter()
            .map(|(table, _)| leader.memtable.runs_sorted(*table, Bound::Unbounded).len()).sum();
        prop_assert_eq!(listed, model.timelines.len());
    }

    #[test]
    fn any_bytes_are_safe(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let memtable = Arc::new(Memtable::new(1, 0));
        let _ = memtable.apply(Arc::new(bytes), 1, 0);
    }
}
