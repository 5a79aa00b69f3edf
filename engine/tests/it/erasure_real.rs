//! Erasure in a real file, with real threads that commit meanwhile.

use super::erasure::{Chat, DEADLINE, Payloads, bytes, random, retract};
use super::images::found;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tidelog_engine::{
    Clock, Direction, Durability, Engine, Options, Parts, ReadMode, Result, SystemClock,
    TableOptions, WriteBatch,
};

/// The system's clock, later.
struct LaterClock {
    clock: SystemClock,
    by: Duration,
}

impl Clock for LaterClock {
    fn wall_ms(&self) -> u64 {
        self.clock.wall_ms() + u64::try_from(self.by.as_millis()).unwrap()
    }

    fn monotonic_ms(&self) -> u64 {
        self.clock.monotonic_ms()
    }
}

fn open(path: &Path, cold: &Path, read_mode: ReadMode, by: Duration) -> Result<Engine> {
    let options = Options {
        ring_bytes: 1 << 20,
        memtable_bytes: 128 * 1024,
        sstable_bytes: 256 * 1024,
        read_mode,
        cold_file: Some(cold.to_owned()),
        ..Options::default()
    };
    let clock = Arc::new(LaterClock { clock: SystemClock::new(), by });
    let parts = Parts { clock, ..Parts::real(path, &options)? };
    Engine::open_with(parts, options)
}

/// Lets the writers end, also when the test fails: they would be waited for.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn erases(read_mode: ReadMode) {
    let folder = tempfile::tempdir().unwrap();
    let (path, cold) = (folder.path().join("chat.tide"), folder.path().join("chat.cold"));
    let image = || [std::fs::read(&path).unwrap(), std::fs::read(&cold).unwrap()].concat();
    let gone = |payloads: &Payloads| found(&image(), &payloads.retracted);
    let engine = open(&path, &cold, read_mode, Duration::ZERO).unwrap();
    let rooms = TableOptions::timeline();
    let inboxes = TableOptions::timeline().born_cold();
    let chat = Chat::create(&engine, rooms, inboxes);
    let (payloads, seqs) = chat.fill(&engine, &mut random(31));
    engine.flush().unwrap();
    chat.retract_all(&engine, &seqs);
    engine.close().unwrap();
    drop(engine);
    let all: BTreeSet<&str> = payloads.retracted.iter().map(|(what, _)| *what).collect();
    assert_eq!(gone(&payloads), all);
    let engine = open(&path, &cold, read_mode, DEADLINE / 2).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop = StopAtEnd(&stop);
        for writer in 0..4u64 {
            let (engine, stop) = (engine.clone(), &stop);
            scope.spawn(move || {
                let (key, mut random) = (writer.to_be_bytes(), random(100 + writer));
                let mut sent = 0;
                while !stop.load(Ordering::Relaxed) {
                    let mut batch = WriteBatch::new();
                    let payload = bytes(&mut random, 700);
                    let targets = [(chat.rooms, &key[..]), (chat.inboxes, &key[..])];
                    batch.fan_out(targets, &payload, None, None, true).unwrap();
                    sent = engine.commit(batch, Durability::Sync).unwrap().seqs[0];
                    if sent % 50 == 0 {
                        retract(&engine, chat.rooms, &key, sent);
                    }
                }
                let snapshot = engine.snapshot();
                let scan = snapshot.scan(chat.inboxes, &key, 0, u64::MAX, Direction::Forward);
                let seqs = scan.unwrap().map(|entry| entry.unwrap().seq);
                assert!(seqs.eq(1..=sent), "nothing is lost meanwhile");
            });
        }
        let began = Instant::now();
        while engine.stats().erasure.passes == 0 {
            std::thread::sleep(Duration::from_millis(20));
            let erasure = engine.stats().erasure;
            assert!(began.elapsed() < Duration::from_secs(120), "{erasure:?}");
        }
        assert_eq!(gone(&payloads), BTreeSet::new());
    });
    chat.check(&engine, &payloads, &seqs);
    engine.close().unwrap();
    assert_eq!(gone(&payloads), BTreeSet::new());
}

#[test]
fn what_was_retracted_is_gone_from_a_real_file() {
    erases(ReadMode::Map);
    erases(ReadMode::Read);
}
