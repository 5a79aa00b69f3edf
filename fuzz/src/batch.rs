//! Frame bodies: what a batch writes is what is read; damage never gives more than there is.

use crate::harness::{each, ensure};
use crate::mutation::{length, mutate, noise};
use std::time::Duration;
use tidelog_engine::testing::Random;
use tidelog_engine::testing::fuzzing::batch::{Record, assign, body, records};
use tidelog_engine::{AppendOptions, KeyedOperation, Origin, TableId, WriteBatch};

const PAYLOAD_MAX: usize = 3000;

/// A batch is written, read, damaged and read again.
pub(crate) fn run(seed: u64, events: u64) -> Result<(), String> {
    each(seed, events, 4 << 20, |random| {
        let (mut batch, mut expected) = (WriteBatch::new(), Vec::new());
        for _ in 0..random.below(6) {
            expected.push(add(random, &mut batch)?);
        }
        if random.chance(1, 2) {
            let first = random.below(1 << 40);
            let mut next = first;
            assign(&mut batch, |_, _| {
                next += 1;
                next
            });
            assign_expected(&mut expected, first);
        }
        let mut bytes = body(&batch);
        let read = records(&bytes);
        ensure(read == (expected.clone(), None), || format!("{expected:?} became {read:?}"))?;
        for _ in 0..4 {
            mutate(random, &mut bytes);
            raw(&bytes)?;
        }
        raw(&noise(random, 200))
    })
}

/// No more comes out of a body than there is in it.
pub(crate) fn raw(bytes: &[u8]) -> Result<(), String> {
    let (found, error) = records(bytes);
    let content: usize = found.iter().map(content_bytes).sum();
    ensure(content <= bytes.len(), || {
        format!("{content} bytes of content in {} bytes, {error:?}", bytes.len())
    })
}

/// Some short bodies, with seqs and without.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    for seed in 0..100 {
        let (random, mut batch) = (&mut Random::new(seed), WriteBatch::new());
        for _ in 0..=seed % 3 {
            add(random, &mut batch).expect("the record is possible");
        }
        if seed % 2 == 0 {
            assign(&mut batch, |_, _| 1 + seed);
        }
        bodies.push(body(&batch));
    }
    bodies.retain(|body| body.len() < 400);
    bodies.sort_by_key(Vec::len);
    bodies.into_iter().step_by(4).collect()
}

/// Adds something to the batch, and tells what should be read back.
fn add(random: &mut Random, batch: &mut WriteBatch) -> Result<Record, String> {
    let text = |error: tidelog_engine::Error| error.to_string();
    if random.chance(1, 4) {
        return amend(random, batch);
    }
    if random.chance(1, 6) {
        let (table, key, seq) = (TableId(18), key(random), random.below(1 << 40));
        batch.trim(table, &key, seq).map_err(text)?;
        let value = [&[0][..], &seq.to_le_bytes(), &[0; 40]].concat();
        return Ok(Record::Mark { table, key, value });
    }
    if random.chance(1, 2) {
        let (table, key) = (TableId(17), key(random));
        let value = payload(random);
        let number = i64::from_le_bytes(random.next_u64().to_le_bytes());
        let (operation, value) = match random.below(4) {
            0 => (KeyedOperation::Put, value),
            1 => (KeyedOperation::Delete, Vec::new()),
            2 => (KeyedOperation::Add, number.to_le_bytes().to_vec()),
            _ => (KeyedOperation::Max, number.to_le_bytes().to_vec()),
        };
        match operation {
            KeyedOperation::Put => batch.put(table, &key, &value),
            KeyedOperation::Delete => batch.delete(table, &key),
            KeyedOperation::Add => batch.add(table, &key, number),
            KeyedOperation::Max => batch.max(table, &key, number),
            KeyedOperation::Mark => unreachable!("not for users' tables"),
        }
        .map_err(text)?;
        return Ok(Record::Keyed { operation, table, key, value });
    }
    let targets: Vec<_> = (0..=random.below(5))
        .map(|number| (TableId(u32::try_from(number).expect("below 6") + 16), key(random), 0))
        .collect();
    let event_ms = random.chance(1, 2).then(|| i64::from_le_bytes(random.next_u64().to_le_bytes()));
    let first_is_origin = random.chance(1, 3);
    let origin = (!first_is_origin && random.chance(1, 2)).then(|| Origin {
        table: TableId(40),
        key: key(random).into(),
        seq: random.next_u64(),
    });
    let payload = payload(random);
    let ttl_ms = random.chance(1, 3).then(|| 1 + (random.next_u64() >> (1 + random.below(62))));
    let list = targets.iter().map(|(table, key, _)| (*table, &key[..]));
    let (ttl, origin_ref) = (ttl_ms.map(Duration::from_millis), origin.as_ref());
    let options = AppendOptions { event_ms, ttl, origin: origin_ref, first_is_origin };
    batch.append_with(list, &payload, &options).map_err(text)?;
    let mut origins = vec![origin; targets.len()];
    if first_is_origin {
        let (table, key, seq) = &targets[0];
        let first = Origin { table: *table, key: key[..].into(), seq: *seq };
        origins[1..].fill(Some(first));
    }
    Ok(Record::Message { event_ms, ttl_ms, payload, targets, origins })
}

/// Adds an amendment, or a retraction.
fn amend(random: &mut Random, batch: &mut WriteBatch) -> Result<Record, String> {
    let (table, key, seq) = (TableId(18), key(random), 1 + random.below(1 << 40));
    let payload = random.chance(2, 3).then(|| payload(random));
    match &payload {
        Some(payload) => batch.amend(table, &key, seq, payload),
        None => batch.retract(table, &key, seq),
    }
    .map_err(|error| error.to_string())?;
    Ok(Record::Amend { target: (table, key, seq), payload })
}

/// What the leader's assignment changes.
fn assign_expected(records: &mut [Record], first: u64) {
    let mut next = first;
    for record in records {
        let Record::Message { targets, origins, .. } = record else {
            continue;
        };
        for target in targets.iter_mut() {
            next += 1;
            target.2 = next;
        }
        let origin_is_first = origins[0].is_none();
        for origin in origins.iter_mut().skip(1).flatten().filter(|_| origin_is_first) {
            origin.seq = targets[0].2;
        }
    }
}

fn key(random: &mut Random) -> Vec<u8> {
    let mut key = vec![0; 1 + length(random, 1023)];
    random.fill(&mut key);
    key
}

fn payload(random: &mut Random) -> Vec<u8> {
    let mut payload = vec![0; length(random, PAYLOAD_MAX)];
    random.fill(&mut payload);
    payload
}

/// Bytes of a record that must each have come from a byte of the body.
fn content_bytes(record: &Record) -> usize {
    match record {
        Record::Keyed { key, value, .. } | Record::Mark { key, value, .. } => {
            key.len() + value.len()
        }
        Record::Amend { target, payload } => {
            target.1.len() + 10 + payload.as_ref().map_or(0, Vec::len)
        }
        Record::Message { payload, targets, .. } => {
            payload.len() + targets.iter().map(|(_, key, _)| key.len() + 6).sum::<usize>()
        }
    }
}
