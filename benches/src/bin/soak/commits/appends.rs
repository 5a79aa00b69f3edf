//! Buffered appends: as many as go, then 80% of that on a schedule.

use super::Parameters;
use crate::Result;
use crate::payload;
use crate::report::Report;
use crate::sample::quantiles;
use crate::stage::Stage;
use serde_json::json;
use std::time::{Duration, Instant};
use tidelog_benches::measure::{Latencies, Schedule};
use tidelog_benches::{Random, key};
use tidelog_engine::{Direction, Durability, Engine, TableId, TableOptions, WriteBatch};

/// What buffered appends met.
pub(crate) struct Load {
    pub(crate) saturating: f64,
    pub(crate) asked: f64,
    pub(crate) given: f64,
    pub(crate) steady: Latencies,
    pub(crate) stalled_ms: u64,
}

/// Timelines that each thread appends to.
const TIMELINES: u64 = 10_000;
/// So many stretches until as much is compacted as is written.
const WARM_UP: u32 = 3;
/// The part of the saturating load that is asked for.
const SHARE: f64 = 0.8;

/// Measures commits of `batch` appends each.
pub(crate) fn measure(
    stage: &Stage,
    parameters: &Parameters,
    batch: u64,
    report: &Report,
) -> Result<Load> {
    let engine = stage.open()?;
    let table = engine.create_table("message", TableOptions::timeline())?;
    let mut writers: Vec<Writer<'_>> = (0..parameters.threads)
        .map(|thread| Writer::new(&engine, table, parameters, batch, thread))
        .collect();
    // Saturation is what lasts. At first nothing is behind yet: compaction can be put off for many
    // memtables, and what is put off is owed later.
    let stretch = parameters.stretch();
    let (at_first, _) = run(&mut writers, stretch * WARM_UP, None, report)?;
    let (saturating, latencies) = run(&mut writers, stretch, None, report)?;
    let line = json!({
        "phase": "saturate", "batch": batch, "appends_per_second_at_first": at_first,
        "appends_per_second": saturating, "commits": quantiles(&latencies),
    });
    report.interval(line)?;
    let before = engine.stats().stalled_nanos;
    let asked = saturating * SHARE;
    let (given, steady) = run(&mut writers, stretch * 2, Some(asked), report)?;
    let stalled_ms = (engine.stats().stalled_nanos - before) / 1_000_000;
    for writer in &writers {
        writer.check(report)?;
    }
    drop(writers);
    engine.close()?;
    Ok(Load { saturating, asked, given, steady, stalled_ms })
}

/// All writers for a stretch of time. Returns appends a second and the times of commits.
fn run(
    writers: &mut [Writer<'_>],
    stretch: Duration,
    rate: Option<f64>,
    report: &Report,
) -> Result<(f64, Latencies)> {
    let share = rate.map(|rate| rate / writers.len() as f64);
    let start = Instant::now();
    let outcomes: Vec<Result<(u64, Latencies)>> = std::thread::scope(|scope| {
        let threads: Vec<_> = writers
            .iter_mut()
            .map(|writer| scope.spawn(move || writer.run(stretch, share, report)))
            .collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| match thread.join() {
            Ok(outcome) => outcome,
            Err(_) => Err("a writer panicked".into()),
        };
        threads.into_iter().map(join).collect()
    });
    let seconds = start.elapsed().as_secs_f64();
    let (mut appends, mut all) = (0, Latencies::new());
    for outcome in outcomes {
        let (count, latencies) = outcome?;
        appends += count;
        all.add(&latencies);
    }
    Ok((appends as f64 / seconds, all))
}

/// One thread's stream to timelines of its own.
struct Writer<'a> {
    engine: &'a Engine,
    table: TableId,
    parameters: &'a Parameters,
    batch: u64,
    thread: u64,
    random: Random,
    counts: Vec<u64>,
    payload: Vec<u8>,
}

impl<'a> Writer<'a> {
    fn new(
        engine: &'a Engine,
        table: TableId,
        parameters: &'a Parameters,
        batch: u64,
        thread: u64,
    ) -> Writer<'a> {
        Writer {
            engine,
            table,
            parameters,
            batch,
            thread,
            random: Random::new(parameters.seed + thread),
            counts: vec![0; usize::try_from(TIMELINES).unwrap_or(usize::MAX)],
            payload: vec![0; parameters.payload],
        }
    }

    fn run(
        &mut self,
        stretch: Duration,
        rate: Option<f64>,
        report: &Report,
    ) -> Result<(u64, Latencies)> {
        let mut latencies = Latencies::new();
        let mut schedule = rate.map(|rate| Schedule::new(rate / self.batch as f64));
        let start = Instant::now();
        let mut appends = 0;
        while start.elapsed() < stretch {
            let due = schedule.as_mut().map_or_else(Instant::now, Schedule::wait);
            self.commit(report)?;
            latencies.record(due.elapsed());
            appends += self.batch;
        }
        Ok((appends, latencies))
    }

    fn commit(&mut self, report: &Report) -> Result<()> {
        let mut batch = WriteBatch::new();
        let mut expected = Vec::new();
        for _ in 0..self.batch {
            let chosen = self.random.index(self.counts.len());
            self.counts[chosen] += 1;
            let (timeline, seq) = (self.timeline(chosen), self.counts[chosen]);
            payload::fill(&mut self.payload, self.parameters.seed, timeline, seq);
            batch.append(self.table, &key(timeline), &self.payload, None)?;
            expected.push(seq);
        }
        let committed = self.engine.commit(batch, Durability::Buffered)?;
        if committed.seqs != expected {
            report.wrong.add(format_args!("{expected:?} were given {:?}", committed.seqs));
        }
        Ok(())
    }

    fn timeline(&self, chosen: usize) -> u64 {
        self.thread * TIMELINES + chosen as u64
    }

    /// Reads everything back.
    fn check(&self, report: &Report) -> Result<()> {
        let snapshot = self.engine.snapshot();
        let Parameters { payload, seed, .. } = *self.parameters;
        for (chosen, count) in self.counts.iter().enumerate() {
            let timeline = self.timeline(chosen);
            let scan =
                snapshot.scan(self.table, &key(timeline), 1, u64::MAX, Direction::Forward)?;
            let mut seq = 0;
            for entry in scan {
                let entry = entry?;
                seq += 1;
                let is_right = payload::is_right(&entry.payload, payload, seed, timeline, seq);
                if entry.seq != seq || !is_right {
                    report.wrong.add(format_args!("{seq} of timeline {timeline} is {entry:?}"));
                }
            }
            if seq != *count {
                report.wrong.add(format_args!("timeline {timeline} has {seq}, not {count}"));
            }
        }
        Ok(())
    }
}
