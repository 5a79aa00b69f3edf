//! The goals, each with what was reached in these runs. Goals are ratios to peers of the same run,
//! or to what the machine can do at best.

use super::number::{cell, median, number};
use crate::limits::Limits;
use crate::record::Record;
use std::fmt::Write;

/// A figure of a run.
type Figure = fn(&Record) -> Option<f64>;

const RATE: Figure = |run| Some(run.rate);
const CPU: Figure = |run| Some(run.cpu_seconds);
const P50: Figure = |run| Some(run.p50);
const P99: Figure = |run| Some(run.p99);
const P999: Figure = |run| Some(run.p999);
const AMPLIFICATION: Figure = |run| run.write_amplification;
const WRITTEN: Figure = |run| Some(run.written_bytes as f64);
const WRITTEN_IN_STRETCH: Figure = |run| Some(run.written_in_stretch_bytes as f64);
const DISK: Figure = |run| Some(run.disk_bytes as f64);
const LOGICAL: Figure = |run| Some(run.logical_bytes as f64);
const ANON_MIB: Figure = |run| Some(run.peak_anonymous_bytes as f64 / 1_048_576.0);
const MAPPED: Figure = |run| Some(run.mapped_bytes as f64);
const FLUSHES: Figure = |run| Some(run.device_flushes? as f64 / run.operations as f64);
const READS: Figure = |run| Some(run.device_reads? as f64 / run.operations as f64);
const STEADY_DISK: Figure = |run| run.figures.get("disk MiB at most, steady").copied();
const MAX_MS: Figure = |run| Some(run.max / 1e3);
const NEWEST_P50: Figure = |run| run.figures.get("newest 20 p50 us").copied();
const NEWEST_P99: Figure = |run| run.figures.get("newest 20 p99 us").copied();
const LIVE: Figure = |run| run.figures.get("live MiB").map(|mib| mib * 1_048_576.0);

/// Databases beside which Tidelog is to be better than every one.
const PEERS: [&str; 5] = ["fjall", "rocksdb", "redb", "heed", "rusqlite"];

/// Those of them that can expire.
const EXPIRING: [&str; 2] = ["fjall", "rocksdb"];

/// What is asked of a value.
enum Bound {
    AtLeast(f64),
    AtMost(f64),
    Below(f64),
    /// Nothing: the figure stands beside another one.
    Nothing,
}

/// One goal; no value where what it needs was not run.
struct Goal {
    what: &'static str,
    value: Option<f64>,
    bound: Bound,
}

/// Writes the table of goals, or nothing where none was measured.
pub fn write_goals(
    text: &mut String,
    records: &[&Record],
    limits: Option<&Limits>,
) -> std::fmt::Result {
    let of = Of { records };
    let groups = [
        ingest(&of),
        durable(&of, limits),
        reads(&of),
        cold(&of),
        others(&of),
        steady(&of),
        scaling(&of),
    ];
    let goals: Vec<Goal> = groups.into_iter().flatten().collect();
    if goals.iter().all(|goal| goal.value.is_none()) {
        return Ok(());
    }
    writeln!(text, "\n## Goals\n\n| goal | asked | reached | |\n|---|---|---|---|")?;
    for Goal { what, value, bound } in goals {
        let (asked, is_met) = match bound {
            Bound::Nothing => {
                writeln!(text, "| {what} | - | {} | |", cell(value))?;
                continue;
            }
            Bound::AtLeast(least) => {
                (format!(">= {}", number(least)), value.map(|value| value >= least))
            }
            Bound::AtMost(most) => {
                (format!("<= {}", number(most)), value.map(|value| value <= most))
            }
            Bound::Below(most) => (format!("< {}", number(most)), value.map(|value| value < most)),
        };
        let verdict = match is_met {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "not measured",
        };
        writeln!(text, "| {what} | {asked} | {} | {verdict} |", cell(value))?;
    }
    Ok(())
}

/// Medians of the runs.
struct Of<'a> {
    records: &'a [&'a Record],
}

