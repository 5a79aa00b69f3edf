//! Salvage: what is not damaged is in the new store, as it was; what is not there is named.
//!
//! - here: whole stores, targets that are refused or not finished, and single stories
//! - `salvage_cases`: each kind of structure is damaged in turn
//! - `salvage_sweep`: bytes are flipped and sectors zeroed anywhere
//! - `salvage_store`: the store that all of them damage, and what is known of it
//! - `salvage_judge`: what a salvage must have kept

use super::hooked_disk::HookedDisk;
use super::salvage_judge::judge;
use super::salvage_store::{BATCHES, LARGE_FROM, Shown, Store};
use super::world::{START_MS, World, tiny};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tidelog_engine::inspect::Inspector;
use tidelog_engine::salvage::{Loss, Salvage};
use tidelog_engine::testing::{SimClock, SimDisk, SimOptions};
use tidelog_engine::{Durability, Engine, ErrorKind, TableOptions, WriteBatch};

#[test]
fn an_undamaged_store_is_salvaged_whole() {
    for seed in [1, 2, 3] {
        let store = Store::with_everything(seed);
        let (report, target) = store.salvage(&store.bytes, &store.cold).unwrap();
        assert!(report.is_whole() && report.damage.is_empty(), "seed {seed}: {report:#?}");
        assert_eq!((report.epochs, &report.torn_tail), (0, &None), "seed {seed}");
        let old = store.world(&store.bytes, &store.cold).open(&tiny()).unwrap();
        let new = store.open(&target);
        let (was, is) = (Shown::read(&old.engine).unwrap(), Shown::read(&new.engine).unwrap());
        assert!(was == store.shown && was == is, "seed {seed}");
        let structures = new.engine.stats();
        assert!(structures.segment_bytes > 0, "seed {seed}: {structures:?}");
        let recovered: u64 = report.tables.iter().map(|table| table.recovered).sum();
        assert!(recovered > BATCHES, "seed {seed}: {report:?}");
        // What comes next is the same, too.
        for (table, key) in was.timelines.keys().filter(|(table, _)| table.0 < 19) {
            let append = |engine: &Engine| {
                let mut batch = WriteBatch::new();
                batch.append(*table, key, b"next", None).unwrap();
                engine.commit(batch, Durability::Sync).unwrap().seqs
            };
            assert_eq!(append(&old.engine), append(&new.engine), "seed {seed}: {key:?}");
        }
        new.engine.compact().unwrap();
        old.kill();
        new.kill();
        judge(&store, &store.bytes, (&report, &target), &format!("seed {seed}"));
    }
}

#[test]
fn a_target_with_anything_in_it_is_refused() {
    let store = Store::with_everything(1);
    let world = store.world(&store.bytes, &store.cold);
    let salvage = || Salvage::over(Arc::new(world.disk.reopen()));
    let full = SimDisk::from_bytes(SimOptions::default(), &[1; 4096]);
    let with_cold = salvage().with_cold(Arc::new(world.cold.clone().unwrap().reopen()));
    let refused = with_cold.run(Arc::new(full.clone())).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
    assert_eq!(full.bytes(), [1; 4096]);
    let target = SimDisk::new(SimOptions::default());
    let refused = salvage().run(Arc::new(target.clone())).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ColdFile);
    let report = salvage().without_cold_file().run(Arc::new(target.clone())).unwrap();
    judge(&store, &store.bytes, (&report, &target), "without the cold file");
    assert!(!report.is_whole());
}

#[test]
fn a_target_that_was_not_finished_is_no_store() {
    let store = Store::with_everything(1);
    let world = store.world(&store.bytes, &store.cold);
    let target = SimDisk::new(SimOptions::default());
    target.crash_at(60);
    let salvage = Salvage::over(Arc::new(world.disk.reopen()));
    let salvage = salvage.with_cold(Arc::new(world.cold.clone().unwrap().reopen()));
    salvage.run(Arc::new(target.clone())).unwrap_err();
    let left = target.crash_image(&tidelog_engine::testing::CrashPolicy::KeepAll);
    let clock = SimClock::new(START_MS);
    let refused = World { disk: left, cold: None, clock, seed: 3 }.open(&tiny()).err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Corruption);
}

