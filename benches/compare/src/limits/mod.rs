//! The limits of disk, memory and processor, measured in the same run as the engines: no engine
//! beats them, and figures of two machines are compared through them.

mod aligned;
mod processor;
mod sync;
mod transfer;

use crate::Result;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use std::path::Path;
use sync::Space;

/// What the machine can do. Direct figures are missing where the file system has no direct I/O,
/// allocated ones where it cannot allocate.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Limits {
    /// Medians of a 4 KiB write and fdatasync, in microseconds: into space written before,
    /// into space that is only allocated, and at the end of a growing file.
    pub sync_written_us: f64,
    pub sync_written_direct_us: Option<f64>,
    pub sync_allocated_us: Option<f64>,
    pub sync_allocated_direct_us: Option<f64>,
    pub sync_growing_us: f64,
    pub sync_growing_direct_us: Option<f64>,
    /// The same with 64 KiB, into written space.
    pub sync_64k_us: f64,
    /// A long sequential write and one sync, and reading it back cold, in MB a second.
    pub write_mb: f64,
    pub write_direct_mb: Option<f64>,
    pub read_direct_mb: Option<f64>,
    /// memcpy by one thread and by two, in MB a second.
    pub memcpy_mb: f64,
    pub memcpy_two_threads_mb: f64,
    /// crc32fast over pieces of 4 KiB.
    pub crc32_mb: f64,
    /// lz4_flex on the text of the workloads, by block size.
    pub lz4: Vec<Lz4>,
}

/// What lz4 does to blocks of a size.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Lz4 {
    pub block_kib: u64,
    pub compress_mb: f64,
    pub decompress_mb: f64,
    /// Bytes before through bytes after.
    pub ratio: f64,
}

impl Limits {
    /// Measures in `directory`.
    pub fn measure(directory: &Path, scale: f64) -> Result<Limits> {
        let full = scale >= 1.0;
        let (count, bytes) = if full { (2_000, 1 << 30) } else { (50, 64 << 20) };
        let path = directory.join("limits");
        let (buffered, direct) = (OFlags::empty(), OFlags::DIRECT);
        const BLOCK: usize = 4 << 10;
        let sync = |space, flags, length| sync::median(&path, space, flags, length, count);
        let limits = Limits {
            sync_written_us: sync(Space::Written, buffered, BLOCK)?,
            sync_written_direct_us: sync(Space::Written, direct, BLOCK).ok(),
            sync_allocated_us: sync(Space::Allocated, buffered, BLOCK).ok(),
            sync_allocated_direct_us: sync(Space::Allocated, direct, BLOCK).ok(),
            sync_growing_us: sync(Space::Growing, buffered, BLOCK)?,
            sync_growing_direct_us: sync(Space::Growing, direct, BLOCK).ok(),
            sync_64k_us: sync(Space::Written, buffered, 64 << 10)?,
            write_mb: transfer::write(&path, buffered, bytes)?,
            write_direct_mb: transfer::write(&path, direct, bytes).ok(),
            read_direct_mb: transfer::read(&path, direct, bytes).ok(),
            memcpy_mb: processor::memcpy(1),
            memcpy_two_threads_mb: processor::memcpy(2),
            crc32_mb: processor::crc32(),
            lz4: [4, 16, 64].map(processor::lz4).into_iter().collect::<Result<_>>()?,
        };
        std::fs::remove_file(&path)?;
        Ok(limits)
    }
}

/// MB a second.
fn megabytes(bytes: u64, start: std::time::Instant) -> f64 {
    bytes as f64 / 1e6 / start.elapsed().as_secs_f64()
}
