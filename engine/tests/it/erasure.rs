//! The erasure deadline: what was retracted is found in no byte of the file once it has passed.
//!
//! Payloads are random bytes, so that a few of them found anywhere are a leak. Each test looks for
//! them before as well: a search that finds nothing must be able to find something.

use super::images::{found, images};
use super::world::{Process, World, tiny, tiny_read};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tidelog_engine::inspect::Inspector;
use tidelog_engine::testing::{Fault, FaultEffect, FaultOperation, FaultTimes, Random};
use tidelog_engine::{
    Compression, Direction, Durability, Engine, Entry, Options, Origin, Scheduler, Sequence,
    TableId, TableOptions, WriteBatch,
};

/// The deadline of the tables here.
pub(crate) const DEADLINE: Duration = Duration::from_secs(3600);

/// Payloads that must go, by what they are, and some that must stay.
#[derive(Default, Clone)]
pub(crate) struct Payloads {
    pub(crate) retracted: Vec<(&'static str, Vec<u8>)>,
    pub(crate) kept: Vec<Vec<u8>>,
}

/// A conversation table that erases, and two tables of inboxes that do not.
#[derive(Clone, Copy)]
pub(crate) struct Chat {
    pub(crate) rooms: TableId,
    pub(crate) inboxes: TableId,
    pub(crate) others: TableId,
}

/// Randomness that has nothing in common with that of the world of this seed, such as its file id.
pub(crate) fn random(seed: u64) -> Random {
    Random::new(seed ^ 0x0e7a_5e00_0000_0000)
}

/// Random bytes.
pub(crate) fn bytes(random: &mut Random, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    random.fill(&mut bytes);
    bytes
}

/// What can be found of payloads that must be gone.
pub(crate) fn leaks(world: &World, payloads: &Payloads) -> BTreeSet<&'static str> {
    images(world).iter().flat_map(|image| found(image, &payloads.retracted)).collect()
}

fn commit(engine: &Engine, batch: WriteBatch) -> Vec<u64> {
    engine.commit(batch, Durability::Sync).unwrap().seqs
}

pub(crate) fn retract(engine: &Engine, table: TableId, key: &[u8], seq: u64) {
    let mut batch = WriteBatch::new();
    batch.retract(table, key, seq).unwrap();
    commit(engine, batch);
}

fn amend(engine: &Engine, table: TableId, key: &[u8], seq: u64, payload: &[u8]) {
    let mut batch = WriteBatch::new();
    batch.amend(table, key, seq, payload).unwrap();
    commit(engine, batch);
}

/// Lets time pass, and background work with it.
pub(crate) fn pass_time(world: &World, process: &Process, time: Duration) {
    let step = Duration::from_secs(10);
    for _ in 0..time.as_secs().div_ceil(step.as_secs()) {
        process.scheduler.run_until_idle(10_000);
        world.clock.advance(step);
    }
    process.scheduler.run_until_idle(10_000);
}

/// Lets background work go on until the pass is over, without much time.
pub(crate) fn finish_pass(process: &Process) {
    for _ in 0..20_000 {
        process.scheduler.pause(Duration::from_millis(50));
        let erasure = process.engine.stats().erasure;
        if !erasure.running && erasure.oldest_pending_ms.is_none() {
            return;
        }
    }
    panic!("the pass does not end: {:?}", process.engine.stats().erasure);
}

impl Chat {
    pub(crate) fn create(engine: &Engine, rooms: TableOptions, inboxes: TableOptions) -> Chat {
        let rooms = engine.create_table("room", rooms.erase_after(DEADLINE)).unwrap();
        let others = engine.create_table("other", inboxes.clone()).unwrap();
        let inboxes = engine.create_table("inbox", inboxes).unwrap();
        Chat { rooms, inboxes, others }
    }

    pub(crate) fn of(engine: &Engine) -> Chat {
        let table = |name| engine.table(name).unwrap().id;
        Chat { rooms: table("room"), inboxes: table("inbox"), others: table("other") }
    }

