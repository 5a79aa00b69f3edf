//! Defects by which retracted bytes outlived their deadline: each with its story.

use super::erasure::{
    Chat, DEADLINE, Payloads, assert_sound, bytes, leaks, pass_time, random, retract,
};
use super::world::{World, tiny, tiny_read};
use std::collections::BTreeSet;
use tidelog_engine::{Durability, TableOptions, WriteBatch};

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
