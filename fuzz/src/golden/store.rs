//! The golden store: small files that hold every structure there is, made by code from a seed.
//!
//! It is made, not kept as bytes: whoever changes the format then proves the new one, and nothing
//! in the repository has to be made anew by hand. The same seed gives the same bytes.
//!
//! ```text
//! one process, killed:   round 1 ─► flush, compact ─► the oldest of `archive` moves to the cold
//!                        file ─► round 2 ─► flush ─► round 3 stays in the log
//! main file:   superblock x 4, ring with groups of every kind of record, manifest of a base and
//!              edits, segments, SSTables of two levels: raw, lz4, zstd; keyed; state, marks and
//!              amendments; two windows of a table with a time to live
//! cold file:   header, one SSTable
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tidelog_engine::testing::{
    CrashPolicy, Random, SeededEntropy, SimClock, SimDisk, SimOptions, SimScheduler,
};
use tidelog_engine::{
    AppendOptions, Clock, Compression, Disk, Durability, Engine, Error, OpenCold, Options, Parts,
    ReadMode, Result, Sequence, TableId, TableOptions, WriteBatch,
};

/// 2024-01-01, in milliseconds since 1970.
const START_MS: u64 = 1_704_067_200_000;
/// Payloads of so many bytes go to extents of their own.
const LARGE_FROM: usize = 1500;
/// Conversations of `chat`, and inboxes.
const TIMELINES: u64 = 3;

/// A machine with the two files of a store.
#[derive(Clone)]
pub(crate) struct Machine {
    pub(crate) main: SimDisk,
    pub(crate) cold: SimDisk,
    pub(crate) clock: SimClock,
    pub(crate) seed: u64,
}

/// A process that has the store open.
pub(crate) struct Process {
    pub(crate) engine: Engine,
    pub(crate) scheduler: SimScheduler,
}

/// The user's tables.
#[derive(Debug, Clone, Copy)]
struct Tables {
    chat: TableId,
    inbox: TableId,
    feed: TableId,
    brief: TableId,
    archive: TableId,
    value: TableId,
}

