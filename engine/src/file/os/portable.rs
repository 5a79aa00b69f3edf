//! The fallbacks for a Unix without the calls of `linux.rs`: correct, not fast.

use std::fs::File;
use std::io;
use std::path::Path;

pub(super) fn open_direct(_path: &Path, _writes: bool) -> Option<(File, usize)> {
    None
}

pub(super) fn write_durable(
    _file: &File,
    _bytes: &[u8],
    _offset: u64,
) -> io::Result<Option<usize>> {
    Ok(None)
}

pub(super) fn allocate(_file: &File, _offset: u64, _length: u64) -> io::Result<bool> {
    Ok(false)
}

pub(super) fn punch_hole(_file: &File, _offset: u64, _length: u64) -> io::Result<bool> {
    Ok(false)
}

pub(super) fn is_cached(_file: &File, _offset: u64) -> io::Result<Option<bool>> {
    Ok(None)
}

/// Unknown.
pub(super) fn block_bytes(_file: &File) -> io::Result<usize> {
    Ok(0)
}

pub(super) fn start_writing(_file: &File, _offset: u64, _length: u64) {}

pub(super) fn read_ahead(_file: &File, _offset: u64, _length: u64) {}

/// Zero means "unknown": every unclean open then counts as after a power loss.
pub(super) fn boot_id() -> [u8; 16] {
    [0; 16]
}
