//! The reader: newest 20 of random timelines at a steady rate, now and then all of one.

use super::check::{Oracle, Seen};
use super::{Field, id};
use crate::Result;
use std::sync::atomic::Ordering;
use std::time::Instant;
use tidelog_benches::Random;
use tidelog_benches::measure::Schedule;
use tidelog_engine::{Direction, Entry};

const LIMIT: usize = 20;
/// One scan of so many reads a whole timeline; it is judged, its time is not taken.
const WHOLE_EVERY: u64 = 16;

/// Reads until the writer is done.
pub(crate) fn run(field: &Field<'_>) -> Result<()> {
    let parameters = field.parameters;
    let mut random = Random::new(parameters.seed + 1);
    let mut schedule = Schedule::new(parameters.reads as f64);
    let mut count: u64 = 0;
    while !field.is_over.load(Ordering::Acquire) {
        let due = schedule.wait();
        let timeline = random.below(parameters.timelines);
        count += 1;
        if count.is_multiple_of(WHOLE_EVERY) {
            scan(field, timeline, usize::MAX, 0)?;
            continue;
        }
        let waited = due.elapsed();
        let taken = scan(field, timeline, LIMIT, 0)?;
        let mut scans = field.scans.lock().expect("nobody panics while holding it");
        scans.record(waited + taken);
    }
    Ok(())
}

/// Scans a timeline from its newest entry back and judges what comes; nothing up to seq `gone` may
/// come. Returns the time of the scan alone.
pub(crate) fn scan(
    field: &Field<'_>,
    timeline: u64,
    limit: usize,
    gone: u64,
) -> Result<std::time::Duration> {
    let ttl_ms = field.ttl_ms.load(Ordering::Relaxed);
    let newest = field.reference.newest(timeline);
    let began_ms = field.clock.true_ms();
    let start = Instant::now();
    let snapshot = field.engine.snapshot();
    let scan = snapshot.scan(field.table, &id(timeline), 1, u64::MAX, Direction::Backward)?;
    let entries = scan.take(limit).collect::<Result<Vec<Entry>, _>>()?;
    let taken = start.elapsed();
    let oracle = Oracle {
        reference: field.reference,
        wrong: field.wrong,
        payload: field.parameters.payload,
        seed: field.parameters.seed,
    };
    oracle.check(&Seen {
        timeline,
        entries: &entries,
        limit,
        newest,
        dead_before_ms: began_ms.saturating_sub(ttl_ms + field.lag_ms),
        alive_from_ms: field.clock.true_ms().saturating_sub(ttl_ms).max(field.alive_floor_ms),
        gone,
    });
    Ok(taken)
}
