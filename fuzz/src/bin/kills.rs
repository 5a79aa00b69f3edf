//! `kills`: kills processes that work on a store, by the thousand; see `tidelog_fuzz::processes`.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for the terminal: counts on stdout, failures on stderr"
)]

use std::path::PathBuf;
use std::process::ExitCode;
use tidelog_fuzz::processes::{self, shards};

const USAGE: &str = "usage: kills --directory DIR [--count N] [--seed N]
Kills N processes (10,000) over stores in DIR, and appends a line of counts to DIR/kills.jsonl for
every 160 of them. Started again with the same seed (1), it goes on where it was.";

struct Request {
    directory: PathBuf,
    seed: u64,
    count: u64,
}

fn main() -> ExitCode {
    if let Some(code) = processes::serve() {
        return code;
    }
    let request = match parse(std::env::args().skip(1)) {
        Ok(request) => request,
        Err(what) => {
            eprintln!("{what}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let Request { directory, seed, count } = request;
    let told = |shard, counts: &processes::Counts| println!("shard {shard}: {counts}");
    match shards::kill(&directory, seed, count, told) {
        Ok(counts) => {
            println!("no failure: {counts}");
            ExitCode::SUCCESS
        }
        Err(what) => {
            eprintln!("{what}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Request, String> {
    let (mut directory, mut seed, mut count) = (None, 1, 10_000);
    while let Some(option) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{option} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{option} needs a number"));
        match option.as_str() {
            "--directory" => directory = Some(PathBuf::from(&value)),
            "--seed" => seed = number()?,
            "--count" => count = number()?,
            _ => return Err(format!("unknown option {option}")),
        }
    }
    let directory = directory.ok_or("--directory is missing")?;
    Ok(Request { directory, seed, count })
}
