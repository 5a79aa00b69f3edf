//! The memtable against ordered maps.

use crate::harness::{each, ensure};
use crate::mutation::{length, mutate};
use std::collections::BTreeMap;
use std::ops::Bound;
use tidelog_engine::testing::Random;
use tidelog_engine::testing::fuzzing::batch::{assign, body};
use tidelog_engine::testing::fuzzing::memtable::{Table, Version, operation_byte};
use tidelog_engine::{KeyedOperation, TableId, WriteBatch};

/// Two tables of timelines, two of keys.
const TIMELINES: [TableId; 2] = [TableId(16), TableId(19)];
const KEYS: [TableId; 2] = [TableId(17), TableId(18)];

/// What an entry of the model is: seq, commit, time, payload.
type Row = (u64, u64, u64, Vec<u8>);

#[derive(Default)]
struct Model {
    timelines: BTreeMap<(TableId, Vec<u8>), Vec<Row>>,
    /// Newest first.
    versions: BTreeMap<(TableId, Vec<u8>), Vec<Version>>,
    /// The seqs that were given out, those of before this memtable included.
    seqs: BTreeMap<(TableId, Vec<u8>), u64>,
}

/// Commits are applied and read back at any snapshot; then a damaged body is applied.
pub(crate) fn run(seed: u64, events: u64) -> Result<(), String> {
    each(seed, events, 32 << 20, |random| {
        let base = (random.below(1 << 40), random.below(1 << 40));
        let table = Table::new(base.0, base.1);
        let mut model = Model::default();
        let (mut commit, mut time_ms) = base;
        let mut last_body = Vec::new();
        for _ in 0..random.below(60) {
            commit += 1 + random.below(2);
            time_ms += random.below(4) * random.below(1000);
            last_body = model.commit(random, commit, time_ms)?;
            table.apply(last_body.clone(), commit, time_ms)?;
            let snapshot = base.0 + random.below(commit - base.0 + 2);
            model.check_one(random, &table, snapshot, time_ms)?;
        }
        model.check_all(random, &table)?;
        for _ in 0..4 {
            hostile(random, &table, &mut last_body, commit, time_ms);
        }
        Ok(())
    })
}

/// A damaged body: refused, or applied like any other. Never a panic; what it leaves can be read.
fn hostile(random: &mut Random, whole: &Table, body: &mut Vec<u8>, commit: u64, time_ms: u64) {
    mutate(random, body);
    let fresh = Table::new(commit, time_ms);
    let table = if random.chance(1, 4) { whole } else { &fresh };
    if table.apply(body.clone(), commit + 1, time_ms).is_ok() {
        look(table);
    }
}

/// A body for a new table: refused, or applied.
pub(crate) fn raw(bytes: &[u8]) -> Result<(), String> {
    let table = Table::new(7, 1000);
    if table.apply(bytes.to_vec(), 8, 1001).is_ok() {
        look(&table);
    }
    Ok(())
}

/// Bodies that can be applied.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    for seed in 0..40 {
        let body = Model::default().commit(&mut Random::new(seed), 8, 1001);
        bodies.push(body.expect("the batch is possible"));
    }
    bodies.retain(|body| body.len() < 400);
    bodies.sort_by_key(Vec::len);
    bodies.into_iter().step_by(4).collect()
}

/// Reads all that there is.
fn look(table: &Table) {
    for (id, timelines) in table.tables() {
        if !timelines {
            let _ = table.all_versions(id, Bound::Unbounded);
            continue;
        }
        for key in table.timelines(id, Bound::Unbounded) {
            let _ = table.entries_at(id, &key, u64::MAX);
        }
    }
}

impl Model {
    /// Draws a batch and takes it over; gives its body.
    fn commit(&mut self, random: &mut Random, commit: u64, time: u64) -> Result<Vec<u8>, String> {
        let mut batch = WriteBatch::new();
        let mut payloads = Vec::new();
        for index in 0..=u32::try_from(random.below(5)).expect("it is below 5") {
            if random.chance(1, 2) {
                self.write_key(random, &mut batch, commit, index)?;
                continue;
            }
            let targets: Vec<_> = (0..=length(random, 6))
                .map(|_| (TIMELINES[random.index(2)], key(random)))
                .collect();
            let mut payload = vec![0; length(random, 500)];
            random.fill(&mut payload);
            let list = targets.iter().map(|(table, key)| (*table, &key[..]));
            let first_is_origin = random.chance(1, 2);
            batch
                .fan_out(list, &payload, None, None, first_is_origin)
                .map_err(|error| error.to_string())?;
            payloads.extend(std::iter::repeat_n(payload, targets.len()));
        }
        let mut payloads = payloads.into_iter();
        assign(&mut batch, |table, key| {
            let name = (table, key.to_vec());
            let seq = self.seqs.entry(name.clone()).or_insert_with(|| random.below(5));
            // Mostly dense; a caller that gives its own ids jumps.
            *seq += 1 + random.below(8) / 7 * random.below(1 << 34);
            let payload = payloads.next().expect("a payload for each target");
            self.timelines.entry(name).or_default().push((*seq, commit, time, payload));
            *seq
        });
        Ok(body(&batch))
    }

