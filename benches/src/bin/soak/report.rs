//! The lines of JSON, the goals and the wrong answers of one run.

use crate::Result;
use serde_json::{Map, Value, json};
use std::fmt::Arguments;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tidelog_benches::measure::Machine;

/// What a goal is about: speed depends on the machine and its load, the rest does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Matter {
    /// Time.
    Speed,
    /// Bytes, counts, memory.
    Size,
}

/// Wrong answers, gathered by any thread.
#[derive(Debug, Default)]
pub(crate) struct Wrong {
    count: AtomicU64,
    first: Mutex<Vec<String>>,
}

/// Wrong answers that are told in full.
const TOLD_MAX: usize = 10;

impl Wrong {
    /// Takes note of one.
    pub(crate) fn add(&self, what: Arguments<'_>) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let mut first = self.first.lock().expect("nobody panics while holding it");
        if first.len() < TOLD_MAX {
            first.push(what.to_string());
            note(format_args!("soak: WRONG ANSWER: {what}"));
        }
    }

    /// How many there were.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

/// The report of one run.
pub(crate) struct Report {
    mode: &'static str,
    start: Instant,
    strict: bool,
    goals: Map<String, Value>,
    missed: Vec<String>,
    pub(crate) wrong: Wrong,
}

impl Report {
    /// Begins the run.
    pub(crate) fn new(mode: &'static str, strict: bool) -> Report {
        Report {
            mode,
            start: Instant::now(),
            strict,
            goals: Map::new(),
            missed: Vec::new(),
            wrong: Wrong::default(),
        }
    }

    /// Prints the line of one interval.
    pub(crate) fn interval(&self, values: Value) -> Result<()> {
        print(&self.line("interval", values))
    }

    /// A figure that is to be no higher than `limit`.
    pub(crate) fn goal(&mut self, name: &str, value: f64, limit: f64, matter: Matter) {
        // Written this way round, a value that is no number has missed.
        let met = value <= limit;
        if !met && matter == Matter::Size {
            self.missed.push(format!("{name} is {value}, its limit is {limit}"));
        }
        self.goals.insert(name.to_owned(), json!({ "value": value, "limit": limit, "met": met }));
    }

    /// The goals so far.
    #[cfg(test)]
    pub(crate) fn goals(&self) -> &Map<String, Value> {
        &self.goals
    }

    /// Prints the last line. Returns whether the run was good.
    pub(crate) fn end(self, folder: &Path, parameters: Value, values: Value) -> Result<bool> {
        let mut line = self.line("end", json!({ "parameters": parameters }));
        let object = line.as_object_mut().expect("a line is an object");
        if let Value::Object(values) = values {
            object.extend(values);
        }
        let first = self.wrong.first.lock().expect("nobody panics while holding it").clone();
        object.insert("wrong_answers".to_owned(), json!(self.wrong.count()));
        object.insert("first_wrong".to_owned(), json!(first));
        object.insert("goals".to_owned(), Value::Object(self.goals.clone()));
        object.insert("machine".to_owned(), serde_json::to_value(Machine::find(folder))?);
        print(&line)?;
        Ok(self.is_good())
    }

    fn is_good(&self) -> bool {
        let wrong = self.wrong.count();
        if wrong > 0 {
            note(format_args!("soak {}: {wrong} wrong answers, the limit is 0", self.mode));
        }
        for missed in &self.missed {
            note(format_args!("soak {}: {missed}", self.mode));
        }
        wrong == 0 && (!self.strict || self.missed.is_empty())
    }

    fn line(&self, kind: &str, values: Value) -> Value {
        let mut object = Map::new();
        object.insert("mode".to_owned(), json!(self.mode));
        object.insert("kind".to_owned(), json!(kind));
        object.insert("second".to_owned(), rounded(self.start.elapsed().as_secs_f64()));
        if let Value::Object(values) = values {
            object.extend(values);
        }
        Value::Object(object)
    }
}

/// A number with three digits behind the point: more is noise.
pub(crate) fn rounded(value: f64) -> Value {
    json!((value * 1000.0).round() / 1000.0)
}

/// A line for whoever watches.
pub(crate) fn note(text: Arguments<'_>) {
    // Nothing can be done where even that fails.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A line for whoever reads the results.
pub(crate) fn print(line: &Value) -> Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}")?;
    Ok(output.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_answer_fails_and_a_missed_goal_only_when_strict() {
        let report = |strict| Report::new("test", strict);
        assert!(report(true).is_good());

        let wrong = report(false);
        wrong.wrong.add(format_args!("entry {} is missing", 3));
        assert!(!wrong.is_good());

        for (matter, strict, good) in
            [(Matter::Size, false, true), (Matter::Size, true, false), (Matter::Speed, true, true)]
        {
            let mut missed = report(strict);
            missed.goal("figure", 2.0, 1.0, matter);
            assert_eq!(missed.is_good(), good, "{matter:?}, strict {strict}");
            assert_eq!(missed.goals["figure"], json!({"value": 2.0, "limit": 1.0, "met": false}));
        }
    }

    #[test]
    fn what_is_no_number_meets_no_goal() {
        let mut report = Report::new("test", true);
        report.goal("figure", f64::NAN, 1.0, Matter::Size);
        assert!(!report.is_good());
    }
}
