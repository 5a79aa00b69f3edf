//! Processes that tests need beside their own, by name: each does one thing to a store at a path
//! and says on its output how far it is.

use super::fork;
use super::payload::{Author, Payload};
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use tidelog_engine::{
    Direction, Durability, Engine, Error, ErrorKind, Options, ReadMode, Result, TableId,
    TableOptions, WriteBatch,
};

/// The first argument of a process that helps.
pub const HELPER: &str = "helper-of-tests";
/// The status of a process that was shown wrong data.
pub const WRONG: u8 = 5;
/// The timeline that all of them write.
pub const KEY: &[u8] = b"t";

/// Options of their stores: small, so that everything is on the disk soon.
pub fn small(read_mode: ReadMode) -> Options {
    Options {
        ring_bytes: 256 * 1024,
        memtable_bytes: 64 * 1024,
        sstable_bytes: 64 * 1024,
        memory_budget: 4 << 20,
        output_rate: 0,
        read_mode,
        ..Options::default()
    }
}

/// The payload of entry `seq`, of so many bytes.
pub fn payload(seq: u64, length: u32) -> Vec<u8> {
    let author = Author { round: 0, writer: 0, number: seq };
    Payload { author, index: 0, length }.bytes(0)
}

/// Fails unless these are the bytes of entry `seq`.
///
/// # Errors
/// What is wrong with them.
pub fn check(seq: u64, bytes: &[u8]) -> std::result::Result<(), String> {
    match Payload::read(0, bytes)? {
        payload if payload.author.number == seq => Ok(()),
        payload => Err(format!("entry {seq} has the bytes of {}", payload.author.number)),
    }
}

/// The table of the store.
///
/// # Errors
/// Those of the store.
pub fn table(engine: &Engine) -> Result<TableId> {
    match engine.table("message") {
        Some(table) => Ok(table.id),
        None => engine.create_table("message", TableOptions::timeline()),
    }
}

/// Appends the next entry.
///
/// # Errors
/// Those of a commit.
pub fn append(engine: &Engine, table: TableId, length: u32, durability: Durability) -> Result<u64> {
    let next = engine.snapshot().latest_seq(table, KEY)? + 1;
    let mut batch = WriteBatch::new();
    batch.append(table, KEY, &payload(next, length), None)?;
    Ok(engine.commit(batch, durability)?.seqs[0])
}

/// Does what the arguments say.
pub(super) fn run(arguments: &[OsString]) -> ExitCode {
    let [mode, path] = arguments else { return ExitCode::from(2) };
    let path = PathBuf::from(path);
    let outcome = match mode.to_str() {
        Some("hold") => hold(&path),
        Some("scan-map") => scan(&path, ReadMode::Map),
        Some("scan-read") => scan(&path, ReadMode::Read),
        Some("fill") => fill(&path),
        Some("fork") => fork_engine(&path),
        Some("fork-store") => fork_store(&path),
        _ => return ExitCode::from(2),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            say(&format!("failed {error}"));
            ExitCode::from(3)
        }
    }
}

/// Says a line, unless nobody hears.
fn say(line: &str) {
    let mut output = io::stdout().lock();
    let _ = output.write_all(format!("{line}\n").as_bytes());
    let _ = output.flush();
}

/// Holds the store open until its input ends.
fn hold(path: &Path) -> Result<ExitCode> {
    let engine = Engine::open(path, small(ReadMode::Map))?;
    let table = table(&engine)?;
    append(&engine, table, 100, Durability::Buffered)?;
    say("ready");
    let _ = io::stdin().read_to_end(&mut Vec::new());
    engine.close()?;
    Ok(ExitCode::SUCCESS)
}

/// Scans of a process that scans.
const SCANS: u32 = 300;

