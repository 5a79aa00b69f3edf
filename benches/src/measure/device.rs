//! Counters of the block device under a folder, from `/proc/diskstats`. They count everybody's
//! work.

use rustix::fs::{major, minor};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The device and its counters at one moment.
#[derive(Debug)]
pub struct Device {
    number: (u32, u32),
    counters: Counters,
}

/// What is counted.
#[derive(Debug, Clone, Copy)]
pub struct Counters {
    /// Flushes of its write cache.
    pub flushes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Reads, as the device was asked: the kernel merges neighbours and reads ahead.
    pub reads: u64,
    /// Bytes read.
    pub read_bytes: u64,
}

impl Device {
    /// The device of `directory` now; none where the kernel does not tell.
    pub fn of(directory: &Path) -> Option<Device> {
        let device = std::fs::metadata(directory).ok()?.dev();
        let number = (major(device), minor(device));
        Some(Device { number, counters: counters(number)? })
    }

    /// What was counted since.
    pub fn since(&self) -> Option<Counters> {
        let now = counters(self.number)?;
        Some(Counters {
            flushes: now.flushes.checked_sub(self.counters.flushes)?,
            written_bytes: now.written_bytes.checked_sub(self.counters.written_bytes)?,
            reads: now.reads.checked_sub(self.counters.reads)?,
            read_bytes: now.read_bytes.checked_sub(self.counters.read_bytes)?,
        })
    }
}

/// Columns of `/proc/diskstats`: 0 and 1 are the device's number, 3 reads, 5 sectors of 512 bytes
/// read, 9 sectors written, 18 flushes (not there before Linux 5.5).
fn counters(number: (u32, u32)) -> Option<Counters> {
    let table = std::fs::read_to_string("/proc/diskstats").ok()?;
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let row = rows.into_iter().find(|row| {
        let column = |index: usize| row.get(index).and_then(|text| text.parse::<u32>().ok());
        (column(0), column(1)) == (Some(number.0), Some(number.1))
    })?;
    let column = |index: usize| row.get(index).and_then(|text| text.parse::<u64>().ok());
    Some(Counters {
        flushes: column(18)?,
        written_bytes: column(9)? * 512,
        reads: column(3)?,
        read_bytes: column(5)? * 512,
    })
}
