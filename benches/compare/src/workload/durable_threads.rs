//! W3: 60,000 commits of one message by 64 threads, each reaching the disk, grouped by the engine.
//!
//! Each thread has timelines of its own, so that it knows the seqs that engines without seqs must
//! be given, and that Tidelog must give.

use super::{KEY_BYTES, Run, SEED, check};
use crate::Result;
use crate::engine::{Entry, Peer, Setup};
use crate::measure::{Latencies, Meter, Work};
use std::sync::Barrier;
use tidelog_benches::Messages;

/// Commits at full size.
pub const COMMITS: u64 = 60_000;
/// Writers at once.
pub const WRITERS: u64 = 64;

/// One writer's stream and what it has seen.
pub struct Writer {
    messages: Messages,
    latencies: Latencies,
    logical_bytes: u64,
    wrong: u64,
}

pub fn run(run: &Run) -> Result<()> {
    let peer = run.open(&Setup { durable: true, ..Setup::default() })?;
    let mut writers = Writer::all(run, WRITERS);
    let commits = run.scaled(COMMITS).div_ceil(WRITERS);
    let meter = all_at_once(run, &mut writers, |writer| {
        for _ in 0..commits {
            let entry = writer.draw(run);
            writer.time(|| peer.append(&[entry]))?;
        }
        Ok(())
    })?;
    finish(run, &*peer, "w3", meter, &writers)
}

impl Writer {
    /// So many writers, each with timelines of its own.
    pub fn all(run: &Run, count: u64) -> Vec<Writer> {
        let timelines = u64::from(run.timelines()).div_ceil(count);
        let timelines = u32::try_from(timelines).unwrap_or(u32::MAX);
        let writer = |share| Writer {
            messages: Messages::of_share(timelines, share, count, SEED),
            latencies: Latencies::new(),
            logical_bytes: 0,
            wrong: 0,
        };
        (0..count).map(writer).collect()
    }

    /// Its next message.
    pub fn draw<'a>(&mut self, run: &'a Run) -> Entry<'a> {
        let message = self.messages.draw();
        let payload = run.payload(message);
        self.logical_bytes += KEY_BYTES + payload.len() as u64;
        Entry { timeline: message.timeline, seq: message.seq, payload }
    }

    /// Takes the time and the wrong answers of a commit.
    pub fn time(&mut self, commit: impl FnOnce() -> Result<u64>) -> Result<()> {
        self.wrong += self.latencies.time(commit)?;
        Ok(())
    }

    /// Takes a commit: how long it took, and its wrong answers.
    pub fn record(&mut self, latency: std::time::Duration, wrong: u64) {
        self.latencies.record(latency);
        self.wrong += wrong;
    }
}

/// Runs every writer on a thread of its own, all at once. The meter starts when they do.
pub fn all_at_once(
    run: &Run,
    writers: &mut [Writer],
    work: impl Fn(&mut Writer) -> Result<()> + Sync,
) -> Result<Meter> {
    let barrier = Barrier::new(writers.len() + 1);
    std::thread::scope(|scope| {
        let start = |writer| {
            scope.spawn(|| {
                barrier.wait();
                work(writer)
            })
        };
        let threads: Vec<_> = writers.iter_mut().map(start).collect();
        let meter = Meter::start(&run.directory);
        barrier.wait();
        for thread in threads {
            thread.join().map_err(|_| "a writer has panicked")??;
        }
        meter
    })
}

/// Ends the stretch, checks everything that was written, and reports.
pub fn finish(
    run: &Run,
    peer: &dyn Peer,
    workload: &'static str,
    meter: Meter,
    writers: &[Writer],
) -> Result<()> {
    let mut latencies = Latencies::new();
    writers.iter().for_each(|writer| latencies.add(&writer.latencies));
    let operations = latencies.count();
    let logical_bytes = writers.iter().map(|writer| writer.logical_bytes).sum();
    let record =
        meter.finish(Work { workload, operations, logical_bytes, latencies, ..Work::default() })?;
    let mut wrong = 0;
    for writer in writers {
        wrong += writer.wrong + check::all(run, peer, &writer.messages)?;
    }
    run.report(peer, record, wrong)
}
