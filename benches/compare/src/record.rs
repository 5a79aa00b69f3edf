//! What one run measured: a line of JSON.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tidelog_benches::measure::Latencies;

/// One measurement of one engine. Latencies are in microseconds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Record {
    /// The workload, with what of it is measured behind a hyphen: `w4-newest` and `w4-forward`.
    pub workload: String,
    pub engine: String,
    pub version: String,
    pub settings: String,
    pub scale: f64,
    /// Which repetition, from 1.
    pub repeat: u32,
    /// What grows, in a workload of scaling.
    pub parameter: u64,
    /// What the rate counts: messages, commits, reads or opens.
    pub operations: u64,
    /// Time of the measured stretch; background work that goes on behind it is not in it.
    pub seconds: f64,
    /// Operations a second.
    pub rate: f64,
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
    /// The distribution of latencies: quantiles, each with its latency.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quantiles: Vec<(f64, f64)>,
    /// CPU time of the process in the measured stretch and until its background work was quiet.
    pub cpu_seconds: f64,
    /// Bytes that the process had written by then since it began, and in relation to the logical
    /// ones.
    pub written_bytes: u64,
    pub logical_bytes: u64,
    pub write_amplification: Option<f64>,
    /// The bytes without those of before the stretch, which are the creation of the database.
    pub written_in_stretch_bytes: u64,
    /// Bytes that the database takes on the disk by then.
    pub disk_bytes: u64,
    /// Highest resident memory, and the part of it that is no file.
    pub peak_rss_bytes: u64,
    pub peak_anonymous_bytes: u64,
    /// Resident memory that is mapped from files, at the end.
    pub mapped_bytes: u64,
    /// What the device counted in the measured stretch, whoever caused it.
    pub device_flushes: Option<u64>,
    pub device_written_bytes: Option<u64>,
    /// Reads of the device, where reading from it is what is measured, and what this process read.
    pub device_reads: Option<u64>,
    pub read_bytes: Option<u64>,
    /// Figures that only this workload has, by their heading in its table.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: BTreeMap<String, f64>,
    /// How figures went with time: one map an interval.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub series: Vec<BTreeMap<String, f64>>,
    /// What must be said about the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
    /// Answers that were missing, wrong or too many. Anything but 0 is a failure.
    pub wrong_answers: u64,
}

/// Quantiles of a distribution, dense where its tail is.
const QUANTILES: [f64; 14] =
    [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99, 0.995, 0.999, 0.999_5, 0.999_9, 1.0];

impl Record {
    /// Takes the distribution, and the quantiles that tables show.
    pub fn take_latencies(&mut self, latencies: &Latencies) {
        let quantile = |quantile| latencies.quantile(quantile);
        (self.p50, self.p99) = (quantile(0.5), quantile(0.99));
        (self.p999, self.max) = (quantile(0.999), quantile(1.0));
        self.quantiles = QUANTILES.map(|part| (part, quantile(part))).to_vec();
    }

    /// Whether it was measured by a run of that workload.
    pub fn is_of(&self, workload: &str) -> bool {
        match self.workload.strip_prefix(workload) {
            Some(rest) => rest.is_empty() || rest.starts_with('-'),
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_rises_and_agrees_with_the_figures_of_the_tables() {
        let mut latencies = Latencies::new();
        for micros in 1..=100_000 {
            latencies.record(std::time::Duration::from_micros(micros));
        }
        let mut record = Record::default();
        record.take_latencies(&latencies);
        let at = |part: f64| {
            let mut all = record.quantiles.iter();
            all.find(|pair| pair.0.total_cmp(&part).is_eq()).map(|pair| pair.1)
        };
        let figures = [record.p50, record.p99, record.p999, record.max].map(Some);
        assert_eq!([at(0.5), at(0.99), at(0.999), at(1.0)], figures);
        assert!(record.quantiles.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
    }
}
