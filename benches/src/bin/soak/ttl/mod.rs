//! `soak ttl`: a steady stream under a TTL. The file stops growing after the first TTL, what
//! expires is free soon after, and no scan ever shows an expired entry or misses one that is alive.
//!
//! ```text
//!   writer ──► engine ◄── reader        one thread each; both go by their own schedule
//!                ▲
//!             sampler                   every second: one line; lets the wall clock jump
//!
//!   then: close, open, look · longer TTL, look · shorter TTL, look · longer again, look · verify
//! ```

mod afterwards;
mod check;
mod parameters;
mod reader;
mod reference;
mod summary;
mod writer;

use crate::Result;
use crate::arguments::{Common, TtlArguments};
use crate::clock::{JumpingClock, YEAR_MS};
use crate::report::{Report, Wrong, note, rounded};
use crate::sample::{Gauge, joined, quantiles};
use crate::stage::{Stage, small_options};
use parameters::{ID_BYTES, Parameters};
use reference::Reference;
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use summary::Summary;
use tidelog_benches::measure::{Latencies, Schedule};
use tidelog_engine::{Engine, Options, TableId, TableOptions};

/// What the threads of a run share.
struct Field<'a> {
    parameters: &'a Parameters,
    reference: &'a Reference,
    clock: &'a JumpingClock,
    engine: &'a Engine,
    table: TableId,
    wrong: &'a Wrong,
    /// The TTL of the moment, and how far the store's expiry clock may be behind: it starts, after
    /// an opening, from what it had written down.
    ttl_ms: AtomicU64,
    lag_ms: u64,
    /// What was committed before this time may have expired under an earlier, shorter TTL.
    alive_floor_ms: u64,
    appends: Mutex<Latencies>,
    scans: Mutex<Latencies>,
    behind_ms: AtomicU64,
    is_over: AtomicBool,
}

impl<'a> Field<'a> {
    fn new(run: &'a Run, engine: &'a Engine, table: TableId, wrong: &'a Wrong) -> Field<'a> {
        Field {
            parameters: &run.parameters,
            reference: &run.reference,
            clock: &run.clock,
            engine,
            table,
            wrong,
            ttl_ms: AtomicU64::new(run.parameters.ttl_ms),
            lag_ms: 0,
            alive_floor_ms: 0,
            appends: Mutex::default(),
            scans: Mutex::default(),
            behind_ms: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        }
    }
}

/// The id of a timeline: as many bytes as are counted of it, as random as those of a UUID.
fn id(timeline: u64) -> [u8; ID_BYTES] {
    let spread = u128::from(timeline + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    spread.to_be_bytes()
}

/// What outlives the store's restarts.
struct Run {
    parameters: Parameters,
    reference: Reference,
    clock: Arc<JumpingClock>,
    stage: Stage,
}

/// Runs the mode. Returns whether all was right.
pub(crate) fn run(common: &Common, arguments: &TtlArguments) -> Result<bool> {
    let parameters = Parameters::new(common, arguments);
    let Parameters { timelines, batch, ttl_ms, .. } = parameters;
    let base = if common.short { small_options() } else { Options::default() };
    let run = Run {
        reference: Reference::new(timelines, batch, parameters.commits()),
        clock: Arc::new(JumpingClock::new()),
        stage: Stage::new(common, base)?,
        parameters,
    };
    let mut report = Report::new("ttl", common.strict);
    let engine = run.stage.open_with_clock(&run.clock)?;
    let table = TableOptions::timeline().ttl(Duration::from_millis(ttl_ms));
    let table = engine.create_table("message", table)?;

    let summary = stream(&run, &engine, table, &report)?;
    let values = summary.judge(&mut report, &run.parameters);
    afterwards::run(&run, engine, table, &report.wrong)?;
    run.stage.verify(&report)?;
    report.end(run.stage.folder(), serde_json::to_value(&run.parameters)?, values)
}

/// Writes and reads until everything is written.
fn stream(run: &Run, engine: &Engine, table: TableId, report: &Report) -> Result<Summary> {
    let field = Field::new(run, engine, table, &report.wrong);
    let gauge = Gauge::new(&run.stage.path())?;
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let outcome = writer::run(&field);
            field.is_over.store(true, Ordering::Release);
            outcome
        });
        let reader = scope.spawn(|| reader::run(&field));
        let summary = sample(&field, &gauge, report);
        // A sampler that failed stops nobody else: they end by themselves.
        let outcomes = [writer.join(), reader.join()];
        for outcome in outcomes {
            outcome.map_err(|_| "a thread of the run panicked")??;
        }
        summary
    })
}

fn sample(field: &Field<'_>, gauge: &Gauge, report: &Report) -> Result<Summary> {
    let mut schedule = Schedule::new(1.0);
    let mut summary = Summary::default();
    let mut second = 0;
    schedule.wait();
    while !field.is_over.load(Ordering::Acquire) {
        schedule.wait();
        second += 1;
        jump(field, second);
        let take = |latencies: &Mutex<Latencies>| {
            std::mem::take(&mut *latencies.lock().expect("nobody panics while holding it"))
        };
        let (appends, scans) = (take(&field.appends), take(&field.scans));
        let sample = gauge.take(field.engine)?;
        let messages = appends.count() * field.parameters.batch;
        let interval = json!({
            "messages": messages,
            "behind_ms": field.behind_ms.load(Ordering::Relaxed),
            "appends": quantiles(&appends),
            "scans": quantiles(&scans),
            "write_amplification": rounded(summary.amplification(field.parameters, &sample)),
        });
        report.interval(joined(interval, sample.json()))?;
        summary.add(second, messages, &appends, &scans, sample);
    }
    field.clock.lie(0);
    Ok(summary)
}

/// The wall clock is a year ahead for a twentieth of the run, and later a year behind.
fn jump(field: &Field<'_>, second: u64) {
    let Parameters { seconds, steady_clock, .. } = *field.parameters;
    if steady_clock {
        return;
    }
    let (third, twentieth) = (seconds / 3, (seconds / 20).max(1));
    let lie = match second {
        second if second == third => YEAR_MS,
        second if second == 2 * third => -YEAR_MS,
        second if second == third + twentieth || second == 2 * third + twentieth => 0,
        _ => return,
    };
    note(format_args!("soak ttl: the wall clock is now {lie} ms off"));
    field.clock.lie(lie);
}
