//! Edit and recall: one write, seen wherever the entry is read, at the snapshot that is asked.

use super::world::{Process, World, tiny, tiny_read};
use std::time::Duration;
use tidelog_engine::inspect::Inspector;
use tidelog_engine::{
    Direction, Durability, Engine, Entry, ErrorKind, Origin, Snapshot, TableId, TableOptions,
    WriteBatch,
};

/// The engine's own table of amendments.
const AMENDMENTS: TableId = TableId(2);

#[derive(Debug, Clone, Copy)]
struct Chat {
    rooms: TableId,
    inboxes: TableId,
}

impl Chat {
    fn create(engine: &Engine, rooms: TableOptions) -> Chat {
        let rooms = engine.create_table("room", rooms).unwrap();
        let inboxes = engine.create_table("inbox", TableOptions::timeline()).unwrap();
        Chat { rooms, inboxes }
    }

    /// A message to a room and to three inboxes: its seq in the room.
    fn send(&self, engine: &Engine, room: &[u8], payload: &[u8]) -> u64 {
        let mut batch = WriteBatch::new();
        let targets = [
            (self.rooms, room),
            (self.inboxes, b"ann"),
            (self.inboxes, b"bob"),
            (self.inboxes, b"cid"),
        ];
        batch.fan_out(targets, payload, Some(7), None, true).unwrap();
        engine.commit(batch, Durability::Sync).unwrap().seqs[0]
    }

    /// What each of ann, bob and cid reads, newest first; `None` for what was retracted.
    fn inboxes(&self, snapshot: &Snapshot) -> Vec<Option<Vec<u8>>> {
        let read = |key: &[u8]| shown(snapshot, self.inboxes, key, Direction::Backward);
        let (ann, bob, cid) = (read(b"ann"), read(b"bob"), read(b"cid"));
        assert_eq!((&ann, &bob), (&bob, &cid), "every inbox shows the same");
        ann
    }
}

fn commit(engine: &Engine, batch: WriteBatch) -> u64 {
    engine.commit(batch, Durability::Sync).unwrap().commit
}

fn amend(engine: &Engine, table: TableId, key: &[u8], seq: u64, payload: &[u8]) -> u64 {
    let mut batch = WriteBatch::new();
    batch.amend(table, key, seq, payload).unwrap();
    commit(engine, batch)
}

fn retract(engine: &Engine, table: TableId, key: &[u8], seq: u64) -> u64 {
    let mut batch = WriteBatch::new();
    batch.retract(table, key, seq).unwrap();
    commit(engine, batch)
}

/// Payloads as a scan gives them; the other ways of reading must agree.
fn shown(
    snapshot: &Snapshot,
    table: TableId,
    key: &[u8],
    direction: Direction,
) -> Vec<Option<Vec<u8>>> {
    let scan = |direction| snapshot.scan(table, key, 0, u64::MAX, direction).unwrap();
    let entries: Vec<Entry> = scan(direction).map(|entry| entry.unwrap()).collect();
    let mut other: Vec<Entry> = scan(direction.opposite()).map(|entry| entry.unwrap()).collect();
    other.reverse();
    assert_eq!(entries, other, "both directions agree");
    for entry in &entries {
        let got = snapshot.get(table, key, entry.seq).unwrap();
        assert_eq!(got.as_ref(), Some(entry));
        let versions = snapshot.versions(table, key, entry.seq).unwrap();
        assert_eq!(versions.last(), Some(entry), "the last version is what is shown");
        assert_eq!(versions[0].revision, None, "the first is the original");
        assert_eq!(entry.commit, versions[0].commit, "an amendment does not move its entry");
    }
    let newest = entries.iter().max_by_key(|entry| entry.seq);
    assert_eq!(snapshot.latest(table, key).unwrap().as_ref(), newest);
    entries.iter().map(payload).collect()
}

