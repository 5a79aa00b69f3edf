//! The whole engine under schedules drawn at random.
//!
//! Every lock, atomic and condition variable of the engine is shuttle's here (`src/sync.rs`), and
//! its workers run on shuttle's threads, by the scheduler that products use. Only the disk and the
//! clock are simulated. So one thread of the system does everything, and before each operation on
//! something that is shared a seed decides who goes on.
//!
//! What must hold under every schedule:
//! 1. No reader meets a gap, in either direction, or sees a timeline go back.
//! 2. What was acknowledged is there with its bytes: for its writer at once, and for everybody
//!    after the store was closed and opened again.
//! 3. No seq is given twice, and none is left out.
//! 4. Nobody waits for ever: shuttle fails where all wait, which a lost wake would bring about.
//!
//! ```text
//! RUSTFLAGS="--cfg shuttle" cargo test -p tidelog-engine --test shuttle \
//!     --target-dir target/shuttle
//! ```
//! `TIDELOG_SCHEDULES` says how many schedules each model runs under, `TIDELOG_SEED` from where,
//! `TIDELOG_DIRECTORY` in which folder to note what is done, and to find what need not be done
//! again.
#![cfg(shuttle)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner, thread};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tidelog_engine::testing::{SeededEntropy, SimClock, SimDisk, SimOptions};
use tidelog_engine::{
    CommitFuture, Direction, Durability, Engine, Entry, ErrorKind, Options, Parts, ReadMode,
    Result, TableId, TableOptions, ThreadScheduler, WriteBatch,
};

const ROOM: &[u8] = b"room";
const START_MS: u64 = 1_704_067_200_000;
/// Schedules of each kind that follow from one seed.
const BATCH: usize = 25;
/// Preemptions that a schedule of the second kind concentrates on.
const DEPTH: usize = 3;
/// Coroutines have stacks of their own, and the engine is no small thing.
const STACK_BYTES: usize = 1 << 20;
/// A schedule that is longer goes round in circles.
const STEPS_MAX: usize = 5_000_000;

/// What a writer was told: the seq of a commit, and which of its commits it was.
type Acknowledged = Vec<(u64, u8)>;

#[test]
fn appends_flushes_compactions_scans_and_trims_go_together() {
    explore("appends_flushes_compactions_scans_and_trims_go_together", || {
        let disk = SimDisk::new(SimOptions::default());
        let (engine, table) = create(&disk);
        let writers = [1, 2].map(|writer| {
            let engine = engine.clone();
            thread::spawn(move || write(&engine, table, writer, 5).unwrap())
        });
        let others = [
            spawn(&engine, move |engine| read(engine, table)),
            spawn(&engine, maintain),
            spawn(&engine, move |engine| trim(engine, table)),
        ];
        let written = writers.map(|writer| writer.join().unwrap());
        others.into_iter().for_each(|other| other.join().unwrap().unwrap());
        let trimmed = first_seq(&engine, table);
        engine.close().unwrap();
        drop(engine);
        assert_eq!(reopened(&disk, table, &written, trimmed), 10, "seqs are dense");
    });
}

#[test]
fn a_close_in_the_middle_takes_nothing_that_was_acknowledged() {
    explore("a_close_in_the_middle_takes_nothing_that_was_acknowledged", || {
        let disk = SimDisk::new(SimOptions::default());
        let (engine, table) = create(&disk);
        let writers = [1, 2].map(|writer| {
            let engine = engine.clone();
            thread::spawn(move || write_until_closed(&engine, table, writer))
        });
        let others = [
            spawn(&engine, move |engine| read(engine, table)),
            spawn(&engine, maintain),
            spawn(&engine, Engine::close),
        ];
        let written = writers.map(|writer| writer.join().unwrap());
        for other in others {
            is_closed_or(other.join().unwrap());
        }
        engine.close().unwrap();
        drop(engine);
        reopened(&disk, table, &written, 1);
    });
}

#[test]
fn commits_that_nobody_leads_are_led() {
    explore("commits_that_nobody_leads_are_led", || {
        let disk = SimDisk::new(SimOptions::default());
        let (engine, table) = create(&disk);
        let writers = [1, 2, 3].map(|writer| {
            let engine = engine.clone();
            thread::spawn(move || {
                let futures = [0, 1, 2].map(|number| {
                    let batch = append(table, writer, number);
                    (number, engine.commit_async(batch, durability()))
                });
                let wait = |(number, future): (u8, CommitFuture)| {
                    let committed = shuttle::future::block_on(future).unwrap();
                    (committed.seqs[0], number)
                };
                futures.into_iter().map(wait).collect::<Acknowledged>()
            })
        });
        let written = writers.map(|writer| writer.join().unwrap());
        engine.close().unwrap();
        drop(engine);
        assert_eq!(reopened(&disk, table, &written, 1), 9, "seqs are dense");
    });
}

