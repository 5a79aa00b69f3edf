//! How fast the disk takes and gives much at a time.

use super::aligned::{Aligned, create, open};
use super::megabytes;
use crate::Result;
use rustix::fs::OFlags;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

const PIECE: usize = 1 << 20;

/// A sequential write of a new file and one sync, in MB a second.
pub fn write(path: &Path, flags: OFlags, bytes: u64) -> Result<f64> {
    let file = create(path, flags)?;
    let piece = Aligned::new(PIECE);
    let start = Instant::now();
    for offset in (0..bytes).step_by(PIECE) {
        file.write_all_at(piece.bytes(), offset)?;
    }
    file.sync_all()?;
    Ok(megabytes(bytes, start))
}

/// Reads the file sequentially, in MB a second.
pub fn read(path: &Path, flags: OFlags, bytes: u64) -> Result<f64> {
    let file = open(OpenOptions::new().read(true), path, flags)?;
    let mut piece = Aligned::new(PIECE);
    let start = Instant::now();
    for offset in (0..bytes).step_by(PIECE) {
        file.read_exact_at(piece.bytes_mut(), offset)?;
    }
    Ok(megabytes(bytes, start))
}
