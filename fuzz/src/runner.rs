//! Runs a fuzzer and judges how it ended.

use crate::registry::Fuzzer;

/// The command that repeats a run.
pub fn command(name: &str, seed: u64, events: u64) -> String {
    format!("cargo run -p tidelog-fuzz --release -- {name} --seed {seed} --events {events}")
}

/// Runs `events` events of a fuzzer.
///
/// # Errors
/// What went wrong, and on a line of its own the command that repeats it.
pub fn run(fuzzer: &Fuzzer, seed: u64, events: u64) -> Result<(), String> {
    (fuzzer.run)(seed, events).map_err(|what| {
        let name = fuzzer.name;
        format!("{name} failed: {what}\nrepeat it: {}", command(name, seed, events))
    })
}

/// One part of the smoke run: a fuzzer that must fail is in order when it does, twice the same.
///
/// # Errors
/// As [`run`]; also where a fuzzer that must fail does not, or fails otherwise the second time.
pub fn smoke(fuzzer: &Fuzzer, seed: u64) -> Result<(), String> {
    let first = run(fuzzer, seed, fuzzer.smoke_events);
    if !fuzzer.must_fail {
        return first;
    }
    if first.is_ok() {
        return Err(format!("{} did not fail: failures are not seen", fuzzer.name));
    }
    if run(fuzzer, seed, fuzzer.smoke_events) != first {
        return Err(format!("{} failed otherwise from the same seed", fuzzer.name));
    }
    Ok(())
}
