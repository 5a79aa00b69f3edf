//! Defects that were found in the erasure of what was retracted: one test each, with its story.

use super::erasure::{
    Chat, DEADLINE, Payloads, assert_sound, bytes, leaks, pass_time, random, retract,
};
use super::world::{World, tiny, tiny_read};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tidelog_engine::inspect::Inspector;
use tidelog_engine::{Durability, Engine, Entry, Origin, TableId, TableOptions, WriteBatch};

fn read(engine: &Engine, table: TableId, key: &[u8], seq: u64) -> Entry {
    engine.snapshot().get(table, key, seq).unwrap().unwrap()
}

fn commit(engine: &Engine, batch: WriteBatch) -> Vec<u64> {
    engine.commit(batch, Durability::Sync).unwrap().seqs
}

#[test]
fn a_copy_in_the_conversation_itself_is_no_origin() {
    // Story: a fan-out may name the timeline of its first target once more. That entry was taken
    // for the origin too, by its timeline alone. So it named no origin, against the format; and
    // once it was retracted by its own place, the pass took all who share the payload for copies of
    // it, and erased what nobody had retracted.
    for length in [30, 1000, 300_000] {
        let world = World::new(31);
        let process = world.open(&tiny()).unwrap();
        let engine = &process.engine;
        let erasing = TableOptions::timeline().erase_after(DEADLINE);
        let rooms = engine.create_table("room", erasing).unwrap();
        let inboxes = engine.create_table("inbox", TableOptions::timeline()).unwrap();
        let payload = bytes(&mut random(31), length);
        let mut batch = WriteBatch::new();
        let targets = [(rooms, &b"r"[..]), (rooms, b"r"), (inboxes, b"ann")];
        batch.fan_out(targets, &payload, None, None, true).unwrap();
        assert_eq!(commit(engine, batch), [1, 2, 1]);
        let origin = Origin { table: rooms, key: b"r"[..].into(), seq: 1 };
        let check = |when: &str| {
            for (table, key, seq) in [(rooms, &b"r"[..], 1), (inboxes, b"ann", 1)] {
                let entry = read(engine, table, key, seq);
                assert!(*entry.payload == payload[..] && !entry.erased, "{length}, {when}: {seq}");
            }
            assert_eq!(read(engine, rooms, b"r", 1).origin, None, "{length}, {when}");
            assert_eq!(
                read(engine, rooms, b"r", 2).origin,
                Some(origin.clone()),
                "{length}, {when}"
            );
        };
        check("in memory");
        engine.flush().unwrap();
        check("flushed");
        retract(engine, rooms, b"r", 2);
        pass_time(&world, &process, DEADLINE);
        assert_eq!(engine.stats().erasure.passes, 1);
        check("erased");
        // Whoever retracts the origin takes back all of them.
        retract(engine, rooms, b"r", 1);
        pass_time(&world, &process, DEADLINE);
        let payloads =
            Payloads { retracted: vec![("all", payload.clone())], ..Payloads::default() };
        assert_eq!(leaks(&world, &payloads), BTreeSet::new(), "{length}");
        assert_sound(&world);
    }
}

#[test]
fn a_snapshot_delays_no_retraction_that_is_older() {
    // Story: a pass began only when the retraction that was due first could be taken. One of a
    // table with a short deadline, behind a snapshot that is held for long, so kept those of all
    // other tables waiting, beyond their deadlines, although the snapshot was younger than they.
    let world = World::new(32);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let create = |name, deadline| {
        engine.create_table(name, TableOptions::timeline().erase_after(deadline)).unwrap()
    };
    let slow = create("slow", DEADLINE);
    let fast = create("fast", Duration::from_secs(60));
    let mut source = random(32);
    let payloads = ["slow", "fast"].map(|name| (name, bytes(&mut source, 500)));
    for (table, (_, payload)) in [slow, fast].into_iter().zip(&payloads) {
        let mut batch = WriteBatch::new();
        batch.append(table, b"t", payload, None).unwrap();
        commit(engine, batch);
    }
    retract(engine, slow, b"t", 1);
    let snapshot = engine.snapshot();
    retract(engine, fast, b"t", 1);
    pass_time(&world, &process, DEADLINE);
    let payloads = Payloads { retracted: payloads.to_vec(), ..Payloads::default() };
    assert_eq!(leaks(&world, &payloads), BTreeSet::from(["fast"]), "{:?}", engine.stats().erasure);
    let waits_for = engine.stats().erasure.waits_for.unwrap();
    assert_eq!(waits_for, format!("a snapshot of commit {}", snapshot.commit()));
    drop(snapshot);
    pass_time(&world, &process, Duration::from_secs(60));
    assert_eq!(leaks(&world, &payloads), BTreeSet::new());
}

