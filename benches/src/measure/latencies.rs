//! Latencies in a histogram of three significant digits.

use hdrhistogram::Histogram;
use std::time::{Duration, Instant};

/// Latencies of one stretch.
#[derive(Debug, Clone)]
pub struct Latencies {
    nanos: Histogram<u64>,
}

impl Latencies {
    /// None yet.
    pub fn new() -> Latencies {
        Latencies { nanos: Histogram::new(3).expect("three digits are allowed") }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.nanos.reset();
    }

    /// Times taken.
    pub fn count(&self) -> u64 {
        self.nanos.len()
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
        // Not the saturating kind: that one stops at the bound of the moment and does not grow.
        self.nanos.record(nanos).expect("a histogram that grows takes every value");
    }

    /// Takes the times of another thread.
    pub fn add(&mut self, other: &Latencies) {
        self.nanos.add(&other.nanos).expect("a histogram that grows takes every value");
    }

    /// A quantile, in microseconds.
    pub fn quantile(&self, quantile: f64) -> f64 {
        self.nanos.value_at_quantile(quantile) as f64 / 1000.0
    }
}

impl Default for Latencies {
    fn default() -> Latencies {
        Latencies::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_in_microseconds_and_exact_to_three_digits() {
        let mut latencies = Latencies::new();
        for micros in 1..=1_000_000 {
            latencies.record(Duration::from_micros(micros));
        }
        for (quantile, micros) in [(0.5, 500_000.0), (0.99, 990_000.0), (1.0, 1_000_000.0)] {
            let found = latencies.quantile(quantile);
            assert!((found / micros - 1.0_f64).abs() < 0.001, "{quantile} is {found}");
        }
    }
}
