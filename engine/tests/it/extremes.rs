//! Entries that are as long, as short, as far apart and as many as can be, against a plain list.
//!
//! What the random histories leave out: timelines whose ids the caller gives, with gaps of any
//! size; ids of one byte and of 1,024; empty payloads, and such as end where a length gets another
//! byte; a timeline that one message goes to twice; origins that nobody has; times to live and
//! event times at the ends of their ranges; amendments beside all that. What is read must be what
//! was written, at the moment of each snapshot, through the log, memtables, SSTables and segments.

use super::histories::seeds;
use super::world::{Process, World, tiny, tiny_read};
use std::collections::BTreeMap;
use std::time::Duration;
use tidelog_engine::testing::{CrashPolicy, Random};
use tidelog_engine::{
    AppendOptions, Compression, Direction, Durability, Entry, ErrorKind, Options, Origin, Payload,
    Revision, Scan, Sequence, Snapshot, TableId, TableOptions, Tier, WriteBatch, limits,
};

type Id = (TableId, Vec<u8>);

/// A payload of so many bytes has a segment to itself.
const LARGE_FROM: usize = 20_000;
/// Bytes that a batch may get: the tiny ring takes four times as many.
const BATCH_BYTES: usize = 24_000;

/// Timelines that one message goes to, some of them often.
const TARGETS: usize = 2_300_000;

/// An amendment: commit and record, the place, what it says, and when.
struct Amendment {
    order: (u64, usize),
    place: Origin,
    payload: Option<Vec<u8>>,
    time_ms: u64,
}

/// What was committed.
#[derive(Default)]
struct Model {
    timelines: BTreeMap<Id, Vec<Entry>>,
    amendments: Vec<Amendment>,
    commits: u64,
}

impl Model {
    fn newest(&self, id: &Id) -> u64 {
        self.timelines.get(id).and_then(|entries| entries.last()).map_or(0, |entry| entry.seq)
    }

    /// A timeline as a snapshot shows it.
    fn at(&self, id: &Id, commit: u64) -> Vec<Entry> {
        let all = self.timelines.get(id).into_iter().flatten();
        all.take_while(|entry| entry.commit <= commit)
            .map(|entry| self.amended(id, entry.clone(), commit))
            .collect()
    }

    fn amended(&self, id: &Id, mut entry: Entry, commit: u64) -> Entry {
        let own = Origin { table: id.0, key: id.1.clone().into(), seq: entry.seq };
        let counts = |amendment: &&Amendment| {
            (entry.commit..=commit).contains(&amendment.order.0)
                && (amendment.place == own || entry.origin.as_ref() == Some(&amendment.place))
        };
        let newest = self.amendments.iter().filter(counts).max_by_key(|found| found.order);
        if let Some(Amendment { order, payload, time_ms, .. }) = newest {
            let (commit, time_ms, retracted) = (order.0, *time_ms, payload.is_none());
            entry.revision = Some(Revision { commit, time_ms, retracted });
            entry.payload = Payload::from_vec(payload.clone().unwrap_or_default());
        }
        entry
    }
}

/// A message that a batch has, as far as the model needs it.
struct Sent {
    targets: Vec<Id>,
    entry: Entry,
    first_is_origin: bool,
}

struct Extremes {
    world: World,
    options: Options,
    process: Option<Process>,
    random: Random,
    dense: TableId,
    given: TableId,
    keys: Vec<Vec<u8>>,
    model: Model,
    held: Vec<Snapshot>,
}

fn keys() -> Vec<Vec<u8>> {
    let mut keys = vec![vec![0], vec![0, 0], vec![255; 1024], vec![b'a'; 1024]];
    keys.push([vec![b'a'; 1023], vec![b'b']].concat());
    keys.extend([7, 8, 9, 22, 23, 127, 128, 1000].map(|length| vec![b'k'; length]));
    keys
}

impl Extremes {
    fn new(seed: u64) -> Extremes {
        let world = if seed % 7 > 2 { World::with_cold(seed) } else { World::new(seed) };
        let options = if seed.is_multiple_of(2) { tiny() } else { tiny_read() };
        let process = world.open(&options).unwrap();
        let compression = if seed.is_multiple_of(3) { Compression::Lz4 } else { Compression::None };
        let table = TableOptions { compression, ..TableOptions::timeline() };
        let table = match seed % 7 {
            0 => table.ttl(Duration::from_millis(u64::MAX)),
            1 => table.erase_after(Duration::from_secs(60)),
            3 => table.cold_after(Duration::from_secs(2)),
            4 => table.cold_after(Duration::from_millis(u64::MAX)),
            5 => TableOptions { placement: Tier::Cold, ..table },
            _ => table,
        };
        let given = TableOptions { sequence: Sequence::Given, ..table.clone() };
        let table = if seed % 5 == 1 { table.keep_last(u64::MAX) } else { table };
        let dense = process.engine.create_table("dense", table).unwrap();
        let given = process.engine.create_table("given", given).unwrap();
        let random = Random::new(seed);
        let (keys, model, held) = (keys(), Model::default(), Vec::new());
        let process = Some(process);
        Extremes { world, options, process, random, dense, given, keys, model, held }
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("a process has the store open")
    }

