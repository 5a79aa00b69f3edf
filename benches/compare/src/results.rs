//! The file of results: a line of JSON for the machine, one for its limits, and one for each
//! record. It is appended to, so a run that is killed loses only the run that was going on.

use crate::Result;
use crate::limits::Limits;
use crate::record::Record;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use tidelog_benches::measure::Machine;

/// The file, and what it holds.
pub struct Results {
    file: File,
    content: Content,
}

/// What a file of results holds.
#[derive(Default)]
pub struct Content {
    /// The machine.
    pub machine: Option<Machine>,
    /// Its limits.
    pub limits: Option<Limits>,
    /// Every record, in the order in which they were measured.
    pub records: Vec<Record>,
    /// Runs of this process that failed, and why. They are not kept: the next run tries again.
    pub failures: Vec<String>,
}

/// One line.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Machine { machine: Machine },
    Limits { limits: Box<Limits> },
    Record(Box<Record>),
}

impl Results {
    /// Opens or creates the file, which is this process's alone from now on.
    pub fn open(path: &Path, fresh: bool) -> Result<Results> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| format!("another run writes {}: {error}", path.display()))?;
        if fresh {
            file.set_len(0)?;
        }
        // What a killed run has begun to write would be the beginning of the next line.
        let text = std::fs::read(path)?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        file.set_len(whole as u64)?;
        Ok(Results { file, content: Content::read(path)? })
    }

    /// What it holds.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// Takes the machine and its limits, unless they are there.
    pub fn describe(
        &mut self,
        machine: Machine,
        limits: impl FnOnce() -> Result<Limits>,
    ) -> Result<()> {
        if self.content.machine.is_none() {
            self.write(&Line::Machine { machine: machine.clone() })?;
            self.content.machine = Some(machine);
        }
        if self.content.limits.is_none() {
            let limits = limits()?;
            self.write(&Line::Limits { limits: Box::new(limits.clone()) })?;
            self.content.limits = Some(limits);
        }
        Ok(())
    }

    /// Takes a record.
    pub fn add(&mut self, record: Record) -> Result<()> {
        self.write(&Line::Record(Box::new(record.clone())))?;
        self.content.records.push(record);
        Ok(())
    }

    /// Takes a run that failed.
    pub fn fail(&mut self, what: String) {
        eprintln!("{what}");
        self.content.failures.push(what);
    }

    /// Appends a line, and prints it too.
    fn write(&mut self, line: &Line) -> Result<()> {
        let text = serde_json::to_string(line)?;
        writeln!(self.file, "{text}")?;
        let mut output = std::io::stdout().lock();
        writeln!(output, "{text}")?;
        Ok(output.flush()?)
    }
}

impl Content {
    /// Reads a file. A last line without an end is of a run that was killed, and is left out.
    pub fn read(path: &Path) -> Result<Content> {
        let text = std::fs::read_to_string(path)?;
        let mut content = Content::default();
        for (index, line) in text.split_inclusive('\n').enumerate() {
            let Some(line) = line.strip_suffix('\n') else { break };
            let parsed = serde_json::from_str(line)
                .map_err(|error| format!("{} line {}: {error}", path.display(), index + 1))?;
            match parsed {
                Line::Machine { machine } => content.machine = Some(machine),
                Line::Limits { limits } => content.limits = Some(*limits),
                Line::Record(record) => content.records.push(*record),
            }
        }
        Ok(content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_being_written_when_its_run_was_killed_is_left_out() {
        let path = std::env::temp_dir().join(format!("compare-{}.jsonl", std::process::id()));
        let record = |workload: &str| {
            let workload = workload.to_owned();
            serde_json::to_string(&Record { workload, ..Record::default() }).expect("is JSON")
        };
        let torn = &record("w5")[..20];
        std::fs::write(&path, format!("{}\n{}\n{torn}", record("w1"), record("w4c-newest")))
            .expect("the folder for temporary files can be written");
        let mut results = Results::open(&path, false).expect("a torn line is no fault");
        let of = |results: &Results, workload| {
            results.content().records.iter().filter(|record| record.is_of(workload)).count()
        };
        assert_eq!([of(&results, "w1"), of(&results, "w4c"), of(&results, "w4")], [1, 1, 0]);
        assert!(Results::open(&path, false).is_err(), "the file is another one's");
        results.add(Record { workload: "w6".to_owned(), ..Record::default() }).expect("is added");
        drop(results);
        let results = Results::open(&path, false).expect("the torn line is gone");
        assert_eq!([of(&results, "w1"), of(&results, "w6")], [1, 1]);
        std::fs::remove_file(&path).expect("the file is there");
    }
}
