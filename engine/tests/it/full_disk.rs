//! A store that was killed on a full disk opens without room for a log: it is read, makes room, and
//! takes commits again.

use super::images::images;
use super::tiers::{append, text, texts, verify};
use super::world::{Process, World, tiny};
use std::time::Duration;
use tidelog_engine::testing::CrashPolicy;
use tidelog_engine::{
    Committed, Direction, Durability, ErrorKind, Options, Result, TableId, TableOptions, WriteBatch,
};

/// Memtables as large as the ring: more of it is in use than fits twice.
fn options() -> Options {
    Options { memtable_bytes: 256 * 1024, memory_budget: 4 << 20, ..tiny() }
}

fn payload(number: u64) -> String {
    text(1, number).repeat(4)
}

fn commit(process: &Process, table: TableId, number: u64) -> Result<Committed> {
    let mut batch = WriteBatch::new();
    batch.append(table, b"a", payload(number).as_bytes(), None).unwrap();
    process.engine.commit(batch, Durability::Sync)
}

/// A killed store on a disk without room: a table that was flushed, and one that fills the log.
struct Full {
    world: World,
    old: TableId,
    table: TableId,
    /// Acknowledged in `table`.
    written: u64,
}

const OLD: u64 = 800;
/// A message that was taken back, before the disk was full.
const RETRACTED: &[u8] = b"what nobody should ever have read, and is taken back";

impl Full {
    fn new(seed: u64) -> Full {
        let world = World::new(seed);
        let process = world.open(&options()).unwrap();
        let old = process.engine.create_table("old", TableOptions::timeline()).unwrap();
        let table = process.engine.create_table("message", TableOptions::timeline()).unwrap();
        let mut batch = WriteBatch::new();
        batch.append(table, b"z", RETRACTED, None).unwrap();
        process.engine.commit(batch, Durability::Sync).unwrap();
        for number in 0..OLD {
            append(&process.engine, old, b"o", &payload(number));
        }
        process.engine.flush().unwrap();
        process.scheduler.run_until_idle(10_000);
        world.disk.set_capacity(Some(world.disk.used_bytes()));
        let mut written = 0;
        let mut batch = WriteBatch::new();
        batch.retract(table, b"z", 1).unwrap();
        process.engine.commit(batch, Durability::Sync).unwrap();
        while commit(&process, table, written).is_ok() {
            written += 1;
        }
        process.kill();
        Full { world, old, table, written }
    }

    /// Opens the store, and sees that it has no log.
    fn open(&self) -> Process {
        let process = self.world.open(&options()).unwrap();
        self.check(&process, true);
        let error = commit(&process, self.table, 0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoSpace);
        process
    }

    fn check(&self, process: &Process, has_old: bool) {
        let found = texts(&process.engine, self.table, b"a", Direction::Forward);
        assert_eq!(found.len() as u64, self.written);
        assert!((0..).zip(&found).all(|(number, text)| *text == payload(number)));
        let old = texts(&process.engine, self.old, b"o", Direction::Backward);
        assert!(!has_old || old.len() as u64 == OLD);
        assert!(!has_old || (0..OLD).rev().zip(&old).all(|(n, text)| *text == payload(n)));
    }
}

fn pass(world: &World, process: &Process, rounds: u64) {
    for _ in 0..rounds {
        process.scheduler.run_until_idle(1000);
        world.clock.advance(Duration::from_millis(100));
    }
}

#[test]
fn a_store_that_was_killed_on_a_full_disk_opens_and_is_read() {
    let full = Full::new(52);
    for killed in [true, false, true] {
        let process = full.open();
        assert_eq!(process.engine.flush().unwrap_err().kind(), ErrorKind::NoSpace);
        assert_eq!(process.engine.sync().unwrap_err().kind(), ErrorKind::NoSpace);
        pass(&full.world, &process, 5);
        full.check(&process, true);
        match killed {
            true => process.kill(),
            false => process.engine.close().unwrap(),
        }
    }
    // With room it opens as ever.
    full.world.disk.set_capacity(None);
    let process = full.world.open(&options()).unwrap();
    full.check(&process, true);
    let seq = commit(&process, full.table, 0).unwrap().seqs[0];
    assert!(seq > full.written, "{seq}");
    process.engine.close().unwrap();
    drop(process);
    verify(&full.world);
}