#[test]
fn what_cannot_be_read_holds_up_the_erasure_of_its_own_table() {
    // Story: one damaged SSTable of one table failed every pass, and a pass was for all tables: so
    // nothing was erased anywhere any more.
    let world = World::new(33);
    let process = world.open(&tiny_read()).unwrap();
    let engine = &process.engine;
    let names = ["bad", "good", "better"];
    let tables = names.map(|name| {
        engine.create_table(name, TableOptions::timeline().erase_after(DEADLINE)).unwrap()
    });
    let mut source = random(33);
    let payloads = names.map(|name| (name, bytes(&mut source, 500)));
    for (table, (_, payload)) in tables.into_iter().zip(&payloads) {
        let mut batch = WriteBatch::new();
        batch.append(table, b"t", payload, None).unwrap();
        commit(engine, batch);
    }
    engine.flush().unwrap();
    tables.into_iter().for_each(|table| retract(engine, table, b"t", 1));
    let sstables = Inspector::over(Arc::new(world.disk.reopen())).sstables().unwrap();
    let bad = sstables.iter().find(|sstable| sstable.meta.table == tables[0]).unwrap();
    let place = bad.meta.extent.offset + 100;
    world.disk.flip_bit(place, 3);
    pass_time(&world, &process, DEADLINE);
    let payloads = Payloads { retracted: payloads.to_vec(), ..Payloads::default() };
    let erasure = engine.stats().erasure;
    assert_eq!(leaks(&world, &payloads), BTreeSet::from(["bad"]), "{erasure:?}");
    assert!(erasure.problem.unwrap().contains("checksum"));
    assert!(erasure.oldest_pending_ms.is_some_and(|ms| ms > 3_500_000));
    let erased = |at: usize| {
        let tables = engine.stats().tables;
        tables.iter().find(|table| table.name == names[at]).unwrap().erased_through > 0
    };
    assert!(!erased(0) && erased(1) && erased(2), "{:?}", engine.stats().tables);
    // What is readable again is erased as well.
    world.disk.flip_bit(place, 3);
    pass_time(&world, &process, Duration::from_secs(180));
    assert_eq!(leaks(&world, &payloads), BTreeSet::new());
    let erasure = engine.stats().erasure;
    assert_eq!((erasure.problem, erasure.oldest_pending_ms), (None, None));
    assert!(erased(0));
}

#[test]
fn a_payload_that_no_entry_refers_to_any_more_is_erased() {
    // Story: entries that were deleted, trimmed or had a time to live of their own go by
    // compaction, one by one, and the segment with their payload stays as long as another message
    // of it. A pass found records through the entries that refer to them, so a message that was
    // deleted everywhere first, and retracted then, stayed in its segment for as long as its
    // neighbours. Found by random histories.
    for (seed, with_origin) in [(31, true), (32, false)] {
        let world = World::new(seed);
        let options = if with_origin { tiny() } else { tiny_read() };
        let process = world.open(&options).unwrap();
        let engine = &process.engine;
        let chat = Chat::create(engine, TableOptions::timeline(), TableOptions::timeline());
        let mut random = random(seed);
        let rooms = [&b"one"[..], b"two", b"three"].map(|room| (chat.rooms, room));
        let mut send = |what| {
            let payload = bytes(&mut random, 1000);
            let mut batch = WriteBatch::new();
            batch.fan_out(rooms, &payload, None, None, with_origin).unwrap();
            engine.commit(batch, Durability::Sync).unwrap();
            (what, payload)
        };
        let (gone, kept) = (send("gone"), send("kept"));
        engine.compact().unwrap();
        let mut batch = WriteBatch::new();
        for (table, room) in rooms {
            batch.delete_entry(table, room, 1).unwrap();
        }
        engine.commit(batch, Durability::Sync).unwrap();
        engine.compact().unwrap();
        assert!(engine.stats().segment_bytes > 0, "the other message keeps the segment");
        rooms.iter().for_each(|(table, room)| retract(engine, *table, room, 1));
        let payloads = Payloads { retracted: vec![gone, kept], kept: Vec::new() };
        assert_eq!(leaks(&world, &payloads), BTreeSet::from(["gone", "kept"]));
        pass_time(&world, &process, DEADLINE);
        assert_eq!(engine.stats().erasure.oldest_pending_ms, None);
        assert_eq!(leaks(&world, &payloads), BTreeSet::from(["kept"]), "{with_origin}");
        for (table, room) in rooms {
            let entry = engine.snapshot().get(table, room, 2).unwrap().unwrap();
            assert!(*entry.payload == payloads.retracted[1].1[..] && entry.revision.is_none());
        }
        engine.flush().unwrap();
        assert_sound(&world);
    }
}
