//! Counts the instructions of the structures' cases, and compares them with what was recorded.
//!
//! ```text
//! cargo run --release -p tidelog-benches --bin instructions -- check
//! cargo run --release -p tidelog-benches --bin instructions -- record [CASE] [--reason TEXT]
//! ```
//!
//! Each case runs in a child under `valgrind --tool=callgrind`, which counts while the case's
//! operation runs and at no other time. The count does not depend on what else the machine does;
//! it does on the compiler, and on the features of the processor that the C library and checksums
//! choose their code by. So a baseline says which ones it was recorded with: with another compiler
//! or target `check` is left out, with other features it tells and fails nothing, unless `--strict`
//! is given. Where valgrind is not installed it is left out, too. Whatever is left out is said.
//!
//! `check` fails when a case takes more than 5% more instructions an element than the baseline has.
//! `record` takes what is counted as the baseline; what rises by more than that needs a reason,
//! which stays in the file beside the case.
//!
//! | file | what |
//! |---|---|
//! | `baseline.rs` | the file |
//! | `callgrind.rs` | one case, counted |
//! | `comparison.rs` | what rose and what fell |

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for the command line")]

mod baseline;
mod callgrind;
mod comparison;

use baseline::{Baseline, Environment};
use clap::{Parser, Subcommand};
use comparison::{Change, Counts, changes};
use std::path::PathBuf;
use std::process::ExitCode;
use tidelog_benches::structures::{Case, all};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The baseline that is committed.
const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.json");

#[derive(Parser)]
#[command(about = "Counts the instructions of the engine's structures")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// The file of the baseline.
    #[arg(long, global = true, default_value = BASELINE)]
    baseline: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Compare with the baseline.
    Check {
        /// Compare, and fail, whatever compiler and processor the baseline was recorded with.
        #[arg(long)]
        strict: bool,
    },
    /// Take what is counted as the baseline.
    Record {
        /// The case, or the beginning of its name; all cases without one.
        #[arg(default_value = "")]
        case: String,
        /// Why what rises has to.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Run one case once: what the others start under valgrind.
    #[command(hide = true)]
    Run {
        /// The case.
        case: String,
    },
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool> {
    if let Command::Run { case } = &arguments.command {
        callgrind::run_case(case)?;
        return Ok(true);
    }
    let Some(valgrind) = callgrind::version() else {
        println!("SKIPPED: valgrind is not installed, so no instructions are counted.");
        return Ok(matches!(arguments.command, Command::Check { .. }));
    };
    let here = Environment::here(valgrind)?;
    match &arguments.command {
        Command::Check { strict } => check(&arguments.baseline, &here, *strict),
        Command::Record { case, reason } => {
            record(&arguments.baseline, here, case, reason.as_deref())
        }
        Command::Run { .. } => unreachable!("done above"),
    }
}

fn check(path: &std::path::Path, here: &Environment, strict: bool) -> Result<bool> {
    let baseline = Baseline::read(path)?;
    let differs = baseline.environment.differences(here);
    if baseline.environment.is_another_compiler(here) && !strict {
        println!("SKIPPED: the baseline is of another compiler or target.\n{differs}");
        return Ok(true);
    }
    let is_told_only = !differs.is_empty() && !strict;
    if is_told_only {
        println!("TOLD ONLY, nothing fails: the baseline was recorded elsewhere.\n{differs}");
    }
    let changes = changes(&baseline.counts(), &count(&all())?);
    changes.iter().for_each(|change| println!("{change}"));
    let is_good = !changes.iter().any(Change::is_failure);
    if !is_good {
        println!(
            "More instructions than recorded. If that has to be, record it and say why:\n    \
             cargo run --release -p tidelog-benches --bin instructions -- record --reason TEXT"
        );
    }
    Ok(is_good || is_told_only)
}

fn record(
    path: &std::path::Path,
    here: Environment,
    beginning: &str,
    reason: Option<&str>,
) -> Result<bool> {
    let cases: Vec<Case> =
        all().into_iter().filter(|case| case.full_name().starts_with(beginning)).collect();
    if cases.is_empty() {
        return Err(format!("no case begins with {beginning:?}").into());
    }
    let mut baseline = Baseline::read(path).unwrap_or_default();
    let is_same = baseline.environment.differences(&here).is_empty();
    if !is_same && !beginning.is_empty() {
        return Err("the baseline is of another machine or compiler: record all of it".into());
    }
    let counted = count(&cases)?;
    let mut known = baseline.counts();
    known.retain(|name, _| counted.contains_key(name));
    let changes = changes(&known, &counted);
    changes.iter().for_each(|change| println!("{change}"));
    // A rise can be told from a change of the machine only on the same machine.
    if is_same && reason.is_none() && changes.iter().any(Change::is_rise) {
        println!("Nothing is recorded: what rises needs a --reason.");
        return Ok(false);
    }
    if beginning.is_empty() {
        baseline.forget_all_but(&counted);
    }
    baseline.environment = here;
    baseline.take(&counted, &changes, reason);
    baseline.write(path)?;
    println!("recorded in {}", path.display());
    Ok(true)
}

/// Instructions an element, by the names of the cases.
fn count(cases: &[Case]) -> Result<Counts> {
    cases.iter().map(|case| Ok((case.full_name(), callgrind::count(case)?))).collect()
}
