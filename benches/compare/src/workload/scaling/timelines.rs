//! W1's messages into 1,000 to 10,000,000 timelines, settled, and then the newest 20 of 100,000
//! Zipf-chosen ones. The harness counts the messages of every timeline, which takes 32 bytes each.

use super::super::reads::{Kind, Pass, pass};
use super::super::{KEY_BYTES, Run, SEED};
use crate::Result;
use crate::engine::{Entry, Setup};
use crate::measure::{Latencies, Meter, Work};
use tidelog_benches::Messages;
use tidelog_benches::measure::process;

const MESSAGES: u64 = 5_000_000;
const BATCH: u64 = 1_000;
const READS: u64 = 100_000;

pub fn run(run: &Run) -> Result<()> {
    let mut messages = Messages::new(u32::try_from(run.parameter)?, SEED);
    let harness_bytes = process::anonymous_bytes()?;
    let peer = run.open(&Setup::default())?;
    let mut latencies = Latencies::new();
    let (mut wrong, mut logical_bytes) = (0, 0);
    let operations = run.scaled(MESSAGES);
    let meter = Meter::start(&run.directory)?;
    let mut left = operations;
    while left > 0 {
        let mut batch = Vec::new();
        for _ in 0..left.min(BATCH) {
            let message = messages.draw();
            let payload = run.payload(message);
            logical_bytes += KEY_BYTES + payload.len() as u64;
            batch.push(Entry { timeline: message.timeline, seq: message.seq, payload });
        }
        wrong += latencies.time(|| peer.append(&batch))?;
        left -= left.min(BATCH);
    }
    peer.sync()?;
    let workload = "scaling-timelines";
    let mut record = meter.finish(Work {
        workload,
        operations,
        logical_bytes,
        latencies,
        settles: true,
        ..Work::default()
    })?;
    let reads = run.scaled(READS);
    let warm = pass(run, &*peer, &messages, Kind::Newest, SEED + 1, reads)?;
    let Pass { latencies, wrong: wrong_reads, .. } =
        pass(run, &*peer, &messages, Kind::Newest, SEED + 2, reads)?;
    let figures = [
        ("newest 20 p50 us", latencies.quantile(0.5)),
        ("newest 20 p99 us", latencies.quantile(0.99)),
        ("anon MiB of the harness", harness_bytes as f64 / 1_048_576.0),
    ];
    record.figures.extend(figures.map(|(name, value)| (name.to_owned(), value)));
    run.report(&*peer, record, wrong + warm.wrong + wrong_reads)
}
