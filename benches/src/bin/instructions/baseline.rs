//! The file of the baseline, and the machine and compiler that it holds for.

use super::Result;
use super::comparison::{Change, Counts};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

/// What is recorded.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Baseline {
    /// Where.
    pub(crate) environment: Environment,
    /// The cases by name.
    cases: BTreeMap<String, Recorded>,
}

/// What counts depend on beside the program.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Environment {
    rustc: String,
    target: String,
    valgrind: String,
    /// Features that the program sees while it is counted, by which it chooses its code.
    processor_features: String,
}

/// One case.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Recorded {
    instructions_per_element: f64,
    /// Why it rose when it last did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Environment {
    /// The one of this process.
    pub(crate) fn here(valgrind: String) -> Result<Environment> {
        let rustc = Command::new("rustc").arg("-vV").output()?;
        let rustc = String::from_utf8(rustc.stdout)?;
        let line = |name: &str| {
            let found = rustc.lines().find_map(|line| line.strip_prefix(name));
            found.unwrap_or_default().trim().to_owned()
        };
        Ok(Environment {
            rustc: rustc.lines().next().unwrap_or_default().to_owned(),
            target: line("host:"),
            valgrind,
            processor_features: super::callgrind::features()?,
        })
    }

    /// Whether counts have nothing to do with those of the other.
    pub(crate) fn is_another_compiler(&self, here: &Environment) -> bool {
        (&self.rustc, &self.target) != (&here.rustc, &here.target)
    }

    /// What is not the same, a line each.
    pub(crate) fn differences(&self, here: &Environment) -> String {
        let pairs = [
            ("rustc", &self.rustc, &here.rustc),
            ("target", &self.target, &here.target),
            ("valgrind", &self.valgrind, &here.valgrind),
            ("processor features", &self.processor_features, &here.processor_features),
        ];
        let mut text = String::new();
        for (what, recorded, here) in pairs.into_iter().filter(|(_, one, other)| one != other) {
            let line = writeln!(text, "  {what}: recorded with {recorded:?}, here {here:?}");
            line.expect("a string takes everything");
        }
        text
    }
}

impl Baseline {
    /// Reads the file.
    pub(crate) fn read(path: &Path) -> Result<Baseline> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("the baseline {}: {error}", path.display()))?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Writes the file.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        Ok(std::fs::write(path, serde_json::to_string_pretty(self)? + "\n")?)
    }

    /// The counts alone.
    pub(crate) fn counts(&self) -> Counts {
        let cases = self.cases.iter();
        cases.map(|(name, case)| (name.clone(), case.instructions_per_element)).collect()
    }

    /// Leaves out cases that are gone.
    pub(crate) fn forget_all_but(&mut self, counted: &Counts) {
        self.cases.retain(|name, _| counted.contains_key(name));
    }

    /// Takes counts; what rose keeps the reason.
    pub(crate) fn take(&mut self, counted: &Counts, changes: &[Change], reason: Option<&str>) {
        for (name, count) in counted {
            let case = self.cases.entry(name.clone()).or_default();
            case.instructions_per_element = (count * 10.0).round() / 10.0;
            if changes.iter().any(|change| change.is_rise() && change.name == *name)
                && let Some(reason) = reason
            {
                case.reason = Some(reason.to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::comparison::changes;
    use super::*;

    #[test]
    fn a_reason_stays_beside_the_case_that_rose() {
        let counts = |one: f64, other: f64| {
            Counts::from([("one".to_owned(), one), ("other".to_owned(), other)])
        };
        let mut baseline = Baseline::default();
        baseline.take(&counts(100.0, 100.0), &[], None);
        let risen = counts(120.0, 101.0);
        let told = changes(&baseline.counts(), &risen);
        baseline.take(&risen, &told, Some("checksums of more"));
        assert_eq!(baseline.cases["one"].reason.as_deref(), Some("checksums of more"));
        assert_eq!(baseline.cases["other"].reason, None);
        assert_eq!(baseline.counts(), risen);
    }

    #[test]
    fn another_compiler_and_another_processor_are_told_apart() {
        let recorded = Environment { rustc: "1".to_owned(), ..Environment::default() };
        let processor = Environment { processor_features: "avx2".to_owned(), ..recorded.clone() };
        assert!(!recorded.is_another_compiler(&processor));
        assert!(recorded.differences(&processor).contains("processor features"));
        assert!(recorded.is_another_compiler(&Environment::default()));
        assert_eq!(recorded.differences(&recorded), "");
    }

    #[test]
    fn the_committed_baseline_has_every_case_and_no_other() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.json");
        let baseline = Baseline::read(&path).expect("the file is there");
        let recorded: Vec<String> = baseline.cases.into_keys().collect();
        let mut cases: Vec<String> =
            tidelog_benches::structures::all().iter().map(|case| case.full_name()).collect();
        cases.sort();
        assert_eq!(recorded, cases, "record the baseline: see CONTRIBUTING.md");
    }
}
