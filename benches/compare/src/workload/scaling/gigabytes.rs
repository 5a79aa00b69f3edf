//! 1 to 20 GB of messages of 1,000 bytes into 100,000 timelines, settled; then the newest 20 of
//! 100,000 Zipf-chosen ones, warm, and the time in which the closed database opens again and reads.
//!
//! Warm is what has been read before, so the same reads go first. Of these the table has two
//! quantiles: compaction of this much writes past the page cache, so they meet the disk.

use super::super::{KEY_BYTES, LIMIT, Run, SEED, check};
use crate::Result;
use crate::engine::{Entry, Found, Peer, Range, Setup, Table};
use crate::measure::{Latencies, Meter, Work};
use std::ops::RangeInclusive;
use std::time::Instant;
use tidelog_benches::measure::settle;
use tidelog_benches::{Message, Messages, Random};

const PAYLOAD: RangeInclusive<usize> = 1_000..=1_000;
const BATCH: u64 = 1_000;
const READS: u64 = 100_000;
const GIGABYTE: u64 = 1_000_000_000;

pub fn run(run: &Run) -> Result<()> {
    let mut messages = run.messages();
    let peer = run.open(&Setup::default())?;
    let mut latencies = Latencies::new();
    let mut wrong = 0;
    let message_bytes = KEY_BYTES + 1_000;
    let operations = run.scaled(run.parameter * GIGABYTE / message_bytes);
    let meter = Meter::start(&run.directory)?;
    let mut left = operations;
    while left > 0 {
        let batch: Vec<Message> = (0..left.min(BATCH)).map(|_| messages.draw()).collect();
        let entry = |message: &Message| Entry {
            timeline: message.timeline,
            seq: message.seq,
            payload: payload(run, *message),
        };
        let entries: Vec<Entry> = batch.iter().map(entry).collect();
        wrong += latencies.time(|| peer.append(&entries))?;
        left -= left.min(BATCH);
    }
    peer.sync()?;
    let mut record = meter.finish(Work {
        workload: "scaling-gigabytes",
        operations,
        logical_bytes: operations * message_bytes,
        latencies,
        settles: true,
        ..Work::default()
    })?;
    let (first, wrong_before) = read(run, &*peer, &messages, run.scaled(READS))?;
    settle()?;
    let (reads, wrong_reads) = read(run, &*peer, &messages, run.scaled(READS))?;
    drop(peer);
    let start = Instant::now();
    let peer = run.open(&Setup::default())?;
    let (_, wrong_first) = read(run, &*peer, &messages, 1)?;
    let figures = [
        ("first p50 us", first.quantile(0.5)),
        ("first p99 us", first.quantile(0.99)),
        ("newest 20 p50 us", reads.quantile(0.5)),
        ("newest 20 p99 us", reads.quantile(0.99)),
        ("reopen ms", start.elapsed().as_secs_f64() * 1e3),
    ];
    record.figures.extend(figures.map(|(name, value)| (name.to_owned(), value)));
    run.report(&*peer, record, wrong + wrong_before + wrong_reads + wrong_first)
}

fn read(run: &Run, peer: &dyn Peer, messages: &Messages, count: u64) -> Result<(Latencies, u64)> {
    let mut random = Random::new(SEED + 6);
    let mut latencies = Latencies::new();
    let mut found = Found::default();
    let mut wrong = 0;
    for _ in 0..count {
        let timeline = u64::from(messages.zipf().draw(&mut random));
        found.clear();
        latencies
            .time(|| peer.read(Table::Messages, timeline, Range::Newest, LIMIT, &mut found))?;
        let seqs = (1..=messages.count(timeline)).rev().take(LIMIT);
        let expected = seqs.map(|seq| (seq, payload(run, Message { timeline, seq })));
        wrong += check::wrong(&found, expected);
    }
    Ok((latencies, wrong))
}

fn payload(run: &Run, message: Message) -> &[u8] {
    run.text.payload(message.timeline, message.seq, &PAYLOAD)
}
