//! Files and memory for direct I/O.

use crate::Result;
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

const ALIGNMENT: usize = 4096;

/// A new, empty file.
pub fn create(path: &Path, flags: OFlags) -> Result<File> {
    open(OpenOptions::new().write(true).create(true).truncate(true), path, flags)
}

/// Opens a file with flags of the system.
pub fn open(options: &mut OpenOptions, path: &Path, flags: OFlags) -> Result<File> {
    let flags = i32::try_from(flags.bits())?;
    Ok(options.custom_flags(flags).open(path)?)
}

/// Bytes at an address that direct I/O takes.
pub struct Aligned {
    bytes: Vec<u8>,
    start: usize,
    length: usize,
}

impl Aligned {
    /// So many bytes, none of them 0.
    pub fn new(length: usize) -> Aligned {
        let bytes = vec![0x5A; length + ALIGNMENT];
        let start = bytes.as_ptr().align_offset(ALIGNMENT);
        Aligned { bytes, start, length }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.length]
    }

    /// The bytes, to be read into.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.length]
    }
}
