//! What Linux can do that the standard library does not offer: direct, durable and sparse I/O.

use crate::file::AlignedBuffer;
use rustix::fs::{AtFlags, FallocateFlags, OFlags, StatxFlags};
use rustix::io::{Errno, ReadWriteFlags};
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// `f_type` of tmpfs. It takes the flag for direct I/O since Linux 6.6, and ignores it.
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// A descriptor past the page cache and the alignment that its writes need, or `None` where the
/// file system has no such thing, or wants an alignment beyond a block.
#[expect(clippy::disallowed_methods, reason = "this file is the door to the file system")]
pub(super) fn open_direct(path: &Path, writes: bool) -> Option<(File, usize)> {
    let flags = i32::try_from(OFlags::DIRECT.bits()).ok()?;
    let direct = OpenOptions::new().read(true).write(writes).custom_flags(flags).open(path).ok()?;
    let file_system = rustix::fs::fstatfs(&direct).ok()?.f_type;
    if u64::try_from(file_system) == Ok(TMPFS_MAGIC) {
        return None;
    }
    let alignment = reported_alignment(&direct).unwrap_or_else(|| probed_alignment(&direct))?;
    Some((direct, alignment))
}

/// The alignment that the kernel tells (since Linux 6.1): outer `None` if it does not, inner `None`
/// if it says that direct I/O is not possible.
fn reported_alignment(file: &File) -> Option<Option<usize>> {
    let statx = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN).ok()?;
    if statx.stx_mask & StatxFlags::DIOALIGN.bits() == 0 {
        return None;
    }
    let (memory, offset) = (statx.stx_dio_mem_align, statx.stx_dio_offset_align);
    Some(match memory.max(offset) {
        _ if memory == 0 || offset == 0 => None,
        1..=512 => Some(512),
        513..=4096 => Some(4096),
        _ => None,
    })
}

/// Finds the alignment by reading, never by writing. An empty file tells nothing, since the end of
/// the file is found before the alignment is looked at: then the larger one is safe.
pub(super) fn probed_alignment(file: &File) -> Option<usize> {
    let mut buffer = AlignedBuffer::with_capacity(4096);
    buffer.extend(&[0; 4096]);
    let length = file.metadata().ok()?.len();
    let sector = &mut buffer.as_mut_slice()[..512];
    if length >= 4096 && file.read_at(sector, 512).is_ok() {
        return Some(512);
    }
    file.read_at(buffer.as_mut_slice(), 0).is_ok().then_some(4096)
}

/// A write that is durable on return, with what is needed to read it. `None` where the kernel or
/// the file system does not know the flag; nothing was written then.
pub(super) fn write_durable(file: &File, bytes: &[u8], offset: u64) -> io::Result<Option<usize>> {
    match rustix::io::pwritev2(file, &[IoSlice::new(bytes)], offset, ReadWriteFlags::DSYNC) {
        Ok(count) => Ok(Some(count)),
        Err(Errno::NOSYS | Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Bytes of a block of the file system: what a write to a part of it makes dirty, where that is
/// more than a page.
pub(super) fn block_bytes(file: &File) -> io::Result<usize> {
    Ok(usize::try_from(rustix::fs::fstatfs(file)?.f_bsize).unwrap_or(usize::MAX))
}

/// Lets the device begin with the dirty pages of a range. The advice says that they are not needed
/// in the cache: the kernel begins to write them, and keeps them all the same while they are
/// mapped, as those of stores are.
pub(super) fn start_writing(file: &File, offset: u64, length: u64) {
    if let Some(length) = std::num::NonZeroU64::new(length) {
        let _ = rustix::fs::fadvise(file, offset, Some(length), rustix::fs::Advice::DontNeed);
    }
}

/// Lets the device read a range that is needed soon, into pages of their own.
pub(super) fn read_ahead(file: &File, offset: u64, length: u64) {
    if let Some(length) = std::num::NonZeroU64::new(length) {
        let _ = rustix::fs::fadvise(file, offset, Some(length), rustix::fs::Advice::WillNeed);
    }
}

/// Whether a byte is in the page cache: by a read that does not wait.
pub(super) fn is_cached(file: &File, offset: u64) -> io::Result<Option<bool>> {
    let mut byte = [0];
    let buffers = &mut [IoSliceMut::new(&mut byte)];
    match rustix::io::preadv2(file, buffers, offset, ReadWriteFlags::NOWAIT) {
        Ok(count) => Ok((count > 0).then_some(true)),
        Err(Errno::AGAIN) => Ok(Some(false)),
        Err(Errno::NOSYS | Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Reserves room and extends the file over it. `false` where the file system cannot.
pub(super) fn allocate(file: &File, offset: u64, length: u64) -> io::Result<bool> {
    supported(file, FallocateFlags::empty(), offset, length)
}

/// Gives the room of a range back. `false` where the file system cannot.
pub(super) fn punch_hole(file: &File, offset: u64, length: u64) -> io::Result<bool> {
    supported(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, length)
}

fn supported(file: &File, flags: FallocateFlags, offset: u64, length: u64) -> io::Result<bool> {
    match rustix::io::retry_on_intr(|| rustix::fs::fallocate(file, flags, offset, length)) {
        Ok(()) => Ok(true),
        Err(Errno::NOSYS | Errno::OPNOTSUPP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The id that the kernel draws at each boot; zero where it cannot be read.
#[expect(clippy::disallowed_methods, reason = "this file is the door to the file system")]
pub(super) fn boot_id() -> [u8; 16] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    parse_boot_id(&text).unwrap_or_default()
}

/// The 16 bytes of a UUID in its usual writing.
pub(super) fn parse_boot_id(text: &str) -> Option<[u8; 16]> {
    let digits: Vec<u8> = text.trim().bytes().filter(|byte| *byte != b'-').collect();
    if digits.len() != 32 || !digits.is_ascii() {
        return None;
    }
    let mut id = [0; 16];
    for (byte, pair) in id.iter_mut().zip(digits.chunks(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(id)
}
