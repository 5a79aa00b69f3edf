//! Ranges of the file that bytes can be stored to: by the system's write, or by a map.
//!
//! By a map: what the system reads ahead by itself, it may keep in pieces of many pages, and then
//! it writes the whole piece back for a store to one of them: bytes that were synced long ago, too.
//! So it is asked to cache pages one by one: nothing is read ahead on a touch, what was cached
//! before is to be let go of, and what is asked for ahead comes page by page. It does not always do
//! so, which is why a map is the user's choice. By a write only the blocks that it touches become
//! dirty, whatever they are cached in; but for XFS before Linux 6.6, which so is told to let go of
//! what it has, too.

use super::platform;
use crate::file::Stores;
use memmap2::{MmapOptions, MmapRaw};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// [`Stores`] by the system's write.
#[derive(Debug)]
pub(super) struct WrittenStores {
    file: File,
    range: Range<u64>,
}

impl WrittenStores {
    /// Opens a range that lies inside the file.
    pub(super) fn open(file: &File, offset: u64, length: u64) -> io::Result<WrittenStores> {
        let range = checked(file, offset, length)?;
        // XFS before Linux 6.6 writes back all of a piece of many pages for a write to one of them.
        platform::start_writing(file, offset, length);
        Ok(WrittenStores { file: file.try_clone()?, range })
    }
}

impl Stores for WrittenStores {
    fn store(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if !is_inside(&self.range, offset, bytes.len()) {
            return Err(outside());
        }
        self.file.write_all_at(bytes, offset)
    }

    fn start_writing(&self, offset: u64, length: u64) {
        platform::start_writing(&self.file, offset, length);
    }
}

/// [`Stores`] to a map.
#[derive(Debug)]
pub(super) struct MappedStores {
    file: File,
    range: Range<u64>,
    map: MmapRaw,
}

impl MappedStores {
    /// Maps a range that lies inside the file.
    pub(super) fn map(file: &File, offset: u64, length: u64) -> io::Result<MappedStores> {
        let range = checked(file, offset, length)?;
        // The advice to begin with dirty pages also says that no page is needed in the cache.
        platform::start_writing(file, offset, length);
        let length = usize::try_from(length).map_err(|_| invalid("the range is too long"))?;
        let map = MmapOptions::new().offset(offset).len(length).map_raw(file)?;
        map.advise(memmap2::Advice::Random)?;
        Ok(MappedStores { file: file.try_clone()?, range, map })
    }
}

impl Stores for MappedStores {
    fn store(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if !is_inside(&self.range, offset, bytes.len()) {
            return Err(outside());
        }
        let place = usize::try_from(offset - self.range.start).map_err(|_| outside())?;
        // SAFETY: `place..place + bytes.len()` was just checked to lie inside the map.
        let destination = unsafe { self.map.as_mut_ptr().add(place) };
        // SAFETY: source: `bytes` is a live slice. Destination: inside the map, see above, which
        // lives as long as `self`, is writable, and was made of a range inside the file; the engine
        // never cuts the file before the end of this range, and its lock keeps other processes of
        // it away. They do not overlap: nobody gets a slice of this map, it is reached through its
        // pointer alone. The range has one writer (see the module above), so no other store touches
        // these bytes meanwhile; the kernel and readers with `read_at` may read them, which is no
        // access of this program.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), destination, bytes.len()) };
        Ok(())
    }

    fn start_writing(&self, offset: u64, length: u64) {
        platform::start_writing(&self.file, offset, length);
    }

    fn read_ahead(&self, offset: u64, length: u64) {
        platform::read_ahead(&self.file, offset, length);
    }
}

/// A range that lies inside the file, as it is now.
fn checked(file: &File, offset: u64, length: u64) -> io::Result<Range<u64>> {
    let end = offset.checked_add(length).ok_or_else(|| invalid("the range is too long"))?;
    if end > file.metadata()?.len() {
        return Err(invalid("stores behind the end of the file"));
    }
    Ok(offset..end)
}

fn is_inside(range: &Range<u64>, offset: u64, length: usize) -> bool {
    let end = offset.checked_add(length as u64);
    range.start <= offset && end.is_some_and(|end| end <= range.end)
}

fn outside() -> io::Error {
    invalid("a store outside of its range")
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}
