//! The commands, run as a user runs them.
//!
//! | module | what |
//! |---|---|
//! | `append` | acknowledged lines, kills, a second writer |
//! | `import` | both formats, fan-out, bad lines, real chats where they are at hand |
//! | `irc` | the whole real log, entry by entry |
//! | `read` | scan, timelines, info; beside a live writer; nothing is written |
//! | `damage` | verify and dump find flipped bytes |
//! | `salvage` | a damaged store becomes a new one, and what is lost is named |
//! | `demo` | the demonstration checks itself and leaves a sound store |

#![expect(clippy::unwrap_used, reason = "a test that panics says where it failed")]

mod append;
mod damage;
mod demo;
mod import;
mod irc;
mod read;
mod salvage;

use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// Ring of the stores under test.
const RING_BYTES: &str = "262144";

/// A folder of its own for each test, with the program in it.
struct Bench {
    folder: TempDir,
}

/// How a run ended.
#[derive(Debug)]
struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Bench {
    /// Flips a bit of the store `a.tide`.
    fn flip(&self, offset: u64) {
        let path = self.path("a.tide");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[usize::try_from(offset).unwrap()] ^= 0x40;
        std::fs::write(&path, bytes).unwrap();
    }

    fn new() -> Bench {
        Bench { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidelog"));
        command.args(arguments.split_whitespace()).current_dir(self.folder.path());
        // A small ring is made faster, and wraps sooner.
        let writes = ["append", "import", "demo"].iter().any(|name| arguments.starts_with(name));
        if writes && !arguments.contains("--ring-bytes") {
            command.args(["--ring-bytes", RING_BYTES]);
        }
        command
    }

    fn run(&self, arguments: &str) -> Run {
        self.run_with(arguments, b"")
    }

    fn run_with(&self, arguments: &str, input: &[u8]) -> Run {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A program that refuses its arguments may close its input before it is written.
        let _ = child.stdin.take().unwrap().write_all(input);
        let output = child.wait_with_output().unwrap();
        Run {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// A run that must go well; its output.
    fn good(&self, arguments: &str) -> String {
        self.good_with(arguments, b"")
    }

    fn good_with(&self, arguments: &str, input: &[u8]) -> String {
        let run = self.run_with(arguments, input);
        assert_eq!(run.code, Some(0), "{arguments}: {run:?}");
        run.stdout
    }

    /// A run that must end with this code; its complaint.
    fn bad(&self, arguments: &str, code: i32) -> String {
        let run = self.run(arguments);
        assert_eq!(run.code, Some(code), "{arguments}: {run:?}");
        assert!(run.stderr.starts_with("tidelog: ") || code == 2, "{run:?}");
        run.stderr
    }

    /// The JSON objects that a run prints.
    fn json(&self, arguments: &str) -> Vec<Value> {
        let lines = self.good(arguments);
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// A writer that stays alive.
    fn live_append(&self, arguments: &str) -> Child {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    }
}

/// Sequence ids and payloads of scanned entries.
fn entries(objects: &[Value]) -> Vec<(u64, String)> {
    let of = |object: &Value| {
        (object["seq"].as_u64().unwrap(), object["payload"].as_str().unwrap().to_owned())
    };
    objects.iter().map(of).collect()
}

/// The real chats: `TIDELOG_DATA`, else `../shared/data` beside the repository.
fn real_data() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = std::env::var_os("TIDELOG_DATA").map_or_else(beside, PathBuf::from);
    folder.is_dir().then_some(folder)
}
