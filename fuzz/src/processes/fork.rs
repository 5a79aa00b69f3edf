//! Fork, which Rust does not offer.

use rustix::process::{Pid, WaitOptions, waitpid};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs something in a child of fork, and waits for its end; whether it said that all is well.
pub(super) fn in_child(run: impl FnOnce() -> bool) -> io::Result<bool> {
    // SAFETY: the child goes on with this one thread and calls `run`. That allocates, which the
    // system's library keeps possible behind a fork, and takes none of the locks that threads of
    // the parent may hold: that it need not is what is tested, and where it does, it hangs, and
    // whoever started this process ends the child too.
    let id = unsafe { libc::fork() };
    match id {
        0 => {
            let well = catch_unwind(AssertUnwindSafe(run)).unwrap_or(false);
            std::process::exit(i32::from(!well));
        }
        _ => {
            let child =
                Pid::from_raw(id).filter(|_| id > 0).ok_or_else(io::Error::last_os_error)?;
            let ended = waitpid(Some(child), WaitOptions::empty())?;
            Ok(ended.is_some_and(|(_, status)| status.exit_status() == Some(0)))
        }
    }
}
