//! The commands, one a file.

mod append;
mod arguments;
mod demo;
mod dump;
mod import;
mod info;
mod salvage;
mod scan;
mod store;
mod timelines;
mod verify;

use crate::failure::Outcome;

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Import(import::Import),
    Append(append::Append),
    Scan(scan::Scan),
    Timelines(timelines::Timelines),
    Info(info::Info),
    Dump(dump::Dump),
    Verify(verify::Verify),
    Salvage(salvage::Salvage),
    Demo(demo::Demo),
}

/// Does it.
pub(crate) fn run(command: Command) -> Outcome {
    match command {
        Command::Import(import) => import.run(),
        Command::Append(append) => append.run(),
        Command::Scan(scan) => scan.run(),
        Command::Timelines(timelines) => timelines.run(),
        Command::Info(info) => info.run(),
        Command::Dump(dump) => dump.run(),
        Command::Verify(verify) => verify.run(),
        Command::Salvage(salvage) => salvage.run(),
        Command::Demo(demo) => demo.run(),
    }
}