    fn key(&mut self) -> Vec<u8> {
        self.keys[self.random.index(self.keys.len())].clone()
    }

    fn payload(&mut self) -> Vec<u8> {
        let length = match self.random.below(16) {
            0..4 => 0,
            4..7 => 1,
            7 => 127 + self.random.index(2),
            8 => 60 + self.random.index(9),
            9 => 16_380 + self.random.index(8),
            10 => LARGE_FROM + self.random.index(50),
            _ => self.random.index(400),
        };
        let mut payload = vec![b'~'; length];
        let front = length.min(12);
        self.random.fill(&mut payload[..front]);
        payload
    }

    fn entry(&mut self) -> Entry {
        let event_ms = match self.random.below(6) {
            0 => Some(i64::MIN),
            1 => Some(i64::MAX),
            2 => Some(0),
            _ => None,
        };
        let ttl_ms = match self.random.below(8) {
            0 => Some(u64::MAX),
            1 => Some(1 << 40),
            _ => None,
        };
        let origin = self.random.chance(1, 6).then(|| Origin {
            table: TableId(u32::MAX),
            key: vec![b'o'; 1024].into(),
            seq: if self.random.chance(1, 2) { u64::MAX } else { 0 },
        });
        let payload = Payload::from_vec(self.payload());
        let (seq, commit, time_ms) = (0, 0, 0);
        let (revision, erased) = (None, false);
        Entry { seq, commit, time_ms, event_ms, ttl_ms, origin, payload, revision, erased }
    }

    /// Adds a message to a batch.
    fn send(&mut self, batch: &mut WriteBatch, next: &mut BTreeMap<Id, u64>) -> Option<Sent> {
        let mut entry = self.entry();
        let ttl = entry.ttl_ms.map(Duration::from_millis);
        let origin = entry.origin.clone();
        let mut options = AppendOptions { event_ms: entry.event_ms, ttl, ..Default::default() };
        if self.random.chance(1, 3) {
            let id = (self.given, self.key());
            let last = next.get(&id).copied().unwrap_or_else(|| self.model.newest(&id));
            let gaps = [1, 1, 1, 2, 255, 256, 1 << 16, 1 << 31, 1 << 32, 1 << 56, u64::MAX / 3];
            let seq = last.checked_add(gaps[self.random.index(gaps.len())])?;
            let seq = if self.random.chance(1, 200) { limits::SEQ_MAX } else { seq };
            if seq <= last || seq > limits::SEQ_MAX {
                return None;
            }
            options.origin = origin.as_ref();
            batch.append_at_with(id.0, &id.1, seq, &entry.payload, &options).unwrap();
            next.insert(id.clone(), seq);
            entry.seq = seq;
            return Some(Sent { targets: vec![id], entry, first_is_origin: false });
        }
        let most = [1, 1, 1, 2, 5, 20][self.random.index(6)];
        let targets: Vec<Id> = (0..most).map(|_| (self.dense, self.key())).collect();
        options.origin = origin.as_ref();
        options.first_is_origin = origin.is_none() && self.random.chance(1, 2);
        let first_is_origin = options.first_is_origin;
        let named = targets.iter().map(|(table, key)| (*table, &key[..]));
        batch.append_with(named, &entry.payload, &options).unwrap();
        Some(Sent { targets, entry, first_is_origin })
    }

    /// Amends an entry that is there.
    fn amend(&mut self, batch: &mut WriteBatch) -> Option<(Origin, Option<Vec<u8>>)> {
        let ids: Vec<&Id> = self.model.timelines.keys().collect();
        let (table, key) = (*ids.get(self.random.index(ids.len().max(1)))?).clone();
        let entries = &self.model.timelines[&(table, key.clone())];
        let seq = entries[self.random.index(entries.len())].seq;
        let payload = self.random.chance(2, 3).then(|| self.payload());
        match &payload {
            Some(payload) => batch.amend(table, &key, seq, payload).unwrap(),
            None => batch.retract(table, &key, seq).unwrap(),
        }
        Some((Origin { table, key: key.into(), seq }, payload))
    }

