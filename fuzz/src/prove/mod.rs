//! Long provings of the whole engine: what takes hours when it is complete, in shards that can be
//! stopped at any moment and gone on with.
//!
//! A *subject* has cases, each with a number: a damage, a fault, a history, a workload. A *shard*
//! is some of its cases. The program `prove` runs shards in order and writes a line for each that
//! is done; whoever stops it loses the shard that it was at.
//!
//! - `registry`: the subjects by name
//! - `ledger`: the lines of what is done
//! - `runner`: runs shards and tells of failures
//! - `shrink`: fewer steps that fail as well
//! - `rot`: damage of the files of a store
//! - `faults`: operations of the disk that fail
//! - `histories`, `crashes`: the long forms of what the engine's tests do in short
//! - `kills`: real processes over real files, killed
//! - `bounded`: every workload of a few operations, and every power loss in it
//! - `whole`: the simulated machine, the reference and the workloads of those tests; the store's
//!   fuzzer is made of them too

mod bounded;
mod crashes;
mod faults;
mod histories;
mod kills;
pub mod ledger;
pub mod registry;
mod rot;
pub mod runner;
mod shrink;
#[cfg(test)]
mod tests;
#[expect(dead_code, unused_imports, reason = "not all that the engine's tests use is used here")]
#[expect(clippy::unwrap_used, reason = "they are tests: what cannot go on fails")]
pub(crate) mod whole;

use std::collections::BTreeMap;

/// Counts whose names begin so are the largest there was, and no sum.
const LARGEST: &str = "slowest_";
/// A shard gives up behind so many failures: they seldom have many causes.
const FAILURES_MAX: usize = 10;

/// What was done, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts(pub BTreeMap<String, u64>);

impl Counts {
    /// Adds to one of them; of a `slowest_…` keeps the larger.
    pub fn add(&mut self, name: &str, count: u64) {
        let own = self.0.entry(name.to_owned()).or_default();
        *own = if name.starts_with(LARGEST) { count.max(*own) } else { *own + count };
    }

    /// Adds all of others.
    pub fn merge(&mut self, others: &Counts) {
        for (name, count) in &others.0 {
            self.add(name, *count);
        }
    }

    /// One of them; 0 where there is none.
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }
}

/// A case that went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The number of the case.
    pub case: u64,
    /// What is wrong.
    pub what: String,
}

impl Failure {
    /// The first of some, with what is wrong in all of them.
    fn of_many(failures: Vec<Failure>) -> Option<Failure> {
        let case = failures.first()?.case;
        let lines =
            failures.iter().map(|failure| format!("case {}: {}", failure.case, failure.what));
        Some(Failure { case, what: lines.collect::<Vec<_>>().join("\n") })
    }
}

/// Runs cases, and goes on behind one that goes wrong, but not for ever.
fn each(
    cases: impl Iterator<Item = u64>,
    run: impl Fn(u64) -> Result<Counts, Failure>,
) -> Result<Counts, Failure> {
    let (mut counts, mut failures) = (Counts::default(), Vec::new());
    for case in cases {
        match run(case) {
            Ok(of_case) => counts.merge(&of_case),
            Err(failure) => failures.push(failure),
        }
        if failures.len() == FAILURES_MAX {
            break;
        }
    }
    Failure::of_many(failures).map_or(Ok(counts), Err)
}

/// Of so many cases each `step`th, from a shard's own on: each shard has some of all kinds.
fn strided(shard: u64, count: u64, step: u64) -> impl Iterator<Item = u64> {
    (shard..count).step_by(usize::try_from(step).unwrap_or(usize::MAX))
}

/// The cases that a subject makes of a seed.
pub trait Cases {
    /// How many shards there are; `None`: without end.
    fn shards(&self) -> Option<u64>;

    /// Runs a shard.
    ///
    /// # Errors
    /// The first case that goes wrong.
    fn shard(&self, shard: u64) -> Result<Counts, Failure>;

    /// Runs one case alone.
    ///
    /// # Errors
    /// What goes wrong.
    fn one(&self, case: u64) -> Result<Counts, Failure>;

    /// What there is to run, in a line.
    fn about(&self) -> String;
}
