//! The parent: starts a process for each run, engines taking turns, and gathers what they print.

use crate::Result;
use crate::cli::RunOptions;
use crate::engine::EngineName;
use crate::limits::Limits;
use crate::record::Record;
use crate::report;
use crate::workload::WorkloadName;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tidelog_benches::measure::Machine;

const SIGABRT: i32 = 6;

/// Runs everything and prints it. Returns whether every run ended well and every answer was right.
pub fn run(options: &RunOptions) -> Result<bool> {
    std::fs::create_dir_all(&options.directory)?;
    let folder = options.directory.join(format!("tidelog-compare-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let outcome = run_in(options, &folder);
    std::fs::remove_dir_all(&folder)?;
    outcome
}

fn run_in(options: &RunOptions, folder: &Path) -> Result<bool> {
    let machine = Machine::find(folder);
    print_line(&serde_json::json!({ "machine": machine }).to_string())?;
    let limits = Limits::measure(folder, options.scale)?;
    print_line(&serde_json::json!({ "limits": limits }).to_string())?;

    let mut records = Vec::new();
    let mut failures = 0_u32;
    for repeat in 1..=options.repeat {
        for workload in workloads(options) {
            for engine in engines(options, workload, repeat) {
                let directory = directory(folder, workload, engine);
                match child(options, workload, engine, &directory) {
                    Ok(lines) => {
                        for mut record in lines {
                            record.repeat = repeat;
                            print_line(&serde_json::to_string(&record)?)?;
                            records.push(record);
                        }
                    }
                    Err(error) => {
                        failures += 1;
                        eprintln!("{} on {}: {error}", workload.name(), engine.name());
                    }
                }
                if !is_needed(options, workload) {
                    remove(&directory)?;
                }
            }
        }
        for engine in &options.engine {
            remove(&directory(folder, WorkloadName::W1, *engine))?;
        }
    }
    print_line(&report::markdown(&machine, &limits, &records))?;
    let wrong: u64 = records.iter().map(|record| record.wrong_answers).sum();
    eprintln!("{} runs, {failures} failed, {wrong} wrong answers", records.len());
    Ok(failures == 0 && wrong == 0)
}

/// The workloads asked for, and W1 where one of them needs its database, in order.
fn workloads(options: &RunOptions) -> Vec<WorkloadName> {
    let mut workloads = options.workload.clone();
    if workloads.iter().any(|workload| workload.follows_ingest()) {
        workloads.push(WorkloadName::W1);
    }
    workloads.sort_unstable();
    workloads.dedup();
    workloads
}

/// The engines that can run the workload; another one begins each time.
fn engines(options: &RunOptions, workload: WorkloadName, repeat: u32) -> Vec<EngineName> {
    let able = |engine: &&EngineName| engine.has_reads() || !workload.follows_ingest();
    let mut engines: Vec<EngineName> = options.engine.iter().filter(able).copied().collect();
    let count = engines.len().max(1);
    engines.rotate_left(usize::try_from(repeat - 1).unwrap_or(0) % count);
    engines
}

/// W4 and W6 lie where W1 has left its database.
fn directory(folder: &Path, workload: WorkloadName, engine: EngineName) -> PathBuf {
    let home = if workload.follows_ingest() { WorkloadName::W1 } else { workload };
    folder.join(format!("{}-{}", home.name(), engine.name()))
}

/// Whether the database of a workload is to be read by another one.
fn is_needed(options: &RunOptions, workload: WorkloadName) -> bool {
    let follows = options.workload.iter().any(|workload| workload.follows_ingest());
    follows && (workload == WorkloadName::W1 || workload.follows_ingest())
}

fn child(
    options: &RunOptions,
    workload: WorkloadName,
    engine: EngineName,
    directory: &Path,
) -> Result<Vec<Record>> {
    std::fs::create_dir_all(directory)?;
    // What the run before has left to be written must not be written during this one.
    rustix::fs::sync();
    eprintln!("{} on {} ...", workload.name(), engine.name());
    let output = Command::new(std::env::current_exe()?)
        .arg("child")
        .args(["--workload", workload.name(), "--engine", engine.name()])
        .args(["--scale", &options.scale.to_string()])
        .arg("--directory")
        .arg(directory)
        .stderr(Stdio::inherit())
        .output()?;
    let ended_well = match workload {
        WorkloadName::W1 => output.status.signal() == Some(SIGABRT),
        _ => output.status.success(),
    };
    let text = String::from_utf8(output.stdout)?;
    let records = text.lines().map(serde_json::from_str).collect::<Result<Vec<Record>, _>>()?;
    if !ended_well || records.is_empty() {
        return Err(format!("the run ended in {}", output.status).into());
    }
    Ok(records)
}

fn remove(directory: &Path) -> Result<()> {
    if directory.exists() {
        std::fs::remove_dir_all(directory)?;
    }
    Ok(())
}

fn print_line(line: &str) -> Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}")?;
    Ok(output.flush()?)
}
