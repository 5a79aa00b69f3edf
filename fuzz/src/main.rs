//! `tidelog-fuzz`: runs the fuzzers of the library by name.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for the terminal: names and results on stdout, failures on stderr"
)]

use std::process::ExitCode;
use tidelog_engine::{Entropy, SystemEntropy};
use tidelog_fuzz::arguments::{Request, USAGE, parse};
use tidelog_fuzz::registry::{FUZZERS, find};
use tidelog_fuzz::runner;

/// Events of a run that does not say how many.
const EVENTS_DEFAULT: u64 = 100_000;
/// The seed of a smoke run that does not say which: the same everywhere.
const SMOKE_SEED: u64 = 1;

fn main() -> ExitCode {
    let request = match parse(std::env::args().skip(1)) {
        Ok(request) => request,
        Err(what) => {
            eprintln!("{what}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match request {
        Request::List => list(),
        Request::Smoke { seed } => smoke(seed.unwrap_or(SMOKE_SEED)),
        Request::Run { name, seed, events } => run(&name, seed, events.unwrap_or(EVENTS_DEFAULT)),
    }
}

fn list() -> ExitCode {
    for fuzzer in FUZZERS {
        println!("{:12} {}", fuzzer.name, fuzzer.about);
    }
    ExitCode::SUCCESS
}

fn run(name: &str, seed: Option<u64>, events: u64) -> ExitCode {
    let Some(fuzzer) = find(name) else {
        eprintln!("no fuzzer is called {name}; see `list`\n{USAGE}");
        return ExitCode::from(2);
    };
    let seed = match seed.map_or_else(|| SystemEntropy.random(), Ok) {
        Ok(seed) => seed,
        Err(error) => {
            eprintln!("no seed can be drawn: {error}; give one with --seed");
            return ExitCode::FAILURE;
        }
    };
    // Printed first, so that it is there even where the process is ended by the system.
    println!("{}", runner::command(name, seed, events));
    report(runner::run(fuzzer, seed, events))
}

fn smoke(seed: u64) -> ExitCode {
    for fuzzer in FUZZERS {
        println!("{}", runner::command(fuzzer.name, seed, fuzzer.smoke_events));
        if let Err(what) = runner::smoke(fuzzer, seed) {
            return report(Err(what));
        }
    }
    report(Ok(()))
}

fn report(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => {
            println!("no failure");
            ExitCode::SUCCESS
        }
        Err(what) => {
            eprintln!("{what}");
            ExitCode::FAILURE
        }
    }
}