    /// A message to the room and three inboxes: its seq in the room.
    pub(crate) fn send(&self, engine: &Engine, payload: &[u8]) -> u64 {
        let targets = [
            (self.rooms, &b"r"[..]),
            (self.inboxes, b"ann"),
            (self.inboxes, b"bob"),
            (self.others, b"cid"),
        ];
        let mut batch = WriteBatch::new();
        batch.fan_out(targets, payload, Some(7), None, true).unwrap();
        commit(engine, batch)[0]
    }

    /// A message to the room alone.
    fn say(&self, engine: &Engine, payload: &[u8]) -> u64 {
        let mut batch = WriteBatch::new();
        batch.append(self.rooms, b"r", payload, None).unwrap();
        commit(engine, batch)[0]
    }

    /// Copies that are made later.
    fn forward(&self, engine: &Engine, seq: u64, inboxes: &[&[u8]], payload: &[u8]) {
        let origin = Origin { table: self.rooms, key: b"r"[..].into(), seq };
        let mut batch = WriteBatch::new();
        let targets = inboxes.iter().map(|key| (self.inboxes, *key));
        batch.fan_out(targets, payload, None, Some(&origin), false).unwrap();
        commit(engine, batch);
    }

    /// Messages of all kinds, each between two that stay; those to be retracted by their seq in
    /// the room.
    pub(crate) fn fill(&self, engine: &Engine, random: &mut Random) -> (Payloads, Vec<u64>) {
        let (mut payloads, mut seqs) = (Payloads::default(), Vec::new());
        let kinds = [
            ("inlined", 30, true),
            ("shared", 1000, true),
            ("private", 500, false),
            ("large", 300_000, true),
            ("large and private", 280_000, false),
        ];
        for (what, length, shared) in kinds {
            for goes in [false, true, false] {
                let payload = bytes(random, length);
                let seq = match shared {
                    true => self.send(engine, &payload),
                    false => self.say(engine, &payload),
                };
                if !goes {
                    payloads.kept.push(payload);
                    continue;
                }
                seqs.push(seq);
                for (kind, count) in [("inlined", 2), ("shared", 1), ("large", 3)] {
                    if what == kind {
                        let inboxes = [&b"dan"[..], b"eve", b"ann"];
                        self.forward(engine, seq, &inboxes[..count], &payload);
                    }
                }
                payloads.retracted.push((what, payload));
            }
        }
        let seq = self.send(engine, &bytes(random, 200));
        for what in ["edited", "edited again"] {
            let payload = bytes(random, 200);
            amend(engine, self.rooms, b"r", seq, &payload);
            payloads.retracted.push((what, payload));
        }
        seqs.push(seq);
        (payloads, seqs)
    }

    pub(crate) fn retract_all(&self, engine: &Engine, seqs: &[u64]) {
        seqs.iter().for_each(|seq| retract(engine, self.rooms, b"r", *seq));
    }

    /// What was retracted reads as retracted, everywhere, and has nothing left; what stays is
    /// whole, and ids are dense.
    pub(crate) fn check(&self, engine: &Engine, payloads: &Payloads, seqs: &[u64]) {
        let read = |table, key: &[u8]| -> Vec<Entry> {
            let scan = engine.snapshot().scan(table, key, 0, u64::MAX, Direction::Forward).unwrap();
            scan.map(|entry| entry.unwrap()).collect()
        };
        let room = read(self.rooms, b"r");
        assert!(room.iter().map(|entry| entry.seq).eq(1..=room.len() as u64));
        let is_retracted = |entry: &Entry| entry.revision.is_some_and(|it| it.retracted);
        let mut kept = Vec::new();
        for entry in &room {
            assert_eq!(is_retracted(entry), seqs.contains(&entry.seq), "{entry:?}");
            if !is_retracted(entry) {
                kept.push(entry.payload.to_vec());
            }
        }
        assert!(kept == payloads.kept, "what was not retracted is whole");
        let inboxes = [
            (self.inboxes, &b"ann"[..]),
            (self.inboxes, b"bob"),
            (self.inboxes, b"dan"),
            (self.others, b"cid"),
        ];
        for (table, key) in std::iter::once((self.rooms, &b"r"[..])).chain(inboxes) {
            for entry in read(table, key) {
                let of = entry.origin.as_ref().map_or(entry.seq, |origin| origin.seq);
                assert_eq!(is_retracted(&entry), seqs.contains(&of), "{entry:?}");
                let versions = engine.snapshot().versions(table, key, entry.seq).unwrap();
                assert_eq!(versions.last(), Some(&entry));
                for version in &versions {
                    let was_taken_back = is_retracted(&entry) && !is_retracted(version);
                    assert_eq!(version.erased, was_taken_back, "{version:?}");
                    assert!(!version.erased || version.payload.is_empty());
                }
            }
        }
    }
}

