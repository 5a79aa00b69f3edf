//! `planted`: plants each fault that the engine knows, and says which test catches it.
//!
//! ```text
//! cargo run --release -p tidelog-fuzz --bin planted          every fault, with its catcher
//! cargo run --release -p tidelog-fuzz --bin planted -- NAME… these alone
//! cargo run --release -p tidelog-fuzz --bin planted -- --search NAME…
//!                                               against the engine's whole suite
//! ```
//! With `--directory DIR`, a run over every fault is noted for `prove report`.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for the terminal: results on stdout, failures on stderr"
)]

use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tidelog_engine::planted::Planted;
use tidelog_fuzz::planted::{Binaries, CATCHERS, Outcome, Suite};
use tidelog_fuzz::prove::Counts;
use tidelog_fuzz::prove::ledger::Ledger;

/// A fault that takes longer to be seen is not caught.
const LIMIT: Duration = Duration::from_secs(60);
/// The whole suite takes minutes.
const SEARCH_LIMIT: Duration = Duration::from_secs(600);

/// Plants each fault that the engine knows, and says which test catches it.
#[derive(Debug, Parser)]
#[command(name = "planted", version, about)]
struct Arguments {
    /// These faults alone.
    names: Vec<String>,
    /// Against the engine's whole suite, and not the catcher of each.
    #[arg(long)]
    search: bool,
    /// A folder in which a run over every fault is noted.
    #[arg(long)]
    directory: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let names = &arguments.names;
    let known = |name: &String| Planted::ALL.iter().any(|fault| fault.name() == *name);
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        eprintln!("{unknown} is no fault; there are:");
        Planted::ALL.iter().for_each(|fault| eprintln!("  {}", fault.name()));
        return ExitCode::from(2);
    }
    let chosen = Planted::ALL.into_iter();
    let chosen: Vec<Planted> =
        chosen.filter(|fault| names.is_empty() || names.contains(&fault.name())).collect();
    let outcome = run(&chosen, arguments.search).and_then(|(caught, slowest)| {
        let planted = chosen.len();
        let slowest_s = slowest.as_secs_f64();
        println!("{{\"planted\":{planted},\"caught\":{caught},\"slowest_s\":{slowest_s:.1}}}");
        if names.is_empty() {
            note(&arguments, planted, caught, slowest)?;
        }
        Ok(caught == planted)
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(what) => {
            eprintln!("{what}");
            ExitCode::FAILURE
        }
    }
}

/// Notes a run over every fault, where there is a folder for that; the last run counts.
fn note(
    arguments: &Arguments,
    planted: usize,
    caught: usize,
    slowest: Duration,
) -> Result<(), String> {
    let Some(directory) = &arguments.directory else { return Ok(()) };
    let mut counts = Counts::default();
    counts.add("planted", planted as u64);
    counts.add("caught", caught as u64);
    counts.add("slowest_ms", u64::try_from(slowest.as_millis()).unwrap_or(u64::MAX));
    let noted = Ledger::of(directory, "planted").add(0, 0, &counts);
    noted.map_err(|error| format!("{}: {error}", directory.display()))
}

/// How many were caught, and how long the slowest of them took.
fn run(chosen: &[Planted], search: bool) -> Result<(usize, Duration), String> {
    let binaries = Binaries::build()?;
    let (mut caught, mut slowest) = (0, Duration::ZERO);
    for fault in chosen {
        let outcome = if search { find(&binaries, *fault)? } else { check(&binaries, *fault)? };
        let name = fault.name();
        match outcome {
            Outcome::Caught(test, taken) => {
                println!("{name:26} caught in {:5.1} s by {test}", taken.as_secs_f64());
                (caught, slowest) = (caught + 1, slowest.max(taken));
            }
            Outcome::Missed => println!("{name:26} MISSED: every test passed"),
            Outcome::TimedOut => println!("{name:26} MISSED: no test failed in time"),
            Outcome::NothingRan => println!("{name:26} MISSED: its catcher selects no test"),
        }
    }
    Ok((caught, slowest))
}

fn check(binaries: &Binaries, fault: Planted) -> Result<Outcome, String> {
    let catcher = CATCHERS.iter().find(|catcher| catcher.fault == fault);
    let catcher = catcher.ok_or_else(|| format!("{} has no catcher", fault.name()))?;
    binaries.run(Some(fault), (catcher.suite, catcher.filter), LIMIT)
}

fn find(binaries: &Binaries, fault: Planted) -> Result<Outcome, String> {
    for suite in [Suite::Unit, Suite::Integration] {
        let outcome = binaries.run(Some(fault), (suite, ""), SEARCH_LIMIT)?;
        if !matches!(outcome, Outcome::Missed) {
            return Ok(outcome);
        }
    }
    Ok(Outcome::Missed)
}
