//! `soak space`: gigabytes are written and expire, and the file shrinks while the store runs; then
//! once more beside a snapshot and a scan that are held all the while.
//!
//! ```text
//!   file     ╱▔▔▔╲                 ╱▔╲
//!           ╱     ╲_______________╱   ╲____
//!          write  expire          write, expire, let go
//!                                 └── held ──┘
//! ```
//! Every tenth message goes to four inboxes too: such payloads are shared, and lie in segments.

use crate::Result;
use crate::arguments::{Common, SpaceArguments};
use crate::payload;
use crate::report::{Matter, Report, note, rounded};
use crate::sample::{Gauge, Sample, joined};
use crate::stage::{Stage, small_options};
use serde::Serialize;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tidelog_benches::key;
use tidelog_engine::{
    Direction, Durability, Engine, Options, Scan, Snapshot, TableId, TableOptions, WriteBatch,
};

/// See [`SpaceArguments`].
#[derive(Debug, Clone, Serialize)]
struct Parameters {
    megabytes: u64,
    held_megabytes: u64,
    timelines: u64,
    payload: usize,
    /// Inboxes that every tenth message goes to.
    recipients: u64,
    ttl_ms: u64,
    /// Space is free this long after expiry, at most.
    lag_ms: u64,
    /// So long the file is waited for: what has just become free is not given back at once. In the
    /// short form the store is asked to give it back.
    patience_ms: u64,
    seed: u64,
}

impl Parameters {
    fn new(common: &Common, asked: &SpaceArguments) -> Parameters {
        let (megabytes, held, timelines, ttl_ms) = match common.short {
            true => (40, 20, 200, 1_500),
            false => (5_000, 1_000, 10_000, 20_000),
        };
        let (lag_ms, patience_ms) = if common.short { (1_500, 0) } else { (6_000, 700_000) };
        let timelines = asked.timelines.unwrap_or(timelines);
        Parameters {
            megabytes: asked.megabytes.unwrap_or(megabytes),
            held_megabytes: asked.held_megabytes.unwrap_or(held),
            timelines,
            payload: asked.payload.unwrap_or(1_000),
            recipients: RECIPIENTS.min(timelines),
            ttl_ms: asked.ttl_ms.unwrap_or(ttl_ms),
            lag_ms,
            patience_ms,
            seed: common.seed,
        }
    }

    fn lag(&self) -> Duration {
        Duration::from_millis(self.lag_ms)
    }

    /// What is written before the snapshot that is held.
    fn fill_megabytes(&self) -> u64 {
        self.held_megabytes / 10
    }

    /// What is left beside the ring: 100 MB at the full size.
    fn rest_bytes(&self) -> u64 {
        (self.megabytes * MB / 50).max(4 * MB)
    }
}

/// Messages of one commit.
const BATCH: u64 = 100;
/// One message of so many goes to inboxes.
const SHARED_EVERY: u64 = 10;
/// Inboxes that it goes to.
const RECIPIENTS: u64 = 4;
const MB: u64 = 1_000_000;

/// Runs the mode. Returns whether all was right.
pub(crate) fn run(common: &Common, arguments: &SpaceArguments) -> Result<bool> {
    let parameters = Parameters::new(common, arguments);
    let mut report = Report::new("space", common.strict);
    let base = if common.short { small_options() } else { Options::default() };
    let stage = Stage::new(common, base)?;
    let engine = stage.open()?;
    let ttl = Duration::from_millis(parameters.ttl_ms);
    let mut run = Run {
        table: engine.create_table("message", TableOptions::timeline().ttl(ttl))?,
        inboxes: engine.create_table("inbox", TableOptions::timeline().ttl(ttl))?,
        gauge: Gauge::new(&stage.path())?,
        limit: stage.options.ring_bytes + parameters.rest_bytes(),
        written: 0,
        engine,
        parameters,
        report: &report,
    };

    run.write("write", run.parameters.megabytes)?;
    let free = run.expire("expire", ttl)?;
    let held = run.held(ttl)?;
    let (engine, limit, parameters) = (run.engine, run.limit, run.parameters);
    engine.compact()?;
    let compacted = std::fs::metadata(stage.path())?.len();
    engine.close()?;
    drop(engine);
    let engine = stage.open()?;
    let reopened = std::fs::metadata(stage.path())?.len();
    engine.close()?;
    stage.verify(&report)?;

    let bytes = |after: &After| after.file_bytes as f64;
    report.goal("file_bytes_after_expiry", bytes(&free), limit as f64, Matter::Size);
    // What the snapshot needs is of what was written before it, and comes on top of the limit.
    let held_bytes = held.beside.held_bytes as f64;
    let fill = parameters.fill_megabytes() * MB;
    report.goal("held_bytes", held_bytes, fill as f64 * 1.2, Matter::Size);
    let with_held = limit as f64 + held_bytes;
    report.goal("file_bytes_beside_snapshot", bytes(&held.beside), with_held, Matter::Size);
    report.goal("file_bytes_after_snapshot", bytes(&held.after), limit as f64, Matter::Size);
    let lag = free.seconds_until_free.unwrap_or(f64::INFINITY);
    report.goal("seconds_until_free", lag, parameters.lag().as_secs_f64(), Matter::Speed);
    let values = json!({
        "after_expiry": free, "beside_snapshot": held.beside, "after_snapshot": held.after,
        "file_bytes_compacted": compacted, "file_bytes_reopened": reopened,
    });
    report.end(stage.folder(), serde_json::to_value(&parameters)?, values)
}