    /// Marks that hide nothing.
    fn mark(&mut self, batch: &mut WriteBatch) {
        let (table, key) = (self.dense, self.key());
        let ttl = Some(Duration::from_millis(u64::MAX));
        match self.random.below(4) {
            0 => batch.trim(table, &key, self.random.below(2)).unwrap(),
            1 => batch.set_timeline_ttl(table, &key, ttl).unwrap(),
            2 => batch.set_keep_last(table, &key, Some(u64::MAX)).unwrap(),
            _ => batch.delete_range(table, &key, limits::SEQ_MAX..=u64::MAX).unwrap(),
        }
    }

    fn commit(&mut self) {
        let mut batch = WriteBatch::new().with_large_from(LARGE_FROM);
        let (mut sent, mut amended, mut next) = (Vec::new(), Vec::new(), BTreeMap::new());
        let plain = self.random.chance(1, 2);
        for record in 0..1 + self.random.index(60) {
            if batch.byte_count() > BATCH_BYTES {
                break;
            }
            match self.random.below(20) {
                0 | 1 if !plain => {
                    let found = self.amend(&mut batch);
                    amended.extend(found.map(|(place, payload)| (record, place, payload)));
                }
                2 if !plain => self.mark(&mut batch),
                _ => sent.extend(self.send(&mut batch, &mut next)),
            }
        }
        if batch.is_empty() {
            return;
        }
        let done = self.process().engine.commit(batch, Durability::Sync).unwrap();
        let mut seqs = done.seqs.into_iter();
        for Sent { targets, entry, first_is_origin } in sent {
            let mut first = None;
            for id in targets {
                let seq = seqs.next().expect("a seq for each target");
                assert!(entry.seq == 0 || entry.seq == seq, "as it was given");
                let mut entry =
                    Entry { seq, commit: done.commit, time_ms: done.time_ms, ..entry.clone() };
                if first_is_origin {
                    entry.origin.clone_from(&first);
                    first.get_or_insert(Origin { table: id.0, key: id.1.clone().into(), seq });
                }
                self.model.timelines.entry(id).or_default().push(entry);
            }
        }
        assert!(seqs.next().is_none());
        let amendments = amended.into_iter().map(|(record, place, payload)| {
            let order = (done.commit, record);
            Amendment { order, place, payload, time_ms: done.time_ms }
        });
        self.model.amendments.extend(amendments);
        self.model.commits = done.commit;
    }

    /// Something that changes where entries lie, and nothing else.
    fn shuffle(&mut self) {
        let engine = self.process().engine.clone();
        match self.random.below(12) {
            0..3 => engine.flush().unwrap(),
            3 => engine.compact().unwrap(),
            4 => self.held.push(engine.snapshot()),
            5 => self.held.truncate(1),
            6 | 7 => {
                self.held.clear();
                let process = self.process.take().expect("a process has the store open");
                if self.random.chance(1, 2) {
                    process.engine.close().unwrap();
                }
                process.kill();
                self.world = self.world.after(&CrashPolicy::DropAll);
                self.process = Some(self.world.open(&self.options).unwrap());
            }
            _ => {
                self.world.clock.advance(Duration::from_millis(self.random.below(20_000)));
                self.process().scheduler.run_until_idle(100);
            }
        }
    }

    fn check(&mut self, context: &str) {
        let now = self.process().engine.snapshot();
        assert_eq!(now.commit(), self.model.commits, "{context}");
        for snapshot in self.held.iter().chain([&now]) {
            for id in self.model.timelines.keys() {
                let expected = self.model.at(id, snapshot.commit());
                check_timeline(snapshot, id, &expected, &mut self.random, context);
            }
        }
    }
}

fn by_views(scan: &mut Scan, direction: Direction, expected: &[Entry], context: &str) {
    let backward = direction == Direction::Backward;
    for place in 0..expected.len() {
        let place = if backward { expected.len() - 1 - place } else { place };
        let view = scan.next_view().unwrap();
        assert_eq!(view, Some(expected[place].view()), "{context}");
    }
    assert_eq!(scan.next_view().unwrap(), None, "{context}");
}

fn check_timeline(
    snapshot: &Snapshot,
    (table, key): &Id,
    expected: &[Entry],
    random: &mut Random,
    context: &str,
) {
    let latest = expected.last().map_or(0, |entry| entry.seq);
    assert_eq!(snapshot.latest_seq(*table, key).unwrap(), latest, "{context}");
    assert_eq!(snapshot.len(*table, key).unwrap(), expected.len() as u64, "{context}");
    let some = |random: &mut Random| match expected.len() {
        0 => 1,
        count => expected[random.index(count)].seq.saturating_add(random.below(3)) - 1,
    };
    let (one, other) = (some(random), some(random));
    assert_eq!(
        snapshot.get(*table, key, one).unwrap().as_ref(),
        expected.iter().find(|entry| entry.seq == one),
        "{context}"
    );
    for (from, to) in [(0, u64::MAX), (one.min(other), one.max(other))] {
        let start = expected.partition_point(|entry| entry.seq < from);
        let end = expected.partition_point(|entry| entry.seq <= to);
        let wanted = &expected[start..end];
        for direction in [Direction::Forward, Direction::Backward] {
            let scan = || snapshot.scan(*table, key, from, to, direction).unwrap();
            let mut found: Vec<Entry> = scan().map(|entry| entry.unwrap()).collect();
            if direction == Direction::Backward {
                found.reverse();
            }
            assert_eq!(found, wanted, "{context}");
            by_views(&mut scan(), direction, wanted, context);
        }
    }
}

