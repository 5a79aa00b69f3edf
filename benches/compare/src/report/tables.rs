//! One table for each workload. A column that no engine has a figure for is left out.

use super::number::{cell, median, mib};
use crate::record::Record;
use std::collections::BTreeSet;
use std::fmt::Write;

/// Workloads in the order of the report: name in the records, heading, what the rate counts.
const SECTIONS: [(&str, &str, &str); 19] = [
    ("w1", "W1 bulk ingest", "messages/s"),
    ("w2", "W2 durable, one writer", "commits/s"),
    ("w3", "W3 durable, 64 threads, grouped by the engine", "commits/s"),
    ("w3q", "W3q durable, 64 threads, grouped by the application", "commits/s"),
    ("w3a", "W3a durable, 64 asynchronous writers on one thread", "commits/s"),
    ("w4-newest", "W4 newest 20, warm", "reads/s"),
    ("w4-forward", "W4 20 forward from a random seq, warm", "reads/s"),
    ("w4c-newest", "W4C newest 20, cold", "reads/s"),
    ("w4c-forward", "W4C 20 forward from a random seq, cold", "reads/s"),
    ("w5", "W5 fan-out to 1,000 inboxes", "messages/s"),
    ("w6", "W6 open after kill, to the first read", "opens/s"),
    ("w7-read", "W7 feed larger than memory, reads of a profile and 20 posts", "reads/s"),
    ("w7-post", "W7 feed larger than memory, posts", "posts/s"),
    ("w8-write", "W8 steady sync store, batches of ten", "batches/s"),
    ("w8-read", "W8 steady sync store, newest 20", "reads/s"),
    ("scaling-threads-buffered", "Commits of one message, not synced, by threads", "commits/s"),
    ("scaling-threads-durable", "Commits of one message, durable, by threads", "commits/s"),
    ("scaling-timelines", "Bulk ingest, by timelines", "messages/s"),
    ("scaling-gigabytes", "Bulk ingest of messages of 1,000 B, by GB", "messages/s"),
];

/// A column: its heading and its figure of a run.
type Column = (String, Box<dyn Fn(&Record) -> Option<f64>>);

/// Writes which engines there are, in which version, with which settings.
pub fn write_engines(text: &mut String, records: &[&Record]) -> std::fmt::Result {
    writeln!(text, "\n## Engines\n\n| engine | version | settings |\n|---|---|---|")?;
    let mut seen = BTreeSet::new();
    for record in records {
        let Record { engine, version, settings, .. } = record;
        if seen.insert((engine, version, settings)) {
            writeln!(text, "| {engine} | {version} | {settings} |")?;
        }
    }
    Ok(())
}

/// Writes every table that has a row.
pub fn write_tables(text: &mut String, records: &[&Record]) -> std::fmt::Result {
    for (workload, heading, unit) in SECTIONS {
        let of = records.iter().copied().filter(|record| record.workload == workload);
        let runs: Vec<&Record> = of.collect();
        if !runs.is_empty() {
            write_table(text, heading, unit, &runs)?;
        }
    }
    Ok(())
}

/// One table. The ratio is Tidelog's rate to the engine's: above 1 where Tidelog is faster.
fn write_table(text: &mut String, heading: &str, unit: &str, runs: &[&Record]) -> std::fmt::Result {
    writeln!(text, "\n## {heading}\n")?;
    let remarks: BTreeSet<&str> = runs.iter().filter_map(|run| run.remark.as_deref()).collect();
    for remark in remarks {
        writeln!(text, "({remark})\n")?;
    }
    let mut rows: Vec<(&str, u64)> = Vec::new();
    for run in runs {
        if !rows.contains(&(&run.engine, run.parameter)) {
            rows.push((&run.engine, run.parameter));
        }
    }
    let of = |row: (&str, u64)| -> Vec<&Record> {
        let own = |run: &&Record| run.engine == row.0 && run.parameter == row.1;
        runs.iter().copied().filter(own).collect()
    };
    let has_steps = rows.iter().any(|row| row.1 > 0);
    let columns: Vec<Column> = columns(runs)
        .into_iter()
        .filter(|(_, figure)| runs.iter().any(|run| figure(run).is_some()))
        .collect();
    let headings: Vec<&str> = columns.iter().map(|(heading, _)| heading.as_str()).collect();
    let step = if has_steps { " step |" } else { "" };
    let headings = headings.join(" | ");
    writeln!(text, "| engine |{step} {unit} | Tidelog is x | {headings} | wrong | runs |")?;
    writeln!(text, "|{}", "---|".repeat(columns.len() + 5 + usize::from(has_steps)))?;
    for row in rows {
        let (runs, tidelog) = (of(row), of(("tidelog", row.1)));
        let rate = median(&runs, |run| Some(run.rate));
        let ratio = median(&tidelog, |run| Some(run.rate)).zip(rate);
        write!(text, "| {} |", row.0)?;
        if has_steps {
            write!(text, " {} |", row.1)?;
        }
        let ratio = ratio.map(|(tidelog, rate)| tidelog / rate);
        write!(text, " {} | {} |", cell(rate), cell(ratio))?;
        for (_, figure) in &columns {
            write!(text, " {} |", cell(median(&runs, figure)))?;
        }
        let wrong: u64 = runs.iter().map(|run| run.wrong_answers).sum();
        writeln!(text, " {wrong} | {} |", runs.len())?;
    }
    Ok(())
}

/// The columns that are the same for all workloads, and those that only these runs have.
fn columns(runs: &[&Record]) -> Vec<Column> {
    fn per_operation(count: Option<u64>, run: &Record) -> Option<f64> {
        count.map(|count| count as f64 / run.operations as f64)
    }
    let mut columns: Vec<Column> = vec![
        ("p50 us".into(), Box::new(|run| Some(run.p50))),
        ("p99 us".into(), Box::new(|run| Some(run.p99))),
        ("p99.9 us".into(), Box::new(|run| Some(run.p999))),
        ("max us".into(), Box::new(|run| Some(run.max))),
        ("CPU s".into(), Box::new(|run| Some(run.cpu_seconds))),
        ("WA".into(), Box::new(|run| run.write_amplification)),
        ("disk MiB".into(), Box::new(|run| Some(mib(run.disk_bytes)))),
        ("RSS MiB".into(), Box::new(|run| Some(mib(run.peak_rss_bytes)))),
        ("anon MiB".into(), Box::new(|run| Some(mib(run.peak_anonymous_bytes)))),
        ("mapped MiB".into(), Box::new(|run| Some(mib(run.mapped_bytes)))),
        ("flushes/op".into(), Box::new(|run| per_operation(run.device_flushes, run))),
        ("device B/op".into(), Box::new(|run| per_operation(run.device_written_bytes, run))),
        ("device reads/op".into(), Box::new(|run| per_operation(run.device_reads, run))),
        ("read B/op".into(), Box::new(|run| per_operation(run.read_bytes, run))),
    ];
    let own: BTreeSet<&String> = runs.iter().flat_map(|run| run.figures.keys()).collect();
    for name in own.into_iter().cloned() {
        let key = name.clone();
        columns.push((name, Box::new(move |run| run.figures.get(&key).copied())));
    }
    columns
}
