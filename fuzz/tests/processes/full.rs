//! A real file system that fills up.

use super::helper::Helper;
use super::mount::{Kind, Mount};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tidelog_engine::inspect::Inspector;
use tidelog_engine::{Direction, Durability, Engine, ErrorKind, ReadMode, TableId, WriteBatch};
use tidelog_fuzz::processes::helper::{KEY, append, check, small, table};

/// Appends until the disk is full; returns the newest entry that was acknowledged.
fn fill(engine: &Engine, table: TableId) -> u64 {
    let mut last = engine.snapshot().latest_seq(table, KEY).unwrap();
    for number in 0u64.. {
        let durability = [Durability::Buffered, Durability::Sync][usize::from(number % 64 == 0)];
        match append(engine, table, 9000, durability) {
            Ok(seq) => {
                assert_eq!(seq, last + 1);
                last = seq;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
                return last;
            }
        }
        assert!(number < 20_000, "64 MiB are never full");
    }
    unreachable!("it is full some time");
}

/// Everything from `first` on is there, right, and nothing behind `last` but what may have been
/// under way.
fn look(engine: &Engine, table: TableId, first: u64, last: u64) {
    let scan = engine.snapshot().scan(table, KEY, 1, u64::MAX, Direction::Forward).unwrap();
    let mut next = first;
    for entry in scan {
        let entry = entry.unwrap();
        assert_eq!(entry.seq, next);
        check(entry.seq, &entry.payload).unwrap();
        next += 1;
    }
    assert!(next == last + 1 || next == last + 2, "{next} behind {last}");
}

/// Commits again once there is room, without another opening.
fn resumes(engine: &Engine, table: TableId) -> u64 {
    for _ in 0..2000 {
        match append(engine, table, 9000, Durability::Sync) {
            Ok(seq) => return seq,
            Err(error) => assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}"),
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    panic!("writes do not resume: {:?}", engine.stats());
}

/// Room that can be given back.
fn ballast(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, vec![1; 6 << 20]).unwrap();
    std::fs::File::open(&path).unwrap().sync_all().unwrap();
    path
}

fn verify(path: &Path) {
    let report = Inspector::open(path).unwrap().verify().unwrap();
    assert!(report.faults.is_empty(), "{:?}", report.faults);
}

/// Fill, read, make room from outside, write, trim, get the room back, fill again.
fn fills_up(kind: Kind) {
    let Some(mount) = Mount::new(kind) else { return };
    let path = mount.path().join("full.tide");
    let outside = ballast(mount.path(), "ballast");
    let engine = Engine::open(&path, small(ReadMode::Map)).unwrap();
    let of_engine = table(&engine).unwrap();
    let last = fill(&engine, of_engine);
    look(&engine, of_engine, 1, last);
    // What compaction has freed meanwhile is filled too.
    let last = fill(&engine, of_engine).max(last);
    look(&engine, of_engine, 1, last);
    std::fs::remove_file(outside).unwrap();
    let last = resumes(&engine, of_engine);
    look(&engine, of_engine, 1, last);
    let last = fill(&engine, of_engine).max(last);
    // What is trimmed is room again, for the file system too. A trim is a commit: it needs the
    // little that a flush needs.
    let mut batch = WriteBatch::new();
    batch.trim(of_engine, KEY, last).unwrap();
    let trimmed = engine.commit(batch, Durability::Sync).map(|committed| committed.commit);
    if let Err(error) = &trimmed {
        assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
        // Then a table is dropped: a change of the root alone.
        engine.drop_table(of_engine).unwrap();
    }
    let of_engine = table(&engine).unwrap();
    resumes(&engine, of_engine);
    engine.compact().unwrap();
    let used = engine.stats().file_bytes;
    assert!(used < 16 << 20, "{used} bytes of a store that holds next to nothing");
    let first = engine.snapshot().scan(of_engine, KEY, 1, u64::MAX, Direction::Forward).unwrap();
    let first = first.map(|entry| entry.unwrap().seq).next().unwrap();
    let last = fill(&engine, of_engine);
    look(&engine, of_engine, first, last);
    // Closing needs a flush: without room the log keeps it.
    let closed = engine.close();
    assert!(closed.is_ok() || closed.is_err_and(|error| error.kind() == ErrorKind::NoSpace));
    drop(engine);
    verify(&path);
    let engine = Engine::open(&path, small(ReadMode::Read)).unwrap();
    look(&engine, of_engine, first, last);
}

#[test]
fn an_ext4_of_64_mebibytes_fills_up_and_is_written_again_once_there_is_room() {
    fills_up(Kind::Ext4);
}

#[test]
fn a_tmpfs_of_64_mebibytes_fills_up_and_is_written_again_once_there_is_room() {
    fills_up(Kind::Tmpfs);
}

/// A process is killed over the full disk, twice; what it acknowledged is there.
fn killed_while_full(kind: Kind) {
    let Some(mount) = Mount::new(kind) else { return };
    let path = mount.path().join("full.tide");
    let outside = ballast(mount.path(), "ballast");
    let mut last = 0;
    for _ in 0..2 {
        let filler = Helper::start("fill", &path);
        let number = |line: String| line["ack ".len()..].parse::<u64>().unwrap();
        while let Some(line) = filler.line().filter(|line| line != "full") {
            last = number(line);
        }
        // It goes on trying meanwhile.
        std::thread::park_timeout(Duration::from_millis(20));
        last = filler.kill().into_iter().map(number).next_back().unwrap_or(last);
        verify(&path);
    }
    let engine = Engine::open(&path, small(ReadMode::Map)).unwrap();
    let of_engine = table(&engine).unwrap();
    look(&engine, of_engine, 1, last);
    std::fs::remove_file(outside).unwrap();
    let resumed = resumes(&engine, of_engine);
    look(&engine, of_engine, 1, resumed);
    engine.close().unwrap();
    drop(engine);
    verify(&path);
}

#[test]
fn a_process_that_is_killed_over_a_full_ext4_loses_nothing() {
    killed_while_full(Kind::Ext4);
}

#[test]
fn a_process_that_is_killed_over_a_full_tmpfs_loses_nothing() {
    killed_while_full(Kind::Tmpfs);
}
