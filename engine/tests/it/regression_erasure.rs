//! Defects that were found in the erasure of what was retracted: one test each, with its story.

use super::erasure::{DEADLINE, Payloads, assert_sound, bytes, leaks, pass_time, random, retract};
use super::world::{World, tiny};
use std::collections::BTreeSet;
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
