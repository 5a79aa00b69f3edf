//! What it costs to get a small write to the disk, by what the file system knows of its place.

use super::aligned::{Aligned, create, open};
use crate::Result;
use crate::measure::Latencies;
use rustix::fs::{FallocateFlags, OFlags, fallocate};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Where a write goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// Over what was written and synced before, round and round: no metadata change.
    Written,
    /// Into blocks that the file has and that were never written: each becomes a written one.
    Allocated,
    /// Behind the end of the file: it grows.
    Growing,
}

/// Written space that writes go round in.
const RING_BYTES: u64 = 4 << 20;

/// The median of `count` writes of `length` bytes with an fdatasync each, in microseconds.
pub fn median(path: &Path, space: Space, flags: OFlags, length: usize, count: u64) -> Result<f64> {
    let file = create(path, OFlags::empty())?;
    match space {
        Space::Written => file.write_all_at(&vec![0; usize::try_from(RING_BYTES)?], 0)?,
        Space::Allocated => {
            fallocate(&file, FallocateFlags::empty(), 0, count * length as u64)?;
        }
        Space::Growing => {}
    }
    file.sync_all()?;
    let file = open(OpenOptions::new().write(true), path, flags)?;
    let block = Aligned::new(length);
    let mut latencies = Latencies::new();
    for index in 0..count {
        let place = index * length as u64;
        let offset = if space == Space::Written { place % RING_BYTES } else { place };
        latencies
            .time(|| file.write_all_at(block.bytes(), offset).and_then(|()| file.sync_data()))?;
    }
    Ok(latencies.quantile(0.5))
}
