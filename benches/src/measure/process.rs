//! Counters that the kernel keeps for this process.

use rustix::time::{ClockId, clock_gettime};
use std::io::{Error, Result};
use std::time::Duration;

/// CPU time of all threads so far.
pub fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Bytes that this process has caused to be written to storage: dirtied pages and direct writes.
pub fn written_bytes() -> Result<u64> {
    field("/proc/self/io", "write_bytes:")
}

/// Bytes that this process has caused to be read from storage, faults in maps included.
pub fn read_bytes() -> Result<u64> {
    field("/proc/self/io", "read_bytes:")
}

/// The highest resident memory so far.
pub fn peak_rss_bytes() -> Result<u64> {
    Ok(field("/proc/self/status", "VmHWM:")? * 1024)
}

/// Resident memory that is no file, now.
pub fn anonymous_bytes() -> Result<u64> {
    Ok(field("/proc/self/status", "RssAnon:")? * 1024)
}

/// Resident memory that is mapped from files, the program's own included, now.
pub fn mapped_bytes() -> Result<u64> {
    Ok(field("/proc/self/status", "RssFile:")? * 1024)
}

fn field(path: &str, name: &str) -> Result<u64> {
    let text = std::fs::read_to_string(path)?;
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    let number = value.and_then(|value| value.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| Error::other(format!("{path} has no number {name}")))
}