fn payload(entry: &Entry) -> Option<Vec<u8>> {
    let retracted = entry.revision.is_some_and(|revision| revision.retracted);
    assert!(!retracted || entry.payload.is_empty());
    (!retracted).then(|| entry.payload.to_vec())
}

trait Opposite {
    fn opposite(self) -> Direction;
}

impl Opposite for Direction {
    fn opposite(self) -> Direction {
        match self {
            Direction::Forward => Direction::Backward,
            Direction::Backward => Direction::Forward,
        }
    }
}

/// Versions of amendments in SSTables.
fn amendments_on_disk(world: &World) -> u64 {
    let inspector = Inspector::over(std::sync::Arc::new(world.disk.reopen()));
    let sstables = inspector.sstables().unwrap();
    sstables.iter().filter(|it| it.meta.table == AMENDMENTS).map(|it| it.meta.entries).sum()
}

fn assert_sound(world: &World) {
    let inspector = Inspector::over(std::sync::Arc::new(world.disk.reopen()));
    assert_eq!(inspector.verify().unwrap().faults, []);
}

fn texts(texts: &[&str]) -> Vec<Option<Vec<u8>>> {
    texts.iter().map(|text| (*text != "-").then(|| text.as_bytes().to_vec())).collect()
}

/// Checks now, after a flush, after a compaction, and in a new process.
fn at_every_stage(world: &World, process: Process, check: impl Fn(&Engine)) -> Process {
    check(&process.engine);
    process.engine.flush().unwrap();
    check(&process.engine);
    process.engine.compact().unwrap();
    check(&process.engine);
    assert_sound(world);
    process.engine.close().unwrap();
    drop(process);
    let again = world.open(&tiny_read()).unwrap();
    check(&again.engine);
    again
}

#[test]
fn an_edit_and_a_recall_are_seen_through_every_inbox() {
    for options in [tiny(), tiny_read()] {
        let world = World::new(1);
        let process = world.open(&options).unwrap();
        let engine = &process.engine;
        let chat = Chat::create(engine, TableOptions::timeline());
        for text in ["one", "two", "three"] {
            chat.send(engine, b"room", text.as_bytes());
        }
        let before = engine.snapshot();
        let bytes = world.disk.operation_count();
        let edited = amend(engine, chat.rooms, b"room", 2, b"TWO");
        retract(engine, chat.rooms, b"room", 3);
        assert!(world.disk.operation_count() - bytes < 20, "one write each");
        let check = |engine: &Engine| {
            let snapshot = engine.snapshot();
            assert_eq!(chat.inboxes(&snapshot), texts(&["-", "TWO", "one"]));
            let room = shown(&snapshot, chat.rooms, b"room", Direction::Forward);
            assert_eq!(room, texts(&["one", "TWO", "-"]));
            let entry = snapshot.get(chat.inboxes, b"bob", 2).unwrap().unwrap();
            assert_eq!(entry.revision.unwrap().commit, edited);
            assert_eq!(entry.event_ms, Some(7));
            assert_eq!(snapshot.len(chat.inboxes, b"bob").unwrap(), 3, "no gap");
        };
        check(engine);
        assert_eq!(chat.inboxes(&before), texts(&["three", "two", "one"]));
        engine.flush().unwrap();
        assert_eq!(chat.inboxes(&before), texts(&["three", "two", "one"]));
        drop(before);
        at_every_stage(&world, process, check).kill();
    }
}

