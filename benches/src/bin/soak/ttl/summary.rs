//! The figures of the whole stream, and their goals.

use super::parameters::Parameters;
use crate::report::{Matter, Report, rounded};
use crate::sample::{Sample, quantiles};
use serde_json::{Value, json};
use tidelog_benches::measure::Latencies;

/// What the intervals add up to.
#[derive(Default)]
pub(crate) struct Summary {
    seconds: Vec<Second>,
    appends: Latencies,
    scans: Latencies,
    messages: u64,
    last: Option<Sample>,
}

struct Second {
    second: u64,
    file_bytes: u64,
    allocated_bytes: u64,
    anonymous_bytes: u64,
    scan_p99_us: f64,
}

impl Summary {
    /// Takes an interval.
    pub(crate) fn add(
        &mut self,
        second: u64,
        messages: u64,
        appends: &Latencies,
        scans: &Latencies,
        sample: Sample,
    ) {
        self.appends.add(appends);
        self.scans.add(scans);
        self.messages += messages;
        self.seconds.push(Second {
            second,
            file_bytes: sample.file_bytes,
            allocated_bytes: sample.allocated_bytes,
            anonymous_bytes: sample.anonymous_bytes,
            scan_p99_us: scans.quantile(0.99),
        });
        self.last = Some(sample);
    }

    /// Bytes written by then for each byte of payload and id.
    pub(crate) fn amplification(&self, parameters: &Parameters, sample: &Sample) -> f64 {
        let logical = (self.messages * parameters.logical_bytes()).max(1);
        sample.written_bytes as f64 / logical as f64
    }

    /// Judges the figures. Returns those of the last line.
    pub(crate) fn judge(&self, report: &mut Report, parameters: &Parameters) -> Value {
        // What expires in the first TTL is free one lag later: from there on nothing grows.
        let lag_ms = LAG_MS_LIMIT.min(parameters.ttl_ms);
        let full = (parameters.ttl_ms + lag_ms).div_ceil(1000);
        let steady = self.seconds.iter().filter(|second| second.second > full);
        let steady: Vec<&Second> = steady.collect();
        let growth = |bytes: fn(&Second) -> u64| {
            let first = &steady[..steady.len().div_ceil(4)];
            let early = first.iter().map(|second| bytes(second)).max().unwrap_or(0);
            let highest = steady.iter().map(|second| bytes(second)).max().unwrap_or(0);
            // Without a steady state this is no number, and no goal is met.
            highest as f64 / early as f64
        };
        let peak = |bytes: fn(&Second) -> u64| self.seconds.iter().map(bytes).max().unwrap_or(0);
        let amplification =
            self.last.as_ref().map_or(f64::NAN, |sample| self.amplification(parameters, sample));
        report.goal("file_growth", growth(|second| second.file_bytes), 1.15, Matter::Size);
        let allocated = growth(|second| second.allocated_bytes);
        report.goal("allocated_growth", allocated, 1.15, Matter::Size);
        report.goal("write_amplification", amplification, 2.3, Matter::Size);
        let lag_ms =
            self.last.as_ref().map_or(f64::NAN, |sample| sample.stats.expiry_lag_ms as f64);
        report.goal("expiry_lag_ms", lag_ms, LAG_MS_LIMIT as f64, Matter::Size);
        report.goal("scan_p99_drift", drift(&steady), DRIFT_LIMIT, Matter::Speed);
        json!({
            "messages": self.messages,
            "messages_per_second": self.messages / (self.seconds.len() as u64).max(1),
            "appends": quantiles(&self.appends),
            "scans": quantiles(&self.scans),
            "file_bytes_peak": peak(|second| second.file_bytes),
            "allocated_bytes_peak": peak(|second| second.allocated_bytes),
            "rss_anon_bytes_peak": peak(|second| second.anonymous_bytes),
            "write_amplification": rounded(amplification),
            "last_interval": self.last.as_ref().map(Sample::json),
        })
    }
}

/// Space is free this long after expiry, at most.
const LAG_MS_LIMIT: u64 = 6_000;
/// How much slower the 99th percentile of scans may be at the end: noise, and no more.
const DRIFT_LIMIT: f64 = 1.25;

/// The median of the seconds' 99th percentiles in the last third of the steady state, in relation
/// to that in the first third.
fn drift(steady: &[&Second]) -> f64 {
    let third = steady.len() / 3;
    let median = |seconds: &[&Second]| {
        let mut values: Vec<f64> = seconds.iter().map(|second| second.scan_p99_us).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    };
    median(&steady[steady.len() - third..]) / median(&steady[..third])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drift_compares_the_ends_and_forgives_single_seconds() {
        let seconds: Vec<Second> = (0..30)
            .map(|second| Second {
                second,
                file_bytes: 0,
                allocated_bytes: 0,
                anonymous_bytes: 0,
                scan_p99_us: if second < 20 { 100.0 } else { 150.0 } + f64::from(second == 3) * 1e6,
            })
            .collect();
        let steady: Vec<&Second> = seconds.iter().collect();
        assert!((drift(&steady) - 1.5).abs() < 1e-9);
        assert!(drift(&[]).is_nan());
    }

    fn figures(summary: &Summary, name: &str) -> (Option<f64>, bool) {
        let parameters = Parameters {
            rate: 1,
            batch: 1,
            timelines: 1,
            payload: 84,
            ttl_ms: 4_000,
            seconds: 30,
            reads: 1,
            steady_clock: true,
            seed: 1,
        };
        let mut report = Report::new("ttl", true);
        summary.judge(&mut report, &parameters);
        let goal = &report.goals()[name];
        (goal["value"].as_f64(), goal["met"] == true)
    }

    fn growing(second_bytes: fn(u64) -> u64) -> Summary {
        let second = |second| Second {
            second,
            file_bytes: second_bytes(second),
            allocated_bytes: 1,
            anonymous_bytes: 1,
            scan_p99_us: 1.0,
        };
        Summary { seconds: (1..=30).map(second).collect(), ..Summary::default() }
    }

    #[test]
    fn growth_counts_from_the_first_ttl_and_its_lag_on() {
        let grown = figures(&growing(|second| second.min(8) * 100), "file_growth");
        assert_eq!(grown, (Some(1.0), true), "the first eight seconds do not count");
        let (grown, is_met) = figures(&growing(|second| second * 100), "file_growth");
        assert!(grown > Some(1.15) && !is_met, "{grown:?}");
        let none = Summary { seconds: Vec::new(), ..Summary::default() };
        assert_eq!(figures(&none, "file_growth"), (None, false), "no steady state, no goal met");
    }
}
