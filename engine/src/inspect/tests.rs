use super::*;
use crate::batch::WriteBatch;
use crate::engine::{Engine, Parts};
use crate::options::{Durability, Options, TableOptions};
use crate::testing::{SeededEntropy, SimClock, SimDisk, SimOptions, SimScheduler};

/// A closed store with timelines, keyed values and more than one level-0 SSTable.
fn store() -> SimDisk {
    let disk = SimDisk::new(SimOptions::default());
    let engine = open(&disk);
    let messages = engine.create_table("message", TableOptions::timeline()).unwrap();
    let values = engine.create_table("value", TableOptions::keyed()).unwrap();
    for round in 0..2_u8 {
        for number in 0..40_u8 {
            let mut batch = WriteBatch::new();
            let key = [b'a' + number % 5];
            batch.append(messages, &key, &[number; 50], Some(7)).unwrap();
            batch.put(values, &key, &[round, number]).unwrap();
            engine.commit(batch, Durability::Sync).unwrap();
        }
        engine.flush().unwrap();
    }
    engine.close().unwrap();
    disk
}

fn open(disk: &SimDisk) -> Engine {
    let clock = SimClock::new(1_700_000_000_000);
    let parts = Parts {
        disk: Arc::new(disk.clone()),
        cold: None,
        scheduler: Arc::new(SimScheduler::new(1, clock.clone())),
        clock: Arc::new(clock),
        entropy: Arc::new(SeededEntropy::new(1)),
        name: "inspected".to_owned(),
    };
    let options = Options { ring_bytes: 256 * 1024, ..Options::default() };
    Engine::open_with(parts, options).unwrap()
}

fn inspect(disk: &SimDisk) -> Inspector {
    Inspector::over(Arc::new(disk.clone()))
}

#[test]
fn a_sound_store_has_no_fault() {
    let disk = store();
    let report = inspect(&disk).verify().unwrap();
    assert_eq!(report.faults, []);
    assert_eq!(report.torn_tail, None);
    assert_eq!((report.counts.tables, report.counts.timelines), (2, 5));
    assert!(report.counts.sstables >= 4);
}

#[test]
fn every_run_of_the_file_has_one_owner() {
    let disk = store();
    let runs = inspect(&disk).space().unwrap();
    let mut end = 0;
    for run in &runs {
        assert_eq!(run.extent.offset, end);
        end = run.extent.end();
    }
    assert_eq!(end, inspect(&disk).length().unwrap());
    assert!(runs.iter().any(|run| matches!(run.kind, SpaceKind::Sstable(_))));
}

/// Rot anywhere in what the store needs is found, and looking at it never panics.
#[test]
fn a_flipped_bit_anywhere_is_a_fault() {
    let disk = store();
    let inspector = inspect(&disk);
    let root = inspector.root().unwrap();
    let mut needed = vec![(root.manifest.offset, root.manifest_length)];
    needed.extend((0..4).map(|copy| (copy * 16 * 1024, 4096)));
    let sstables = inspector.sstables().unwrap();
    needed.extend(sstables.iter().map(|it| (it.meta.extent.offset, it.meta.bytes)));
    for (offset, length) in needed {
        for place in (offset..offset + length).step_by(61) {
            disk.flip_bit(place, u32::try_from(place % 8).unwrap());
            let report = inspect(&disk).verify().unwrap();
            assert!(!report.faults.is_empty(), "a flip at {place} was not found");
            look_at_everything(&inspect(&disk), place);
            disk.flip_bit(place, u32::try_from(place % 8).unwrap());
        }
    }
    assert_eq!(inspect(&disk).verify().unwrap().faults, []);
}

/// Errors are fine, panics are not.
fn look_at_everything(inspector: &Inspector, place: u64) {
    let _ = inspector.superblocks();
    let _ = inspector.log();
    let _ = inspector.manifest();
    let _ = inspector.space();
    let _ = inspector.block(place);
    for sstable in inspector.sstables().unwrap_or_default() {
        let _ = inspector.blocks(sstable.meta.number);
    }
}

#[test]
fn the_log_of_a_killed_store_is_listed_and_counted() {
    let disk = store();
    let engine = open(&disk);
    let messages = engine.table("message").unwrap().id;
    for number in 0..10_u8 {
        let mut batch = WriteBatch::new();
        batch.append(messages, b"a", &[number], None).unwrap();
        engine.commit(batch, Durability::Sync).unwrap();
    }
    let image = inspect(&disk.copied());
    let log = image.log().unwrap();
    assert_eq!(log.groups.len(), 10);
    assert!(matches!(log.ending, LogEnding::Clean), "{:?}", log.ending);
    let counts = image.verify().unwrap().counts;
    assert_eq!((counts.groups, counts.commits, counts.log_entries), (10, 10, 10));
}

#[test]
fn a_foreign_file_is_a_fault_and_not_a_panic() {
    let bytes: Vec<u8> = (0..200_000_u32).map(|byte| u8::try_from(byte % 251).unwrap()).collect();
    let disk = SimDisk::from_bytes(SimOptions::default(), &bytes);
    let inspector = inspect(&disk);
    assert!(!inspector.verify().unwrap().faults.is_empty());
    assert_eq!(inspector.superblocks().len(), 4);
    assert!(inspector.log().is_err() && inspector.manifest().is_err());
}