pub(crate) fn assert_sound(world: &World) {
    let cold = world.cold.as_ref().map(|cold| Arc::new(cold.reopen()) as Arc<_>);
    let mut inspector = Inspector::over(Arc::new(world.disk.reopen()));
    if let Some(cold) = cold {
        inspector = inspector.with_cold(cold);
    }
    assert_eq!(inspector.verify().unwrap().faults, []);
}

/// Everything of `fill` retracted, after `before`; then nothing of it is left within the deadline.
fn erases_all(
    world: &World,
    options: &Options,
    tables: (TableOptions, TableOptions),
    before: impl Fn(&World, &Process),
) {
    let process = world.open(options).unwrap();
    let engine = &process.engine;
    let chat = Chat::create(engine, tables.0, tables.1);
    let (payloads, seqs) = chat.fill(engine, &mut random(world.seed));
    before(world, &process);
    chat.retract_all(engine, &seqs);
    let all: BTreeSet<&str> = payloads.retracted.iter().map(|(what, _)| *what).collect();
    assert_eq!(leaks(world, &payloads), all, "the search finds what is there");
    pass_time(world, &process, DEADLINE / 2 - Duration::from_secs(60));
    assert_eq!(engine.stats().erasure.passes, 0);
    let pending = engine.stats().erasure.oldest_pending_ms.unwrap();
    assert!((1_700_000..1_800_000).contains(&pending), "{pending}");
    pass_time(world, &process, DEADLINE / 2);
    let erasure = engine.stats().erasure;
    assert_eq!(erasure.oldest_pending_ms, None, "{erasure:?}");
    assert_eq!(leaks(world, &payloads), BTreeSet::new(), "{erasure:?}");
    assert!(engine.stats().tables[0].erased_through > 0);
    chat.check(engine, &payloads, &seqs);
    engine.flush().unwrap();
    assert_sound(world);
    engine.compact().unwrap();
    chat.check(engine, &payloads, &seqs);
    engine.close().unwrap();
    drop(process);
    let process = world.open(options).unwrap();
    chat.check(&process.engine, &payloads, &seqs);
    assert_eq!(leaks(world, &payloads), BTreeSet::new());
    assert_sound(world);
}

fn plain() -> (TableOptions, TableOptions) {
    (TableOptions::timeline(), TableOptions::timeline())
}

#[test]
fn what_was_retracted_is_gone_from_the_file() {
    for (seed, options) in [(1, tiny()), (2, tiny_read())] {
        erases_all(&World::new(seed), &options, plain(), |_, _| {});
        erases_all(&World::new(seed), &options, plain(), |_, process| {
            process.engine.flush().unwrap();
        });
        erases_all(&World::new(seed), &options, plain(), |_, process| {
            process.engine.compact().unwrap();
        });
    }
}

#[test]
fn it_is_gone_from_compressed_blocks_and_their_dictionaries() {
    let compressions = [Compression::Lz4, Compression::Zstd { level: 3 }];
    for compression in compressions {
        if compression != Compression::Lz4 && !cfg!(feature = "zstd") {
            continue;
        }
        let options = || TableOptions { compression, ..TableOptions::timeline() };
        erases_all(&World::new(3), &tiny(), (options(), options()), |_, process| {
            process.engine.compact().unwrap();
        });
    }
}