impl Of<'_> {
    fn figure(&self, engine: &str, workload: &str, figure: Figure) -> Option<f64> {
        let own = |record: &&&Record| record.engine == engine && record.workload == workload;
        let runs: Vec<&Record> = self.records.iter().filter(own).copied().collect();
        median(&runs, figure)
    }

    /// A figure of Tidelog at one step of what grows.
    fn step(&self, workload: &str, parameter: u64, figure: Figure) -> Option<f64> {
        let own = |record: &&&Record| {
            record.engine == "tidelog"
                && record.workload == workload
                && record.parameter == parameter
        };
        let runs: Vec<&Record> = self.records.iter().filter(own).copied().collect();
        median(&runs, figure)
    }

    /// A figure of `engine` through that of a peer.
    fn ratio(&self, engine: &str, peer: &str, workload: &str, figure: Figure) -> Option<f64> {
        let peer = self.figure(peer, workload, figure)?;
        Some(self.figure(engine, workload, figure)? / peer)
    }

    /// A ratio to several peers; none unless all were run.
    fn ratios(&self, engine: &str, peers: &[&str], workload: &str, figure: Figure) -> Vec<f64> {
        let ratios = peers.iter().map(|peer| self.ratio(engine, peer, workload, figure));
        ratios.collect::<Option<Vec<f64>>>().unwrap_or_default()
    }

    fn least(&self, engine: &str, peers: &[&str], workload: &str, figure: Figure) -> Option<f64> {
        self.ratios(engine, peers, workload, figure).into_iter().min_by(f64::total_cmp)
    }

    fn largest(&self, engine: &str, peers: &[&str], workload: &str, figure: Figure) -> Option<f64> {
        self.ratios(engine, peers, workload, figure).into_iter().max_by(f64::total_cmp)
    }
}

fn goal(what: &'static str, value: Option<f64>, bound: Bound) -> Goal {
    Goal { what, value, bound }
}

fn ingest(of: &Of<'_>) -> Vec<Goal> {
    use Bound::{AtLeast, AtMost, Below};
    let lsm = ["fjall", "rocksdb"];
    let rate = |engine| of.least(engine, &lsm, "w1", RATE);
    let to_rocksdb = |engine, figure| of.ratio(engine, "rocksdb", "w1", figure);
    let own = |engine, figure| of.figure(engine, "w1", figure);
    vec![
        goal("W1: messages/s to the better of fjall and RocksDB", rate("tidelog"), AtLeast(5.0)),
        goal(
            "W1: CPU seconds to the better of fjall and RocksDB",
            of.largest("tidelog", &lsm, "w1", CPU),
            AtMost(0.2),
        ),
        goal("W1: p99.9 of a batch to RocksDB's", to_rocksdb("tidelog", P999), AtMost(1.0)),
        goal("W1: write amplification, settled", own("tidelog", AMPLIFICATION), Below(2.2)),
        goal(
            "W1 with lz4: messages/s to the better of fjall and RocksDB",
            rate("tidelog-lz4"),
            AtLeast(4.0),
        ),
        goal(
            "W1 with lz4: space, settled, to RocksDB's",
            to_rocksdb("tidelog-lz4", DISK),
            AtMost(1.0),
        ),
        goal("W1 with lz4: write amplification", own("tidelog-lz4", AMPLIFICATION), Below(3.0)),
    ]
}

fn durable(of: &Of<'_>, limits: Option<&Limits>) -> Vec<Goal> {
    use Bound::{AtLeast, AtMost};
    let commit = of.figure("tidelog", "w2", P50);
    let to = |limit: Option<f64>| Some(commit? / limit?);
    let buffered = to(limits.map(|limits| limits.sync_written_us));
    let direct = to(limits.and_then(|limits| limits.sync_written_direct_us));
    let rocksdb = of.figure("rocksdb", "w3", RATE);
    let asynchronous = of.figure("tidelog", "w3a", RATE).zip(rocksdb);
    vec![
        goal("W2: p50 to that of a plain fdatasync of 4 KiB, written space", buffered, AtMost(1.0)),
        goal("W2: p50 to that of the same with direct I/O", direct, AtMost(1.1)),
        // The device counts everybody's flushes, so a few too many are not the engine's.
        goal("W2: flushes a commit", of.figure("tidelog", "w2", FLUSHES), AtMost(1.05)),
        goal(
            "W3: commits/s to RocksDB's own grouping",
            of.ratio("tidelog", "rocksdb", "w3", RATE),
            AtLeast(4.0),
        ),
        goal("W3: commits/s to fjall", of.ratio("tidelog", "fjall", "w3", RATE), AtLeast(25.0)),
        goal(
            "W3a: commits/s of 64 asynchronous writers to RocksDB's of 64 threads",
            asynchronous.map(|(tidelog, rocksdb)| tidelog / rocksdb),
            AtLeast(5.0),
        ),
    ]
}