#[test]
fn every_snapshot_shows_the_revisions_of_its_moment() {
    let world = World::new(2);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let chat = Chat::create(engine, TableOptions::timeline());
    chat.send(engine, b"room", b"text 0");
    let mut held = vec![(engine.snapshot(), vec!["text 0".to_owned()])];
    for number in 1..=40 {
        let mut texts = held.last().unwrap().1.clone();
        if number % 7 == 0 {
            retract(engine, chat.rooms, b"room", 1);
            texts.push("-".to_owned());
        } else {
            let text = format!("text {number}");
            amend(engine, chat.rooms, b"room", 1, text.as_bytes());
            texts.push(text);
        }
        held.push((engine.snapshot(), texts));
        match number % 9 {
            3 => engine.flush().unwrap(),
            8 => engine.compact().unwrap(),
            _ => {}
        }
    }
    let check = |held: &[(Snapshot, Vec<String>)]| {
        for (snapshot, texts) in held {
            for (table, key) in [(chat.rooms, &b"room"[..]), (chat.inboxes, b"cid")] {
                let versions = snapshot.versions(table, key, 1).unwrap();
                let found: Vec<_> = versions.iter().map(payload).collect();
                let expected: Vec<&str> = texts.iter().map(String::as_str).collect();
                assert_eq!(found, super::amendments::texts(&expected));
                let commits: Vec<_> =
                    versions.iter().map(|entry| entry.revision.map(|r| r.commit)).collect();
                assert!(commits.is_sorted(), "oldest first");
                let now = snapshot.latest(table, key).unwrap().unwrap();
                assert_eq!(&now, versions.last().unwrap());
            }
        }
    };
    check(&held);
    engine.compact().unwrap();
    check(&held);
    let texts = held.pop().unwrap().1;
    held.clear();
    engine.compact().unwrap();
    check(&[(engine.snapshot(), texts)]);
    process.kill();
}

#[test]
fn the_newest_of_the_entry_and_its_origin_is_shown() {
    let world = World::new(3);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let chat = Chat::create(engine, TableOptions::timeline());
    chat.send(engine, b"room", b"text");
    // A note of ann's own, in her inbox alone.
    amend(engine, chat.inboxes, b"ann", 1, b"ann's");
    assert_eq!(
        payload(&engine.snapshot().latest(chat.inboxes, b"ann").unwrap().unwrap()).unwrap(),
        b"ann's"
    );
    amend(engine, chat.rooms, b"room", 1, b"edited");
    let snapshot = engine.snapshot();
    assert_eq!(chat.inboxes(&snapshot), texts(&["edited"]));
    let versions = snapshot.versions(chat.inboxes, b"ann", 1).unwrap();
    let found: Vec<_> = versions.iter().map(payload).collect();
    assert_eq!(found, texts(&["text", "ann's", "edited"]));
    drop(snapshot);
    // Two in one commit: the later record wins.
    let mut batch = WriteBatch::new();
    batch.amend(chat.rooms, b"room", 1, b"first").unwrap();
    batch.retract(chat.rooms, b"room", 1).unwrap();
    batch.amend(chat.rooms, b"room", 1, b"second").unwrap();
    commit(engine, batch);
    at_every_stage(&world, process, |engine| {
        assert_eq!(chat.inboxes(&engine.snapshot()), texts(&["second"]));
        let versions = engine.snapshot().versions(chat.rooms, b"room", 1).unwrap();
        let found: Vec<_> = versions.iter().map(payload).collect();
        assert_eq!(found, texts(&["text", "edited", "first", "-", "second"]));
    })
    .kill();
}

#[test]
fn what_is_fanned_out_after_an_amendment_shows_the_payload_given_then() {
    let world = World::new(4);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let chat = Chat::create(engine, TableOptions::timeline());
    chat.send(engine, b"room", b"text");
    amend(engine, chat.rooms, b"room", 1, b"edited");
    let origin = Origin { table: chat.rooms, key: b"room"[..].into(), seq: 1 };
    let mut batch = WriteBatch::new();
    let late = [(chat.inboxes, &b"dan"[..])];
    batch.fan_out(late, b"edited, said late", None, Some(&origin), false).unwrap();
    commit(engine, batch);
    let dan = |engine: &Engine| shown(&engine.snapshot(), chat.inboxes, b"dan", Direction::Forward);
    assert_eq!(dan(engine), texts(&["edited, said late"]));
    let process = at_every_stage(&world, process, |engine| {
        assert_eq!(dan(engine), texts(&["edited, said late"]));
        assert_eq!(chat.inboxes(&engine.snapshot()), texts(&["edited"]));
    });
    // A later one counts for all.
    retract(&process.engine, chat.rooms, b"room", 1);
    assert_eq!(dan(&process.engine), texts(&["-"]));
    process.kill();
}

