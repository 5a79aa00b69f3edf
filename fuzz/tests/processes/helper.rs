//! A process beside the test's own.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;
use tidelog_fuzz::processes::helper::HELPER;

/// Seconds that a helper may take to say something, or to end: counted one by one, so that a time
/// in which the machine stopped them all counts as one.
const SECONDS: u32 = 120;

pub(crate) struct Helper {
    child: Child,
    lines: Receiver<String>,
}

impl Helper {
    /// Starts one in a group of its own, so that its children end with it.
    pub(crate) fn start(mode: &str, path: &Path) -> Helper {
        let mut child = Command::new(env!("CARGO_BIN_EXE_victim"))
            .args([HELPER, mode])
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let output = child.stdout.take().unwrap();
        let (send, lines) = channel();
        std::thread::spawn(move || {
            let whole = BufReader::new(output).lines().map_while(Result::ok);
            whole.map_while(|line| send.send(line).ok()).count()
        });
        Helper { child, lines }
    }

    /// The next line; `None` behind the last.
    pub(crate) fn line(&self) -> Option<String> {
        for _ in 0..SECONDS {
            match self.lines.recv_timeout(Duration::from_secs(1)) {
                Ok(line) => return Some(line),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        panic!("the helper says nothing");
    }

    /// Hears this line next.
    pub(crate) fn expect(&self, expected: &str) {
        assert_eq!(self.line().as_deref(), Some(expected));
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.lines.iter().collect()
    }

    /// Ends its input, and waits for its end.
    pub(crate) fn end(mut self) -> ExitStatus {
        let mut input = self.child.stdin.take().unwrap();
        input.flush().unwrap();
        drop(input);
        while self.line().is_some() {}
        self.child.wait().unwrap()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // Its children too, should a test have failed while one of them hangs.
        if let Some(group) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.wait();
    }
}
