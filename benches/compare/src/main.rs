//! Tidelog beside other engines: the same workloads, the same machine, the same run.
//!
//! ```text
//! cargo run --release --manifest-path benches/compare/Cargo.toml -- \
//!     run --workload w1,w2,w3,w4,w5,w6 --engine tidelog,fjall,rawlog --repeat 3 --directory DIR
//! ```
//!
//! Every run is a process of its own. Engines take turns, so that what changes on the machine meets
//! all of them. Each run prints one line of JSON (W4 prints two: newest and forward); at the end
//! come the machine, the limits of its disk and memory measured beside the runs, and a table of
//! medians for each workload, losing cells included. Every answer is checked: the exit code is 0
//! only if all were right.

mod cli;
mod engine;
mod limits;
mod measure;
mod record;
mod report;
mod run;
mod workload;

use clap::Parser;
use std::process::ExitCode;

/// What may go wrong here: it is printed, and the run counts as failed.
type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    let outcome = match cli::Cli::parse().command {
        cli::Command::Run(options) => run::run(&options),
        cli::Command::Child(options) => workload::run(&options).map(|()| true),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
