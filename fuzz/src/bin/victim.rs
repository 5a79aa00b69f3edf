//! `victim`: the process that tests kill; see `tidelog_fuzz::processes`.

use std::process::ExitCode;
use tidelog_fuzz::processes;

fn main() -> ExitCode {
    processes::serve().unwrap_or(ExitCode::from(2))
}
