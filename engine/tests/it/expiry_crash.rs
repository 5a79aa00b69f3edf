//! Power is lost at every few disk operations of a workload whose entries expire while it runs.
//!
//! What must hold afterwards: what was acknowledged and is alive is there; what has expired is not;
//! what was hidden stays hidden; every timeline goes on behind the last seq that was acknowledged,
//! and is listed, also when all its entries were dropped; and the background work goes on.

use super::world::{Process, World, tiny};
use std::collections::BTreeMap;
use std::time::Duration;
use tidelog_engine::testing::{CrashPolicy, Random};
use tidelog_engine::{Direction, Durability, Engine, Result, TableId, TableOptions, WriteBatch};

const TTL_MS: u64 = 2000;
const YEAR_MS: i64 = 365 * 24 * 3600 * 1000;

/// What the workload was told.
#[derive(Default)]
struct Reached {
    table: Option<TableId>,
    /// Commit times of the entries of each timeline, from seq 1 on.
    acknowledged: BTreeMap<Vec<u8>, Vec<u64>>,
    /// The lowest seq that was still shown when it was looked at last, by timeline.
    shown_from: BTreeMap<Vec<u8>, u64>,
}

fn run(world: &World, batches: u64) -> Reached {
    let mut reached = Reached::default();
    // The first error ends the process, whatever it was doing.
    let _ = try_run(world, batches, &mut reached);
    reached
}

fn try_run(world: &World, batches: u64, reached: &mut Reached) -> Result<()> {
    let process = world.open(&tiny())?;
    let outcome = (|| {
        let options = TableOptions::timeline().ttl(Duration::from_millis(TTL_MS));
        let table = process.engine.create_table("sync", options)?;
        reached.table = Some(table);
        let mut random = Random::new(world.seed);
        for batch in 0..batches {
            // The later ones get nothing in the second half: only their records keep their seqs.
            let timelines = if batch < batches / 2 { 8 } else { 3 };
            let key = vec![b'a' + u8::try_from(random.below(timelines)).unwrap()];
            let mut writes = WriteBatch::new();
            writes.append(table, &key, &[b'.'; 700], None)?;
            let committed = process.engine.commit(writes, Durability::Sync)?;
            let times = reached.acknowledged.entry(key.clone()).or_default();
            times.push(committed.time_ms);
            assert_eq!(committed.seqs, [times.len() as u64]);
            if let Some(first) = shown(&process.engine, table, &key)?.first() {
                reached.shown_from.insert(key, *first);
            }
            world.clock.advance(Duration::from_millis(90 + random.below(60)));
            if batch % 40 == 20 {
                world.clock.jump_wall(YEAR_MS);
            } else if batch % 40 == 30 {
                world.clock.jump_wall(-YEAR_MS);
            }
            process.scheduler.run_until_idle(usize::try_from(batch % 6).unwrap() * 4);
        }
        process.engine.close()
    })();
    process.kill();
    outcome
}

fn shown(engine: &Engine, table: TableId, key: &[u8]) -> Result<Vec<u64>> {
    let scan = engine.snapshot().scan(table, key, 0, u64::MAX, Direction::Forward)?;
    scan.map(|entry| entry.map(|entry| entry.seq)).collect()
}

fn check(world: &World, reached: &Reached, context: &str) {
    let process = world.open(&tiny()).unwrap_or_else(|error| panic!("{context}: {error}"));
    let engine = &process.engine;
    let Some(table) = engine.table("sync").map(|table| table.id) else {
        assert!(reached.table.is_none(), "{context}: a created table is gone");
        return process.kill();
    };
    check_entries(&process, table, reached, context);
    // Whatever is left of the work goes on, and everything expires.
    for _ in 0..12 {
        world.clock.advance(Duration::from_millis(250));
        process.scheduler.run_until_idle(1000);
    }
    engine.flush().unwrap();
    for (key, times) in &reached.acknowledged {
        let found = shown(engine, table, key).unwrap();
        assert!(found.is_empty(), "{context}: {found:?} have come back");
        let last = times.len() as u64;
        let latest = engine.snapshot().latest_seq(table, key).unwrap();
        // One more may have been written, and not acknowledged.
        assert!((last..=last + 1).contains(&latest), "{context}: {latest} of {last}");
        let mut batch = WriteBatch::new();
        batch.append(table, key, b"next", None).unwrap();
        let committed = engine.commit(batch, Durability::Sync).unwrap();
        assert_eq!(committed.seqs, [latest + 1], "{context}");
    }
    let listed = engine.snapshot().timelines(table, b"", None).unwrap().map(Result::unwrap);
    let listed: Vec<_> = listed.map(|found| found.key.to_vec()).collect();
    assert!(reached.acknowledged.keys().all(|key| listed.contains(key)), "{context}: {listed:?}");
    process.kill();
}

fn check_entries(process: &Process, table: TableId, reached: &Reached, context: &str) {
    for (key, times) in &reached.acknowledged {
        let found = shown(&process.engine, table, key).unwrap();
        let from = found.first().copied().unwrap_or(u64::MAX);
        let shown_from = reached.shown_from.get(key).copied().unwrap_or(1);
        assert!(from >= shown_from, "{context}: {from} was hidden, up to {shown_from}");
        let dense: Vec<u64> = (from..).take(found.len()).collect();
        assert_eq!(found, dense, "{context}");
        if let Some(last) = found.last() {
            assert!(*last >= times.len() as u64, "{context}: newer entries are lost");
        }
    }
}

fn sweep(seed: u64, batches: u64, stride: usize) -> (usize, u64) {
    let whole = World::new(seed);
    let reached = run(&whole, batches);
    assert_eq!(reached.acknowledged.values().map(Vec::len).sum::<usize>() as u64, batches);
    check(&whole.after(&CrashPolicy::DropAll), &reached, "closed");
    let operations = whole.disk.operation_count();
    let mut images = 0;
    for at in (0..operations).step_by(stride) {
        let world = World::new(seed);
        world.disk.crash_at(at);
        let reached = run(&world, batches);
        let seed = seed * 1000 + at;
        for policy in [CrashPolicy::DropAll, CrashPolicy::KeepAll, CrashPolicy::Random { seed }] {
            let image = world.after(&policy);
            let clock = tidelog_engine::testing::SimClock::new(wall_of(&world));
            let image = World { clock, ..image };
            check(&image, &reached, &format!("crash at operation {at}, {policy:?}"));
            images += 1;
        }
    }
    (images, operations)
}

/// What the wall clock of a machine shows when it comes up again: the true time, about.
fn wall_of(world: &World) -> u64 {
    use tidelog_engine::Clock;
    super::world::START_MS + world.clock.monotonic_ms()
}

#[test]
fn power_is_lost_while_entries_expire() {
    let (images, operations) = sweep(31, 120, 5);
    assert!(images > 200, "{images} images of {operations} operations");
}