/// Runs a model under so many schedules, in batches with seeds of their own.
fn explore(name: &'static str, model: fn()) {
    let number = |name: &str, or: u64| {
        std::env::var(name).map_or(or, |text| text.parse().expect("it is a number"))
    };
    let first = number("TIDELOG_SEED", 1);
    let batches = number("TIDELOG_SCHEDULES", 100).div_ceil(2 * BATCH as u64);
    let done = Done::of(name);
    for seed in (first..first + batches).filter(|seed| !done.has(*seed)) {
        let _replay = Replay { name, seed };
        let random = RandomScheduler::new_from_seed(seed, BATCH);
        assert_eq!(Runner::new(random, config()).run(model), BATCH);
        let preempting = PctScheduler::new_from_seed(seed, DEPTH, BATCH);
        assert_eq!(Runner::new(preempting, config()).run(model), BATCH);
        done.note(seed);
    }
    println!("{{\"model\":\"{name}\",\"schedules\":{}}}", batches * 2 * BATCH as u64);
}

/// The seeds of a model that are done, a line of JSON each, in the folder that is named: a long run
/// is gone on with, and `prove report` adds up what it finds there.
struct Done(Option<PathBuf>);

impl Done {
    fn of(name: &str) -> Done {
        let folder = std::env::var_os("TIDELOG_DIRECTORY");
        Done(folder.map(|it| Path::new(&it).join(format!("schedules-{name}.jsonl"))))
    }

    fn start_of_line(seed: u64) -> String {
        format!("{{\"at\":{{\"seed\":{seed},\"shard\":0}}")
    }

    fn has(&self, seed: u64) -> bool {
        let Some(path) = &self.0 else { return false };
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().any(|line| line.starts_with(&Done::start_of_line(seed)))
    }

    fn note(&self, seed: u64) {
        let Some(path) = &self.0 else { return };
        let line = format!("{},\"schedules\":{}}}\n", Done::start_of_line(seed), 2 * BATCH);
        let mut file = File::options().create(true).append(true).open(path).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
}

fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.max_steps = MaxSteps::FailAfter(STEPS_MAX);
    config.silence_warnings = true;
    // The seed says it in a line.
    config.failure_persistence = FailurePersistence::None;
    config
}

/// Prints, while a model fails, the command that fails the same way.
struct Replay {
    name: &'static str,
    seed: u64,
}

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Replay { name, seed } = self;
            eprintln!(
                "replay: TIDELOG_SEED={seed} TIDELOG_SCHEDULES=1 RUSTFLAGS=\"--cfg shuttle\" cargo \
                 test -p tidelog-engine --test shuttle --target-dir target/shuttle {name}"
            );
        }
    }
}

fn create(disk: &SimDisk) -> (Engine, TableId) {
    let engine = open(disk);
    let table = engine.create_table("message", TableOptions::timeline()).unwrap();
    (engine, table)
}

/// Opens the smallest store there is: a few commits flush, a few flushes compact.
fn open(disk: &SimDisk) -> Engine {
    let read_mode = if thread_rng().gen_ratio(1, 2) { ReadMode::Map } else { ReadMode::Read };
    let options = Options {
        ring_bytes: 256 * 1024,
        memtable_bytes: 16 * 1024,
        sstable_bytes: 16 * 1024,
        memory_budget: 1 << 20,
        output_rate: 0,
        read_mode,
        ..Options::default()
    };
    let parts = Parts {
        disk: Arc::new(disk.reopen()),
        cold: None,
        clock: Arc::new(SimClock::new(START_MS)),
        scheduler: Arc::new(ThreadScheduler::new()),
        entropy: Arc::new(SeededEntropy::new(disk.operation_count())),
        name: "scheduled.tide".to_owned(),
    };
    Engine::open_with(parts, options).unwrap()
}

fn spawn(
    engine: &Engine,
    work: impl FnOnce(&Engine) -> Result<()> + Send + 'static,
) -> thread::JoinHandle<Result<()>> {
    let engine = engine.clone();
    thread::spawn(move || work(&engine))
}

fn durability() -> Durability {
    let all = [Durability::Sync, Durability::Buffered, Durability::Interval(Duration::ZERO)];
    all[thread_rng().gen_range(0..all.len())]
}