#[test]
fn what_is_extreme_comes_back_as_it_was_written() {
    for seed in seeds(7_000, 7) {
        let mut extremes = Extremes::new(seed);
        for number in 0..60 {
            extremes.commit();
            extremes.shuffle();
            if number % 6 == 5 {
                extremes.check(&format!("seed {seed}, operation {number}"));
            }
        }
    }
}

/// A batch of so many bytes, of which the last message has what is missing.
fn filled(table: TableId, bytes: usize) -> WriteBatch {
    let piece = 100_000.min(bytes / 4);
    let mut batch = WriteBatch::new();
    while batch.byte_count() + 2 * piece < bytes {
        batch.append(table, b"t", &vec![7; piece], None).unwrap();
    }
    let with = |length: usize| {
        let mut batch = batch.clone();
        batch.append(table, b"t", &vec![9; length], None).unwrap();
        batch
    };
    let over = with(piece).byte_count() - piece - batch.byte_count();
    with(bytes - batch.byte_count() - over)
}

#[test]
fn a_batch_as_large_as_can_be_is_taken_and_none_that_is_larger() {
    for ring_bytes in [256 * 1024, 64 << 20] {
        let world = World::new(146);
        let options = Options { ring_bytes, memory_budget: 64 << 20, ..tiny() };
        let limit = limits::BATCH_BYTES_MAX.min(usize::try_from(ring_bytes / 4).unwrap());
        let process = world.open(&options).unwrap();
        let table = process.engine.create_table("message", TableOptions::timeline()).unwrap();
        let (most, more) = (filled(table, limit), filled(table, limit + 1));
        assert_eq!((most.byte_count(), more.byte_count()), (limit, limit + 1));
        let refused = process.engine.commit(more, Durability::Sync).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::TooLarge);
        let lengths = |process: &Process| -> Vec<(u64, usize)> {
            let snapshot = process.engine.snapshot();
            let scan = snapshot.scan(table, b"t", 0, u64::MAX, Direction::Forward).unwrap();
            scan.map(|entry| entry.unwrap()).map(|entry| (entry.seq, entry.payload.len())).collect()
        };
        for _ in 0..3 {
            process.engine.commit(most.clone(), Durability::Sync).unwrap();
        }
        let written = lengths(&process);
        assert_eq!(written.len(), 3 * most.append_count());
        process.kill();
        let process = world.after(&CrashPolicy::DropAll).open(&options).unwrap();
        assert_eq!(lengths(&process), written);
        process.engine.compact().unwrap();
        assert_eq!(lengths(&process), written);
        process.kill();
    }
}

#[test]
fn a_message_to_as_many_timelines_as_a_batch_can_name_is_written_once() {
    let world = World::new(147);
    let options = Options { ring_bytes: 64 << 20, memory_budget: 64 << 20, ..tiny() };
    let process = world.open(&options).unwrap();
    let engine = &process.engine;
    let table = engine.create_table("message", TableOptions::timeline()).unwrap();
    let keys: Vec<[u8; 1]> = (0..=255).map(|key| [key]).collect();
    let count = TARGETS;
    let mut batch = WriteBatch::new();
    let targets = (0..count).map(|target| (table, &keys[target % 256][..]));
    batch.fan_out(targets, &[5; 100], None, None, false).unwrap();
    let done = engine.commit(batch, Durability::Sync).unwrap();
    let expected: Vec<u64> = (0..count as u64).map(|target| target / 256 + 1).collect();
    assert!(done.seqs == expected);
    engine.flush().unwrap();
    engine.compact().unwrap();
    let snapshot = engine.snapshot();
    let found: u64 = keys.iter().map(|key| snapshot.len(table, key).unwrap()).sum();
    assert_eq!(found, count as u64);
    assert_eq!(engine.stats().segments, 1);
    let last = snapshot.latest(table, &keys[(count - 1) % 256]).unwrap().unwrap();
    assert_eq!((last.seq, &last.payload[..]), (*expected.last().unwrap(), &[5; 100][..]));
    drop(snapshot);
    process.kill();
}
