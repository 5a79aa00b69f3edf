//! The report: machine, limits, and a table of medians for each workload. No cell is left out for
//! being lost.

use crate::limits::Limits;
use crate::record::Record;
use std::fmt::Write;
use tidelog_benches::measure::Machine;

/// Workloads in the order of the report: name in the records, heading, what the rate counts.
const SECTIONS: [(&str, &str, &str); 7] = [
    ("w1", "W1 bulk ingest", "messages/s"),
    ("w2", "W2 durable, one writer", "commits/s"),
    ("w3", "W3 durable, 64 threads", "commits/s"),
    ("w4-newest", "W4 newest 20, warm", "reads/s"),
    ("w4-forward", "W4 20 forward from a random seq, warm", "reads/s"),
    ("w5", "W5 fan-out to 1,000 inboxes", "messages/s"),
    ("w6", "W6 open after kill, to the first read", "opens/s"),
];

/// The report in Markdown.
pub fn markdown(machine: &Machine, limits: &Limits, records: &[Record]) -> String {
    let mut text = String::new();
    write_all(&mut text, machine, limits, records).expect("a string takes everything");
    text
}

fn write_all(
    text: &mut String,
    machine: &Machine,
    limits: &Limits,
    records: &[Record],
) -> std::fmt::Result {
    let Machine { cores, cpu, memory_mib, file_system, kernel } = machine;
    writeln!(text, "\n## Machine\n")?;
    writeln!(text, "{cores} cores of {cpu}, {memory_mib} MiB, {file_system}, Linux {kernel}\n")?;
    writeln!(text, "| limit | figure |\n|---|---|")?;
    let direct = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), number);
    let (sync, sync_direct) = (number(limits.sync_us), direct(limits.sync_direct_us));
    writeln!(
        text,
        "| sync of 4 KiB, written space: buffered / direct | p50 {sync} / {sync_direct} us |"
    )?;
    let (write, write_direct) = (number(limits.write_mb), direct(limits.write_direct_mb));
    writeln!(
        text,
        "| sequential write: buffered with one sync / direct | {write} / {write_direct} MB/s |"
    )?;
    writeln!(text, "| memcpy, one thread | {} MB/s |", number(limits.memcpy_mb))?;

    let mut engines: Vec<(&str, &str, &str)> = Vec::new();
    for record in records {
        let engine = (&*record.engine, &*record.version, &*record.settings);
        if !engines.contains(&engine) {
            engines.push(engine);
        }
    }
    writeln!(text, "\n## Engines\n\n| engine | version | settings |\n|---|---|---|")?;
    for (engine, version, settings) in &engines {
        writeln!(text, "| {engine} | {version} | {settings} |")?;
    }
    for (workload, heading, unit) in SECTIONS {
        let runs: Vec<&Record> = records.iter().filter(|run| run.workload == workload).collect();
        if !runs.is_empty() {
            section(text, heading, unit, &runs, engines.iter().map(|engine| engine.0))?;
        }
    }
    Ok(())
}

/// One table. The ratio is Tidelog's rate to the engine's: above 1 where Tidelog is faster.
fn section<'a>(
    text: &mut String,
    heading: &str,
    unit: &str,
    runs: &[&Record],
    engines: impl Iterator<Item = &'a str>,
) -> std::fmt::Result {
    writeln!(text, "\n## {heading}\n")?;
    writeln!(
        text,
        "| engine | {unit} | Tidelog is x | p50 us | p99 us | p99.9 us | max us | CPU s | WA \
         | disk MiB | RSS MiB | anon MiB | flushes/op | device B/op | wrong | runs |"
    )?;
    writeln!(text, "|{}", "---|".repeat(16))?;
    let of = |engine: &str| -> Vec<&Record> {
        runs.iter().copied().filter(|run| run.engine == engine).collect()
    };
    let tidelog = median(&of("tidelog"), |run| Some(run.rate));
    for engine in engines {
        let runs = of(engine);
        if runs.is_empty() {
            continue;
        }
        let rate = median(&runs, |run| Some(run.rate));
        let ratio = tidelog.zip(rate).map(|(tidelog, rate)| tidelog / rate);
        let mib = |bytes: u64| Some(bytes as f64 / 1048576.0);
        let per_operation = |count: Option<u64>, run: &Record| {
            count.map(|count| count as f64 / run.operations as f64)
        };
        let cells = [
            rate,
            ratio,
            median(&runs, |run| Some(run.p50)),
            median(&runs, |run| Some(run.p99)),
            median(&runs, |run| Some(run.p999)),
            median(&runs, |run| Some(run.max)),
            median(&runs, |run| Some(run.cpu_seconds)),
            median(&runs, |run| run.write_amplification),
            median(&runs, |run| mib(run.disk_bytes)),
            median(&runs, |run| mib(run.peak_rss_bytes)),
            median(&runs, |run| mib(run.peak_anonymous_bytes)),
            median(&runs, |run| per_operation(run.device_flushes, run)),
            median(&runs, |run| per_operation(run.device_written_bytes, run)),
        ];
        write!(text, "| {engine} |")?;
        for cell in cells {
            write!(text, " {} |", cell.map_or_else(|| "-".to_owned(), number))?;
        }
        let wrong: u64 = runs.iter().map(|run| run.wrong_answers).sum();
        writeln!(text, " {wrong} | {} |", runs.len())?;
    }
    Ok(())
}

/// The median of what the runs have; of two in the middle their mean.
fn median(runs: &[&Record], value: impl Fn(&Record) -> Option<f64>) -> Option<f64> {
    let mut values: Vec<f64> = runs.iter().filter_map(|run| value(run)).collect();
    values.sort_unstable_by(f64::total_cmp);
    let upper = values.len() / 2;
    let lower = values.len().checked_sub(1)? / 2;
    Some((values[lower] + values[upper]) / 2.0)
}

/// Three significant digits, thousands set off.
fn number(value: f64) -> String {
    if value != 0.0 && value.abs() < 100.0 {
        let digits = if value.abs() < 1.0 {
            3
        } else if value.abs() < 10.0 {
            2
        } else {
            1
        };
        return format!("{value:.digits$}");
    }
    let whole = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!(number(0.0), "0");
        assert_eq!(number(0.0712), "0.071");
        assert_eq!(number(3.268), "3.27");
        assert_eq!(number(82.61), "82.6");
        assert_eq!(number(443_069.4), "443,069");
        assert_eq!(number(1_000.0), "1,000");
    }

    #[test]
    fn medians_leave_out_what_is_missing() {
        assert_eq!(median(&[], |_| Some(1.0)), None);
    }
}
