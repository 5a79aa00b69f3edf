//! W8: a message sync store in its steady state. 100,000 inboxes; 10,000 messages a second of 96 to
//! 160 bytes to Zipf-chosen ones, in 1,000 batches of ten, and between them 1,000 reads a second of
//! the newest 20 of one; a time to live of five minutes; one hour for Tidelog, twenty minutes for
//! the others. Not synced but for once a second, by a thread of its own.
//!
//! The schedule is open: latency counts from the moment at which an operation was due, so a stall
//! is charged to all that waited for it. An engine that cannot keep the rate falls behind, and that
//! is told. Where an engine knows no time to live, each batch first deletes as many messages as
//! have expired (forty at most), which the harness remembers without charge; that is part of the
//! write.
//!
//! Beside it a thread naps, which tells how late the machine wakes anybody in that run.

mod answers;
mod expiry;
mod naps;
mod samples;

use super::{KEY_BYTES, LIMIT, Run, SEED};
use crate::Result;
use crate::engine::{EngineName, Entry, Expiry, Found, Peer, Range, Setup, Table};
use crate::measure::{Meter, Work};
use answers::Expected;
use expiry::Alive;
use naps::Naps;
use samples::Samples;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tidelog_benches::measure::Schedule;
use tidelog_benches::{Message, Messages, Random};

/// Batches and reads, taken together, a second.
const OPERATIONS_PER_SECOND: f64 = 2_000.0;
const BATCH: u64 = 10;
const DELETED_AT_ONCE: usize = 40;
const TTL: Duration = Duration::from_secs(300);
const LENGTH: Duration = Duration::from_secs(20 * 60);
const LENGTH_TIDELOG: Duration = Duration::from_secs(60 * 60);
const LENGTH_MIN: Duration = Duration::from_secs(4);
const SYNC_EVERY: Duration = Duration::from_secs(1);

struct Steady<'a> {
    run: &'a Run,
    peer: &'a dyn Peer,
    messages: Messages,
    alive: Alive,
    naps: &'a Naps,
    samples: Samples,
    logical_bytes: u64,
    wrong: u64,
}

pub fn run(run: &Run) -> Result<()> {
    let full = match run.engine {
        EngineName::Tidelog => LENGTH_TIDELOG,
        _ => LENGTH,
    };
    let length = full.mul_f64(run.scale).max(LENGTH_MIN);
    // RocksDB counts whole seconds.
    let ttl = Duration::from_secs(TTL.mul_f64(run.scale).as_secs().max(1));
    let peer = run.open(&Setup { ttl: Some(ttl), ..Setup::default() })?;
    let messages = Messages::new(run.timelines(), SEED);
    let naps = Naps::new();
    let mut steady = Steady {
        run,
        peer: &*peer,
        messages,
        alive: Alive::new(run.timelines(), ttl),
        naps: &naps,
        samples: Samples::new(&run.directory, length, ttl),
        logical_bytes: 0,
        wrong: 0,
    };
    let meter = Meter::start(&run.directory)?;
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let syncs = scope.spawn(|| sync_until(&*peer, &is_over));
        scope.spawn(|| naps.go_on(&is_over));
        let outcome = steady.go_on(length);
        is_over.store(true, Ordering::Relaxed);
        syncs.join().map_err(|_| "the syncing thread has panicked")??;
        outcome
    })?;
    let Steady { samples, logical_bytes, wrong, .. } = steady;
    let work = |workload, latencies| Work {
        workload,
        operations: samples.operations(),
        logical_bytes,
        latencies,
        ..Work::default()
    };
    let mut writes = meter.finish(work("w8-write", samples.writes().clone()))?;
    let mut reads = writes.clone();
    reads.take_latencies(samples.reads());
    reads.workload = "w8-read".to_owned();
    samples.describe(&mut writes);
    let (late, latest) = naps.quantiles()?;
    writes.figures.insert("nap late by us, p99.9".to_owned(), late);
    writes.figures.insert("nap late by us, max".to_owned(), latest);
    run.report(&*peer, writes, wrong)?;
    run.report(&*peer, reads, 0)
}

fn sync_until(peer: &dyn Peer, is_over: &AtomicBool) -> Result<()> {
    let mut synced = Instant::now();
    while !is_over.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(20));
        if synced.elapsed() >= SYNC_EVERY {
            synced = Instant::now();
            peer.sync()?;
        }
    }
    Ok(())
}

impl Steady<'_> {
    fn go_on(&mut self, length: Duration) -> Result<()> {
        let mut random = Random::new(SEED + 5);
        let mut schedule = Schedule::new(OPERATIONS_PER_SECOND);
        let start = Instant::now();
        while start.elapsed() < length {
            let due = schedule.wait();
            self.write()?;
            self.samples.wrote(due.elapsed());
            let due = schedule.wait();
            let timeline = u64::from(self.messages.zipf().draw(&mut random));
            self.read(timeline, due)?;
            self.samples.sample(schedule.behind(), self.naps)?;
        }
        self.samples.finish(schedule.behind());
        Ok(())
    }

    fn write(&mut self) -> Result<()> {
        if self.run.engine.expiry() == Expiry::ByApplication {
            let expired = self.alive.take_expired(DELETED_AT_ONCE);
            if !expired.is_empty() {
                self.peer.delete(&expired)?;
            }
        }
        let batch: Vec<Message> = (0..BATCH).map(|_| self.messages.draw()).collect();
        let entries: Vec<Entry> = batch
            .iter()
            .map(|&message| Entry {
                timeline: message.timeline,
                seq: message.seq,
                payload: self.run.payload(message),
            })
            .collect();
        let payloads: usize = entries.iter().map(|entry| entry.payload.len()).sum();
        self.logical_bytes += KEY_BYTES * BATCH + payloads as u64;
        let before = Instant::now();
        self.wrong += self.peer.append(&entries)?;
        self.alive.add(&batch, before, Instant::now());
        Ok(())
    }

    /// Reads the newest entries.
    fn read(&mut self, timeline: u64, due: Instant) -> Result<()> {
        let mut found = Found::default();
        let start = Instant::now();
        self.peer.read(Table::Messages, timeline, Range::Newest, LIMIT, &mut found)?;
        self.samples.read(due.elapsed());
        let expected = Expected {
            count: self.messages.count(timeline),
            oldest_alive: self.alive.oldest_surely_alive(timeline, Instant::now()),
            newest_dead: self.alive.newest_surely_expired(timeline, start),
            limit: LIMIT,
        };
        let given = found
            .iter()
            .map(|(seq, payload)| (seq, payload == self.run.payload(Message { timeline, seq })));
        self.wrong += answers::wrong(self.run.engine.expiry(), &expected, given);
        Ok(())
    }
}