    fn write_key(
        &mut self,
        random: &mut Random,
        batch: &mut WriteBatch,
        commit: u64,
        index: u32,
    ) -> Result<(), String> {
        let (table, key) = (KEYS[random.index(2)], key(random));
        let number = i64::from_le_bytes(random.next_u64().to_le_bytes());
        let (operation, value) = match random.below(5) {
            0 | 1 => (KeyedOperation::Put, number.to_le_bytes()[..random.index(9)].to_vec()),
            2 => (KeyedOperation::Delete, Vec::new()),
            3 => (KeyedOperation::Add, number.to_le_bytes().to_vec()),
            _ => (KeyedOperation::Max, number.to_le_bytes().to_vec()),
        };
        match operation {
            KeyedOperation::Put => batch.put(table, &key, &value),
            KeyedOperation::Delete => batch.delete(table, &key),
            KeyedOperation::Add => batch.add(table, &key, number),
            KeyedOperation::Max => batch.max(table, &key, number),
            KeyedOperation::Mark => unreachable!("not for users' tables"),
        }
        .map_err(|error| error.to_string())?;
        let operation = operation_byte(operation);
        let version = Version { key: key.clone(), commit, index, operation, value };
        self.versions.entry((table, key)).or_default().insert(0, version);
        Ok(())
    }

    /// One timeline and one key, at a snapshot.
    fn check_one(
        &self,
        random: &mut Random,
        table: &Table,
        snapshot: u64,
        time: u64,
    ) -> Result<(), String> {
        let (id, key) = (TIMELINES[random.index(2)], key(random));
        self.check_timeline(table, id, &key, snapshot)?;
        let threshold = time.saturating_sub(random.below(3000));
        let rows = self.timelines.get(&(id, key.clone())).map_or(&[][..], Vec::as_slice);
        let seen = rows.iter().filter(|row| row.1 <= snapshot && row.2 < threshold).count();
        let rank = table.rank_time(id, &key, snapshot, threshold);
        ensure(rank == seen, || format!("{rank} entries before {threshold}, not {seen}"))?;
        self.check_key(table, KEYS[random.index(2)], &key, snapshot)
    }

    fn check_timeline(
        &self,
        table: &Table,
        id: TableId,
        key: &[u8],
        snapshot: u64,
    ) -> Result<(), String> {
        let rows = self.timelines.get(&(id, key.to_vec()));
        let expected = rows
            .map(|rows| rows.iter().filter(|row| row.1 <= snapshot).cloned().collect::<Vec<Row>>());
        let found = table.entries_at(id, key, snapshot).map(|entries| {
            entries
                .into_iter()
                .map(|entry| (entry.seq, entry.commit, entry.time_ms, entry.payload.to_vec()))
                .collect::<Vec<Row>>()
        });
        ensure(found == expected, || {
            format!("{id:?} {key:?} at {snapshot}: {found:?}, the model has {expected:?}")
        })
    }

    fn check_key(
        &self,
        table: &Table,
        id: TableId,
        key: &[u8],
        snapshot: u64,
    ) -> Result<(), String> {
        let all = self.versions.get(&(id, key.to_vec())).map_or(&[][..], Vec::as_slice);
        let mut expected = Vec::new();
        for version in all.iter().filter(|version| version.commit <= snapshot) {
            expected.push(version.clone());
            let base = [KeyedOperation::Put, KeyedOperation::Delete].map(operation_byte);
            if base.contains(&version.operation) {
                break;
            }
        }
        let found = table.versions(id, key, snapshot);
        ensure(found == expected, || {
            format!("{id:?} {key:?} at {snapshot}: {found:?}, the model has {expected:?}")
        })?;
        let newer = all.iter().any(|version| version.commit > snapshot);
        ensure(table.has_write_after(id, key, snapshot) == newer, || {
            format!("{id:?} {key:?}: written after {snapshot}: {newer}")
        })
    }

    /// Everything, from a random key on where there is an order.
    fn check_all(&self, random: &mut Random, table: &Table) -> Result<(), String> {
        for (id, key) in self.timelines.keys() {
            self.check_timeline(table, *id, key, u64::MAX)?;
        }
        let from = key(random);
        let bound = [Bound::Included(&from[..]), Bound::Excluded(&from), Bound::Unbounded];
        let bound = bound[random.index(3)];
        let within = |key: &[u8]| match bound {
            Bound::Included(from) => key >= from,
            Bound::Excluded(from) => key > from,
            Bound::Unbounded => true,
        };
        for id in TIMELINES {
            let keys = self.timelines.keys().filter(|(table, key)| *table == id && within(key));
            let expected: Vec<_> = keys.map(|(_, key)| key.clone()).collect();
            let found = table.timelines(id, bound);
            ensure(found == expected, || format!("{id:?}: {found:?}, not {expected:?}"))?;
        }
        for id in KEYS {
            let keys = self.versions.iter().filter(|((t, key), _)| *t == id && within(key));
            let expected: Vec<_> = keys.flat_map(|(_, versions)| versions.clone()).collect();
            let found = table.all_versions(id, bound);
            ensure(found == expected, || format!("{id:?}: {found:?}, not {expected:?}"))?;
        }
        let entries: usize = self.timelines.values().map(Vec::len).sum();
        let versions: usize = self.versions.values().map(Vec::len).sum();
        let (found, expected) = (table.entries(), (entries + versions) as u64);
        ensure(found == expected, || format!("{found} entries, not {expected}"))
    }
}

/// One of a few keys, some of them a prefix of others, one of the greatest length.
fn key(random: &mut Random) -> Vec<u8> {
    match random.below(30) {
        0 => vec![b'k'; 1024],
        number => vec![b'k'; usize::try_from(1 + number % 10).expect("a small number")],
    }
}