/// The store is opened for writing while it is salvaged: what was read of it may not fit together.
#[test]
fn a_target_of_a_store_that_was_changed_meanwhile_is_no_store() {
    let store = Store::with_everything(1);
    let world = store.world(&store.bytes, &store.cold);
    let target = SimDisk::new(SimOptions::default());
    let mut hooked = HookedDisk::new(target.clone(), 1024 * 1024);
    let (writer, opened) = (world.clone(), AtomicBool::new(false));
    hooked.hook = Arc::new(move || {
        if !opened.swap(true, Ordering::SeqCst) {
            writer.open(&tiny()).unwrap().kill();
        }
    });
    let salvage = Salvage::over(Arc::new(world.disk.reopen()));
    let salvage = salvage.with_cold(Arc::new(world.cold.clone().unwrap().reopen()));
    let error = salvage.run(Arc::new(hooked)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SnapshotTooOld, "{error}");
    let clock = SimClock::new(START_MS);
    let left = World { disk: target.copied(), cold: None, clock, seed: 3 };
    assert_eq!(left.open(&tiny()).err().unwrap().kind(), ErrorKind::Corruption);
}

/// Each key of an SSTable is looked up when it is verified.
#[test]
fn a_key_costs_no_reads_of_its_own() {
    let world = World::new(9);
    let process = world.open(&tiny()).unwrap();
    let engine = process.engine.clone();
    let table = engine.create_table("keyed", TableOptions::keyed()).unwrap();
    let keys = 3000;
    for first in (0..keys).step_by(100) {
        let mut batch = WriteBatch::new();
        for key in first..first + 100_u64 {
            batch.put(table, &key.to_be_bytes(), b"value").unwrap();
        }
        engine.commit(batch, Durability::Sync).unwrap();
    }
    engine.flush().unwrap();
    engine.close().unwrap();
    let before = world.disk.counts().reads;
    let salvage = Salvage::over(Arc::new(world.disk.reopen()));
    let report = salvage.run(Arc::new(SimDisk::new(SimOptions::default()))).unwrap();
    assert!(report.is_whole() && report.tables[0].recovered == keys, "{report:?}");
    let reads = world.disk.counts().reads - before;
    assert!(reads < keys, "{reads} reads for {keys} keys");
}

/// The log of a store that wrote its ring all round, and whose manifest is gone, is all that there
/// is of its newest commits: it has more groups than a log may take of a ring.
#[test]
fn a_ring_that_was_written_all_round_is_salvaged() {
    let world = World::new(10);
    let process = world.open(&tiny()).unwrap();
    let engine = process.engine.clone();
    let table = engine.create_table("t", TableOptions::timeline()).unwrap();
    for _ in 0..700 {
        let mut batch = WriteBatch::new();
        batch.append(table, b"t", b"text", None).unwrap();
        engine.commit(batch, Durability::Sync).unwrap();
    }
    drop(engine);
    process.kill();
    let records = Inspector::over(Arc::new(world.disk.reopen())).manifest().unwrap().records;
    for record in records.iter().take(2) {
        world.disk.flip_bit(record.offset + 20, 3);
    }
    let salvage = Salvage::over(Arc::new(world.disk.reopen()));
    let report = salvage.run(Arc::new(SimDisk::new(SimOptions::default()))).unwrap();
    // A ring of 512 blocks, one for each commit; eight stay free.
    assert_eq!(report.tables[0].recovered, 504, "{report:?}");
    let named = report.lost.iter().any(|loss| match loss {
        Loss::Commits { first, last: Some(last), .. } => *last == *first + 7,
        _ => false,
    });
    assert!(named, "{report:?}");
}

/// Lists of timelines go by records, and the first flush of a timeline writes one: it knew a new
/// timeline by its first entry.
#[test]
fn a_timeline_whose_first_entry_is_lost_stays_listed() {
    let world = World::new(11);
    let process = world.open(&tiny()).unwrap();
    let engine = process.engine.clone();
    let table = engine.create_table("t", TableOptions::timeline()).unwrap();
    for _ in 0..4 {
        let mut batch = WriteBatch::new();
        batch.append(table, b"late", b"text", None).unwrap();
        engine.commit(batch, Durability::Sync).unwrap();
    }
    drop(engine);
    process.kill();
    let log = Inspector::over(Arc::new(world.disk.reopen())).log().unwrap();
    world.disk.flip_bit(log.groups[0].offset + 30, 3);
    let target = SimDisk::new(SimOptions::default());
    let salvage = Salvage::over(Arc::new(world.disk.reopen()));
    let report = salvage.run(Arc::new(target.clone())).unwrap();
    assert_eq!(report.tables[0].recovered, 3, "{report:?}");
    let left = World::with_disk(target.copied(), 12).open(&tiny()).unwrap();
    left.engine.flush().unwrap();
    let shown = Shown::read(&left.engine).unwrap();
    let (_, entries) = &shown.timelines[&(table, b"late".to_vec())];
    assert_eq!(entries.iter().map(|entry| entry.seq).collect::<Vec<u64>>(), [2, 3, 4]);
    left.kill();
}

