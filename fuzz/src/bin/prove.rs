//! `prove`: the long provings of the whole engine, in shards that can be stopped and gone on with.
//!
//! ```text
//! prove list
//! prove SUBJECT --directory DIR [--count N | --all] [--seed N] [--part K/N]   shards
//! prove SUBJECT --seed N --case N            one case alone
//! prove short --directory DIR                some of every subject
//! prove report --directory DIR               all counts, as one JSON object
//! ```
//! `report` also adds up what the fuzzers and the planted faults have noted in the folder:
//! ```text
//! tidelog-fuzz smoke --directory DIR
//! planted --directory DIR
//! ```
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for the terminal: results on stdout, failures on stderr"
)]

use clap::Parser;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tidelog_fuzz::processes;
use tidelog_fuzz::prove::registry::{SUBJECTS, Subject, find};
use tidelog_fuzz::prove::runner::{self, Amount, Part, Selection};
use tidelog_fuzz::prove::{Counts, ledger};

/// Proves the whole engine, at length.
#[derive(Debug, Parser)]
#[command(name = "prove", version, about)]
struct Arguments {
    /// A subject, or `list`, `short`, `report`.
    name: String,
    /// Folder for what is done: a file of lines for each subject.
    #[arg(long)]
    directory: Option<PathBuf>,
    /// So many shards that are not done yet.
    #[arg(long, default_value_t = 1, conflicts_with = "all")]
    count: u64,
    /// All shards that are not done yet.
    #[arg(long)]
    all: bool,
    /// One of several parts of all shards, as 2/3 is the second of three: for processes that run
    /// beside each other.
    #[arg(long, default_value = "1/1")]
    part: Part,
    /// What everything follows from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Runs this case alone, and notes nothing.
    #[arg(long)]
    case: Option<u64>,
}

fn main() -> ExitCode {
    if let Some(code) = processes::serve() {
        return code;
    }
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("{what}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    match (arguments.name.as_str(), arguments.case) {
        ("list", _) => SUBJECTS.iter().for_each(|subject| {
            println!("{:12} {}", subject.name, subject.about);
        }),
        ("report", _) => {
            let report = ledger::report(directory(arguments)?).map_err(|e| e.to_string())?;
            println!("{report}");
        }
        ("short", _) => {
            for subject in SUBJECTS {
                shards(arguments, subject, Amount::First(subject.short_shards))?;
            }
        }
        (name, None) => {
            let amount = if arguments.all { Amount::All } else { Amount::More(arguments.count) };
            shards(arguments, named(name)?, amount)?;
        }
        (name, Some(case)) => {
            let own = std::env::temp_dir();
            let folder = arguments.directory.as_deref().unwrap_or(&own);
            let Counts(counts) = runner::replay(named(name)?, folder, arguments.seed, case)?;
            println!("no failure: {counts:?}");
        }
    }
    Ok(())
}

fn shards(arguments: &Arguments, subject: &Subject, amount: Amount) -> Result<(), String> {
    let tell = &mut |line: &str| println!("{line}");
    let selection = Selection { seed: arguments.seed, amount, part: arguments.part };
    runner::run(subject, directory(arguments)?, selection, tell)
}

fn named(name: &str) -> Result<&'static Subject, String> {
    find(name).ok_or_else(|| format!("no subject is called {name}; see `list`"))
}

fn directory(arguments: &Arguments) -> Result<&Path, String> {
    arguments.directory.as_deref().ok_or_else(|| "--directory is missing".to_owned())
}