fn payload(writer: u8, number: u8) -> Vec<u8> {
    [&[writer, number][..], &[writer ^ number; 1800]].concat()
}

fn append(table: TableId, writer: u8, number: u8) -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.append(table, ROOM, &payload(writer, number), None).unwrap();
    batch
}

/// Commits some messages; each is there as soon as it is acknowledged, unless it was trimmed.
fn write(engine: &Engine, table: TableId, writer: u8, count: u8) -> Result<Acknowledged> {
    let mut acknowledged = Vec::new();
    for number in 0..count {
        let seq = engine.commit(append(table, writer, number), durability())?.seqs[0];
        match engine.snapshot().get(table, ROOM, seq)? {
            Some(own) => assert_eq!(*own.payload, *payload(writer, number), "read your write"),
            None => assert!(first_seq(engine, table) > seq, "seq {seq} was not trimmed"),
        }
        acknowledged.push((seq, number));
    }
    Ok(acknowledged)
}

fn write_until_closed(engine: &Engine, table: TableId, writer: u8) -> Acknowledged {
    let mut acknowledged = Vec::new();
    for number in 0..4 {
        match engine.commit(append(table, writer, number), durability()) {
            Ok(committed) => acknowledged.push((committed.seqs[0], number)),
            Err(error) => {
                is_closed_or(Err(error));
                break;
            }
        }
    }
    acknowledged
}

fn is_closed_or(result: Result<()>) {
    if let Err(error) = result {
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    }
}

/// Looks at the timeline some times, from both ends.
fn read(engine: &Engine, table: TableId) -> Result<()> {
    let (mut first, mut last) = (0, 0);
    for _ in 0..3 {
        let snapshot = engine.snapshot();
        let scan = |direction| {
            let scan = snapshot.scan(table, ROOM, 0, u64::MAX, direction)?;
            scan.collect::<Result<Vec<Entry>>>()
        };
        let forward = scan(Direction::Forward)?;
        for pair in forward.windows(2) {
            assert_eq!(pair[0].seq + 1, pair[1].seq, "a gap");
            assert!(pair[0].commit <= pair[1].commit && pair[1].commit <= snapshot.commit());
        }
        for entry in &forward {
            assert_eq!(*entry.payload, *payload(entry.payload[0], entry.payload[1]));
        }
        let mut backward = scan(Direction::Backward)?;
        backward.reverse();
        assert_eq!(forward, backward, "both directions of one snapshot");
        let newest = snapshot.latest_seq(table, ROOM)?;
        assert_eq!(forward.last().map_or(0, |entry| entry.seq), newest);
        let oldest = forward.first().map_or(0, |entry| entry.seq);
        assert!(oldest >= first && newest >= last, "it went back");
        (first, last) = (oldest, newest);
    }
    Ok(())
}

fn maintain(engine: &Engine) -> Result<()> {
    engine.flush()?;
    engine.sync()?;
    engine.compact()
}

/// Trims twice, and always leaves the newest message.
fn trim(engine: &Engine, table: TableId) -> Result<()> {
    for _ in 0..2 {
        let newest = engine.snapshot().latest_seq(table, ROOM)?;
        let mut batch = WriteBatch::new();
        batch.trim(table, ROOM, newest)?;
        engine.commit(batch, durability())?;
    }
    Ok(())
}

/// The seq of the oldest message; 1 where there is none.
fn first_seq(engine: &Engine, table: TableId) -> u64 {
    let snapshot = engine.snapshot();
    let mut scan = snapshot.scan(table, ROOM, 0, u64::MAX, Direction::Forward).unwrap();
    scan.next().map_or(1, |entry| entry.unwrap().seq)
}

/// Opens the closed store, looks at every message from `first` on, and tells the newest seq.
fn reopened(disk: &SimDisk, table: TableId, written: &[Acknowledged], first: u64) -> u64 {
    let engine = open(disk);
    let snapshot = engine.snapshot();
    for (writer, acknowledged) in (1..).zip(written) {
        for &(seq, number) in acknowledged {
            let entry = snapshot.get(table, ROOM, seq).unwrap();
            assert_eq!(entry.is_some(), seq >= first, "seq {seq}, the oldest is {first}");
            if let Some(entry) = entry {
                assert_eq!(*entry.payload, *payload(writer, number), "seq {seq}");
            }
        }
    }
    read(&engine, table).unwrap();
    let newest = snapshot.latest_seq(table, ROOM).unwrap();
    engine.close().unwrap();
    newest
}
