//! `soak`: runs the store for long and says what it did: one line of JSON an interval, and one at
//! the end with the figures and their goals.
//!
//! ```text
//! cargo run --release -p tidelog-benches --bin soak -- ttl | fanout | timelines | space | tiers
//!     | commits [--short] [--strict] [--directory DIR] ...
//! ```
//!
//! | file | what |
//! |---|---|
//! | `ttl/` | a steady stream under a TTL: the file's size, write amplification, lag of freeing |
//! | `fanout.rs` | one message to a thousand inboxes: bytes written, bytes kept, reads |
//! | `timelines/` | ten million timelines: memory while loading, recovering and after reopening |
//! | `space.rs` | gigabytes that expire: how the file shrinks, also beside a held snapshot |
//! | `tiers/` | real chats, hot and cold: bytes a message, cost of a history scan |
//! | `commits/` | latency of commits while background output runs |
//! | `report.rs` | the lines, the goals and the exit code |
//! | `stage.rs` | folder, options and the open store |
//! | `clock.rs` | a wall clock that can be made to jump |
//! | `sample.rs` | what every interval shows of file, memory and bytes written |
//!
//! Everything written follows from a seed, so every answer is checked: a wrong one fails the run.
//! A missed goal is reported; with `--strict` a missed goal that is no matter of speed fails the
//! run too.

mod arguments;
mod clock;
mod commits;
mod fanout;
mod payload;
mod report;
mod sample;
mod space;
mod stage;
mod tiers;
mod timelines;
mod ttl;

use arguments::{Arguments, Mode};
use clap::Parser;
use std::process::ExitCode;

/// What may go wrong here: it is printed, and the run counts as failed.
type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    let Arguments { common, mode } = Arguments::parse();
    let outcome = match mode {
        Mode::Ttl(arguments) => ttl::run(&common, &arguments),
        Mode::Fanout(arguments) => fanout::run(&common, &arguments),
        Mode::Timelines(arguments) => timelines::run(&common, &arguments),
        Mode::TimelinesPhase(arguments) => timelines::run_phase(&common, &arguments),
        Mode::Space(arguments) => space::run(&common, &arguments),
        Mode::Tiers(arguments) => tiers::run(&common, &arguments),
        Mode::Commits(arguments) => commits::run(&common, &arguments),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            report::note(format_args!("soak: {error}"));
            ExitCode::from(3)
        }
    }
}
