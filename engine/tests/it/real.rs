//! The real file, the real clock, real threads.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tidelog_engine::{
    Direction, Durability, Engine, ErrorKind, Options, ReadMode, TableOptions, WriteBatch,
};

fn small() -> Options {
    Options {
        ring_bytes: 1 << 20,
        memtable_bytes: 128 * 1024,
        sstable_bytes: 256 * 1024,
        ..Options::default()
    }
}

/// 8 writers, 4 readers: whoever has seen seq n finds everything below n from then on, dense and
/// with the right contents, in one timeline that all fight for and in many.
fn no_gap(timelines: u64, durability: Durability, commits: u64) {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(folder.path().join("stress.tide"), small()).unwrap();
    let table = engine
        .create_table("message", TableOptions::timeline())
        .unwrap();
    let stop = AtomicBool::new(false);
    let scans = AtomicU64::new(0);
    let key = |number: u64| (number % timelines).to_be_bytes();
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..8u64)
            .map(|writer| {
                let engine = engine.clone();
                scope.spawn(move || {
                    for number in 0..commits {
                        let mut batch = WriteBatch::new();
                        let first = key(writer * 7 + number);
                        let second = key(writer * 7 + number + 1);
                        let payload = [writer.to_le_bytes(), number.to_le_bytes()].concat();
                        batch.append(table, &first, &payload, None).unwrap();
                        batch.append(table, &second, &payload, None).unwrap();
                        let committed = engine.commit(batch, durability).unwrap();
                        let snapshot = engine.snapshot();
                        let own = snapshot.get(table, &first, committed.seqs[0]).unwrap();
                        assert_eq!(&*own.expect("read your write").payload, &payload[..]);
                    }
                })
            })
            .collect();
        for reader in 0..4u64 {
            let (engine, stop, scans) = (engine.clone(), &stop, &scans);
            scope.spawn(move || {
                let mut seen: HashMap<u64, u64> = HashMap::new();
                let mut number = reader;
                while !stop.load(Ordering::Relaxed) {
                    number += 1;
                    let timeline = number % timelines;
                    let id = timeline.to_be_bytes();
                    let snapshot = engine.snapshot();
                    let low = seen.get(&timeline).copied().unwrap_or(0);
                    let entries = snapshot
                        .scan(
                            table,
                            &id,
                            low.saturating_sub(20),
                            u64::MAX,
                            Direction::Forward,
                        )
                        .unwrap()
                        .map(|entry| entry.unwrap())
                        .collect::<Vec<_>>();
                    for pair in entries.windows(2) {
                        assert_eq!(pair[0].seq + 1, pair[1].seq, "a gap in timeline {timeline}");
                        assert!(pair[0].commit <= pair[1].commit);
                        assert!(pair[1].commit <= snapshot.commit());
                    }
                    let last = entries.last().map_or(0, |entry| entry.seq);
                    assert!(
                        last >= low,
                        "timeline {timeline} went back from {low} to {last}"
                    );
                    assert_eq!(snapshot.latest_seq(table, &id).unwrap(), last);
                    seen.insert(timeline, last);
                    scans.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        writers
            .into_iter()
            .for_each(|writer| writer.join().unwrap());
        stop.store(true, Ordering::Relaxed);
    });
    let snapshot = engine.snapshot();
    let total: u64 = (0..timelines)
        .map(|timeline| snapshot.latest_seq(table, &timeline.to_be_bytes()).unwrap())
        .sum();
    assert_eq!(total, 8 * commits * 2);
    assert!(scans.load(Ordering::Relaxed) > 10);
    assert!(
        engine.stats().flushes > 0,
        "the memtable was flushed meanwhile"
    );
}

#[test]
fn no_reader_ever_meets_a_gap_in_one_timeline() {
    no_gap(1, Durability::Buffered, 2000);
}

#[test]
fn no_reader_ever_meets_a_gap_in_many_timelines() {
    no_gap(100, Durability::Buffered, 2000);
}

#[test]
fn no_reader_ever_meets_a_gap_in_durable_commits() {
    no_gap(10, Durability::Sync, 400);
}

#[test]
fn one_file_and_nothing_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("only.tide");
    let listing = || std::fs::read_dir(folder.path()).unwrap().count();
    let engine = Engine::open(&path, small()).unwrap();
    let table = engine
        .create_table("message", TableOptions::timeline())
        .unwrap();
    for number in 0..3000u32 {
        let mut batch = WriteBatch::new();
        batch.append(table, b"t", &[1; 200], None).unwrap();
        engine.commit(batch, Durability::Buffered).unwrap();
        if number % 1000 == 0 {
            assert_eq!(listing(), 1);
        }
    }
    assert_eq!(
        Engine::open(&path, small()).err().unwrap().kind(),
        ErrorKind::Locked
    );
    engine.compact().unwrap();
    engine.close().unwrap();
    assert_eq!(listing(), 1);
    drop(engine);
    let engine = Engine::open(&path, small()).unwrap();
    assert_eq!(engine.snapshot().len(table, b"t").unwrap(), 3000);
}