#[test]
fn it_is_gone_from_the_cold_tier() {
    let cold = || TableOptions::timeline().cold_after(Duration::from_secs(60));
    let moves = |world: &World, process: &Process| {
        process.engine.flush().unwrap();
        pass_time(world, process, Duration::from_secs(200));
        assert!(process.engine.stats().cold_sstables > 0);
    };
    erases_all(&World::new(4), &tiny(), (cold(), cold()), moves);
    erases_all(&World::with_cold(5), &tiny_read(), (cold(), cold()), moves);
    let born = || TableOptions::timeline().born_cold();
    erases_all(&World::with_cold(6), &tiny(), (cold(), born()), moves);
}

#[test]
fn it_is_gone_although_the_entries_have_expired() {
    // The original is dropped, and with it what says that it was retracted, were it not kept.
    let world = World::new(7);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let ttl = TableOptions::timeline().ttl(Duration::from_secs(300));
    let chat = Chat::create(engine, ttl.clone(), ttl);
    let (payloads, seqs) = chat.fill(engine, &mut random(7));
    engine.flush().unwrap();
    chat.retract_all(engine, &seqs);
    pass_time(&world, &process, Duration::from_secs(900));
    engine.compact().unwrap();
    process.kill();
    // The place of what expired is free, and some of it was used again or cut off.
    let process = world.open(&tiny()).unwrap();
    pass_time(&world, &process, DEADLINE - Duration::from_secs(1000));
    assert_eq!(leaks(&world, &payloads), BTreeSet::new());
    let erasure = process.engine.stats().erasure;
    assert_eq!((erasure.passes, erasure.oldest_pending_ms), (1, None), "{erasure:?}");
}

#[test]
fn a_snapshot_from_before_the_retraction_delays_it() {
    let world = World::new(8);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let chat = Chat::create(engine, TableOptions::timeline(), TableOptions::timeline());
    let (payloads, seqs) = chat.fill(engine, &mut random(8));
    let (early, late) = seqs.split_at(3);
    chat.retract_all(engine, early);
    let snapshot = engine.snapshot();
    chat.retract_all(engine, late);
    pass_time(&world, &process, DEADLINE);
    let names = |range: std::ops::Range<usize>| -> BTreeSet<&str> {
        payloads.retracted[range].iter().map(|(what, _)| *what).collect()
    };
    assert_eq!(leaks(&world, &payloads), names(3..7), "what the snapshot shows stays");
    let erasure = engine.stats().erasure;
    let waits_for = erasure.waits_for.clone().unwrap();
    assert_eq!(waits_for, format!("a snapshot of commit {}", snapshot.commit()));
    assert!(erasure.oldest_pending_ms.unwrap() >= 3_590_000, "{erasure:?}");
    assert_eq!(engine.stats().tables[0].erased_through, snapshot.commit());
    let entry = snapshot.get(chat.rooms, b"r", late[0]).unwrap().unwrap();
    assert_eq!(&*entry.payload, &payloads.retracted[3].1[..]);
    drop((entry, snapshot));
    pass_time(&world, &process, Duration::from_secs(60));
    assert_eq!(leaks(&world, &payloads), BTreeSet::new());
    assert_eq!(engine.stats().erasure.waits_for, None);
    chat.check(engine, &payloads, &seqs);
}

#[test]
fn a_payload_that_is_held_delays_it() {
    let world = World::new(9);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let chat = Chat::create(engine, TableOptions::timeline(), TableOptions::timeline());
    let (payloads, seqs) = chat.fill(engine, &mut random(9));
    engine.flush().unwrap();
    let held = engine.snapshot().get(chat.rooms, b"r", seqs[3]).unwrap().unwrap();
    let scan = engine.snapshot().scan(chat.inboxes, b"ann", 0, u64::MAX, Direction::Forward);
    chat.retract_all(engine, &seqs);
    drop(scan);
    pass_time(&world, &process, DEADLINE);
    let erasure = engine.stats().erasure;
    assert!(erasure.running, "{erasure:?}");
    let waits_for = erasure.waits_for.unwrap();
    assert!(waits_for.starts_with("readers that hold"), "{waits_for}");
    assert_eq!(&*held.payload, &payloads.retracted[3].1[..], "it is whole");
    drop(held);
    finish_pass(&process);
    assert_eq!(leaks(&world, &payloads), BTreeSet::new());
}

