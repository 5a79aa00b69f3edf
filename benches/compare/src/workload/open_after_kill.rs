//! W6: W1's aborted database, from the call that opens it to the first successful read. It is not
//! closed afterwards either: W4 finds it as a reader that was killed has left it.

use super::bulk_ingest::MESSAGES;
use super::{LIMIT, Run, check};
use crate::Result;
use crate::engine::{Found, Range, Setup, Table};
use crate::measure::{Latencies, Meter, Work};
use std::time::Instant;

pub fn run(run: &Run) -> Result<()> {
    let mut messages = run.messages();
    for _ in 0..run.scaled(MESSAGES) {
        messages.draw();
    }
    let hottest = u64::from(messages.zipf().hottest());
    let mut found = Found::default();
    let mut latencies = Latencies::new();

    let meter = Meter::start(&run.directory)?;
    let start = Instant::now();
    let peer = run.open(&Setup::default())?;
    peer.read(Table::Messages, hottest, Range::Newest, LIMIT, &mut found)?;
    let duration = start.elapsed();
    latencies.record(duration);
    let work = Work {
        workload: "w6",
        operations: 1,
        latencies,
        duration: Some(duration),
        ..Work::default()
    };
    let record = meter.finish(work)?;

    let expected = check::newest(run, hottest, messages.count(hottest));
    run.report(&*peer, record, check::wrong(&found, expected))?;
    std::process::exit(0)
}
