//! The tests, tested: each fault that the engine can have planted, and what must fail then.
//!
//! A catcher is named by its test binary and a filter. The run is the binary's own, in a process of
//! its own with the fault in its environment; it counts as caught when a test fails or the process
//! ends by a panic, in time. A run that hangs has not caught anything: nobody would know why.

mod catchers;

pub use catchers::{CATCHERS, Catcher, Suite};

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tidelog_engine::planted::Planted;

/// The test binaries of the engine.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// Tests inside it.
    pub unit: PathBuf,
    /// Tests over its public face.
    pub integration: PathBuf,
}

/// What came of a planted fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The first test that failed, and how long it took.
    Caught(String, Duration),
    /// Every test passed.
    Missed,
    /// No test had failed when the time was up.
    TimedOut,
    /// The filter selects nothing.
    NothingRan,
}

impl Binaries {
    /// Builds the engine's tests, as the test command of the workspace does, and finds them.
    ///
    /// # Errors
    /// What the build said.
    pub fn build() -> Result<Binaries, String> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["test", "--workspace", "--all-features", "--no-run", "--locked"])
            .arg("--message-format=json")
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| format!("cargo does not run: {error}"))?;
        if !output.status.success() {
            return Err("the tests do not build".to_owned());
        }
        let messages = String::from_utf8_lossy(&output.stdout);
        let find = |target: &str| {
            let path = messages.lines().filter(|line| is_test_of_engine(line, target));
            let path = path.filter_map(executable).next_back();
            path.ok_or_else(|| format!("cargo names no test binary of {target}"))
        };
        Ok(Binaries { unit: find("tidelog_engine")?, integration: find("it")? })
    }

    fn path(&self, suite: Suite) -> &Path {
        match suite {
            Suite::Unit => &self.unit,
            Suite::Integration => &self.integration,
        }
    }

    /// Runs the tests that `filter` selects with the fault planted, until the first one fails.
    ///
    /// # Errors
    /// Where the binary cannot be run.
    #[expect(clippy::disallowed_methods, reason = "another process runs in real time")]
    pub fn run(
        &self,
        fault: Option<Planted>,
        (suite, filter): (Suite, &str),
        limit: Duration,
    ) -> Result<Outcome, String> {
        let path = self.path(suite);
        let started = Instant::now();
        let mut command = Command::new(path);
        command.args(filter.split_whitespace()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.stdin(Stdio::null()).env_remove("TIDELOG_PLANTED");
        // Property tests draw the same cases in every run.
        command.env("PROPTEST_RNG_SEED", "1");
        if let Some(fault) = fault {
            command.env("TIDELOG_PLANTED", fault.name());
        }
        let failed = |error| format!("{} does not run: {error}", path.display());
        let mut child = command.spawn().map_err(failed)?;
        let output = child.stdout.take().ok_or("the output of a test is lost")?;
        let (tell, lines) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    break;
                }
            }
        });
        let mut seen = Seen::default();
        loop {
            let left = limit.saturating_sub(started.elapsed());
            match lines.recv_timeout(left) {
                Ok(line) => seen.line(&line),
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => seen.late = true,
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
            }
            if seen.failed.is_some() || seen.late {
                // It may have ended by itself a moment ago.
                let _ = child.kill();
                break;
            }
        }
        let status = child.wait().map_err(failed)?;
        let _ = reader.join();
        Ok(seen.outcome(status.success(), started.elapsed()))
    }
}

/// Whether a message of cargo is about the tests of a target of the engine. Other packages have
/// targets of the same name.
fn is_test_of_engine(line: &str, target: &str) -> bool {
    line.contains("#tidelog-engine@")
        && line.contains(&format!("\"name\":\"{target}\""))
        && line.contains("\"test\":true")
}

/// The path in a message of cargo about a test binary.
fn executable(line: &str) -> Option<PathBuf> {
    let (_, rest) = line.split_once("\"executable\":\"")?;
    let (path, _) = rest.split_once('"')?;
    Some(PathBuf::from(path))
}

/// What a test binary has printed so far.
#[derive(Debug, Default)]
struct Seen {
    tests: u64,
    failed: Option<String>,
    late: bool,
}

impl Seen {
    fn line(&mut self, line: &str) {
        let Some(rest) = line.strip_prefix("test ") else { return };
        if let Some((name, "FAILED")) = rest.rsplit_once(" ... ") {
            self.failed = Some(name.to_owned());
        }
        self.tests += u64::from(rest.contains(" ... "));
    }

    fn outcome(self, succeeded: bool, taken: Duration) -> Outcome {
        match self.failed {
            Some(name) => Outcome::Caught(name, taken),
            None if self.late => Outcome::TimedOut,
            // A panic while panicking, or a lost promise of `unsafe`: the process itself ended.
            None if !succeeded => Outcome::Caught("the whole process".to_owned(), taken),
            None if self.tests == 0 => Outcome::NothingRan,
            None => Outcome::Missed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_a_catcher_and_every_catcher_a_fault() {
        for fault in Planted::ALL {
            let count = CATCHERS.iter().filter(|catcher| catcher.fault == fault).count();
            assert_eq!(count, 1, "{fault:?}");
        }
        assert_eq!(CATCHERS.len(), Planted::ALL.len());
    }

    /// The engine, the timelines and the tools each have a target of the name `it`; which of them
    /// cargo names last is a matter of chance.
    #[test]
    fn a_target_of_another_package_is_no_target_of_the_engine() {
        let message = |package: &str| {
            let of = format!("\"package_id\":\"path+file:///a/b#{package}@0.1.0\"");
            let target = "\"target\":{\"name\":\"it\",\"test\":true}";
            format!("{{{of},{target},\"executable\":\"/t/it-1\"}}")
        };
        let of_engine = message("tidelog-engine");
        assert!(is_test_of_engine(&of_engine, "it"));
        assert_eq!(executable(&of_engine), Some(PathBuf::from("/t/it-1")));
        assert!(!is_test_of_engine(&message("tidelog-tools"), "it"));
        assert!(!is_test_of_engine(&of_engine, "tidelog_engine"));
    }

    #[test]
    fn what_a_test_binary_prints_is_understood() {
        let outcome = |lines: &[&str], succeeded| {
            let mut seen = Seen::default();
            lines.iter().for_each(|line| seen.line(line));
            seen.outcome(succeeded, Duration::ZERO)
        };
        let caught = |name: &str| Outcome::Caught(name.to_owned(), Duration::ZERO);
        assert_eq!(outcome(&["running 1 test", "test a::b ... ok"], true), Outcome::Missed);
        assert_eq!(outcome(&["test a::b ... ok", "test a::c ... FAILED"], true), caught("a::c"));
        assert_eq!(outcome(&["running 0 tests"], true), Outcome::NothingRan);
        assert_eq!(outcome(&["running 3 tests"], false), caught("the whole process"));
        let late = Seen { late: true, tests: 4, failed: None };
        assert_eq!(late.outcome(false, Duration::ZERO), Outcome::TimedOut);
    }
}