#[test]
fn what_was_never_written_cannot_be_amended() {
    let world = World::new(5);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let chat = Chat::create(engine, TableOptions::timeline());
    let values = engine.create_table("value", TableOptions::keyed()).unwrap();
    chat.send(engine, b"room", b"text");
    let refused = |batch: WriteBatch| engine.commit(batch, Durability::Sync).unwrap_err();
    let mut batch = WriteBatch::new();
    batch.put(values, b"key", b"value").unwrap();
    batch.append(chat.rooms, b"room", b"next", None).unwrap();
    batch.amend(chat.rooms, b"room", 2, b"too early").unwrap();
    let error = refused(batch);
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("sequence id is 2, the newest one of its timeline is 1"));
    let snapshot = engine.snapshot();
    assert_eq!(snapshot.value(values, b"key").unwrap(), None, "nothing was written");
    assert_eq!(snapshot.latest_seq(chat.rooms, b"room").unwrap(), 1);
    for (table, kind) in [
        (TableId(999), ErrorKind::NotFound),
        (AMENDMENTS, ErrorKind::NotFound),
        (values, ErrorKind::InvalidUse),
    ] {
        let mut batch = WriteBatch::new();
        batch.retract(table, b"room", 1).unwrap();
        assert_eq!(refused(batch).kind(), kind);
    }
    let mut batch = WriteBatch::new();
    batch.amend(chat.rooms, b"nobody", 1, b"").unwrap();
    assert_eq!(refused(batch).kind(), ErrorKind::NotFound);
    assert_eq!(snapshot.versions(chat.rooms, b"room", 2).unwrap(), []);
    assert_eq!(snapshot.versions(chat.rooms, b"nobody", 1).unwrap(), []);
    // The seq that was not given is given now, and is not amended.
    assert_eq!(chat.send(engine, b"room", b"next"), 2);
    assert_eq!(chat.inboxes(&engine.snapshot()), texts(&["next", "text"]));
    process.kill();
}

#[test]
fn an_amendment_outlives_its_entry_as_long_as_there_are_copies() {
    let world = World::new(6);
    let mut process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let ttl = TableOptions { ttl_ms: Some(60_000), ..TableOptions::timeline() };
    let chat = Chat::create(engine, ttl);
    chat.send(engine, b"room", b"text");
    chat.send(engine, b"room", b"secret");
    amend(engine, chat.rooms, b"room", 1, b"edited");
    retract(engine, chat.rooms, b"room", 2);
    for minute in 0..4 {
        world.clock.advance(Duration::from_secs(61));
        process = at_every_stage(&world, process, |engine| {
            let snapshot = engine.snapshot();
            assert_eq!(chat.inboxes(&snapshot), texts(&["-", "edited"]), "minute {minute}");
            assert_eq!(snapshot.latest(chat.rooms, b"room").unwrap(), None, "it has expired");
        });
        assert_eq!(amendments_on_disk(&world), 2);
    }
    // One more amendment, of an entry that has expired.
    amend(&process.engine, chat.rooms, b"room", 1, b"edited late");
    at_every_stage(&world, process, |engine| {
        assert_eq!(chat.inboxes(&engine.snapshot()), texts(&["-", "edited late"]));
    })
    .kill();
}

