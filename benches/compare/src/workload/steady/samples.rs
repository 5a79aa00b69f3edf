//! How latencies and the size of the database go with time.

use super::Naps;
use crate::Result;
use crate::measure::Latencies;
use crate::record::Record;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tidelog_benches::measure::disk_bytes;

/// Intervals of a run.
const INTERVALS: u32 = 120;
/// A second in which an operation took longer has stalled: what the goal of W8 allows.
const STALL: Duration = Duration::from_millis(50);

/// Gathers.
pub struct Samples {
    directory: PathBuf,
    start: Instant,
    ttl: Duration,
    interval: Duration,
    next: Instant,
    /// Of the whole run, and of the interval.
    writes: [Latencies; 2],
    reads: [Latencies; 2],
    /// The second that an operation stalled in last, and how many there were.
    stalled: (u64, u64),
    series: Vec<BTreeMap<String, f64>>,
    behind: Duration,
}

impl Samples {
    /// Begins a run.
    pub fn new(directory: &Path, length: Duration, ttl: Duration) -> Samples {
        let interval = length / INTERVALS;
        let start = Instant::now();
        Samples {
            directory: directory.to_owned(),
            start,
            ttl,
            interval,
            next: start + interval,
            writes: [Latencies::new(), Latencies::new()],
            reads: [Latencies::new(), Latencies::new()],
            stalled: (u64::MAX, 0),
            series: Vec::new(),
            behind: Duration::ZERO,
        }
    }

    /// Takes a batch.
    pub fn wrote(&mut self, latency: Duration) {
        self.writes.iter_mut().for_each(|latencies| latencies.record(latency));
        self.note(latency);
    }

    /// Takes a read.
    pub fn read(&mut self, latency: Duration) {
        self.reads.iter_mut().for_each(|latencies| latencies.record(latency));
        self.note(latency);
    }

    fn note(&mut self, latency: Duration) {
        let second = self.start.elapsed().as_secs();
        if latency > STALL && self.stalled.0 != second {
            self.stalled = (second, self.stalled.1 + 1);
        }
    }

    /// Looks at the disk, if it is time.
    pub fn sample(&mut self, behind: Duration, naps: &Naps) -> Result<()> {
        if Instant::now() < self.next {
            return Ok(());
        }
        self.next += self.interval;
        let values = [
            ("second", self.start.elapsed().as_secs_f64()),
            ("disk_mib", disk_bytes(&self.directory)? as f64 / 1_048_576.0),
            ("write_p99_us", self.writes[1].quantile(0.99)),
            ("read_p99_us", self.reads[1].quantile(0.99)),
            ("max_us", self.writes[1].quantile(1.0).max(self.reads[1].quantile(1.0))),
            ("behind_ms", behind.as_secs_f64() * 1e3),
            ("nap_late_us", naps.take_latest()?.as_secs_f64() * 1e6),
        ];
        self.series.push(values.map(|(name, value)| (name.to_owned(), value)).into());
        self.writes[1].clear();
        self.reads[1].clear();
        Ok(())
    }

    /// The end of the run, and how far it was behind its schedule then.
    pub fn finish(&mut self, behind: Duration) {
        self.behind = behind;
    }

    /// Of each batch.
    pub fn writes(&self) -> &Latencies {
        &self.writes[0]
    }

    /// Of each read.
    pub fn reads(&self) -> &Latencies {
        &self.reads[0]
    }

    /// Batches, and there are as many reads.
    pub fn operations(&self) -> u64 {
        self.writes[0].count()
    }

    /// Puts into the record what only this workload has.
    pub fn describe(self, record: &mut Record) {
        let from = |second: f64| {
            let late = self.series.iter().filter(move |interval| interval["second"] >= second);
            late.map(|interval| interval["disk_mib"]).fold(0.0, f64::max)
        };
        let mut add = |name: &str, value: f64| record.figures.insert(name.to_owned(), value);
        add("disk MiB at most", from(0.0));
        // The first time to live fills the store, the second one may still settle.
        add("disk MiB at most, steady", from(self.ttl.as_secs_f64() * 2.0));
        let mut drift = |name: &str, value: &str| {
            let drift = drift(&self.series, self.ttl.as_secs_f64() * 2.0, value);
            drift.map(|drift| add(name, drift))
        };
        drift("disk drift", "disk_mib");
        drift("write p99 drift", "write_p99_us");
        drift("read p99 drift", "read_p99_us");
        add("stalled seconds", self.stalled.1 as f64);
        add("ms behind at the end", self.behind.as_secs_f64() * 1e3);
        record.series = self.series;
    }
}

/// How a value drifts in the steady state: its median over the intervals of the last half of it to
/// the median of the first half.
fn drift(series: &[BTreeMap<String, f64>], from: f64, value: &str) -> Option<f64> {
    let late = series.iter().filter(|interval| interval["second"] >= from);
    let values: Vec<f64> = late.map(|interval| interval[value]).collect();
    let (first, last) = values.split_at(values.len() / 2);
    let median = |values: &[f64]| {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    };
    Some(median(last)? / median(first)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drift_is_of_the_halves_of_the_steady_state() {
        let series: Vec<BTreeMap<String, f64>> =
            [(0.0, 90.0), (1.0, 2.0), (2.0, 4.0), (3.0, 3.0), (4.0, 6.0)]
                .map(|(second, value)| {
                    [("second".to_owned(), second), ("x".to_owned(), value)].into()
                })
                .to_vec();
        assert_eq!(drift(&series, 1.0, "x"), Some(6.0 / 4.0));
        assert_eq!(drift(&series, 4.5, "x"), None, "the run was too short");
    }
}
