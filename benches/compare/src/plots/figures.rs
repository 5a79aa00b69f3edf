//! Which plots there are, and which figures of the records they show.

use super::axis::Scale;
use super::draw::{Figure, Line};
use crate::record::Record;
use crate::report::median;
use std::collections::BTreeMap;

/// Runs of one engine.
type Runs<'a> = [&'a Record];
/// What of an engine's runs is drawn.
type Points = fn(&Runs<'_>) -> Vec<(f64, f64)>;

/// A plot, before there are lines in it.
struct Plan {
    name: &'static str,
    workload: &'static str,
    title: &'static str,
    x: (&'static str, Scale),
    y: (&'static str, Scale),
    points: Points,
    marked: bool,
}

const SECONDS: (&str, Scale) = ("seconds since the beginning", Scale::Log);
const MINUTES: (&str, Scale) = ("minutes since the beginning", Scale::Linear);
const QUANTILE: (&str, Scale) = ("share of operations that were at most as slow", Scale::Nines);
const LATENCY: (&str, Scale) = ("latency, microseconds", Scale::Log);
const READ: (&str, Scale) = ("median latency, microseconds", Scale::Linear);
const FILE: (&str, Scale) = ("size on the disk, MiB", Scale::Linear);
const THREADS: (&str, Scale) = ("threads", Scale::Steps);
const TIMELINES: (&str, Scale) = ("timelines", Scale::Steps);
const GIGABYTES: (&str, Scale) = ("gigabytes written", Scale::Steps);
const MESSAGES: (&str, Scale) = ("messages a second", Scale::Linear);
const COMMITS: (&str, Scale) = ("commits a second", Scale::Linear);

/// Every plot, in the order of the page.
const PLANS: [Plan; 12] = [
    Plan {
        name: "w1-throughput",
        workload: "w1",
        title: "W1 bulk ingest: throughput over time",
        x: SECONDS,
        y: ("messages a second", Scale::Log),
        points: throughput,
        marked: false,
    },
    latency("w2-latency", "w2", "W2 durable commits, one writer: latency"),
    latency("w3-latency", "w3", "W3 durable commits, 64 threads: latency"),
    latency("w4-newest-latency", "w4-newest", "W4 newest 20, warm: latency"),
    latency("w4-forward-latency", "w4-forward", "W4 20 forward from a random seq, warm: latency"),
    Plan {
        name: "w8-file-size",
        workload: "w8-write",
        title: "W8 steady stream under a TTL: size of the file over time",
        x: MINUTES,
        y: FILE,
        points: file_size,
        marked: false,
    },
    scaling(
        "scaling-threads-buffered",
        "scaling-threads-buffered",
        "Commits of one message, not synced, by threads",
        [THREADS, COMMITS],
        rate,
    ),
    scaling(
        "scaling-threads-durable",
        "scaling-threads-durable",
        "Commits of one message, durable, by threads",
        [THREADS, COMMITS],
        rate,
    ),
    scaling(
        "scaling-timelines",
        "scaling-timelines",
        "Bulk ingest, by timelines",
        [TIMELINES, MESSAGES],
        rate,
    ),
    scaling(
        "scaling-timelines-reads",
        "scaling-timelines",
        "Newest 20 of a timeline, by timelines",
        [TIMELINES, READ],
        newest,
    ),
    scaling(
        "scaling-gigabytes",
        "scaling-gigabytes",
        "Bulk ingest of messages of 1,000 B, by gigabytes",
        [GIGABYTES, MESSAGES],
        rate,
    ),
    scaling(
        "scaling-gigabytes-reads",
        "scaling-gigabytes",
        "Newest 20 of a timeline, by gigabytes",
        [GIGABYTES, READ],
        newest,
    ),
];

const fn latency(name: &'static str, workload: &'static str, title: &'static str) -> Plan {
    Plan { name, workload, title, x: QUANTILE, y: LATENCY, points: quantiles, marked: false }
}

const fn scaling(
    name: &'static str,
    workload: &'static str,
    title: &'static str,
    [x, y]: [(&'static str, Scale); 2],
    points: Points,
) -> Plan {
    Plan { name, workload, title, x, y, points, marked: true }
}

/// Every plot. One that no record has points for has no lines.
pub fn all(records: &[&Record]) -> Vec<Figure> {
    PLANS.iter().map(|plan| plan.figure(records)).collect()
}

impl Plan {
    fn figure(&self, records: &[&Record]) -> Figure {
        let mut engines: Vec<(&str, Vec<&Record>)> = Vec::new();
        for record in records.iter().filter(|record| record.workload == self.workload) {
            match engines.iter_mut().find(|(engine, _)| *engine == record.engine) {
                Some((_, runs)) => runs.push(record),
                None => engines.push((&record.engine, vec![record])),
            }
        }
        // In the same order everywhere, Tidelog first.
        engines.sort_by_key(|(engine, _)| (!engine.starts_with("tidelog"), engine.to_owned()));
        let line = |(engine, runs): (&str, Vec<&Record>)| {
            let points = (self.points)(&runs);
            let engine = engine.to_owned();
            (!points.is_empty()).then_some(Line { engine, points, marked: self.marked })
        };
        Figure {
            name: self.name,
            title: self.title.to_owned(),
            x: self.x,
            y: self.y,
            lines: engines.into_iter().filter_map(line).collect(),
        }
    }
}

/// The run in the middle, by its rate: a course over time has no median of its own.
fn middle<'a>(runs: &Runs<'a>) -> Option<&'a Record> {
    let mut runs: Vec<&Record> =
        runs.iter().copied().filter(|run| !run.series.is_empty()).collect();
    runs.sort_by(|one, other| one.rate.total_cmp(&other.rate));
    runs.get(runs.len() / 2).copied()
}

/// The rate over time. On an axis of decades late points lie dense, so intervals are taken
/// together until they make a fiftieth of the time that has passed.
fn throughput(runs: &Runs<'_>) -> Vec<(f64, f64)> {
    let mut points = Vec::new();
    let (mut since, mut before, mut operations) = (0.0, 0.0, 0.0);
    let series = middle(runs).map(|run| run.series.as_slice()).unwrap_or_default();
    for interval in series {
        let (Some(second), Some(rate)) = (interval.get("second"), interval.get("rate")) else {
            continue;
        };
        operations += rate * (second - before);
        before = *second;
        if second - since >= second / 50.0 {
            points.push((*second, operations / (second - since)));
            (since, operations) = (*second, 0.0);
        }
    }
    points
}

fn file_size(runs: &Runs<'_>) -> Vec<(f64, f64)> {
    let series = middle(runs).map(|run| run.series.as_slice()).unwrap_or_default();
    let point = |interval: &BTreeMap<String, f64>| {
        Some((interval.get("second")? / 60.0, *interval.get("disk_mib")?))
    };
    series.iter().filter_map(point).collect()
}

/// The distribution of latencies: each quantile is the median of the runs.
fn quantiles(runs: &Runs<'_>) -> Vec<(f64, f64)> {
    let Some(first) = runs.iter().find(|run| !run.quantiles.is_empty()) else { return Vec::new() };
    let at = |part: f64| {
        median(runs, |run| {
            let found = run.quantiles.iter().find(|pair| pair.0.total_cmp(&part).is_eq());
            found.map(|pair| pair.1)
        })
    };
    first.quantiles.iter().filter_map(|(part, _)| Some((*part, at(*part)?))).collect()
}

fn rate(runs: &Runs<'_>) -> Vec<(f64, f64)> {
    by_step(runs, |run| Some(run.rate))
}

fn newest(runs: &Runs<'_>) -> Vec<(f64, f64)> {
    by_step(runs, |run| run.figures.get("newest 20 p50 us").copied())
}

/// The median of a figure at each step of what grows.
fn by_step(runs: &Runs<'_>, figure: fn(&Record) -> Option<f64>) -> Vec<(f64, f64)> {
    let mut steps: BTreeMap<u64, Vec<&Record>> = BTreeMap::new();
    for run in runs {
        steps.entry(run.parameter).or_default().push(run);
    }
    let point = |(step, runs): (u64, Vec<&Record>)| Some((step as f64, median(&runs, figure)?));
    steps.into_iter().filter_map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_taken_together_without_losing_operations() {
        let interval = |second: f64| {
            BTreeMap::from([("second".to_owned(), second), ("rate".to_owned(), 100.0)])
        };
        let series = (1..=1_000).map(|index| interval(f64::from(index) / 4.0)).collect();
        let run = Record { series, ..Record::default() };
        let points = throughput(&[&run]);
        assert!(points.len() < 300, "{} points", points.len());
        assert!(points.iter().all(|point| (point.1 - 100.0).abs() < 1e-6), "{points:?}");
    }

    #[test]
    fn steps_are_medians_in_order() {
        let run = |parameter, rate| Record { parameter, rate, ..Record::default() };
        let runs = [run(4, 9.0), run(1, 2.0), run(4, 7.0), run(4, 8.0)];
        let runs: Vec<&Record> = runs.iter().collect();
        assert_eq!(rate(&runs), [(1.0, 2.0), (4.0, 8.0)]);
    }
}
