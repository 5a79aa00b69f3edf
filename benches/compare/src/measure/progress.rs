//! How the rate of a stretch goes with time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Operations of one stretch, counted by interval.
pub struct Progress {
    start: Instant,
    interval: Duration,
    /// The interval that is going on: its beginning and its operations.
    since: Instant,
    operations: u64,
    series: Vec<BTreeMap<String, f64>>,
}

impl Progress {
    /// Begins a stretch.
    pub fn start(interval: Duration) -> Progress {
        let start = Instant::now();
        Progress { start, interval, since: start, operations: 0, series: Vec::new() }
    }

    /// Takes operations that have just ended.
    pub fn add(&mut self, operations: u64) {
        self.operations += operations;
        if self.since.elapsed() >= self.interval {
            self.close();
        }
    }

    /// One map an interval, the last one shorter: the second at its end, and the rate in it.
    pub fn finish(mut self) -> Vec<BTreeMap<String, f64>> {
        if self.operations > 0 {
            self.close();
        }
        self.series
    }

    /// Ends the interval. One in which an operation stalled is as long as the stall.
    fn close(&mut self) {
        let now = Instant::now();
        let seconds = (now - self.since).as_secs_f64();
        let values = [
            ("second", (now - self.start).as_secs_f64()),
            ("rate", self.operations as f64 / seconds),
        ];
        self.series.push(values.map(|(name, value)| (name.to_owned(), value)).into());
        (self.since, self.operations) = (now, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_in_one_interval() {
        let mut progress = Progress::start(Duration::from_millis(2));
        for _ in 0..5 {
            progress.add(100);
            std::thread::sleep(Duration::from_millis(1));
        }
        progress.add(11);
        let series = progress.finish();
        let (mut counted, mut before) = (0.0, 0.0);
        for interval in &series {
            assert!(interval["second"] > before);
            counted += interval["rate"] * (interval["second"] - before);
            before = interval["second"];
        }
        assert!((counted - 511.0_f64).abs() < 0.01, "{counted} of 511 in {series:?}");
        assert!(series.len() > 1, "an interval is 2 ms, the stretch at least 5");
    }
}
