//! The structures of the engine, one small case each, listed once: criterion measures their time
//! (`cargo bench -p tidelog-benches --bench structures`), the program `instructions` counts their
//! instructions, and the tests run them.
//!
//! Everything lies in memory and follows from constants, background work runs on the caller's
//! thread, and hashes are seeded: the same build does the same instructions.

mod cases;
mod inputs;
mod stores;

use std::hint::black_box;

/// What is measured. Gives the number of elements that it has dealt with.
pub type Operation = Box<dyn FnMut() -> u64>;

/// A case: an operation on a structure.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// The structure.
    pub suite: &'static str,
    /// The operation on it.
    pub name: &'static str,
    /// What one operation deals with: entries, lookups, groups.
    pub elements: u64,
    /// Whether an operation leaves everything as it was, but for what is read once.
    pub repeatable: bool,
    setup: fn() -> Operation,
}

/// Every case, suite by suite.
pub fn all() -> Vec<Case> {
    cases::CASES.to_vec()
}

impl Case {
    /// The name in the files of results.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.suite, self.name)
    }

    /// Makes the operation ready: what can be read once has been read.
    pub fn prepare(&self) -> Operation {
        let mut operation = (self.setup)();
        if self.repeatable {
            self.check(operation());
        }
        operation
    }

    /// Runs the operation once.
    ///
    /// # Panics
    /// When it has not dealt with all of its elements.
    pub fn run(&self, operation: &mut Operation) {
        self.check(black_box(operated_under_callgrind(operation)));
    }

    fn check(&self, done: u64) {
        assert_eq!(done, self.elements, "elements of {}", self.full_name());
    }
}

/// Callgrind counts what happens in here, which the program `instructions` tells it by this name.
#[inline(never)]
fn operated_under_callgrind(operation: &mut Operation) -> u64 {
    operation()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_case_deals_with_its_elements() {
        for case in all() {
            let mut operation = case.prepare();
            case.run(&mut operation);
            if case.repeatable {
                case.run(&mut operation);
            }
        }
    }

    #[test]
    fn names_differ_and_every_structure_has_a_suite() {
        let cases = all();
        let names: BTreeSet<String> = cases.iter().map(Case::full_name).collect();
        assert_eq!(names.len(), cases.len());
        let suites: BTreeSet<&str> = cases.iter().map(|case| case.suite).collect();
        for suite in [
            "commit queue",
            "memtable",
            "WAL",
            "block",
            "directory",
            "filter",
            "scan",
            "merge",
            "allocator",
            "recovery",
        ] {
            assert!(suites.contains(suite), "no suite of {suite}");
        }
    }
}