/// The log says where a large payload lies. What is written anew does not go there, also where the
/// old file ends in the middle of it.
#[test]
fn a_large_payload_whose_footer_was_cut_off_keeps_its_place() {
    let world = World::new(12);
    let process = world.open(&tiny()).unwrap();
    let engine = process.engine.clone();
    let table = engine.create_table("t", TableOptions::timeline()).unwrap();
    for _ in 0..20 {
        let mut batch = WriteBatch::new();
        batch.append(table, b"small", &[3; 300], None).unwrap();
        engine.commit(batch, Durability::Sync).unwrap();
    }
    engine.flush().unwrap();
    // Their records fill a page, so their footers lie in the next one.
    for _ in 0..12 {
        let mut batch = WriteBatch::new().with_large_from(LARGE_FROM);
        batch.append(table, b"large", &[7; 4084], None).unwrap();
        engine.commit(batch, Durability::Sync).unwrap();
    }
    drop(engine);
    process.kill();
    let inspector = Inspector::over(Arc::new(world.disk.reopen()));
    let payloads = inspector.log().unwrap().payloads;
    let large = payloads.iter().map(|payload| &payload.segment);
    let large = large.max_by_key(|segment| segment.extent.offset).unwrap();
    let sstables = inspector.sstables().unwrap();
    let small = &sstables.iter().find(|sstable| sstable.meta.table == table).unwrap().meta;
    assert!(large.bytes == 4096 + 64 && small.extent.offset < large.extent.offset, "{large:?}");
    // Without its footer the SSTable is written anew, behind all that keeps its place.
    world.disk.flip_bit(small.extent.offset + small.bytes - 4000, 3);
    let mut bytes = world.disk.bytes();
    bytes.truncate(usize::try_from(large.extent.offset).unwrap() + 4096);
    let old = SimDisk::from_bytes(SimOptions::default(), &bytes);
    let target = SimDisk::new(SimOptions::default());
    let report = Salvage::over(Arc::new(old)).run(Arc::new(target.clone())).unwrap();
    assert_eq!(report.tables[0].recovered, 32, "{report:?}");
    let left = World::with_disk(target.copied(), 13).open(&tiny()).unwrap();
    let shown = Shown::read(&left.engine).unwrap();
    let (_, entries) = &shown.timelines[&(table, b"large".to_vec())];
    assert_eq!(entries.len(), 12);
    assert!(entries.iter().all(|entry| *entry.payload == [7; 4084]));
    left.kill();
}

/// The last group that was synced, once damaged, looks like one that was never finished: nothing is
/// known to be lost, nor that nothing is.
#[test]
fn a_torn_end_says_from_which_commit_on_something_may_be_missing() {
    let world = World::new(14);
    let process = world.open(&tiny()).unwrap();
    let engine = process.engine.clone();
    let table = engine.create_table("t", TableOptions::timeline()).unwrap();
    for _ in 0..4 {
        let mut batch = WriteBatch::new();
        batch.append(table, b"t", b"text", None).unwrap();
        engine.commit(batch, Durability::Sync).unwrap();
    }
    drop(engine);
    process.kill();
    let groups = Inspector::over(Arc::new(world.disk.reopen())).log().unwrap().groups;
    let last = groups.last().unwrap();
    world.disk.flip_bit(last.offset + 110, 3);
    let salvage = Salvage::over(Arc::new(world.disk.reopen()));
    let report = salvage.run(Arc::new(SimDisk::new(SimOptions::default()))).unwrap();
    assert!(report.is_whole() && report.epochs > 0, "{report:?}");
    assert_eq!(report.torn_tail.unwrap().commit, last.commits.0);
}
