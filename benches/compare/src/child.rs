//! One run as a process of its own.

use crate::Result;
use crate::engine::EngineName;
use crate::record::Record;
use crate::workload::WorkloadName;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use tidelog_benches::measure::MemoryGroup;

const SIGABRT: i32 = 6;

/// One run: of what, on what, which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// The workload.
    pub workload: WorkloadName,
    /// The engine.
    pub engine: EngineName,
    /// What grows, in a workload of scaling.
    pub parameter: u64,
    /// Which repetition, from 1.
    pub repeat: u32,
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} on {}, repetition {}", self.workload, self.engine, self.repeat)?;
        match self.parameter {
            0 => Ok(()),
            parameter => write!(f, ", {parameter}"),
        }
    }
}

impl Cell {
    /// Whether the record is of this run.
    pub fn has(&self, record: &Record, scale: f64) -> bool {
        record.is_of(self.workload.name())
            && record.engine == self.engine.name()
            && record.parameter == self.parameter
            && record.repeat == self.repeat
            && record.scale.total_cmp(&scale).is_eq()
    }

    /// Runs it with its database in `directory`, and gives its records; none where
    /// this machine cannot do it, which is said aloud.
    pub fn run(&self, directory: &Path, scale: f64) -> Result<Vec<Record>> {
        std::fs::create_dir_all(directory)?;
        // What the run before has left to be written must not be written during this one.
        rustix::fs::sync();
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("child")
            .args(["--workload", self.workload.name(), "--engine", self.engine.name()])
            .args(["--parameter", &self.parameter.to_string()])
            .args(["--scale", &scale.to_string()])
            .arg("--directory")
            .arg(directory);
        let group = match self.workload.memory_bytes(scale).map(MemoryGroup::new) {
            None => None,
            Some(Ok(group)) => Some(group),
            Some(Err(error)) => {
                eprintln!("{self}: skipped, no memory cgroup can be made here: {error}");
                return Ok(Vec::new());
            }
        };
        if let Some(group) = &group {
            group.enter(&mut command);
        }
        let output = command.stderr(Stdio::inherit()).output()?;
        let ended_well = match self.workload {
            WorkloadName::W1 => output.status.signal() == Some(SIGABRT),
            _ => output.status.success(),
        };
        let text = String::from_utf8(output.stdout)?;
        let records = text.lines().map(serde_json::from_str).collect::<Result<Vec<Record>, _>>()?;
        if !ended_well || records.is_empty() {
            return Err(format!("the run ended in {}", output.status).into());
        }
        let take = |mut record: Record| {
            record.repeat = self.repeat;
            record
        };
        Ok(records.into_iter().map(take).collect())
    }
}
