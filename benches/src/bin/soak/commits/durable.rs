//! A lone durable writer, beside background output or without.

use super::Parameters;
use crate::Result;
use crate::payload;
use crate::report::{Report, rounded};
use crate::sample::quantiles;
use crate::stage::Stage;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tidelog_benches::key;
use tidelog_benches::measure::{Latencies, process};
use tidelog_engine::{Direction, Durability, Engine, TableId, TableOptions, WriteBatch};

/// What a lone writer met.
pub(crate) struct Beside {
    pub(crate) latencies: Latencies,
    /// Time in which output ran beside it, and bytes of it a second.
    pub(crate) measured: Duration,
    pub(crate) output_rate: f64,
}

impl Beside {
    pub(crate) fn json(&self) -> Value {
        json!({
            "commits": quantiles(&self.latencies),
            "measured_seconds": rounded(self.measured.as_secs_f64()),
            "output_mb_per_second": rounded(self.output_rate / 1e6),
        })
    }
}

/// A slice of time: output ran in it if it wrote this many bytes.
const SLICE: Duration = Duration::from_millis(20);
const BUSY_BYTES: u64 = 512 * 1024;
/// Bytes of one message that makes work for compaction, and messages of its commit.
const FILLER: usize = 1_000;
const FILLER_BATCH: u64 = 100;
/// Timelines of the filler: few, so that every SSTable overlaps every other.
const FILLER_TIMELINES: u64 = 500;

/// Commits one by one for a stretch of time; with `busy`, only time beside output counts.
pub(crate) fn measure(
    stage: &Stage,
    parameters: &Parameters,
    busy: bool,
    report: &Report,
) -> Result<Beside> {
    let engine = stage.open()?;
    let filler = engine.create_table("filler", TableOptions::timeline())?;
    let lone = engine.create_table("lone", TableOptions::timeline())?;
    let mut writer = Lone { engine: &engine, table: lone, parameters, seq: 0 };
    // The first commits pay for what is cold.
    for _ in 0..100 {
        writer.commit(report)?;
    }
    let beside = match busy {
        false => writer.alone(parameters.stretch(), report)?,
        true => writer.beside(filler, report)?,
    };
    writer.check(report)?;
    engine.close()?;
    Ok(beside)
}

struct Lone<'a> {
    engine: &'a Engine,
    table: TableId,
    parameters: &'a Parameters,
    seq: u64,
}

impl Lone<'_> {
    fn commit(&mut self, report: &Report) -> Result<Duration> {
        let mut payload = vec![0; self.parameters.payload];
        self.seq += 1;
        payload::fill(&mut payload, self.parameters.seed, 0, self.seq);
        let start = Instant::now();
        let mut batch = WriteBatch::new();
        batch.append(self.table, &key(0), &payload, None)?;
        let committed = self.engine.commit(batch, Durability::Sync)?;
        let taken = start.elapsed();
        if committed.seqs != [self.seq] {
            report.wrong.add(format_args!("commit {} was given {:?}", self.seq, committed.seqs));
        }
        Ok(taken)
    }

    fn alone(&mut self, stretch: Duration, report: &Report) -> Result<Beside> {
        let mut latencies = Latencies::new();
        let start = Instant::now();
        while start.elapsed() < stretch {
            latencies.record(self.commit(report)?);
        }
        Ok(Beside { latencies, measured: start.elapsed(), output_rate: 0.0 })
    }

    /// Fills the store, lets it compact while the lone writer commits, and again, until there was
    /// output beside it for the whole stretch.
    fn beside(&mut self, filler: TableId, report: &Report) -> Result<Beside> {
        let stretch = self.parameters.stretch();
        let mut beside =
            Beside { latencies: Latencies::new(), measured: Duration::ZERO, output_rate: 0.0 };
        let mut output_bytes = 0;
        let start = Instant::now();
        while beside.measured < stretch && start.elapsed() < stretch * 10 {
            fill(self.engine, filler, self.parameters)?;
            output_bytes += self.round(&mut beside, report)?;
        }
        beside.output_rate = output_bytes as f64 / beside.measured.as_secs_f64();
        Ok(beside)
    }

    /// One compaction of everything. Returns the bytes of output in the slices that count.
    fn round(&mut self, beside: &mut Beside, report: &Report) -> Result<u64> {
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let compaction = scope.spawn(|| {
                let outcome = self.engine.compact();
                is_over.store(true, Ordering::Release);
                outcome
            });
            let engine = self.engine;
            let mut lone =
                Lone { engine, table: self.table, parameters: self.parameters, seq: self.seq };
            let mut output_bytes = 0;
            while !is_over.load(Ordering::Acquire) {
                output_bytes += lone.slice(beside, report)?;
            }
            let seq = lone.seq;
            compaction.join().map_err(|_| "the thread that compacts panicked")??;
            Ok((seq, output_bytes))
        })
        .map(|(seq, output_bytes)| {
            self.seq = seq;
            output_bytes
        })
    }

    /// Commits for one slice, and takes its times if output ran in it.
    fn slice(&mut self, beside: &mut Beside, report: &Report) -> Result<u64> {
        let before = process::written_bytes()?;
        let start = Instant::now();
        let mut taken = Vec::new();
        while start.elapsed() < SLICE {
            taken.push(self.commit(report)?);
        }
        // Each commit of this writer is one block of the log and no more.
        let own = taken.len() as u64 * 4096;
        let output = (process::written_bytes()? - before).saturating_sub(own);
        if output < BUSY_BYTES {
            return Ok(0);
        }
        taken.into_iter().for_each(|latency| beside.latencies.record(latency));
        beside.measured += start.elapsed();
        Ok(output)
    }

    /// Reads everything of the lone writer.
    fn check(&self, report: &Report) -> Result<()> {
        let snapshot = self.engine.snapshot();
        let scan = snapshot.scan(self.table, &key(0), 1, u64::MAX, Direction::Forward)?;
        let Parameters { payload, seed, .. } = *self.parameters;
        let mut seq = 0;
        for entry in scan {
            let entry = entry?;
            seq += 1;
            if entry.seq != seq || !payload::is_right(&entry.payload, payload, seed, 0, seq) {
                report.wrong.add(format_args!("the lone writer's entry {seq} is {entry:?}"));
            }
        }
        if seq != self.seq {
            report.wrong.add(format_args!("{seq} entries of the lone writer, not {}", self.seq));
        }
        Ok(())
    }
}

/// Writes what compaction will have to merge.
fn fill(engine: &Engine, table: TableId, parameters: &Parameters) -> Result<()> {
    let mut payload = vec![0; FILLER];
    let commits = parameters.megabytes * 1_000_000 / (FILLER as u64 * FILLER_BATCH);
    for commit in 0..commits {
        let mut batch = WriteBatch::new();
        for message in commit * FILLER_BATCH..(commit + 1) * FILLER_BATCH {
            payload::fill(&mut payload, parameters.seed, 1, message);
            batch.append(table, &key(message % FILLER_TIMELINES), &payload, None)?;
        }
        engine.commit(batch, Durability::Buffered)?;
    }
    Ok(())
}
