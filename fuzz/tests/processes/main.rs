//! Real processes, real files, real signals, real file systems.
//!
//! - `kills`: processes that work on a store are killed, and nothing acknowledged is lost
//! - `two`: two processes and two handles that want the same file, by whatever name
//! - `forks`: a child of fork and its parent's store
//! - `truncation`: another process cuts the file off under a scan
//! - `full`, `mount`: file systems of 64 MiB that fill up
//! - `helper`: a process beside the test's own

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(
    clippy::disallowed_methods,
    reason = "files, threads and time are real here, and nothing is simulated"
)]

mod forks;
mod full;
mod helper;
mod kills;
mod mount;
mod truncation;
mod two;