#[test]
fn a_reader_beside_a_live_writer_sees_a_prefix_or_says_that_it_is_too_old() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("live.tide");
    let engine = Engine::open(&path, small()).unwrap();
    let table = engine
        .create_table("message", TableOptions::timeline())
        .unwrap();
    let stop = AtomicBool::new(false);
    let mut good = 0;
    std::thread::scope(|scope| {
        let writer = engine.clone();
        let stop = &stop;
        scope.spawn(move || {
            let mut number = 0u64;
            while !stop.load(Ordering::Relaxed) {
                let mut batch = WriteBatch::new();
                let payload = [&number.to_le_bytes()[..], &[5; 300]].concat();
                batch.append(table, b"t", &payload, None).unwrap();
                writer.commit(batch, Durability::Buffered).unwrap();
                number += 1;
            }
        });
        let options = Options {
            read_only: true,
            create: false,
            read_mode: ReadMode::Read,
            ..Options::default()
        };
        let mut last = 0;
        for _ in 0..30 {
            let outcome = Engine::open(&path, options.clone()).and_then(|reader| {
                let scan = reader
                    .snapshot()
                    .scan(table, b"t", 0, u64::MAX, Direction::Forward)?;
                let mut count = 0;
                for entry in scan {
                    let entry = entry?;
                    count += 1;
                    assert_eq!(entry.seq, count);
                    assert_eq!(entry.payload[..8], (count - 1).to_le_bytes());
                }
                Ok(count)
            });
            match outcome {
                Ok(count) => {
                    assert!(
                        count >= last,
                        "a later reader sees less: {count} after {last}"
                    );
                    last = count;
                    good += 1;
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::SnapshotTooOld, "{error}"),
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(good > 0, "no reader got through");
}

#[test]
fn asynchronous_commits_keep_their_order_and_survive_a_dropped_future() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(folder.path().join("async.tide"), small()).unwrap();
    let table = engine
        .create_table("message", TableOptions::timeline())
        .unwrap();
    let mut futures = Vec::new();
    for number in 0..500u64 {
        let mut batch = WriteBatch::new();
        batch
            .append(table, b"t", &number.to_le_bytes(), None)
            .unwrap();
        let future = engine.commit_async(batch, Durability::Sync);
        // Every third future is dropped: its batch is committed all the same.
        if number % 3 != 0 {
            futures.push((number, future));
        }
    }
    for (number, future) in futures {
        assert_eq!(block_on(future).unwrap().seqs, [number + 1]);
    }
    let entries = engine
        .snapshot()
        .scan(table, b"t", 0, 999, Direction::Forward)
        .unwrap();
    for (number, entry) in (0u64..).zip(entries) {
        assert_eq!(&*entry.unwrap().payload, &number.to_le_bytes());
    }
    assert_eq!(engine.snapshot().len(table, b"t").unwrap(), 500);
}

/// The smallest executor.
fn block_on<F: Future + Unpin>(mut future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    loop {
        if let std::task::Poll::Ready(output) = std::pin::Pin::new(&mut future).poll(&mut context) {
            return output;
        }
        std::thread::park_timeout(Duration::from_secs(10));
    }
}