#[test]
fn what_others_share_stays_until_all_are_retracted() {
    for length in [1000, 300_000] {
        let world = World::new(10);
        let process = world.open(&tiny()).unwrap();
        let engine = &process.engine;
        let chat = Chat::create(engine, TableOptions::timeline(), TableOptions::timeline());
        let payload = bytes(&mut random(10), length);
        // One payload for three rooms, none of which is the origin of another.
        let mut batch = WriteBatch::new();
        let rooms = [&b"one"[..], b"two", b"three"].map(|room| (chat.rooms, room));
        batch.fan_out(rooms, &payload, None, None, false).unwrap();
        commit(engine, batch);
        let payloads =
            Payloads { retracted: vec![("shared", payload.clone())], ..Payloads::default() };
        for (count, (_, room)) in (1..).zip(rooms) {
            engine.flush().unwrap();
            retract(engine, chat.rooms, room, 1);
            pass_time(&world, &process, DEADLINE / 2 + Duration::from_secs(120));
            assert_eq!(engine.stats().erasure.passes, count);
            assert_eq!(leaks(&world, &payloads).is_empty(), count == 3, "{count} are retracted");
            let left = rooms[usize::try_from(count).unwrap()..].iter();
            for (table, room) in left {
                let entry = engine.snapshot().get(*table, room, 1).unwrap().unwrap();
                assert!(*entry.payload == payload[..] && entry.revision.is_none());
            }
        }
        let versions = engine.snapshot().versions(chat.rooms, b"two", 1).unwrap();
        assert!(versions[0].erased && !versions[1].erased);
        assert_sound(&world);
    }
}

#[test]
fn what_came_after_the_retraction_stays() {
    let world = World::new(11);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let chat = Chat::create(engine, TableOptions::timeline(), TableOptions::timeline());
    let mut source = random(11);
    let [first, edited, again, copy] = std::array::from_fn(|_| bytes(&mut source, 900));
    let seq = chat.send(engine, &first);
    amend(engine, chat.rooms, b"r", seq, &edited);
    retract(engine, chat.rooms, b"r", seq);
    // Given a payload again, and fanned out once more.
    amend(engine, chat.rooms, b"r", seq, &again);
    chat.forward(engine, seq, &[b"dan", b"eve"], &copy);
    engine.flush().unwrap();
    let gone = vec![("first", first), ("edited", edited)];
    let payloads = Payloads { retracted: gone, ..Payloads::default() };
    assert_eq!(leaks(&world, &payloads).len(), 2);
    pass_time(&world, &process, DEADLINE);
    assert_eq!(leaks(&world, &payloads), BTreeSet::new());
    let read = |table, key: &[u8]| engine.snapshot().latest(table, key).unwrap().unwrap();
    assert!(*read(chat.rooms, b"r").payload == again[..]);
    assert!(*read(chat.inboxes, b"bob").payload == again[..]);
    assert!(*read(chat.inboxes, b"dan").payload == copy[..]);
    let versions = engine.snapshot().versions(chat.inboxes, b"bob", 1).unwrap();
    let erased: Vec<bool> = versions.iter().map(|version| version.erased).collect();
    assert_eq!(erased, [true, true, false, false]);
    assert_sound(&world);
}

