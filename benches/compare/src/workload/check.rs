//! Comparing what was read with what was written.

use super::{LIMIT, Run};
use crate::Result;
use crate::engine::{Found, Peer, Range, Table};
use tidelog_benches::{Message, Messages};

/// Answers in `found` that are missing, wrong or too many.
pub fn wrong<'a>(found: &Found, expected: impl Iterator<Item = (u64, &'a [u8])>) -> u64 {
    let mut count = 0;
    let mut found = found.iter();
    for answer in expected {
        count += u64::from(found.next() != Some(answer));
    }
    count + found.len() as u64
}

/// The newest entries that a timeline of `count` messages must show.
pub fn newest(run: &Run, timeline: u64, count: u64) -> impl Iterator<Item = (u64, &[u8])> {
    let seqs = (1..=count).rev().take(LIMIT);
    seqs.map(move |seq| (seq, run.payload(Message { timeline, seq })))
}

/// The entries that a timeline of `count` messages must show from a seq on, `limit` at most.
pub fn forward(
    run: &Run,
    timeline: u64,
    from: u64,
    count: u64,
    limit: usize,
) -> impl Iterator<Item = (u64, &[u8])> {
    let seqs = (from..=count).take(limit);
    seqs.map(move |seq| (seq, run.payload(Message { timeline, seq })))
}

/// Reads all of every timeline of a stream. Returns the number of wrong answers; an engine that
/// cannot read gives none.
pub fn all(run: &Run, peer: &dyn Peer, messages: &Messages) -> Result<u64> {
    if !run.engine.has_reads() {
        return Ok(0);
    }
    let mut found = Found::default();
    let mut count = 0;
    for (timeline, length) in messages.counts() {
        found.clear();
        peer.read(Table::Messages, timeline, Range::From(1), usize::MAX, &mut found)?;
        count += wrong(&found, forward(run, timeline, 1, length, usize::MAX));
    }
    Ok(count)
}
