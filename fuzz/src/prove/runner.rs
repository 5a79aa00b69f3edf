//! Runs the shards of a subject in order, and says how to repeat what fails.

use super::ledger::Ledger;
use super::registry::Subject;
use super::{Cases, Counts, Failure};
use std::path::Path;
use std::str::FromStr;

/// How many shards are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// So many that are not done yet.
    More(u64),
    /// All that are not done yet.
    All,
    /// So many from the first on, done or not.
    First(u64),
}

/// One of several parts of all shards: several processes run beside each other, each has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    number: u64,
    count: u64,
}

impl Part {
    /// All shards.
    pub const WHOLE: Part = Part { number: 0, count: 1 };

    fn has(self, shard: u64) -> bool {
        shard % self.count == self.number
    }
}

impl FromStr for Part {
    type Err = String;

    /// `2/3`: the second of three.
    fn from_str(text: &str) -> Result<Part, String> {
        let numbers = text.split_once('/').and_then(|(number, count)| {
            Some((number.parse::<u64>().ok()?, count.parse::<u64>().ok()?))
        });
        match numbers {
            Some((number, count)) if 0 < number && number <= count => {
                Ok(Part { number: number - 1, count })
            }
            _ => Err(format!("{text} is no part, as 2/3 is the second of three")),
        }
    }
}

/// Which shards of a subject are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selection {
    /// What the cases follow from.
    pub seed: u64,
    /// How many.
    pub amount: Amount,
    /// Of which part of all.
    pub part: Part,
}

/// The command that runs one case alone.
pub fn command(name: &str, seed: u64, case: u64) -> String {
    format!("cargo run -p tidelog-fuzz --release --bin prove -- {name} --seed {seed} --case {case}")
}

/// Runs one case alone, with its files, if it has some, in a folder.
///
/// # Errors
/// What goes wrong.
pub fn replay(subject: &Subject, directory: &Path, seed: u64, case: u64) -> Result<Counts, String> {
    (subject.cases)(seed, directory)?.one(case).map_err(|failure| told(subject, seed, &failure))
}

/// Runs shards; `tell` hears of each that is done.
///
/// # Errors
/// What went wrong, and on a line of its own the command that repeats it.
pub fn run(
    subject: &Subject,
    directory: &Path,
    selection: Selection,
    tell: &mut dyn FnMut(&str),
) -> Result<(), String> {
    let seed = selection.seed;
    let ledger = Ledger::of(directory, subject.name);
    let broken = |error: std::io::Error| format!("{}: {error}", directory.display());
    let cases = (subject.cases)(seed, directory)?;
    tell(&format!("{}, seed {seed}: {}", subject.name, cases.about()));
    let done = ledger.done(seed).map_err(broken)?;
    for shard in shards(&*cases, selection, &|shard| done.contains(&shard))? {
        let counts = cases.shard(shard).map_err(|failure| told(subject, seed, &failure))?;
        ledger.add(seed, shard, &counts).map_err(broken)?;
        tell(&format!("{} {shard}: {:?}", subject.name, counts.0));
    }
    Ok(())
}

/// The shards that are to be run, in order.
fn shards<'a>(
    cases: &dyn Cases,
    selection: Selection,
    done: &'a dyn Fn(u64) -> bool,
) -> Result<Box<dyn Iterator<Item = u64> + 'a>, String> {
    let end = cases.shards();
    let Selection { amount, part, .. } = selection;
    let all = (0..end.unwrap_or(u64::MAX)).filter(move |shard| part.has(*shard));
    let take = |count| usize::try_from(count).unwrap_or(usize::MAX);
    match amount {
        Amount::First(count) => Ok(Box::new(all.take(take(count)))),
        Amount::More(count) => Ok(Box::new(all.filter(|s| !done(*s)).take(take(count)))),
        Amount::All if end.is_none() => Err("it has no end; say how many with --count".to_owned()),
        Amount::All => Ok(Box::new(all.filter(|shard| !done(*shard)))),
    }
}

fn told(subject: &Subject, seed: u64, failure: &Failure) -> String {
    let (name, Failure { case, what }) = (subject.name, failure);
    format!(
        "{name} failed, seed {seed}, case {case}: {what}\nrepeat it: {}",
        command(name, seed, *case)
    )
}
