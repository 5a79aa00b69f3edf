//! `soak commits`: latency of commits while background output runs.
//!
//! | stretch | who commits | what runs beside |
//! |---|---|---|
//! | idle | one durable writer | nothing |
//! | limited | the same | compaction at the default rate limit |
//! | unlimited | the same | compaction without a limit |
//! | saturate | buffered appends, closed loop, once that lasts | what follows from them |
//! | steady | buffered appends at 80% of that, open loop | what follows from them |
//!
//! A durable writer's time is taken only where the output beside it ran: what is in between, when
//! one compaction has ended and the next is not yet there, is left out.

mod appends;
mod durable;

use crate::Result;
use crate::arguments::{CommitsArguments, Common};
use crate::report::{Matter, Report};
use crate::sample::quantiles;
use crate::stage::{Stage, small_options};
use appends::Load;
use durable::Beside;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::time::Duration;
use tidelog_benches::measure::Latencies;
use tidelog_engine::Options;

/// See [`CommitsArguments`].
#[derive(Debug, Clone, Serialize)]
struct Parameters {
    seconds: u64,
    megabytes: u64,
    threads: u64,
    payload: usize,
    seed: u64,
}

impl Parameters {
    fn new(common: &Common, asked: &CommitsArguments) -> Parameters {
        let (seconds, megabytes) = if common.short { (1, 16) } else { (20, 2_000) };
        Parameters {
            seconds: asked.seconds.unwrap_or(seconds),
            megabytes: asked.megabytes.unwrap_or(megabytes),
            threads: asked.threads.unwrap_or(2),
            payload: asked.payload.unwrap_or(100),
            seed: common.seed,
        }
    }

    fn stretch(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

/// Sizes of the commits whose appends are measured: alone, and as a busy server gathers them.
const BATCHES: [u64; 2] = [1, 100];

/// Runs the mode. Returns whether all was right.
pub(crate) fn run(common: &Common, arguments: &CommitsArguments) -> Result<bool> {
    let parameters = Parameters::new(common, arguments);
    let mut report = Report::new("commits", common.strict);
    let base = if common.short { small_options() } else { Options::default() };
    let mut values = Map::new();

    if !arguments.buffered_only {
        durable_commits(common, &parameters, &base, &mut report, &mut values)?;
    }
    for batch in BATCHES {
        let stage = Stage::new(common, base.clone())?;
        let load = appends::measure(&stage, &parameters, batch, &report)?;
        stage.verify(&report)?;
        let p999_ms = load.steady.quantile(0.999) / 1000.0;
        let name = format!("buffered_p999_ms_batch_{batch}");
        report.goal(&name, p999_ms, 10.0, Matter::Speed);
        values.insert(format!("buffered_batch_{batch}"), load_json(&load));
    }
    let folder = Stage::new(common, base)?;
    let parameters = serde_json::to_value(&parameters)?;
    report.end(folder.folder(), parameters, Value::Object(values))
}

fn durable_commits(
    common: &Common,
    parameters: &Parameters,
    base: &Options,
    report: &mut Report,
    values: &mut Map<String, Value>,
) -> Result<()> {
    let mut idle = None;
    for (name, output_rate, p50, p99) in [
        ("idle", None, None, None),
        ("limited", Some(base.output_rate), Some(1.3), Some(5.0)),
        ("unlimited", Some(0), Some(2.0), None),
    ] {
        let options = Options { output_rate: output_rate.unwrap_or(0), ..base.clone() };
        let stage = Stage::new(common, options)?;
        let beside = durable::measure(&stage, parameters, output_rate.is_some(), report)?;
        stage.verify(report)?;
        values.insert(name.to_owned(), beside.json());
        let Some(idle) = &idle else {
            idle = Some(beside.latencies);
            continue;
        };
        compare(report, name, &beside, idle, (p50, p99));
    }
    Ok(())
}

fn compare(
    report: &mut Report,
    name: &str,
    beside: &Beside,
    idle: &Latencies,
    (p50, p99): (Option<f64>, Option<f64>),
) {
    for (figure, quantile, limit) in [("p50", 0.5, p50), ("p99", 0.99, p99)] {
        if let Some(limit) = limit {
            let times = beside.latencies.quantile(quantile) / idle.quantile(quantile);
            report.goal(&format!("durable_{figure}_{name}"), times, limit, Matter::Speed);
        }
    }
}

fn load_json(load: &Load) -> Value {
    json!({
        "saturating_appends_per_second": load.saturating,
        "asked_appends_per_second": load.asked,
        "given_appends_per_second": load.given,
        "steady": quantiles(&load.steady),
        "stalled_ms": load.stalled_ms,
    })
}
