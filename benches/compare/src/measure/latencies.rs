//! Latencies in a histogram of three significant digits.

use hdrhistogram::Histogram;
use std::time::{Duration, Instant};

/// Latencies of one stretch.
pub struct Latencies {
    nanos: Histogram<u64>,
}

impl Latencies {
    /// None yet.
    pub fn new() -> Latencies {
        Latencies {
            nanos: Histogram::new(3).expect("three digits are allowed"),
        }
    }

    /// Takes the time of `work`.
    pub fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.record(start.elapsed());
        result
    }

    /// Takes a time.
    pub fn record(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.saturating_record(nanos);
    }

    /// Takes the times of another thread.
    pub fn add(&mut self, other: &Latencies) {
        self.nanos
            .add(&other.nanos)
            .expect("a histogram that grows takes every value");
    }

    /// A quantile, in microseconds.
    pub fn quantile(&self, quantile: f64) -> f64 {
        self.nanos.value_at_quantile(quantile) as f64 / 1000.0
    }
}
