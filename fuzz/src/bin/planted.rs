//! `planted`: plants each fault that the engine knows, and says which test catches it.
//!
//! ```text
//! cargo run --release -p tidelog-fuzz --bin planted          every fault, with its catcher
//! cargo run --release -p tidelog-fuzz --bin planted -- NAME… these alone
//! cargo run --release -p tidelog-fuzz --bin planted -- --search NAME…
//!                                               against the engine's whole suite
//! ```
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for the terminal: results on stdout, failures on stderr"
)]

use std::process::ExitCode;
use std::time::Duration;
use tidelog_engine::planted::Planted;
use tidelog_fuzz::planted::{Binaries, CATCHERS, Outcome, Suite};

/// A fault that takes longer to be seen is not caught.
const LIMIT: Duration = Duration::from_secs(60);
/// The whole suite takes minutes.
const SEARCH_LIMIT: Duration = Duration::from_secs(600);

fn main() -> ExitCode {
    let mut names: Vec<String> = std::env::args().skip(1).collect();
    let search = names.first().is_some_and(|name| name == "--search");
    if search {
        names.remove(0);
    }
    let known = |name: &String| Planted::ALL.iter().any(|fault| fault.name() == *name);
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        eprintln!("{unknown} is no fault; there are:");
        Planted::ALL.iter().for_each(|fault| eprintln!("  {}", fault.name()));
        return ExitCode::from(2);
    }
    let chosen = Planted::ALL.into_iter();
    let chosen: Vec<Planted> =
        chosen.filter(|fault| names.is_empty() || names.contains(&fault.name())).collect();
    match run(&chosen, search) {
        Ok((caught, slowest)) => {
            let planted = chosen.len();
            let slowest_s = slowest.as_secs_f64();
            println!("{{\"planted\":{planted},\"caught\":{caught},\"slowest_s\":{slowest_s:.1}}}");
            if caught == planted { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(what) => {
            eprintln!("{what}");
            ExitCode::FAILURE
        }
    }
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
