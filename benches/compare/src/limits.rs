//! The limits of the disk and the memory, measured in the same run as the engines: no engine beats
//! them, and figures of two machines are compared through them.

use crate::Result;
use crate::measure::Latencies;
use rustix::fs::OFlags;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Instant;

const BLOCK: usize = 4096;
const PIECE: usize = 1 << 20;
/// Written space that synced writes go round in.
const RING_BYTES: u64 = 4 << 20;

/// What the machine can do. Direct figures are missing where the file system has no direct I/O.
#[derive(Debug, Serialize)]
pub struct Limits {
    /// Median of a 4 KiB write and fdatasync, into written space, in microseconds.
    pub sync_us: f64,
    pub sync_direct_us: Option<f64>,
    /// A long sequential write and one sync, in MB a second.
    pub write_mb: f64,
    pub write_direct_mb: Option<f64>,
    /// memcpy by one thread, in MB a second.
    pub memcpy_mb: f64,
}

impl Limits {
    /// Measures in `directory`.
    pub fn measure(directory: &Path, scale: f64) -> Result<Limits> {
        let full = scale >= 1.0;
        let (syncs, bytes) = if full { (2_000, 1 << 30) } else { (200, 64 << 20) };
        let path = directory.join("limits");
        let limits = Limits {
            sync_us: sync(&path, OFlags::empty(), syncs)?,
            sync_direct_us: sync(&path, OFlags::DIRECT, syncs).ok(),
            write_mb: write(&path, OFlags::empty(), bytes)?,
            write_direct_mb: write(&path, OFlags::DIRECT, bytes).ok(),
            memcpy_mb: memcpy(),
        };
        std::fs::remove_file(&path)?;
        Ok(limits)
    }
}

fn sync(path: &Path, flags: OFlags, count: u64) -> Result<f64> {
    let file = create(path, OFlags::empty())?;
    file.write_all_at(&vec![0; usize::try_from(RING_BYTES)?], 0)?;
    file.sync_all()?;
    let file = open(OpenOptions::new().write(true), path, flags)?;
    let block = Aligned::new(BLOCK);
    let mut latencies = Latencies::new();
    for index in 0..count {
        let offset = index * BLOCK as u64 % RING_BYTES;
        latencies
            .time(|| file.write_all_at(block.bytes(), offset).and_then(|()| file.sync_data()))?;
    }
    Ok(latencies.quantile(0.5))
}

fn write(path: &Path, flags: OFlags, bytes: u64) -> Result<f64> {
    let file = create(path, flags)?;
    let piece = Aligned::new(PIECE);
    let start = Instant::now();
    for offset in (0..bytes).step_by(PIECE) {
        file.write_all_at(piece.bytes(), offset)?;
    }
    file.sync_all()?;
    Ok(megabytes(bytes, start))
}

fn memcpy() -> f64 {
    const ROUNDS: u64 = 16;
    let source = vec![1_u8; 64 << 20];
    let mut target = vec![0_u8; source.len()];
    let start = Instant::now();
    for _ in 0..ROUNDS {
        target.copy_from_slice(black_box(&source));
        black_box(&mut target);
    }
    megabytes(ROUNDS * source.len() as u64, start)
}

fn megabytes(bytes: u64, start: Instant) -> f64 {
    bytes as f64 / 1e6 / start.elapsed().as_secs_f64()
}

fn create(path: &Path, flags: OFlags) -> Result<File> {
    open(OpenOptions::new().write(true).create(true).truncate(true), path, flags)
}

fn open(options: &mut OpenOptions, path: &Path, flags: OFlags) -> Result<File> {
    let flags = i32::try_from(flags.bits())?;
    Ok(options.custom_flags(flags).open(path)?)
}

/// Bytes at an address that direct I/O takes.
struct Aligned {
    bytes: Vec<u8>,
    start: usize,
    length: usize,
}

impl Aligned {
    fn new(length: usize) -> Aligned {
        let bytes = vec![0x5A; length + BLOCK];
        let start = bytes.as_ptr().align_offset(BLOCK);
        Aligned { bytes, start, length }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.length]
    }
}
