//! W1: 5,000,000 messages of 96 to 160 bytes into 100,000 timelines, in batches of 1,000, not
//! synced, one sync at the end. Latency is per batch. The process ends in an abort, once background
//! work is quiet.
//!
//! Before it aborts it reads the newest of a thousand timelines; W4 reads many more.

use super::{KEY_BYTES, LIMIT, Run, SEED, check};
use crate::Result;
use crate::engine::{Entry, Found, Peer, Range, Setup, Table};
use crate::measure::{Latencies, Meter, Progress, Work};
use std::time::Duration;
use tidelog_benches::{Messages, Random};

/// Messages at full size.
pub const MESSAGES: u64 = 5_000_000;
const BATCH: u64 = 1_000;
/// Between two points of the rate over time.
const INTERVAL: Duration = Duration::from_millis(250);

pub fn run(run: &Run) -> Result<()> {
    let peer = run.open(&Setup::default())?;
    let mut messages = run.messages();
    let mut latencies = Latencies::new();
    let (mut wrong, mut logical_bytes) = (0, 0);
    let operations = run.scaled(MESSAGES);
    let mut batch = Vec::new();

    let meter = Meter::start(&run.directory)?;
    let mut progress = Progress::start(INTERVAL);
    let mut left = operations;
    while left > 0 {
        batch.clear();
        for _ in 0..left.min(BATCH) {
            let message = messages.draw();
            let payload = run.payload(message);
            logical_bytes += KEY_BYTES + payload.len() as u64;
            batch.push(Entry { timeline: message.timeline, seq: message.seq, payload });
        }
        wrong += latencies.time(|| peer.append(&batch))?;
        progress.add(left.min(BATCH));
        left -= left.min(BATCH);
    }
    let series = progress.finish();
    peer.sync()?;
    let work = Work {
        workload: "w1",
        operations,
        logical_bytes,
        latencies,
        settles: true,
        ..Work::default()
    };
    let mut record = meter.finish(work)?;
    record.series = series;

    if run.engine.has_reads() {
        wrong += sample(run, &*peer, &messages)?;
    }
    run.report(&*peer, record, wrong)?;
    std::process::abort()
}

/// Wrong answers in the newest of a thousand timelines.
fn sample(run: &Run, peer: &dyn Peer, messages: &Messages) -> Result<u64> {
    let mut random = Random::new(SEED + 1);
    let mut found = Found::default();
    let mut wrong = 0;
    for _ in 0..1_000 {
        let timeline = random.below(u64::from(run.timelines()));
        found.clear();
        peer.read(Table::Messages, timeline, Range::Newest, LIMIT, &mut found)?;
        wrong += check::wrong(&found, check::newest(run, timeline, messages.count(timeline)));
    }
    Ok(wrong)
}
