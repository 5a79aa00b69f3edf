//! The steady stream: commits are due at a fixed rate, whatever the store does.

use super::{Field, id};
use crate::Result;
use crate::payload;
use std::sync::atomic::Ordering;
use tidelog_benches::measure::Schedule;
use tidelog_engine::{Durability, WriteBatch};

/// Writes everything there is to write.
pub(crate) fn run(field: &Field<'_>) -> Result<()> {
    let parameters = field.parameters;
    let mut payload = vec![0; parameters.payload];
    let mut schedule = Schedule::new(parameters.rate as f64 / parameters.batch as f64);
    for commit in 0..parameters.commits() {
        let due = schedule.wait();
        let mut batch = WriteBatch::new();
        for (timeline, seq) in field.reference.messages(commit) {
            payload::fill(&mut payload, parameters.seed, timeline, seq);
            batch.append(field.table, &id(timeline), &payload, None)?;
        }
        field.reference.begin(commit, field.clock.true_ms());
        let committed = field.engine.commit(batch, Durability::Buffered)?;
        field.reference.end(commit, field.clock.true_ms());
        field.appends.lock().expect("nobody panics while holding it").record(due.elapsed());
        field.behind_ms.store(milliseconds(schedule.behind()), Ordering::Relaxed);
        let expected = field.reference.messages(commit).map(|(_, seq)| seq);
        if !committed.seqs.iter().copied().eq(expected) {
            field.wrong.add(format_args!("commit {commit} was given {:?}", committed.seqs));
        }
    }
    Ok(())
}

fn milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