fn reads(of: &Of<'_>) -> Vec<Goal> {
    use Bound::AtMost;
    let to_lmdb = |workload, figure| of.ratio("tidelog", "heed", workload, figure);
    vec![
        goal("W4 newest: p50 to LMDB's", to_lmdb("w4-newest", P50), AtMost(0.5)),
        goal("W4 newest: p99 to LMDB's", to_lmdb("w4-newest", P99), AtMost(0.5)),
        goal("W4 forward: p50 to LMDB's", to_lmdb("w4-forward", P50), AtMost(0.5)),
        goal("W4 forward: p99 to LMDB's", to_lmdb("w4-forward", P99), AtMost(0.5)),
        goal(
            "W4: anonymous memory, MiB (text and counts of the harness included)",
            of.figure("tidelog", "w4-forward", ANON_MIB),
            AtMost(64.0),
        ),
        goal("W4: mapped resident memory to LMDB's", to_lmdb("w4-forward", MAPPED), AtMost(0.65)),
    ]
}

fn cold(of: &Of<'_>) -> Vec<Goal> {
    let reads = |workload| of.largest("tidelog", &PEERS, workload, READS);
    vec![
        goal(
            "W4C newest: device reads a scan to the fewest of any peer",
            reads("w4c-newest"),
            Bound::Below(1.0),
        ),
        goal(
            "W4C forward: device reads a scan to the fewest of any peer",
            reads("w4c-forward"),
            Bound::Below(1.0),
        ),
    ]
}

fn others(of: &Of<'_>) -> Vec<Goal> {
    use Bound::{AtLeast, AtMost, Nothing};
    let share = |figure| {
        let logical = of.figure("tidelog", "w5", LOGICAL)?;
        Some(of.figure("tidelog", "w5", figure)? / logical)
    };
    let first_read_ms = of.figure("tidelog", "w6", P50).map(|micros| micros / 1e3);
    vec![
        goal(
            "W5: deliveries/s to RocksDB's",
            of.ratio("tidelog", "rocksdb", "w5", RATE),
            AtLeast(30.0),
        ),
        goal(
            "W5: bytes written to bytes delivered, without the creation of the file",
            share(WRITTEN_IN_STRETCH),
            AtMost(1.0 / 15.0),
        ),
        goal("W5: the same with the creation of the file", share(WRITTEN), Nothing),
        goal("W5: live bytes to bytes delivered", share(LIVE), AtMost(1.0 / 40.0)),
        goal("W5: bytes on disk, log and free space included", share(DISK), Nothing),
        goal("W6: open after kill to the first read, ms", first_read_ms, AtMost(100.0)),
        goal(
            "W7: reads/s to the best of all peers",
            of.least("tidelog", &PEERS, "w7-read", RATE),
            AtLeast(1.0),
        ),
        goal(
            "W7: p99 of a read to the best of all peers",
            of.largest("tidelog", &PEERS, "w7-read", P99),
            AtMost(1.0),
        ),
    ]
}

