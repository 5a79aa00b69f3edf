//! Runs the shards of a subject in order, and says how to repeat what fails.

use super::ledger::Ledger;
use super::registry::Subject;
use super::{Cases, Counts, Failure};
use std::path::Path;

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
    seed: u64,
    amount: Amount,
    tell: &mut dyn FnMut(&str),
) -> Result<(), String> {
    let ledger = Ledger::of(directory, subject.name);
    let broken = |error: std::io::Error| format!("{}: {error}", directory.display());
    let cases = (subject.cases)(seed, directory)?;
    tell(&format!("{}, seed {seed}: {}", subject.name, cases.about()));
    let done = ledger.done(seed).map_err(broken)?;
    for shard in shards(&*cases, amount, &|shard| done.contains(&shard))? {
        let counts = cases.shard(shard).map_err(|failure| told(subject, seed, &failure))?;
        ledger.add(seed, shard, &counts).map_err(broken)?;
        tell(&format!("{} {shard}: {:?}", subject.name, counts.0));
    }
    Ok(())
}

/// The shards that are to be run, in order.
fn shards<'a>(
    cases: &dyn Cases,
    amount: Amount,
    done: &'a dyn Fn(u64) -> bool,
) -> Result<Box<dyn Iterator<Item = u64> + 'a>, String> {
    let end = cases.shards();
    let all = 0..end.unwrap_or(u64::MAX);
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
