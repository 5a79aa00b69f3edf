//! Two that want the same file.

use super::helper::Helper;
use std::path::Path;
use std::time::{Duration, Instant};
use tidelog_engine::inspect::Inspector;
use tidelog_engine::{Direction, Durability, Engine, ErrorKind, Options, ReadMode};
use tidelog_fuzz::processes::helper::{KEY, append, check, small, table};

fn open(path: &Path) -> Result<Engine, ErrorKind> {
    Engine::open(path, small(ReadMode::Map)).map_err(|error| error.kind())
}

/// Refused, after asking for a fifth of a second; on a busy machine whoever asks may sleep longer.
fn refused_soon(path: &Path) {
    let soonest = (0..5).map(|_| {
        let start = Instant::now();
        assert_eq!(open(path).err(), Some(ErrorKind::Locked), "{}", path.display());
        start.elapsed()
    });
    let soonest = soonest.min().unwrap();
    assert!(soonest >= Duration::from_millis(150), "it did not ask again: {soonest:?}");
    assert!(soonest < Duration::from_secs(2), "{soonest:?}");
}

fn entries(engine: &Engine) -> u64 {
    let table = table(engine).unwrap();
    let scan = engine.snapshot().scan(table, KEY, 1, u64::MAX, Direction::Forward).unwrap();
    scan.map(|entry| entry.unwrap()).map(|entry| check(entry.seq, &entry.payload).unwrap()).count()
        as u64
}

#[test]
fn another_process_is_refused_until_the_holder_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("two.tide");
    for killed in 1..=3 {
        let holder = Helper::start("hold", &path);
        holder.expect("ready");
        refused_soon(&path);
        holder.kill();
        // The file is free as soon as the process is gone, and what it acknowledged is there.
        let engine = open(&path).unwrap();
        assert_eq!(entries(&engine), killed);
        if killed == 1 {
            engine.close().unwrap();
        }
    }
    let holder = Helper::start("hold", &path);
    holder.expect("ready");
    assert!(holder.end().success());
    assert_eq!(entries(&open(&path).unwrap()), 4);
}

#[test]
fn a_second_handle_is_refused_whatever_the_name_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("one.tide");
    let (hard, soft) = (folder.path().join("hard.tide"), folder.path().join("soft.tide"));
    let engine = open(&path).unwrap();
    let of_engine = table(&engine).unwrap();
    append(&engine, of_engine, 100, Durability::Buffered).unwrap();
    std::fs::hard_link(&path, &hard).unwrap();
    std::os::unix::fs::symlink(&path, &soft).unwrap();
    for name in [&path, &hard, &soft] {
        refused_soon(name);
    }
    // A refused handle that goes leaves the lock where it is.
    append(&engine, of_engine, 100, Durability::Sync).unwrap();
    engine.close().unwrap();
    drop(engine);
    for (name, count) in [(&hard, 2), (&soft, 2)] {
        let engine = open(name).unwrap();
        assert_eq!(entries(&engine), count);
        assert_eq!(open(&path).err(), Some(ErrorKind::Locked));
    }
    // The same between processes.
    let holder = Helper::start("hold", &hard);
    holder.expect("ready");
    refused_soon(&soft);
    holder.kill();
    assert_eq!(entries(&open(&path).unwrap()), 3);
}

#[test]
fn readers_beside_a_holder_see_what_it_acknowledged_and_no_fault() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("beside.tide");
    let holder = Helper::start("hold", &path);
    holder.expect("ready");
    let report = Inspector::open(&path).unwrap().verify().unwrap();
    assert!(report.faults.is_empty(), "{:?}", report.faults);
    let options = Options { read_only: true, create: false, ..small(ReadMode::Read) };
    let reader = Engine::open(&path, options).unwrap();
    assert_eq!(entries(&reader), 1);
    refused_soon(&path);
    drop(reader);
    // A reader that goes takes no lock away.
    refused_soon(&path);
    assert!(holder.end().success());
}