/// What must stay flat over an hour, and what the peers that can expire do in the same time.
fn steady(of: &Of<'_>) -> Vec<Goal> {
    use Bound::{AtMost, Nothing};
    let own = |figure| of.figure("tidelog", "w8-write", figure);
    let to_peers = |workload, figure| of.largest("tidelog", &EXPIRING, workload, figure);
    let longest = own(MAX_MS).zip(of.figure("tidelog", "w8-read", MAX_MS));
    vec![
        goal(
            "W8: size on the disk, second half of the steady state to the first",
            own(|run| run.figures.get("disk drift").copied()),
            AtMost(1.05),
        ),
        goal(
            "W8: p99 of a write, second half to the first",
            own(|run| run.figures.get("write p99 drift").copied()),
            AtMost(1.25),
        ),
        goal(
            "W8: p99 of a read, second half to the first",
            own(|run| run.figures.get("read p99 drift").copied()),
            AtMost(1.25),
        ),
        goal(
            "W8: longest operation, from when it was due, ms",
            longest.map(|(write, read)| write.max(read)),
            AtMost(50.0),
        ),
        goal(
            "W8: p99 of a write to the better of fjall and RocksDB",
            to_peers("w8-write", P99),
            Nothing,
        ),
        goal(
            "W8: p99 of a read to the better of fjall and RocksDB",
            to_peers("w8-read", P99),
            Nothing,
        ),
        goal(
            "W8: largest size on the disk, steady, to the smaller of fjall's and RocksDB's",
            to_peers("w8-write", STEADY_DISK),
            Nothing,
        ),
    ]
}

fn scaling(of: &Of<'_>) -> Vec<Goal> {
    use Bound::{AtLeast, Below};
    let slowest = |workload| {
        let one = of.step(workload, 1, RATE)?;
        let more: Option<Vec<f64>> =
            [2, 4, 8, 16].iter().map(|&threads| of.step(workload, threads, RATE)).collect();
        more?.into_iter().min_by(f64::total_cmp).map(|slowest| slowest / one)
    };
    let timelines = |count| of.step("scaling-timelines", count, RATE);
    let ingest = timelines(1_000).zip(timelines(10_000_000));
    let gigabytes = |count, figure| of.step("scaling-gigabytes", count, figure);
    let growth = |figure| Some(gigabytes(20, figure)? / gigabytes(1, figure)?);
    vec![
        goal(
            "Scaling: commits/s not synced, slowest of 2 to 16 threads to one",
            slowest("scaling-threads-buffered"),
            AtLeast(1.0),
        ),
        goal(
            "Scaling: commits/s durable, slowest of 2 to 16 threads to one",
            slowest("scaling-threads-durable"),
            AtLeast(1.0),
        ),
        goal(
            "Scaling: ingest into 1,000 timelines to that into 10,000,000",
            ingest.map(|(few, many)| few / many),
            Below(3.0),
        ),
        goal("Scaling: newest 20, p50 of 20 GB to that of 1 GB", growth(NEWEST_P50), Below(1.5)),
        goal("Scaling: newest 20, p99 of 20 GB to that of 1 GB", growth(NEWEST_P99), Below(1.5)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_met_missed_or_not_measured() {
        let run = |engine: &str, rate, cpu_seconds| Record {
            workload: "w1".to_owned(),
            engine: engine.to_owned(),
            rate,
            cpu_seconds,
            write_amplification: Some(2.2),
            ..Record::default()
        };
        let runs = [run("tidelog", 50.0, 1.0), run("fjall", 10.0, 9.0), run("rocksdb", 9.0, 4.0)];
        let mut text = String::new();
        write_goals(&mut text, &runs.iter().collect::<Vec<_>>(), None).expect("strings grow");
        let verdict = |what: &str| {
            let row = text.lines().find(|line| line.contains(what)).expect("every goal has a row");
            row.rsplit(" | ").next().map(|cell| cell.trim_matches([' ', '|', '*']).to_owned())
        };
        assert_eq!(verdict("W1: messages/s"), Some("met".to_owned()), "{text}");
        assert_eq!(verdict("W1: CPU seconds"), Some("missed".to_owned()), "{text}");
        assert_eq!(verdict("W1: write amplification"), Some("missed".to_owned()), "{text}");
        assert_eq!(verdict("W3: commits/s to fjall"), Some("not measured".to_owned()), "{text}");
    }
}
