//! `soak timelines`: millions of timelines of one entry each in a bounded memory.
//!
//! ```text
//!   load ── kill -9 ──► recover: open, first appends to cold timelines, close ──► reopen: read all
//! ```
//! Each phase is a process of its own, so that its memory is its own. Behind the first pass comes a
//! second one in a memory cgroup, where one can be made; else it is skipped, and that is said.

mod phase;

pub(crate) use phase::run as run_phase;

use crate::Result;
use crate::arguments::{Common, PhaseName, ReadModeName, TimelinesArguments};
use crate::report::{Matter, Report, note};
use crate::stage::{Stage, small_options};
use serde_json::{Map, Value, json};
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use tidelog_benches::measure::MemoryGroup;
use tidelog_engine::Options;

/// The figures of a run.
#[derive(Debug, Clone, serde::Serialize)]
struct Parameters {
    timelines: u64,
    payload: usize,
    cold_appends: u64,
    memory_budget: usize,
    limit_mib: u64,
    read_mode: &'static str,
    seed: u64,
}

impl Parameters {
    fn new(common: &Common, asked: &TimelinesArguments) -> Parameters {
        let (timelines, cold_appends) = match common.short {
            true => (50_000, 500),
            false => (10_000_000, 20_000),
        };
        Parameters {
            timelines: asked.timelines.unwrap_or(timelines),
            payload: asked.payload.unwrap_or(64),
            cold_appends: asked.cold_appends.unwrap_or(cold_appends),
            memory_budget: options(common).memory_budget,
            limit_mib: asked.limit,
            read_mode: match options(common).read_mode {
                tidelog_engine::ReadMode::Map => "map",
                tidelog_engine::ReadMode::Read => "read",
            },
            seed: common.seed,
        }
    }
}

/// Reads go through the block cache unless asked otherwise: the harder case for anonymous memory,
/// and the one in which block reads can be counted.
fn options(common: &Common) -> Options {
    let base = match common.short {
        true => small_options(),
        false => Options { memory_budget: 256 << 20, ..Options::default() },
    };
    let mut options = crate::stage::asked_options(common, base);
    if common.read_mode.is_none() {
        options.read_mode = ReadModeName::Read.into();
    }
    options
}

/// Runs all phases. Returns whether all was right.
pub(crate) fn run(common: &Common, arguments: &TimelinesArguments) -> Result<bool> {
    let parameters = Parameters::new(common, arguments);
    let mut report = Report::new("timelines", common.strict);
    let pass = |report: &Report, group: Option<&MemoryGroup>| -> Result<(Stage, Pass)> {
        let stage = Stage::new(common, options(common))?;
        let pass = Pass::run(common, arguments, &stage.path(), report, group)?;
        Ok((stage, pass))
    };
    let (stage, free) = pass(&report, None)?;
    stage.verify(&report)?;
    free.judge(&mut report, parameters.memory_budget);
    let limited = match MemoryGroup::new(parameters.limit_mib << 20) {
        Ok(group) => {
            let (_, limited) = pass(&report, Some(&group))?;
            json!({ "bytes": parameters.limit_mib << 20, "phases": limited.phases })
        }
        Err(error) => {
            note(format_args!("SKIPPED: the pass under a memory limit: {error}"));
            json!({ "skipped": error.to_string() })
        }
    };
    let values = json!({ "phases": free.phases, "limited": limited });
    report.end(stage.folder(), serde_json::to_value(&parameters)?, values)
}

/// What the phases of one pass have said at their end.
struct Pass {
    phases: Map<String, Value>,
}

impl Pass {
    fn run(
        common: &Common,
        arguments: &TimelinesArguments,
        path: &Path,
        report: &Report,
        group: Option<&MemoryGroup>,
    ) -> Result<Pass> {
        let mut phases = Map::new();
        for (name, phase) in [
            ("load", PhaseName::Load),
            ("recover", PhaseName::Recover),
            ("reopen", PhaseName::Reopen),
        ] {
            let mut command = command(common, arguments, name, path)?;
            if let Some(group) = group {
                group.enter(&mut command);
            }
            let last = follow(command, phase, report, group.is_some())?;
            phases.insert(name.to_owned(), last);
        }
        Ok(Pass { phases })
    }

    fn judge(&self, report: &mut Report, budget: usize) {
        let figure = |phase: &str, name: &str| {
            self.phases.get(phase).and_then(|values| values[name].as_f64()).unwrap_or(f64::NAN)
        };
        // 512 MiB at the budget of the full size, which is 256 MiB.
        let memory = 2.0 * budget as f64;
        for phase in ["load", "recover", "reopen"] {
            let peak = figure(phase, "rss_anon_bytes_peak");
            report.goal(&format!("rss_anon_{phase}"), peak, memory, Matter::Size);
        }
        let opened = figure("recover", "open_seconds");
        report.goal("open_after_kill_seconds", opened, 1.0, Matter::Speed);
        let reads = figure("recover", "block_reads_per_cold_append");
        report.goal("block_reads_per_cold_append", reads, 1.1, Matter::Size);
    }
}

/// This program again, for one phase.
fn command(
    common: &Common,
    arguments: &TimelinesArguments,
    phase: &str,
    path: &Path,
) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["timelines-phase", "--phase", phase, "--path"]).arg(path);
    let mut pass = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            command.arg(format!("--{name}")).arg(value);
        }
    };
    pass("seed", Some(common.seed.to_string()));
    pass("timelines", arguments.timelines.map(|value| value.to_string()));
    pass("payload", arguments.payload.map(|value| value.to_string()));
    pass("cold-appends", arguments.cold_appends.map(|value| value.to_string()));
    pass("output-rate", common.output_rate.map(|value| value.to_string()));
    pass("memory-budget", common.memory_budget.map(|value| value.to_string()));
    pass("memtable", common.memtable.map(|value| value.to_string()));
    pass("ring", common.ring.map(|value| value.to_string()));
    let read_mode = common.read_mode.map(|mode| match mode {
        ReadModeName::Map => "map".to_owned(),
        ReadModeName::Read => "read".to_owned(),
    });
    pass("read-mode", read_mode);
    if common.short {
        command.arg("--short");
    }
    Ok(command)
}

/// Runs a phase: its lines become intervals, its last one is returned.
fn follow(
    mut command: Command,
    phase: PhaseName,
    report: &Report,
    is_limited: bool,
) -> Result<Value> {
    const SIGKILL: i32 = 9;
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().expect("the output was piped");
    let mut last = Value::Null;
    for line in BufReader::new(output).lines() {
        last = serde_json::from_str(&line?)?;
        let mut line = json!({ "limited": is_limited });
        if let (Some(line), Some(values)) = (line.as_object_mut(), last.as_object()) {
            line.extend(values.clone());
        }
        report.interval(line)?;
    }
    let status = child.wait()?;
    let ended_well = match phase {
        PhaseName::Load => status.signal() == Some(SIGKILL),
        PhaseName::Recover | PhaseName::Reopen => status.success(),
    };
    let is_whole = last["is_last"] == true;
    if !ended_well || !is_whole {
        report.wrong.add(format_args!("the phase {phase:?} ended in {status}"));
    }
    for _ in 0..last["wrong_answers"].as_u64().unwrap_or(0) {
        report.wrong.add(format_args!("a wrong answer in the phase {phase:?}, see above"));
    }
    Ok(last)
}
