//! Random batches: writes of every kind over some timeline tables and a keyed one.

use super::reference::{From, Id, LARGE_FROM, Reference, Step};
use super::sim::PROBE;
use std::time::Duration;
use tidelog_engine::Durability;
use tidelog_engine::testing::Random;

/// Timelines of each table.
const TIMELINES: u64 = 4;

/// The steps of one batch that can be committed to the store of the reference.
pub(crate) fn steps(random: &mut Random, reference: &Reference) -> Vec<Step> {
    let count = 1 + random.below(3);
    (0..count).filter_map(|_| step(random, reference)).collect()
}

/// A timeline of a table that is there. Ids have different lengths, some are a prefix of others.
fn id(random: &mut Random, reference: &Reference) -> Id {
    let tables = reference.tables.iter().filter_map(|table| table.state.as_ref());
    let tables: Vec<_> = tables.map(|state| state.id).collect();
    let number = random.below(TIMELINES);
    let mut key = vec![b't'; 1 + usize::try_from(number % 3).unwrap()];
    key.push(u8::try_from(number).unwrap());
    (tables[random.index(tables.len())], key)
}

fn step(random: &mut Random, reference: &Reference) -> Option<Step> {
    let kind = random.below(60);
    if kind < 30 {
        return Some(send(random, reference));
    }
    let contents = reference.contents();
    let key = u8::try_from(random.below(6)).unwrap();
    let amount = i64::try_from(random.below(1000)).unwrap() - 500;
    let entry = contents.some_entry(random.index(1 << 20));
    if kind < 40 {
        let payload = random.chance(2, 3).then(|| payload(random));
        return Some(Step::Amend { place: entry?, payload });
    }
    let id = id(random, reference);
    let latest = contents.timelines.get(&id).map_or(0, |timeline| timeline.latest);
    // Mostly near the end, where something is still shown.
    let seq = (latest + 2).saturating_sub(random.below(20)).max(1);
    Some(match kind {
        40..43 => Step::Trim { id, before: seq },
        43..46 => Step::DeleteRange { id, from: seq, to: seq },
        46..49 => Step::DeleteRange { id, from: seq, to: seq + random.below(6) },
        49 => Step::DeleteTimeline { id },
        50 => {
            let count = random.chance(2, 3).then(|| 1 + random.below(20));
            Step::KeepLast { id, count }
        }
        51 | 52 => {
            let ttl_ms = random.chance(2, 3).then(|| 3_000 + random.below(30_000));
            Step::TimelineTtl { id, ttl_ms }
        }
        53 | 54 => Step::Put { key, value: vec![key; random.index(60)] },
        55 => Step::Delete { key },
        56 | 57 => Step::Add { key, amount },
        _ => Step::Max { key, value: amount },
    })
}

/// When a commit is acknowledged: once in so many at the end of a sync.
pub(crate) fn durability(random: &mut Random, sync_each: u64) -> Durability {
    match random.below(2) {
        _ if random.chance(1, sync_each) => Durability::Sync,
        0 => Durability::Interval(Duration::from_millis(random.below(1_000))),
        _ => Durability::Buffered,
    }
}

fn payload(random: &mut Random) -> Vec<u8> {
    let length = match random.below(20) {
        0 => LARGE_FROM + random.index(4_000),
        1..8 => 200 + random.index(900),
        _ => random.index(100),
    };
    // Some that cannot be compressed at all, and none that another has.
    let front = if random.chance(1, 3) { length } else { length.min(PROBE) };
    let mut payload = vec![b'~'; length];
    random.fill(&mut payload[..front]);
    payload
}

/// A message to some timelines.
pub(crate) fn send(random: &mut Random, reference: &Reference) -> Step {
    let mut targets: Vec<Id> = Vec::new();
    for _ in 0..1 + random.below(4) * random.below(2) {
        let id = id(random, reference);
        if !targets.contains(&id) {
            targets.push(id);
        }
    }
    let from = from(random, reference, targets.len());
    let ttl_ms = random.chance(1, 4).then(|| 1 + random.below(30_000));
    Step::Send { targets, payload: payload(random), ttl_ms, from }
}

/// What a message to so many timelines comes from: nothing, the first of them, or an entry.
pub(crate) fn from(random: &mut Random, reference: &Reference, targets: usize) -> From {
    let entry = reference.contents().some_entry(random.index(1 << 20));
    match (random.below(8), entry) {
        (0, Some(place)) => From::Entry(place),
        (1, _) => From::Nowhere,
        _ if targets > 1 => From::First,
        _ => From::Nowhere,
    }
}
