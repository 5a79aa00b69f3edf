//! W2: 3,000 commits of one message, one writer, each reaching the disk.

use super::{KEY_BYTES, Run, check};
use crate::Result;
use crate::engine::{Entry, Setup};
use crate::measure::{Latencies, Meter, Work};

const COMMITS: u64 = 3_000;

pub fn run(run: &Run) -> Result<()> {
    let peer = run.open(&Setup { durable: true, ..Setup::default() })?;
    let mut messages = run.messages();
    let mut latencies = Latencies::new();
    let (mut wrong, mut logical_bytes) = (0, 0);
    let operations = run.scaled(COMMITS);

    let meter = Meter::start(&run.directory)?;
    for _ in 0..operations {
        let message = messages.draw();
        let payload = run.payload(message);
        logical_bytes += KEY_BYTES + payload.len() as u64;
        let entry = Entry { timeline: message.timeline, seq: message.seq, payload };
        wrong += latencies.time(|| peer.append(&[entry]))?;
    }
    let work = Work { workload: "w2", operations, logical_bytes, latencies, ..Work::default() };
    let record = meter.finish(work)?;

    wrong += check::all(run, &*peer, &messages)?;
    run.report(&*peer, record, wrong)
}
