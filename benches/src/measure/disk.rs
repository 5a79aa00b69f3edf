//! Bytes that files take on the disk, and waiting until nothing more is written there.

use super::process;
use std::io::{Error, Result};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Bytes of the blocks that a file has: less than its length where it has holes.
pub fn allocated_bytes(file: &Path) -> Result<u64> {
    Ok(std::fs::metadata(file)?.blocks() * 512)
}

/// Bytes that a folder's files take on the disk.
pub fn disk_bytes(directory: &Path) -> Result<u64> {
    let mut total = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        // A file that background work deletes just now takes nothing.
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        total += match metadata.is_dir() {
            true => disk_bytes(&entry.path())?,
            false => metadata.blocks() * 512,
        };
    }
    Ok(total)
}

/// Waits until the process has written nothing and hardly computed for a second.
pub fn settle() -> Result<()> {
    const STEP: Duration = Duration::from_millis(100);
    const QUIET_STEPS: u32 = 10;
    const GIVE_UP: Duration = Duration::from_secs(600);
    let start = Instant::now();
    let mut quiet = 0;
    let mut before = (process::written_bytes()?, process::cpu_time());
    while quiet < QUIET_STEPS {
        if start.elapsed() > GIVE_UP {
            return Err(Error::other("background work did not end in ten minutes"));
        }
        std::thread::sleep(STEP);
        let now = (process::written_bytes()?, process::cpu_time());
        let is_quiet = now.0 == before.0 && now.1 - before.1 < STEP / 20;
        quiet = if is_quiet { quiet + 1 } else { 0 };
        before = now;
    }
    Ok(())
}
