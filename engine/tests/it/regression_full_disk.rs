//! Defects that a full disk brought to light: each with its story.

use super::regression::{append, entry, value};
use super::world::{World, tiny};
use std::time::Duration;
use tidelog_engine::testing::CrashPolicy;
use tidelog_engine::{Durability, Error, ErrorKind, TableOptions};

#[test]
fn a_manifest_without_room_is_no_reason_to_refuse_writes_for_ever() {
    // Story: a root change may find no room for a new manifest extent. Nothing has been written
    // then that a root names, so the change may be tried again; and what the failed flush has put
    // out must be free again, or every try would eat a piece of the disk.
    let world = World::new(103);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    // Many long names make a base record that needs more contiguous room than a small SSTable.
    let create =
        |number: u64| engine.create_table(&format!("{number:0>128}"), TableOptions::timeline());
    let tables: Vec<_> = (0..900).map(|number| create(number).unwrap()).collect();
    let table = tables[0];
    // Data until nothing fits any more, then edits until a base is due.
    world.disk.set_capacity(Some(world.disk.used_bytes()));
    let mut written = 0;
    while engine.flush().is_ok() {
        written = append(engine, table, b"t", &[7; 600]);
        assert!(written < 1000, "the disk never got full");
    }
    let error = (900..1000).find_map(|number| create(number).err()).unwrap();
    assert!(matches!(error, Error::NoSpace { what: "a manifest extent", .. }), "{error}");
    // Room for what a flush puts out, but not for a base.
    world.disk.set_capacity(Some(world.disk.used_bytes() + 64 * 1024));
    let mut refused = 0;
    for attempt in 0..40 {
        // What older roots held may make room in the end.
        let Err(error) = engine.flush() else { break };
        let starved = matches!(error, Error::NoSpace { what: "a manifest extent", .. });
        assert!(starved, "attempt {attempt}, what the others put out is not free again: {error}");
        refused += 1;
        world.clock.advance(Duration::from_millis(50));
    }
    assert!(refused > 0, "a base found room");
    world.disk.set_capacity(None);
    engine.flush().unwrap();
    assert_eq!(append(engine, table, b"t", b"after"), written + 1);
    process.kill();
    let process = world.after(&CrashPolicy::DropAll).open(&tiny()).unwrap();
    assert_eq!(process.engine.snapshot().len(table, b"t").unwrap(), written + 1);
}

#[test]
fn a_full_disk_gets_the_room_of_compacted_sstables_back() {
    // Story: a freed extent may be written again two superblocks later. On a full disk no flush
    // went through, so no superblock was written, so no extent became free: only reopening helped.
    // A flush of three tables and a compaction of as many need room of their own: a megabyte here.
    let recovered = (0..8).filter(|n| overwrites_on_a_full_disk((1 << 20) + n * 20_480)).count();
    assert!(recovered == 8, "the disk stayed full in {} of 8 runs", 8 - recovered);
}

#[test]
fn values_are_overwritten_on_a_disk_that_does_not_grow() {
    // Story: as above, where the file has room of its own.
    let world = World::new(117);
    let process = world.open(&tiny()).unwrap();
    let table = process.engine.create_table("value", TableOptions::keyed()).unwrap();
    let mut refused = 0;
    for number in 0..4000u64 {
        if number == 200 {
            world.disk.set_capacity(Some(world.disk.used_bytes()));
        }
        let batch = value(table, &[u8::try_from(number % 20).unwrap()], &[1; 900]);
        match process.engine.commit(batch, Durability::Sync) {
            Ok(_) => refused = 0,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
                refused += 1;
                assert!(refused < 300, "20 live values fit, but nothing was freed");
            }
        }
        process.scheduler.run_until_idle(30);
        world.clock.advance(Duration::from_millis(30));
    }
}

/// Fills a disk with SSTables of a few values that are written again and again, gives it so much
/// more room, and returns whether writing resumes.
fn overwrites_on_a_full_disk(room: u64) -> bool {
    let world = World::new(110);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let table = engine.create_table("value", TableOptions::keyed()).unwrap();
    let weight = engine.create_table("weight", TableOptions::timeline()).unwrap();
    let put = |number: u8| {
        let batch = value(table, &[number % 20], &[1; 900]);
        let outcome = engine.commit(batch, Durability::Sync);
        process.scheduler.run_until_idle(30);
        world.clock.advance(Duration::from_millis(30));
        outcome.map_err(|error| assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}"))
    };
    (0..100).for_each(|number| assert!(put(number).is_ok()));
    world.disk.set_capacity(Some(world.disk.used_bytes()));
    while engine.commit(entry(weight, b"t", &[2; 2000]), Durability::Sync).is_ok() {
        process.scheduler.run_until_idle(30);
    }
    world.disk.set_capacity(Some(world.disk.used_bytes() + room * 4 + 64 * 1024));
    let _ = (0..200).filter(|number| put(*number).is_ok()).count();
    (0..60).filter(|number| put(*number).is_ok()).count() > 50
}