/// The file some time after everything has expired.
#[derive(Debug, Clone, Serialize)]
struct After {
    file_bytes: u64,
    allocated_bytes: u64,
    /// What readers hold of SSTables that are live no more.
    held_bytes: u64,
    /// How long after the last expiry next to nothing was live; none if something always was.
    seconds_until_free: Option<f64>,
    /// How long after it the file was below the limit; none if it never was.
    seconds_until_small: Option<f64>,
}

struct Held {
    beside: After,
    after: After,
}

struct Run<'a> {
    engine: Engine,
    table: TableId,
    inboxes: TableId,
    gauge: Gauge,
    limit: u64,
    written: u64,
    parameters: Parameters,
    report: &'a Report,
}

impl Run<'_> {
    /// Writes as fast as it goes.
    fn write(&mut self, phase: &str, megabytes: u64) -> Result<()> {
        let mut second = Instant::now();
        let until = self.written + megabytes * MB / self.parameters.payload as u64;
        while self.written < until {
            let (batch, expected) = self.batch()?;
            let committed = self.engine.commit(batch, Durability::Buffered)?;
            if committed.seqs != expected {
                let first = self.written;
                self.report.wrong.add(format_args!("message {first}: seqs {:?}", committed.seqs));
            }
            self.written += BATCH;
            if second.elapsed() >= Duration::from_secs(1) {
                second = Instant::now();
                self.line(phase, json!({}))?;
            }
        }
        self.line(phase, json!({}))
    }

    /// The next messages, and the seqs that they must get.
    fn batch(&self) -> Result<(WriteBatch, Vec<u64>)> {
        let Parameters { timelines, payload: length, recipients, seed, .. } = self.parameters;
        let mut payload = vec![0; length];
        let (mut batch, mut expected) = (WriteBatch::new(), Vec::new());
        for message in self.written..self.written + BATCH {
            let (timeline, seq) = (message % timelines, message / timelines + 1);
            payload::fill(&mut payload, seed, timeline, seq);
            let mut targets = vec![(self.table, key(timeline))];
            expected.push(seq);
            if message.is_multiple_of(SHARED_EVERY) {
                let first = message / SHARED_EVERY * recipients;
                for delivery in first..first + recipients {
                    targets.push((self.inboxes, key(delivery % timelines)));
                    expected.push(delivery / timelines + 1);
                }
            }
            let targets = targets.iter().map(|(table, key)| (*table, &key[..]));
            batch.fan_out(targets, &payload, None, None, true)?;
        }
        Ok((batch, expected))
    }

    /// Waits until all has expired, is free, and is given back, each as long as is promised and
    /// that again.
    fn expire(&self, phase: &str, ttl: Duration) -> Result<After> {
        let expiry = Instant::now() + ttl;
        let mut free = None;
        loop {
            std::thread::sleep(Duration::from_millis(250));
            let sample = self.gauge.take(&self.engine)?;
            self.line(phase, json!({ "expired": Instant::now() >= expiry }))?;
            let Some(since) = Instant::now().checked_duration_since(expiry) else {
                continue;
            };
            let is_free = live_bytes(&sample) <= self.parameters.rest_bytes();
            if is_free && free.is_none() {
                free = Some(since.as_secs_f64());
            }
            let is_small = sample.file_bytes <= self.limit + sample.stats.held_bytes;
            let patience = Duration::from_millis(self.parameters.patience_ms);
            let is_late = since >= 2 * self.parameters.lag() && (!is_free || since >= patience);
            if (is_free && is_small) || is_late {
                let small = (is_free && is_small).then_some(since.as_secs_f64());
                return self.expired(free, small);
            }
            if is_free && patience.is_zero() {
                self.engine.compact()?;
            }
        }
    }

    fn expired(&self, free: Option<f64>, small: Option<f64>) -> Result<After> {
        self.check_empty()?;
        let sample = self.gauge.take(&self.engine)?;
        Ok(After {
            file_bytes: sample.file_bytes,
            allocated_bytes: sample.allocated_bytes,
            held_bytes: sample.stats.held_bytes,
            seconds_until_free: free,
            seconds_until_small: small,
        })
    }

    /// Writes and lets expire while a snapshot and a scan in the middle of a timeline are held.
    fn held(&mut self, ttl: Duration) -> Result<Held> {
        let megabytes = self.parameters.held_megabytes;
        self.write("fill", self.parameters.fill_megabytes())?;
        let snapshot = self.engine.snapshot();
        let (mut scan, seen) = self.begin_scan(&snapshot)?;
        self.write("write beside a snapshot", megabytes)?;
        let beside = self.expire("expire beside a snapshot", ttl)?;
        self.go_on(&mut scan, seen);
        drop((scan, snapshot));
        let after = self.expire("let go", Duration::ZERO)?;
        note(format_args!(
            "soak space: {} MB beside the snapshot, {} MB after it",
            beside.file_bytes / MB,
            after.file_bytes / MB
        ));
        Ok(Held { beside, after })
    }

    fn begin_scan(&self, snapshot: &Snapshot) -> Result<(Scan, u64)> {
        let newest = snapshot.latest_seq(self.table, &key(0))?;
        let mut scan = snapshot.scan(self.table, &key(0), 1, u64::MAX, Direction::Forward)?;
        let first = scan.next().transpose()?;
        let seq = first.as_ref().map_or(0, |entry| entry.seq);
        if first.is_none() || seq > newest {
            self.report.wrong.add(format_args!("timeline 0 of {newest} begins at {seq}"));
        }
        Ok((scan, seq))
    }

    /// What a scan gives that was held while everything expired: entries in order or none, and no
    /// others than those of its snapshot.
    fn go_on(&self, scan: &mut Scan, mut seen: u64) {
        let Parameters { payload: length, seed, .. } = self.parameters;
        for entry in scan {
            match entry {
                Ok(entry) => {
                    let is_right = payload::is_right(&entry.payload, length, seed, 0, entry.seq);
                    if entry.seq <= seen || !is_right {
                        self.report.wrong.add(format_args!("behind {seen} comes {entry:?}"));
                    }
                    seen = entry.seq;
                }
                Err(error) => self.report.wrong.add(format_args!("the held scan: {error}")),
            }
        }
    }

    /// Nothing may be left, and every timeline goes on where it was.
    fn check_empty(&self) -> Result<()> {
        let deliveries = self.written.div_ceil(SHARED_EVERY) * self.parameters.recipients;
        self.check_table(self.table, self.written)?;
        self.check_table(self.inboxes, deliveries)
    }

    /// The same of a table whose timelines got `entries` in turn.
    fn check_table(&self, table: TableId, entries: u64) -> Result<()> {
        let snapshot = self.engine.snapshot();
        let timelines = self.parameters.timelines;
        for timeline in 0..timelines {
            if let Some(entry) = snapshot.latest(table, &key(timeline))? {
                let table = table.0;
                self.report
                    .wrong
                    .add(format_args!("table {table}, timeline {timeline} shows {entry:?}"));
            }
            let expected = entries / timelines + u64::from(timeline < entries % timelines);
            let newest = snapshot.latest_seq(table, &key(timeline))?;
            if newest != expected {
                let table = table.0;
                self.report.wrong.add(format_args!(
                    "table {table}, timeline {timeline} is at {newest}, not {expected}"
                ));
            }
        }
        Ok(())
    }

    fn line(&self, phase: &str, values: Value) -> Result<()> {
        let megabytes = self.written as f64 * self.parameters.payload as f64 / MB as f64;
        let named = json!({ "phase": phase, "written_mb": rounded(megabytes) });
        let sample = self.gauge.take(&self.engine)?.json();
        self.report.interval(joined(joined(named, values), sample))
    }
}

/// Bytes that live structures have.
fn live_bytes(sample: &Sample) -> u64 {
    sample.stats.sstable_bytes + sample.stats.segment_bytes
}
