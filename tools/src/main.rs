//! `tidelog`: loads, looks at and checks stores from the command line.
//!
//! | file | what |
//! |---|---|
//! | `command/` | one file a command |
//! | `source/` | chats from outside, for `import` |
//! | `demo/` | the generated day of `demo` |
//! | `output.rs` | the only printing |
//! | `failure.rs` | exit codes |

mod command;
mod demo;
mod failure;
mod output;
mod source;
mod text;
mod time;

use clap::Parser;
use std::process::ExitCode;

/// Loads, looks at and checks Tidelog stores.
#[derive(Debug, Parser)]
#[command(name = "tidelog", version, about, after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    command: command::Command,
}

const AFTER_HELP: &str = "Timelines are named by text (alice, #room), an integer (i:42), bytes \
    (x:0AFF) or a tuple (t:group,i:42).\n\
    Exit codes: 0 good, 1 damage or a mismatch found, 2 wrong use, 3 anything else.";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Err(failure) = command::run(arguments.command) else {
        return ExitCode::SUCCESS;
    };
    let (code, complaint) = failure.report();
    if let Some(complaint) = complaint {
        output::note(format_args!("tidelog: {complaint}"));
    }
    ExitCode::from(code)
}
