//! The parent: goes through the runs, engines taking turns, and keeps what they measure.

use crate::Result;
use crate::child::Cell;
use crate::cli::{CommonOptions, RunOptions, ScalingOptions, ShortOptions};
use crate::engine::EngineName;
use crate::limits::Limits;
use crate::report;
use crate::results::Results;
use crate::workload::WorkloadName;
use std::path::{Path, PathBuf};
use tidelog_benches::measure::Machine;

/// Size of the workloads of `short`.
const SHORT: f64 = 0.002;

/// Runs everything and prints it. Returns whether every run ended well and every answer was right.
pub fn run(options: &RunOptions) -> Result<bool> {
    let common = &options.common;
    std::fs::create_dir_all(&common.directory)?;
    let default = common.directory.join("compare.jsonl");
    let path = common.results.as_ref().unwrap_or(&default);
    let results = Results::open(path, common.fresh)?;
    // Whoever has the results has the databases too: what lies there was left by a killed run.
    let folder = common.directory.join("compare-databases");
    remove(&folder)?;
    std::fs::create_dir(&folder)?;
    let mut plan = Plan { options, common, folder: folder.clone(), results };
    let outcome = plan.run();
    remove(&folder)?;
    outcome
}

/// The runs of what grows.
pub fn scaling(options: ScalingOptions) -> Result<bool> {
    let ScalingOptions { workload, engine, repeat, common } = options;
    run(&RunOptions { workload, engine, repeat, common })
}

/// Everything, small.
pub fn short(options: ShortOptions) -> Result<bool> {
    let ShortOptions { engine, directory } = options;
    // A file of its own: it is begun anew each time.
    let results = Some(directory.join("short.jsonl"));
    let common = CommonOptions { directory, results, fresh: true, scale: SHORT };
    run(&RunOptions { workload: WorkloadName::all(), engine, repeat: 1, common })
}

struct Plan<'a> {
    options: &'a RunOptions,
    common: &'a CommonOptions,
    folder: PathBuf,
    results: Results,
}

impl Plan<'_> {
    fn run(&mut self) -> Result<bool> {
        let machine = Machine::find(&self.folder);
        self.results.describe(machine, || Limits::measure(&self.folder, self.common.scale))?;
        for repeat in 1..=self.options.repeat {
            for workload in self.workloads() {
                for engine in self.engines(workload, repeat) {
                    for parameter in workload.parameters(self.common.scale) {
                        self.cell(Cell { workload, engine, parameter, repeat })?;
                    }
                }
            }
            for engine in &self.options.engine {
                remove(&self.directory(WorkloadName::W1, *engine))?;
            }
        }
        println!("{}", report::markdown(self.results.content(), self.common.scale));
        let content = self.results.content();
        let wrong: u64 = content.records.iter().map(|record| record.wrong_answers).sum();
        eprintln!("{} runs failed, {wrong} wrong answers", content.failures.len());
        Ok(content.failures.is_empty() && wrong == 0)
    }

    /// Runs a cell, unless its records are there and no other cell needs its database.
    fn cell(&mut self, cell: Cell) -> Result<()> {
        let is_needed = self.is_needed(cell);
        if self.is_done(cell) && !is_needed {
            return Ok(());
        }
        eprintln!("{cell} ...");
        let directory = self.directory(cell.workload, cell.engine);
        if !cell.workload.follows_ingest() {
            remove(&directory)?;
        } else if !directory.exists() {
            let what = "the run that makes its database has failed";
            self.results.fail(format!("{cell}: {what}"));
            return Ok(());
        }
        match cell.run(&directory, self.common.scale) {
            // A database that was only made again is no second measurement.
            Ok(_) if self.is_done(cell) => {}
            Ok(records) => {
                for record in records {
                    self.results.add(record)?;
                }
            }
            Err(error) => {
                self.results.fail(format!("{cell}: {error}"));
                remove(&directory)?;
            }
        }
        if !is_needed && !cell.workload.follows_ingest() {
            remove(&directory)?;
        }
        Ok(())
    }

    fn is_done(&self, cell: Cell) -> bool {
        let mut records = self.results.content().records.iter();
        records.any(|record| cell.has(record, self.common.scale))
    }

    /// Whether what the run leaves is to be read by another one.
    fn is_needed(&self, cell: Cell) -> bool {
        let reads = |workload: &WorkloadName| {
            let reader = Cell { workload: *workload, ..cell };
            workload.follows_ingest() && cell.engine.runs(*workload) && !self.is_done(reader)
        };
        cell.workload == WorkloadName::W1 && self.options.workload.iter().any(reads)
    }

    /// The workloads asked for, and W1 where one of them needs its database, in order.
    fn workloads(&self) -> Vec<WorkloadName> {
        let mut workloads = self.options.workload.clone();
        if workloads.iter().any(|workload| workload.follows_ingest()) {
            workloads.push(WorkloadName::W1);
        }
        workloads.sort_unstable();
        workloads.dedup();
        workloads
    }

    /// The engines that run the workload; another one begins each time.
    fn engines(&self, workload: WorkloadName, repeat: u32) -> Vec<EngineName> {
        let engines = self.options.engine.iter().copied();
        let mut engines: Vec<EngineName> = engines.filter(|engine| engine.runs(workload)).collect();
        let count = engines.len().max(1);
        engines.rotate_left(usize::try_from(repeat - 1).unwrap_or(0) % count);
        engines
    }

    /// Readers of W1's database lie where W1 has left it.
    fn directory(&self, workload: WorkloadName, engine: EngineName) -> PathBuf {
        let home = if workload.follows_ingest() { WorkloadName::W1 } else { workload };
        self.folder.join(format!("{home}-{engine}"))
    }
}

fn remove(directory: &Path) -> Result<()> {
    if directory.exists() {
        std::fs::remove_dir_all(directory)?;
    }
    Ok(())
}