/// A timeline or a key, by the name of its table.
pub(crate) type Place = (&'static str, Vec<u8>);

/// What was written, as far as it must be shown: payloads by timeline and seq, values by key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) entries: BTreeMap<Place, BTreeMap<u64, Vec<u8>>>,
    pub(crate) values: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// The store, killed, and what it must show.
pub(crate) struct Golden {
    pub(crate) machine: Machine,
    #[cfg_attr(not(test), expect(dead_code, reason = "the test of the truth compares it"))]
    pub(crate) written: Written,
    /// Both files as they were at some moments before.
    pub(crate) past: Vec<Machine>,
}

impl Machine {
    fn new(seed: u64) -> Machine {
        let disk = || SimDisk::new(SimOptions::default());
        Machine { main: disk(), cold: disk(), clock: SimClock::new(START_MS), seed }
    }

    /// The same machine once more: what happens to the one does not happen to the other.
    pub(crate) fn twin(&self) -> Machine {
        Machine {
            main: self.main.crash_image(&CrashPolicy::Kill),
            cold: self.cold.crash_image(&CrashPolicy::Kill),
            clock: SimClock::new(self.clock.wall_ms()),
            seed: self.seed,
        }
    }

    /// The file by its number: the main one is 0.
    pub(crate) fn disk(&self, file: usize) -> &SimDisk {
        [&self.main, &self.cold][file]
    }

    /// Opens the store as a new process does.
    ///
    /// # Errors
    /// Those of the engine.
    pub(crate) fn open(&self, options: &Options) -> Result<Process> {
        let scheduler = SimScheduler::new(self.seed, self.clock.clone());
        let cold = self.cold.reopen();
        let open_cold: OpenCold = Arc::new(move |_| Ok(Arc::new(cold.reopen()) as Arc<dyn Disk>));
        let parts = Parts {
            disk: Arc::new(self.main.reopen()),
            cold: Some(open_cold),
            clock: Arc::new(self.clock.clone()),
            scheduler: Arc::new(scheduler.clone()),
            entropy: Arc::new(SeededEntropy::new(self.seed ^ self.main.operation_count())),
            name: "golden.tide".to_owned(),
        };
        Ok(Process { engine: Engine::open_with(parts, options.clone())?, scheduler })
    }
}

impl Process {
    /// The process is killed: nothing is closed.
    pub(crate) fn kill(self) {
        self.scheduler.kill();
        self.engine.abandon();
    }
}

/// A small store, nothing of which is flushed before it is asked for.
pub(crate) fn options(read_mode: ReadMode) -> Options {
    Options {
        ring_bytes: 256 * 1024,
        memtable_bytes: 64 * 1024,
        sstable_bytes: 16 * 1024,
        memory_budget: 1 << 20,
        output_rate: 0,
        read_mode,
        ..Options::default()
    }
}

/// Makes the store.
///
/// # Errors
/// Those of the engine.
pub(crate) fn make(seed: u64) -> Result<Golden> {
    let machine = Machine::new(seed);
    let process = machine.open(&options(ReadMode::Map))?;
    let tables = create(&process.engine)?;
    let mut maker = Maker {
        machine,
        process,
        tables,
        random: Random::new(seed),
        written: Written::default(),
        past: Vec::new(),
    };
    maker.make()?;
    let Maker { machine, process, written, past, .. } = maker;
    process.kill();
    Ok(Golden { machine: machine.twin(), written, past })
}

fn create(engine: &Engine) -> Result<Tables> {
    let compressed = |compression| TableOptions { compression, ..TableOptions::timeline() };
    let given = TableOptions { sequence: Sequence::Given, ..TableOptions::timeline() };
    let zstd = Compression::Zstd { level: 3 };
    let brief = compressed(Compression::Lz4).ttl(Duration::from_secs(24 * 3600));
    let archive = compressed(zstd).cold_after(Duration::from_secs(3600));
    Ok(Tables {
        chat: engine.create_table("chat", TableOptions::timeline())?,
        inbox: engine.create_table("inbox", compressed(Compression::Lz4))?,
        feed: engine.create_table("feed", TableOptions { compression: zstd, ..given })?,
        brief: engine.create_table("brief", brief)?,
        archive: engine.create_table("archive", archive)?,
        value: engine.create_table("value", TableOptions::keyed())?,
    })
}

struct Maker {
    machine: Machine,
    process: Process,
    tables: Tables,
    random: Random,
    written: Written,
    past: Vec<Machine>,
}

impl Maker {
    fn make(&mut self) -> Result<()> {
        for number in 0..12 {
            self.send(number)?;
        }
        for number in 0..6 {
            self.append("archive", self.tables.archive, b"old", number)?;
            self.append("brief", self.tables.brief, b"soon", number)?;
            self.give(number + 1)?;
            self.keyed(number)?;
        }
        self.large(1)?;
        self.remember();
        self.process.engine.flush()?;
        self.remember();
        self.process.engine.compact()?;
        self.pass(Duration::from_secs(3 * 3600));
        self.remember();
        for number in 12..20 {
            self.send(number)?;
        }
        self.append("brief", self.tables.brief, b"soon", 9)?;
        self.marks(2)?;
        self.amend(3)?;
        self.process.engine.flush()?;
        self.remember();
        self.rest_in_the_log()
    }

    /// What is not flushed: records of every kind, the last one a plain message.
    fn rest_in_the_log(&mut self) -> Result<()> {
        for number in 20..23 {
            self.send(number)?;
        }
        self.marks(4)?;
        self.amend(5)?;
        self.give(9)?;
        self.keyed(9)?;
        self.remember();
        self.large(2)?;
        self.passing()?;
        self.append("brief", self.tables.brief, b"later", 3)?;
        self.append("archive", self.tables.archive, b"new", 1)
    }

    fn remember(&mut self) {
        self.past.push(self.machine.twin());
    }

    fn pass(&mut self, time: Duration) {
        self.machine.clock.advance(time);
        self.process.scheduler.run_until_idle(10_000);
    }

    fn commit(&mut self, batch: WriteBatch) -> Result<Vec<u64>> {
        self.machine.clock.advance(Duration::from_millis(20));
        Ok(self.process.engine.commit(batch, Durability::Sync)?.seqs)
    }

    fn payload(&mut self, length: usize) -> Vec<u8> {
        let mut payload = vec![b'.'; length];
        let noise = length / 2;
        self.random.fill(&mut payload[..noise]);
        payload
    }

    fn note(&mut self, table: &'static str, key: &[u8], seq: u64, payload: &[u8]) {
        let place = (table, key.to_vec());
        self.written.entries.entry(place).or_default().insert(seq, payload.to_vec());
    }

    /// A message to a conversation and all inboxes, long enough to lie in a segment; each third
    /// one is short, and lies in the entries themselves.
    fn send(&mut self, number: u64) -> Result<()> {
        let payload = self.payload(if number.is_multiple_of(3) { 20 } else { 90 });
        let conversation = name(b'c', number % TIMELINES);
        let inboxes: Vec<Vec<u8>> = (0..TIMELINES).map(|inbox| name(b'i', inbox)).collect();
        let mut targets = vec![(self.tables.chat, &conversation[..])];
        targets.extend(inboxes.iter().map(|inbox| (self.tables.inbox, &inbox[..])));
        let event_ms = number.is_multiple_of(2).then_some(-7);
        let mut batch = WriteBatch::new();
        batch.fan_out(targets, &payload, event_ms, None, true)?;
        let seqs = self.commit(batch)?;
        self.note("chat", &conversation, seqs[0], &payload);
        for (inbox, seq) in inboxes.iter().zip(&seqs[1..]) {
            self.note("inbox", inbox, *seq, &payload);
        }
        Ok(())
    }

    fn append(
        &mut self,
        name: &'static str,
        table: TableId,
        key: &[u8],
        number: usize,
    ) -> Result<()> {
        let payload = self.payload(40 + number);
        let mut batch = WriteBatch::new();
        batch.append(table, key, &payload, None)?;
        let seqs = self.commit(batch)?;
        self.note(name, key, seqs[0], &payload);
        Ok(())
    }

    /// An entry whose id the caller gives.
    fn give(&mut self, number: usize) -> Result<()> {
        let (seq, payload) = (number as u64 * 1000, self.payload(70));
        let mut batch = WriteBatch::new();
        batch.append_at(self.tables.feed, b"given", seq, &payload, None)?;
        self.commit(batch)?;
        self.note("feed", b"given", seq, &payload);
        Ok(())
    }

    fn keyed(&mut self, number: usize) -> Result<()> {
        let table = self.tables.value;
        let (key, value) = (format!("key {number}").into_bytes(), self.payload(30));
        let gone = format!("key {}", number.saturating_sub(3)).into_bytes();
        let mut batch = WriteBatch::new();
        batch.put(table, &key, &value)?;
        batch.add(table, b"count", 1)?;
        if number % 2 == 1 {
            batch.delete(table, &gone)?;
            self.written.values.remove(&gone);
        }
        self.commit(batch)?;
        self.written.values.insert(key, value);
        let count = self.written.values.entry(b"count".to_vec()).or_insert_with(|| vec![0; 8]);
        let sum = i64::from_le_bytes(count[..].try_into().expect("it is a counter")) + 1;
        *count = sum.to_le_bytes().to_vec();
        Ok(())
    }

    /// A payload in an extent of its own.
    fn large(&mut self, number: u64) -> Result<()> {
        let payload = self.payload(LARGE_FROM + 300);
        let key = name(b'c', number);
        let mut batch = WriteBatch::new().with_large_from(LARGE_FROM);
        batch.append(self.tables.chat, &key, &payload, None)?;
        let seqs = self.commit(batch)?;
        self.note("chat", &key, seqs[0], &payload);
        Ok(())
    }

    /// A trim, and a deleted entry behind it.
    fn marks(&mut self, before: u64) -> Result<()> {
        let (inbox, deleted) = (name(b'i', 1), before + 2);
        let mut batch = WriteBatch::new();
        batch.trim(self.tables.inbox, &inbox, before)?;
        batch.delete_entry(self.tables.inbox, &inbox, deleted)?;
        self.commit(batch)?;
        let shown = self.written.entries.entry(("inbox", inbox)).or_default();
        shown.retain(|seq, _| *seq >= before && *seq != deleted);
        Ok(())
    }

    /// An entry of a conversation gets another payload, and so do its copies; the one before it is
    /// retracted.
    fn amend(&mut self, seq: u64) -> Result<()> {
        let (chat, key, payload) = (self.tables.chat, name(b'c', 0), self.payload(50));
        let mut batch = WriteBatch::new();
        batch.amend(chat, &key, seq, &payload)?;
        batch.retract(chat, &key, seq - 1)?;
        self.commit(batch)?;
        for (seq, payload) in [(seq, payload), (seq - 1, Vec::new())] {
            let entries = &mut self.written.entries;
            let was = entries[&("chat", key.clone())][&seq].clone();
            // No two messages have the same payload, but for those that were taken back.
            for shown in entries.values_mut().flat_map(BTreeMap::values_mut) {
                if *shown == was {
                    shown.clone_from(&payload);
                }
            }
        }
        Ok(())
    }

    /// An entry that has expired by a time to live of its own.
    fn passing(&mut self) -> Result<()> {
        let ttl = Some(Duration::from_millis(1));
        let options = AppendOptions { ttl, ..AppendOptions::default() };
        let mut batch = WriteBatch::new();
        batch.append_with([(self.tables.brief, &b"later"[..])], b"gone already", &options)?;
        self.commit(batch).map(|_| ())
    }
}

fn name(kind: u8, number: u64) -> Vec<u8> {
    vec![kind, b'0' + u8::try_from(number % 10).expect("it is a digit")]
}

/// In words, for failures.
pub(crate) fn told(error: &Error) -> String {
    format!("{:?}: {error}", error.kind())
}