#[test]
fn the_option_can_be_given_and_taken_away() {
    let world = World::new(12);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let chat = Chat::create(engine, TableOptions::timeline(), TableOptions::timeline());
    let without = TableOptions::timeline();
    engine.alter_table(chat.rooms, without.clone()).unwrap();
    let (payloads, seqs) = chat.fill(engine, &mut random(12));
    let all: BTreeSet<&str> = payloads.retracted.iter().map(|(what, _)| *what).collect();
    engine.flush().unwrap();
    chat.retract_all(engine, &seqs);
    pass_time(&world, &process, 2 * DEADLINE);
    assert_eq!(leaks(&world, &payloads), all);
    assert_eq!(engine.stats().erasure.oldest_pending_ms, None);
    // Taken away in the middle of a pass: nothing is recorded.
    let with = without.clone().erase_after(DEADLINE);
    engine.alter_table(chat.rooms, with.clone()).unwrap();
    while !engine.stats().erasure.running {
        assert!(process.scheduler.step_one(), "it is long overdue");
    }
    process.scheduler.run_until_idle(40);
    engine.alter_table(chat.rooms, without).unwrap();
    process.scheduler.run_until_idle(10_000);
    let stats = engine.stats();
    assert!(!stats.erasure.running && stats.erasure.passes == 0, "{:?}", stats.erasure);
    assert_eq!(stats.tables[0].erased_through, 0);
    // Given for good: what was retracted before goes as well.
    engine.alter_table(chat.rooms, with).unwrap();
    pass_time(&world, &process, Duration::from_secs(60));
    assert_eq!(leaks(&world, &payloads), BTreeSet::new());
    chat.check(engine, &payloads, &seqs);
    assert_sound(&world);
}

#[test]
fn deadlines_have_bounds() {
    let world = World::new(13);
    let process = world.open(&tiny()).unwrap();
    let engine = &process.engine;
    let create = |name, options: TableOptions| engine.create_table(name, options);
    let short = TableOptions::timeline().erase_after(Duration::from_millis(59_999));
    let error = create("short", short).unwrap_err().to_string();
    assert!(error.contains("59999") && error.contains("60000"), "{error}");
    let keyed = create("keyed", TableOptions::keyed().erase_after(DEADLINE)).unwrap_err();
    assert!(keyed.to_string().contains("timeline tables"), "{keyed}");
    let given = TableOptions { sequence: Sequence::Given, ..TableOptions::timeline() };
    let table = create("given", given.erase_after(Duration::from_secs(60))).unwrap();
    let payload = bytes(&mut random(13), 100);
    let mut batch = WriteBatch::new();
    batch.append_at(table, b"log", 77, &payload, None).unwrap();
    commit(engine, batch);
    retract(engine, table, b"log", 77);
    pass_time(&world, &process, Duration::from_secs(60));
    let payloads = Payloads { retracted: vec![("given", payload)], ..Payloads::default() };
    assert_eq!(leaks(&world, &payloads), BTreeSet::new());
    let entry = engine.snapshot().get(table, b"log", 77).unwrap().unwrap();
    assert!(entry.revision.unwrap().retracted);
}

#[test]
fn a_pass_that_fails_is_made_anew() {
    let faults: [fn(&World); 2] = [
        |world| world.disk.set_capacity(Some(world.disk.used_bytes())),
        |world| {
            let (operation, effect) = (FaultOperation::Read, FaultEffect::Error);
            world.disk.fail(Fault { operation, at: 9, times: FaultTimes::Forever, effect });
        },
    ];
    for (seed, fault) in (14..).zip(faults) {
        let world = World::new(seed);
        let process = world.open(&tiny_read()).unwrap();
        let engine = &process.engine;
        let chat = Chat::create(engine, TableOptions::timeline(), TableOptions::timeline());
        let (payloads, seqs) = chat.fill(engine, &mut random(seed));
        engine.compact().unwrap();
        chat.retract_all(engine, &seqs);
        engine.flush().unwrap();
        world.clock.advance(DEADLINE / 2);
        fault(&world);
        pass_time(&world, &process, Duration::from_secs(120));
        let erasure = engine.stats().erasure;
        assert!(erasure.problem.is_some() && erasure.passes == 0, "{seed}: {erasure:?}");
        assert!(!leaks(&world, &payloads).is_empty(), "{seed}");
        world.disk.set_capacity(None);
        world.disk.clear_faults();
        pass_time(&world, &process, Duration::from_secs(60));
        let erasure = engine.stats().erasure;
        assert_eq!((erasure.problem, erasure.passes), (None, 1), "{seed}");
        assert_eq!(leaks(&world, &payloads), BTreeSet::new(), "{seed}");
        chat.check(engine, &payloads, &seqs);
    }
}
