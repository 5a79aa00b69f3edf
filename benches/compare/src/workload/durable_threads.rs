//! W3: 60,000 commits of one message by 64 threads, each reaching the disk, grouped by the engine.
//!
//! Each thread has timelines of its own, so that it knows the seqs that engines without seqs must
//! be given, and that Tidelog must give.

use super::{KEY_BYTES, Run, SEED, check};
use crate::Result;
use crate::engine::{Entry, Peer};
use crate::measure::{Latencies, Meter, Work};
use std::sync::Barrier;
use tidelog_benches::Messages;

const COMMITS: u64 = 60_000;
const THREADS: u64 = 64;

/// One thread's stream and what it has seen.
struct Writer {
    messages: Messages,
    latencies: Latencies,
    logical_bytes: u64,
    wrong: u64,
}

pub fn run(run: &Run) -> Result<()> {
    let peer = run.open()?;
    let threads_u32 = u32::try_from(THREADS)?;
    let timelines = run.timelines().div_ceil(threads_u32);
    let mut writers: Vec<Writer> = (0..THREADS)
        .map(|share| Writer {
            messages: Messages::of_share(timelines, share, THREADS, SEED),
            latencies: Latencies::new(),
            logical_bytes: 0,
            wrong: 0,
        })
        .collect();
    let commits = run.scaled(COMMITS).div_ceil(THREADS);

    let barrier = Barrier::new(writers.len() + 1);
    let meter = std::thread::scope(|scope| {
        let threads: Vec<_> = writers
            .iter_mut()
            .map(|writer| {
                scope.spawn(|| {
                    barrier.wait();
                    write(run, &*peer, writer, commits)
                })
            })
            .collect();
        let meter = Meter::start(&run.directory);
        barrier.wait();
        for thread in threads {
            thread.join().map_err(|_| "a writer has panicked")??;
        }
        meter
    })?;
    let mut latencies = Latencies::new();
    writers.iter().for_each(|writer| latencies.add(&writer.latencies));
    let work = Work {
        workload: "w3",
        operations: commits * THREADS,
        logical_bytes: writers.iter().map(|writer| writer.logical_bytes).sum(),
        latencies,
        duration: None,
        settles: false,
    };
    let record = meter.finish(work)?;

    let mut wrong = 0;
    for writer in &writers {
        wrong += writer.wrong + check::all(run, &*peer, &writer.messages)?;
    }
    run.report(&*peer, record, wrong)
}

fn write(run: &Run, peer: &dyn Peer, writer: &mut Writer, commits: u64) -> Result<()> {
    for _ in 0..commits {
        let message = writer.messages.draw();
        let payload = run.payload(message);
        writer.logical_bytes += KEY_BYTES + payload.len() as u64;
        let entry = Entry { timeline: message.timeline, seq: message.seq, payload };
        writer.wrong += writer.latencies.time(|| peer.append(&[entry], true))?;
    }
    Ok(())
}
