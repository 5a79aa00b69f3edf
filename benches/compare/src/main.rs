//! Tidelog beside other engines: the same workloads, the same machine, the same run.
//!
//! ```text
//! cd benches/compare
//! cargo run --release --features rocksdb -- run --directory DIR                # W1 to W6
//! cargo run --release --features rocksdb -- run --workload w7 --directory DIR
//! cargo run --release --features rocksdb -- run --workload w8 --repeat 1 --directory DIR
//! cargo run --release --features rocksdb -- scaling --directory DIR
//! cargo run --release -- plots --directory DIR --output ../../docs/plots
//! cargo run --release --features rocksdb -- short --directory DIR            # does it work?
//! ```
//!
//! Every run is a process of its own, so that memory and CPU are that engine's. Engines take turns,
//! so that what changes on the machine meets all of them. Each run prints one line of JSON (W4, W4C
//! and W7 print two, W8 too), which also goes into a file of results: what is there already is not
//! run again, so that a run that was stopped goes on where it was. At the end come the machine, the
//! limits of its disk, memory and processor, a table of medians for each workload, losing cells
//! included, and the goals with what was reached. Every answer is checked: the exit code is 0 only
//! if all were right.
//!
//! | file | what |
//! |---|---|
//! | `run.rs` | the order of the runs |
//! | `child.rs` | one run as a process |
//! | `results.rs` | the file of results |
//! | `engine/` | the engines, one a file |
//! | `workload/` | the workloads, one a file |
//! | `measure/` | what is measured around a stretch of work |
//! | `limits/` | what the machine can do at best |
//! | `report/` | the tables and the goals |
//! | `plots/` | the plots |

mod child;
mod cli;
mod engine;
mod limits;
mod measure;
mod plots;
mod record;
mod report;
mod results;
mod run;
mod workload;

use clap::Parser;
use cli::Command;
use std::process::ExitCode;

/// What may go wrong here: it is printed, and the run counts as failed.
type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    let outcome = match cli::Cli::parse().command {
        Command::Run(options) => run::run(&options),
        Command::Scaling(options) => run::scaling(options),
        Command::Short(options) => run::short(options),
        Command::Report { results } => report::of_file(&results),
        Command::Plots(options) => plots::run(&options),
        Command::Child(options) => workload::run(&options).map(|()| true),
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
