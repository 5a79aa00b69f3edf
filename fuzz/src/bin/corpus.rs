//! `corpus`: writes the files that fuzzers guided by coverage go on from, see `cargo-fuzz/`.
//!
//! For whoever has changed a format: files of the old one lead nowhere.
#![expect(clippy::print_stderr, reason = "a program for the terminal")]

use std::path::Path;
use std::process::ExitCode;
use tidelog_fuzz::raw::{TARGETS, Target};

fn main() -> ExitCode {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cargo-fuzz/corpus");
    match TARGETS.iter().try_for_each(|target| write(&folder, target)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "files beside no store")]
fn write(folder: &Path, target: &Target) -> std::io::Result<()> {
    let folder = folder.join(target.name);
    std::fs::create_dir_all(&folder)?;
    for (number, seed) in (target.seeds)().iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{number:02}")), seed)?;
    }
    Ok(())
}
