//! W4: on W1's database, opened afresh by this process: the newest 20 of 200,000 Zipf-chosen
//! timelines, then 20 forward from a random seq. One thread, warm: other draws of the same law go
//! first, and what they have begun in the background is waited for, as for all that settles. Of
//! these first ones, which meet cold memory and that background work, the table has two quantiles.
//!
//! The time of a read is from the call to the last of its entries copied out; comparing them with
//! what was written comes behind it and is in no figure but CPU.

use super::bulk_ingest::MESSAGES;
use super::{LIMIT, Run, SEED, check};
use crate::Result;
use crate::engine::{Found, Peer, Range, Setup, Table};
use crate::measure::{Latencies, Meter, Work};
use std::time::{Duration, Instant};
use tidelog_benches::measure::settle;
use tidelog_benches::{Messages, Random};

const READS: u64 = 200_000;

/// What is read of a timeline.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Its newest entries.
    Newest,
    /// Entries from a random seq on.
    Forward,
}

/// What a pass over many timelines has measured.
pub struct Pass {
    /// Of each read.
    pub latencies: Latencies,
    /// Their sum.
    pub duration: Duration,
    /// Answers that were missing, wrong or too many.
    pub wrong: u64,
}

pub fn run(run: &Run) -> Result<()> {
    let messages = written(run);
    let peer = run.open(&Setup::default())?;
    for (kind, workload) in [(Kind::Newest, "w4-newest"), (Kind::Forward, "w4-forward")] {
        let operations = run.scaled(READS);
        let first = pass(run, &*peer, &messages, kind, SEED + 1, operations)?;
        settle()?;
        let meter = Meter::start(&run.directory)?;
        let Pass { latencies, duration, wrong } =
            pass(run, &*peer, &messages, kind, SEED + 2, operations)?;
        let duration = Some(duration);
        let mut record =
            meter.finish(Work { workload, operations, latencies, duration, ..Work::default() })?;
        let figures = [("first p50 us", 0.5), ("first p99 us", 0.99)];
        let figures = figures.map(|(name, part)| (name.to_owned(), first.latencies.quantile(part)));
        record.figures.extend(figures);
        run.report(&*peer, record, first.wrong + wrong)?;
    }
    Ok(())
}

/// What W1 has written.
pub fn written(run: &Run) -> Messages {
    let mut messages = run.messages();
    for _ in 0..run.scaled(MESSAGES) {
        messages.draw();
    }
    messages
}

/// Reads timelines chosen as they were chosen for writing.
pub fn pass(
    run: &Run,
    peer: &dyn Peer,
    messages: &Messages,
    kind: Kind,
    seed: u64,
    operations: u64,
) -> Result<Pass> {
    let mut random = Random::new(seed);
    let mut found = Found::default();
    let mut latencies = Latencies::new();
    let (mut duration, mut wrong) = (Duration::ZERO, 0);
    for _ in 0..operations {
        let timeline = u64::from(messages.zipf().draw(&mut random));
        let count = messages.count(timeline);
        let from = 1 + random.below(count.max(1));
        let range = match kind {
            Kind::Newest => Range::Newest,
            Kind::Forward => Range::From(from),
        };
        found.clear();
        let start = Instant::now();
        peer.read(Table::Messages, timeline, range, LIMIT, &mut found)?;
        let latency = start.elapsed();
        latencies.record(latency);
        duration += latency;
        wrong += match kind {
            Kind::Newest => check::wrong(&found, check::newest(run, timeline, count)),
            Kind::Forward => {
                check::wrong(&found, check::forward(run, timeline, from, count, LIMIT))
            }
        };
    }
    Ok(Pass { latencies, duration, wrong })
}