#[test]
fn amendments_go_when_nobody_can_meet_them_any_more() {
    let world = World::new(7);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let ttl = TableOptions { ttl_ms: Some(60_000), ..TableOptions::timeline() };
    let notes = engine.create_table("note", ttl).unwrap();
    for number in 1..=20u64 {
        let mut batch = WriteBatch::new();
        batch.append(notes, b"ann", b"note", None).unwrap();
        commit(engine, batch);
        amend(engine, notes, b"ann", number, b"better note");
    }
    engine.compact().unwrap();
    assert_eq!(amendments_on_disk(&world), 20);
    world.clock.advance(Duration::from_secs(50));
    let mut batch = WriteBatch::new();
    batch.append(notes, b"ann", b"note", None).unwrap();
    commit(engine, batch);
    amend(engine, notes, b"ann", 10, b"an even better note");
    amend(engine, notes, b"ann", 21, b"better note");
    engine.compact().unwrap();
    assert_eq!(amendments_on_disk(&world), 22);
    // In a compaction each goes by itself: those of the first twenty notes, as they were then.
    world.clock.advance(Duration::from_secs(20));
    amend(engine, notes, b"ann", 21, b"an even better note");
    engine.compact().unwrap();
    assert_eq!(amendments_on_disk(&world), 3);
    let shown = shown(&engine.snapshot(), notes, b"ann", Direction::Backward);
    assert_eq!(shown, texts(&["an even better note"]));
    // An SSTable in which all have gone is dropped. The copies here hold none of them back, since
    // they are younger.
    let chat = Chat::create(engine, TableOptions::timeline());
    chat.send(engine, b"room", b"text");
    amend(engine, chat.rooms, b"room", 1, b"edited");
    engine.compact().unwrap();
    assert_eq!(amendments_on_disk(&world), 4);
    world.clock.advance(Duration::from_secs(61));
    amend(engine, chat.rooms, b"room", 1, b"edited again");
    engine.compact().unwrap();
    assert_eq!(amendments_on_disk(&world), 2);
    assert_eq!(chat.inboxes(&engine.snapshot()), texts(&["edited again"]));
    process.kill();
}

#[test]
fn amendments_of_what_was_deleted_go_and_of_what_may_be_shown_again_stay() {
    let world = World::new(8);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let notes = engine.create_table("note", TableOptions::timeline()).unwrap();
    for _ in 0..40 {
        let mut batch = WriteBatch::new();
        batch.append(notes, b"ann", b"secret", None).unwrap();
        commit(engine, batch);
    }
    engine.compact().unwrap();
    let marked = |change: &dyn Fn(&mut WriteBatch)| {
        let mut batch = WriteBatch::new();
        change(&mut batch);
        commit(engine, batch);
    };
    let retract_twice = |seq| {
        for _ in 0..2 {
            retract(engine, notes, b"ann", seq);
            engine.flush().unwrap();
        }
    };
    retract_twice(1);
    // One note in forty is hidden: its SSTable is not worth rewriting, that of the amendments is.
    marked(&|batch| batch.set_keep_last(notes, b"ann", Some(39)).unwrap());
    engine.compact().unwrap();
    assert_eq!(amendments_on_disk(&world), 2);
    marked(&|batch| batch.set_keep_last(notes, b"ann", None).unwrap());
    let first = engine.snapshot().get(notes, b"ann", 1).unwrap().expect("it is shown again");
    assert_eq!(payload(&first), None, "and is still retracted");
    // What was deleted never comes back, and needs no amendments.
    retract_twice(2);
    let before = engine.snapshot();
    marked(&|batch| batch.delete_range(notes, b"ann", 1..=2).unwrap());
    retract_twice(3);
    engine.compact().unwrap();
    assert_eq!(amendments_on_disk(&world), 6, "a snapshot still shows what was deleted");
    drop(before);
    // They go when they are compacted, which younger ones of the same notes bring about.
    retract_twice(1);
    retract_twice(2);
    engine.compact().unwrap();
    assert_eq!(amendments_on_disk(&world), 2, "those of the third note");
    process.kill();
}
