//! `tidelog-fuzz`: runs the fuzzers of the library by name.
//!
//! ```text
//! tidelog-fuzz list
//! tidelog-fuzz NAME [--seed N] [--events N] [--directory DIR]
//! tidelog-fuzz smoke [--seed N] [--directory DIR]
//! ```
//! With a folder, what ran without a failure is noted in it for `prove report`.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for the terminal: names and results on stdout, failures on stderr"
)]

use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;
use tidelog_engine::{Entropy, SystemEntropy};
use tidelog_fuzz::prove::Counts;
use tidelog_fuzz::prove::ledger::Ledger;
use tidelog_fuzz::registry::{FUZZERS, Fuzzer, find};
use tidelog_fuzz::runner;

/// Events of a run that does not say how many.
const EVENTS_DEFAULT: u64 = 100_000;
/// The seed of a smoke run that does not say which: the same everywhere.
const SMOKE_SEED: u64 = 1;

/// Runs the fuzzers of Tidelog's structures and decoders by name.
#[derive(Debug, Parser)]
#[command(name = "tidelog-fuzz", version, about)]
struct Arguments {
    /// A fuzzer, or `list`, or `smoke` for some of each.
    name: String,
    /// Where the seeds begin; drawn, if none is given.
    #[arg(long)]
    seed: Option<u64>,
    /// How many events.
    #[arg(long)]
    events: Option<u64>,
    /// A folder in which the run is noted.
    #[arg(long)]
    directory: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match (arguments.name.as_str(), arguments.events) {
        ("list", _) => list(),
        ("smoke", Some(_)) => Err("the smoke run has its own numbers of events".to_owned()),
        ("smoke", None) => smoke(&arguments),
        (name, events) => run(&arguments, name, events.unwrap_or(EVENTS_DEFAULT)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("{what}");
            ExitCode::FAILURE
        }
    }
}

fn list() -> Result<(), String> {
    for fuzzer in FUZZERS {
        println!("{:12} {}", fuzzer.name, fuzzer.about);
    }
    Ok(())
}

fn run(arguments: &Arguments, name: &str, events: u64) -> Result<(), String> {
    let fuzzer = find(name).ok_or_else(|| format!("no fuzzer is called {name}; see `list`"))?;
    let seed = arguments.seed.map_or_else(|| SystemEntropy.random(), Ok);
    let seed =
        seed.map_err(|error| format!("no seed can be drawn: {error}; give one with --seed"))?;
    // Printed first, so that it is there even where the process is ended by the system.
    println!("{}", runner::command(name, seed, events));
    runner::run(fuzzer, seed, events)?;
    note(arguments, fuzzer, seed, events)?;
    println!("no failure");
    Ok(())
}

fn smoke(arguments: &Arguments) -> Result<(), String> {
    let seed = arguments.seed.unwrap_or(SMOKE_SEED);
    for fuzzer in FUZZERS {
        println!("{}", runner::command(fuzzer.name, seed, fuzzer.smoke_events));
        runner::smoke(fuzzer, seed)?;
        note(arguments, fuzzer, seed, fuzzer.smoke_events)?;
    }
    println!("no failure");
    Ok(())
}

/// Notes the events of a run, where there is a folder for that. A later run of the same seed takes
/// the place of an earlier one: what was done twice is not counted twice.
fn note(arguments: &Arguments, fuzzer: &Fuzzer, seed: u64, events: u64) -> Result<(), String> {
    let Some(directory) = &arguments.directory else { return Ok(()) };
    if fuzzer.must_fail {
        return Ok(());
    }
    let mut counts = Counts::default();
    counts.add("events", events);
    let noted = Ledger::of(directory, &format!("fuzz-{}", fuzzer.name)).add(seed, 0, &counts);
    noted.map_err(|error| format!("{}: {error}", directory.display()))
}