/// Scans what is in SSTables again and again, until something is wrong.
fn scan(path: &Path, read_mode: ReadMode) -> Result<ExitCode> {
    // Too little for all of it, so that it is read from the file again.
    let options = Options { memory_budget: 256 * 1024, ..small(read_mode) };
    let engine = Engine::open(path, options)?;
    let table = table(&engine)?;
    for _ in 0..3000 {
        append(&engine, table, 300, Durability::Buffered)?;
    }
    engine.compact()?;
    say("ready");
    for _ in 0..SCANS {
        let snapshot = engine.snapshot();
        let outcome = snapshot.scan(table, KEY, 1, u64::MAX, Direction::Forward).and_then(|scan| {
            let mut seen = 0;
            for entry in scan {
                let entry = entry?;
                seen += 1;
                let right =
                    check(entry.seq, &entry.payload).and_then(|()| match entry.seq == seen {
                        true => Ok(()),
                        false => Err(format!("seq {} where {seen} belongs", entry.seq)),
                    });
                if let Err(what) = right {
                    return Ok(Some(what));
                }
            }
            Ok((seen != 3000).then(|| format!("{seen} entries")))
        });
        match outcome {
            Ok(None) => {}
            Ok(Some(what)) => {
                say(&format!("wrong {what}"));
                return Ok(ExitCode::from(WRONG));
            }
            Err(error) => {
                say(&format!("error {:?} {error}", error.kind()));
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
    say("over");
    // Its file is not what it wrote: it is not closed, as that of a process that ends by a signal.
    std::process::exit(0)
}

/// Commits until the disk is full, says what was acknowledged, and goes on trying.
fn fill(path: &Path) -> Result<ExitCode> {
    let engine = Engine::open(path, small(ReadMode::Map))?;
    let table = table(&engine)?;
    let mut full = false;
    loop {
        match append(&engine, table, 9000, Durability::Buffered) {
            Ok(seq) => say(&format!("ack {seq}")),
            Err(error) if error.kind() == ErrorKind::NoSpace => {
                if !full {
                    say("full");
                }
                full = true;
            }
            Err(error) => return Err(error),
        }
    }
}

fn refused<T>(what: &str, outcome: Result<T>) -> bool {
    match outcome {
        Err(error) if error.kind() == ErrorKind::Closed => true,
        Err(error) => {
            say(&format!("{what}: {error}"));
            false
        }
        Ok(_) => {
            say(&format!("{what} is not refused"));
            false
        }
    }
}

/// What a child of fork may do with its parent's store: nothing.
fn in_child(engine: Engine, path: &Path, table: TableId) -> bool {
    let one = |durability| append(&engine, table, 10, durability);
    let batch = || {
        let mut batch = WriteBatch::new();
        batch.append(table, KEY, b"a child's", None).map(|()| batch)
    };
    let commit = |durability| engine.commit(batch()?, durability);
    let well = [
        refused("reading", engine.snapshot().latest_seq(table, KEY)),
        refused("scanning", engine.snapshot().get(table, KEY, 1)),
        refused("appending", one(Durability::Buffered)),
        refused("committing", commit(Durability::Sync)),
        refused("committing without a sync", commit(Durability::Buffered)),
        refused("creating a table", engine.create_table("child", TableOptions::timeline())),
        refused("dropping a table", engine.drop_table(table)),
        refused("syncing", engine.sync()),
        refused("flushing", engine.flush()),
        refused("compacting", engine.compact()),
        refused("closing", engine.close()),
    ];
    // The last handle of this process: it closes nothing, and waits for no thread.
    drop(engine);
    let again = Engine::open(path, small(ReadMode::Map)).map(drop);
    let locked = again.is_err_and(|error| error.kind() == ErrorKind::Locked);
    if !locked {
        say("the child could open the store beside its parent");
    }
    well.iter().all(|well| *well) && locked
}

/// A child of fork beside a thread that writes.
fn fork_engine(path: &Path) -> Result<ExitCode> {
    let engine = Engine::open(path, small(ReadMode::Map))?;
    let table = table(&engine)?;
    append(&engine, table, 100, Durability::Sync)?;
    let stop = AtomicBool::new(false);
    let mut well = true;
    let written = std::thread::scope(|scope| {
        let writer = scope.spawn(|| -> Result<u64> {
            let mut last = 0;
            while !stop.load(Ordering::Relaxed) {
                last = append(&engine, table, 700, Durability::Buffered)?;
            }
            Ok(last)
        });
        for _ in 0..20 {
            let copy = engine.clone();
            let child = fork::in_child(|| in_child(copy, path, table));
            well &= child.unwrap_or(false);
        }
        stop.store(true, Ordering::Relaxed);
        writer.join()
    });
    let written = match written {
        Ok(written) => written?,
        Err(_) => 0,
    };
    let locked = Engine::open(path, small(ReadMode::Map)).map(drop);
    well &= locked.is_err_and(|error| error.kind() == ErrorKind::Locked);
    engine.close()?;
    drop(engine);
    let engine = Engine::open(path, small(ReadMode::Map))?;
    well &= written > 0 && engine.snapshot().len(table, KEY)? == written;
    say(if well { "well" } else { "not well" });
    Ok(ExitCode::SUCCESS)
}

/// A child of fork with a store of the library above, its threads, and what is buffered.
fn fork_store(path: &Path) -> Result<ExitCode> {
    let own = |error: tidelog::Error| Error::InvalidUse { what: error.to_string() };
    let store = tidelog::Store::options().open(path).map_err(own)?;
    let room = store.table::<tidelog::StringMessage>("room").create().map_err(own)?;
    let timeline = room.timeline("r").map_err(own)?;
    let message = tidelog::StringMessage::with_id("m-1", "hello");
    drop(timeline.batch(&message).map_err(own)?);
    drop(room);
    let closed = |what: &str, outcome: tidelog::Result<()>| match outcome {
        Err(error) if error.kind() == tidelog::ErrorKind::Closed => true,
        outcome => {
            say(&format!("{what}: {outcome:?}"));
            false
        }
    };
    let mut handles = Some((store, timeline));
    let child = fork::in_child(|| {
        // Taken in the child alone: these are the last handles that it has.
        let Some((store, timeline)) = handles.take() else { return false };
        let well = [
            closed("storing", timeline.store(&message).map(drop)),
            closed("buffering", timeline.batch(&message).map(drop)),
            closed("flushing", store.flush()),
            closed("closing", store.close()),
        ];
        drop((store, timeline));
        well.iter().all(|well| *well)
    });
    let Some((store, timeline)) = handles else { return Ok(ExitCode::from(3)) };
    store.flush().map_err(own)?;
    let well = child.unwrap_or(false) && timeline.len().map_err(own)? == 1;
    store.close().map_err(own)?;
    say(if well { "well" } else { "not well" });
    Ok(ExitCode::SUCCESS)
}
