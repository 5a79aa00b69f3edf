//! Real processes over a real file, killed with SIGKILL at random moments.
//!
//! ```text
//! parent ── starts ──► child: opens, commits, flushes, compacts, moves to the cold tier, closes
//!    ▲                   │
//!    └── pipe: "ack …" ──┘   written behind the commit that it speaks of
//! parent ── SIGKILL ─► child
//! parent: opens the file itself, or leaves that to the next child, which may be killed in recovery
//! ```
//! What must hold, whatever the durability:
//! 1. Every acknowledged commit is there, whole, with its bytes, its commit number and its seqs.
//! 2. Of what was not acknowledged there is only what can have been under way, whole or not at all.
//! 3. No seq is given twice, none is left out; what was trimmed, deleted, amended and retracted
//!    stays so; timelines, values and their listing are those of the operations and no others.
//! 4. The inspector finds no fault, neither in the file as it was left nor in the one recovered.
//! 5. The last process of a file is not killed: it opens, works and closes, and nothing hangs.
//!
//! - `setup`, `timeline`, `plan`: the store of a seed, and what each writer does to it
//! - `payload`: bytes that say who wrote them
//! - `victim`, `line`: the child, and what it says
//! - `child`: one life of it, as the parent sees it
//! - `witness`, `model`, `check`: what was acknowledged, what must be there, what is
//! - `file`: the rounds over one file
//! - `counts`: what was done, in numbers
//! - `helper`, `fork`: processes that other tests need
//!
//! The plan of a process follows from the seed. The moment at which it is killed is drawn from it
//! too, but what the threads have done by then is the machine's: a failure that hangs on that comes
//! back only with some patience, and the files of a failure are left where they are.
#![expect(
    clippy::disallowed_methods,
    reason = "files, processes and time are what this is about: nothing here is simulated"
)]

mod check;
mod child;
mod counts;
mod file;
mod fork;
pub mod helper;
mod line;
mod model;
mod payload;
mod plan;
mod setup;
mod timeline;
mod victim;
mod witness;

pub use counts::Counts;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Processes that are killed over one file.
pub const KILLS_PER_FILE: u64 = 16;

/// Kills `count` processes, sixteen a file: file `n` of seed `s` is file 0 of seed `s + n`. Files
/// lie in `directory`, and are gone when nothing failed.
///
/// The children are this same program: its `main` begins with [`serve`].
///
/// # Errors
/// What does not hold, and the command that repeats it.
pub fn run(seed: u64, count: u64, directory: &Path) -> Result<Counts, String> {
    let program = std::env::current_exe().map_err(|error| format!("who am I: {error}"))?;
    run_with(&program, seed, count, directory)
}

/// The same, with another program that serves as the child.
///
/// # Errors
/// As [`run`].
pub fn run_with(program: &Path, seed: u64, count: u64, directory: &Path) -> Result<Counts, String> {
    let mut counts = Counts::default();
    let mut left = count;
    let mut own_seed = seed;
    while left > 0 {
        let kills = left.min(KILLS_PER_FILE);
        let narrow = u32::try_from(kills).expect("a file has few");
        file::run(program, own_seed, narrow, directory, &mut counts).map_err(|what| {
            let folder = directory.display();
            let again = crate::prove::runner::command("kills", own_seed, 0);
            format!("kills over seed {own_seed} in {folder}: {what}\nrepeat it: {again}")
        })?;
        own_seed = own_seed.wrapping_add(1);
        left -= kills;
    }
    Ok(counts)
}

/// Lives the life of a child, where this process was started as one: then `main` has nothing more
/// to do.
pub fn serve() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next()?;
    if first == helper::HELPER {
        return Some(helper::run(&arguments.collect::<Vec<_>>()));
    }
    if first != child::VICTIM {
        return None;
    }
    let folder = PathBuf::from(arguments.next()?);
    let numbers: Vec<String> =
        arguments.filter_map(|argument| argument.into_string().ok()).collect();
    let [seed, round, last] = numbers.as_slice() else { return Some(ExitCode::from(2)) };
    let (Ok(seed), Ok(round)) = (seed.parse(), round.parse()) else {
        return Some(ExitCode::from(2));
    };
    let setup = setup::Setup::new(seed, &folder);
    match victim::live(&setup, round, last == "last") {
        Ok(()) => Some(ExitCode::SUCCESS),
        Err(what) => {
            // If nobody hears of it, the status tells as much.
            let _ = line::Line::Failed(what).tell();
            Some(ExitCode::from(3))
        }
    }
}
