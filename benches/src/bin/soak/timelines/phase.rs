//! The phases, each in its own process. Each prints a line of JSON a second and one at its end.

use super::{Parameters, options};
use crate::Result;
use crate::arguments::{Common, PhaseArguments, PhaseName};
use crate::payload;
use crate::report::{Wrong, note, print, rounded};
use crate::sample::{Gauge, joined, quantiles};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tidelog_benches::measure::{Latencies, MemoryWatch};
use tidelog_benches::{Random, key};
use tidelog_engine::{
    Direction, Durability, Engine, Entry, Options, TableId, TableOptions, WriteBatch,
};

/// Entries of one commit while loading.
const BATCH: u64 = 1_000;
const TABLE: &str = "timeline";

/// Runs the phase. `Load` does not return.
pub(crate) fn run(common: &Common, arguments: &PhaseArguments) -> Result<bool> {
    let watch = MemoryWatch::start();
    let start = Instant::now();
    let options: Options = options(common);
    let engine = Engine::open(&arguments.path, options)?;
    let open = start.elapsed();
    let phase = Phase {
        parameters: Parameters::new(common, &arguments.figures),
        gauge: Gauge::new(&arguments.path)?,
        table: match engine.table(TABLE) {
            Some(table) => table.id,
            None => engine.create_table(TABLE, TableOptions::timeline())?,
        },
        engine,
        watch,
        wrong: Wrong::default(),
        open,
    };
    match arguments.phase {
        PhaseName::Load => phase.load(),
        PhaseName::Recover => phase.recover(),
        PhaseName::Reopen => phase.reopen(),
    }
}

struct Phase {
    parameters: Parameters,
    gauge: Gauge,
    engine: Engine,
    table: TableId,
    watch: MemoryWatch,
    wrong: Wrong,
    open: Duration,
}

impl Phase {
    fn load(self) -> Result<bool> {
        let mut latencies = Latencies::new();
        let mut second = Instant::now();
        let mut written = 0;
        while written < self.parameters.timelines {
            let to = (written + BATCH).min(self.parameters.timelines);
            latencies.time(|| self.append(written..to, 1))?;
            written = to;
            if second.elapsed() >= Duration::from_secs(1) {
                second = Instant::now();
                self.line(
                    "load",
                    json!({ "timelines": written, "commits": quantiles(&latencies) }),
                )?;
                latencies.clear();
            }
        }
        self.last("load", json!({ "timelines": written }))?;
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)?;
        Err("this process was killed, and goes on".into())
    }

    fn recover(self) -> Result<bool> {
        let opened = json!({
            "open_seconds": rounded(self.open.as_secs_f64()),
            "rss_anon_bytes_opening": self.watch.peak(),
        });
        self.line("recover", opened.clone())?;
        let before = self.engine.stats();
        let mut latencies = Latencies::new();
        let cold: Vec<u64> = self.cold().collect();
        for timeline in &cold {
            latencies.time(|| self.append(*timeline..timeline + 1, 2))?;
        }
        let after = self.engine.stats();
        let count = cold.len().max(1) as f64;
        let reads = (after.cache_misses - before.cache_misses) as f64 / count;
        let found = (after.cache_hits - before.cache_hits) as f64 / count;
        for timeline in &cold {
            self.check(*timeline, 2)?;
        }
        self.engine.close()?;
        let values = json!({
            "cold_appends": quantiles(&latencies),
            "block_reads_per_cold_append": rounded(reads),
            "cached_blocks_per_cold_append": rounded(found),
        });
        self.last("recover", joined(opened, values))
    }

    fn reopen(self) -> Result<bool> {
        let opened = json!({ "open_seconds": rounded(self.open.as_secs_f64()) });
        self.line("reopen", opened.clone())?;
        let mut appended: Vec<u64> = self.cold().collect();
        appended.sort_unstable();
        for timeline in 0..self.parameters.timelines {
            let count = 1 + u64::from(appended.binary_search(&timeline).is_ok());
            self.check(timeline, count)?;
        }
        let listed = self.engine.snapshot().timelines(self.table, b"", None)?.count() as u64;
        if listed != self.parameters.timelines {
            let written = self.parameters.timelines;
            self.wrong.add(format_args!("{listed} timelines are listed, {written} were written"));
        }
        self.engine.close()?;
        self.last("reopen", joined(opened, json!({ "timelines": listed })))
    }

    /// Timelines that get a second entry: different ones, spread over all.
    fn cold(&self) -> impl Iterator<Item = u64> + '_ {
        let Parameters { timelines, cold_appends, seed, .. } = self.parameters;
        let stride = (timelines / cold_appends.max(1)).max(1);
        let mut random = Random::new(seed + 7);
        (0..timelines / stride)
            .map(move |index| index * stride + random.below(stride))
            .take(usize::try_from(cold_appends).unwrap_or(usize::MAX))
    }

    /// Commits entry `seq` of each timeline, which must be its next one.
    fn append(&self, timelines: std::ops::Range<u64>, seq: u64) -> Result<()> {
        let mut payload = vec![0; self.parameters.payload];
        let mut batch = WriteBatch::new();
        for timeline in timelines.clone() {
            payload::fill(&mut payload, self.parameters.seed, timeline, seq);
            batch.append(self.table, &key(timeline), &payload, None)?;
        }
        let committed = self.engine.commit(batch, Durability::Buffered)?;
        if committed.seqs.iter().any(|given| *given != seq) {
            self.wrong.add(format_args!("timelines {timelines:?} were given {:?}", committed.seqs));
        }
        Ok(())
    }

    /// Reads a whole timeline, which must have entries 1 to `count`.
    fn check(&self, timeline: u64, count: u64) -> Result<()> {
        let snapshot = self.engine.snapshot();
        let scan = snapshot.scan(self.table, &key(timeline), 1, u64::MAX, Direction::Forward)?;
        let found = scan.collect::<Result<Vec<Entry>, _>>()?;
        let Parameters { payload, seed, .. } = self.parameters;
        let are_right = found.iter().zip(1..).all(|(entry, seq)| {
            entry.seq == seq && payload::is_right(&entry.payload, payload, seed, timeline, seq)
        });
        if found.len() as u64 != count || !are_right {
            self.wrong.add(format_args!("timeline {timeline} of {count} shows {found:?}"));
        }
        Ok(())
    }

    fn line(&self, phase: &str, values: Value) -> Result<()> {
        let named = json!({ "phase": phase, "rss_anon_bytes_peak": self.watch.peak() });
        print(&joined(joined(named, values), self.gauge.take(&self.engine)?.json()))
    }

    fn last(&self, phase: &str, values: Value) -> Result<bool> {
        let wrong = self.wrong.count();
        let end = json!({ "is_last": true, "wrong_answers": wrong });
        self.line(phase, joined(values, end))?;
        note(format_args!("soak timelines: {phase}: {wrong} wrong answers"));
        Ok(true)
    }
}