#[test]
fn writing_resumes_when_there_is_room() {
    for dropped in [true, false] {
        let full = Full::new(53);
        let process = full.open();
        match dropped {
            true => process.engine.drop_table(full.old).unwrap(),
            false => full.world.disk.set_capacity(None),
        }
        pass(&full.world, &process, 20);
        let seq = commit(&process, full.table, full.written).unwrap().seqs[0];
        assert_eq!(seq, full.written + 1, "nothing was lost, so nothing jumps");
        for number in full.written + 1..full.written + 200 {
            commit(&process, full.table, number).unwrap();
            pass(&full.world, &process, 1);
        }
        let full = Full { written: full.written + 200, ..full };
        process.kill();
        let process = full.world.open(&options()).unwrap();
        let found = texts(&process.engine, full.table, b"a", Direction::Forward);
        assert_eq!(found.len() as u64, full.written);
        assert_eq!(process.engine.table("old").is_none(), dropped);
        process.engine.close().unwrap();
        drop(process);
        verify(&full.world);
    }
}

#[test]
fn tables_are_altered_and_expire_without_a_log() {
    let full = Full::new(54);
    let process = full.open();
    let brief = TableOptions::timeline().ttl(Duration::from_secs(60));
    process.engine.alter_table(full.old, brief).unwrap();
    for _ in 0..20 {
        full.world.clock.advance(Duration::from_secs(10));
        pass(&full.world, &process, 5);
    }
    let old = texts(&process.engine, full.old, b"o", Direction::Forward);
    assert_eq!(old.len(), 0, "it has expired");
    pass(&full.world, &process, 20);
    let seq = commit(&process, full.table, full.written).unwrap().seqs[0];
    assert_eq!(seq, full.written + 1, "what has expired has made room");
    process.kill();
    verify(&full.world);
}

/// Found by reading: a pass that ends while the old log is still there would take the ring for what
/// it was before, overwrite nothing of that log, and say that all was erased.
#[test]
fn nothing_counts_as_erased_before_there_is_a_log() {
    let full = Full::new(56);
    let is_there = || {
        images(&full.world)
            .iter()
            .any(|image| image.windows(RETRACTED.len()).any(|b| b == RETRACTED))
    };
    let process = full.open();
    let erasing = TableOptions::timeline().erase_after(Duration::from_secs(60));
    process.engine.alter_table(full.table, erasing).unwrap();
    full.world.clock.advance(Duration::from_secs(3600));
    pass(&full.world, &process, 20);
    let erasure = process.engine.stats().erasure;
    assert_eq!(erasure.waits_for.as_deref(), Some("room for a new log"), "{erasure:?}");
    assert!(is_there() && erasure.passes == 0 && !erasure.running, "{erasure:?}");
    full.world.disk.set_capacity(None);
    pass(&full.world, &process, 200);
    let erasure = process.engine.stats().erasure;
    assert!(!is_there() && erasure.passes > 0, "{erasure:?}");
    assert_eq!((erasure.oldest_pending_ms, erasure.waits_for), (None, None));
    commit(&process, full.table, full.written).unwrap();
    process.kill();
    verify(&full.world);
}

/// Power is lost at every operation of an opening without room, of the drop that makes room, and of
/// the log that begins behind it.
#[test]
fn power_loss_at_every_step_without_a_log_loses_nothing() {
    let full = Full::new(55);
    let run = |world: &World| -> Result<u64> {
        let process = world.open(&options())?;
        let outcome = (|| {
            process.engine.drop_table(full.old)?;
            for _ in 0..20 {
                process.scheduler.run_until_idle(1000);
                world.clock.advance(Duration::from_millis(100));
            }
            commit(&process, full.table, full.written)?;
            Ok(1)
        })();
        process.kill();
        outcome
    };
    let copied = || World { disk: full.world.disk.copied(), ..full.world.clone() };
    let whole = copied();
    let before = whole.disk.operation_count();
    assert_eq!(run(&whole).unwrap(), 1);
    let after = whole.disk.operation_count();
    assert!(after - before > 30, "{before} to {after}");
    for at in before + 1..=after {
        let world = copied();
        world.disk.crash_at(at);
        let more = run(&world).unwrap_or(0);
        let policies =
            [CrashPolicy::DropAll, CrashPolicy::KeepAll, CrashPolicy::Random { seed: at }];
        let policy = &policies[usize::try_from(at).unwrap() % 3];
        let after = world.after(policy);
        after.disk.set_capacity(None);
        let context = format!("operation {at}, {policy:?}");
        let process = after.open(&options()).unwrap_or_else(|error| panic!("{context}: {error}"));
        let found = texts(&process.engine, full.table, b"a", Direction::Forward);
        let count = found.len() as u64;
        assert!(count == full.written + more || count == full.written + 1, "{context}: {count}");
        if process.engine.table("old").is_some() {
            let old = texts(&process.engine, full.old, b"o", Direction::Forward);
            assert_eq!(old.len() as u64, OLD, "{context}");
        }
        let seq = commit(&process, full.table, count).unwrap().seqs[0];
        assert!(seq > count, "{context}");
        process.engine.compact().unwrap();
        process.kill();
        verify(&after);
    }
}
