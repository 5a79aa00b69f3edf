//! A range of the file, mapped so that bytes can be stored to it.
//!
//! What the system reads ahead by itself, it may keep in pieces of many pages, and then it writes
//! the whole piece back for a store to one of them: bytes that were synced long ago, too. So it is
//! asked to cache pages one by one: nothing is read ahead on a touch, what was cached before is to
//! be let go of, and what is asked for ahead comes page by page. It does not always do so, which is
//! why stores are the user's choice.

use super::platform;
use crate::file::Stores;
use memmap2::{MmapOptions, MmapRaw};
use std::fs::File;
use std::io;

/// See [`Stores`].
#[derive(Debug)]
pub(super) struct OsStores {
    file: File,
    offset: u64,
    map: MmapRaw,
}

impl OsStores {
    /// Maps a range that lies inside the file.
    pub(super) fn map(file: &File, offset: u64, length: u64) -> io::Result<OsStores> {
        let invalid = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, why);
        let end = offset.checked_add(length).ok_or_else(|| invalid("the range is too long"))?;
        if end > file.metadata()?.len() {
            return Err(invalid("a map behind the end of the file"));
        }
        // The advice to begin with dirty pages also says that no page is needed in the cache.
        platform::start_writing(file, offset, length);
        let length = usize::try_from(length).map_err(|_| invalid("the range is too long"))?;
        let map = MmapOptions::new().offset(offset).len(length).map_raw(file)?;
        map.advise(memmap2::Advice::Random)?;
        Ok(OsStores { file: file.try_clone()?, offset, map })
    }
}

impl Stores for OsStores {
    fn store(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let place = offset.checked_sub(self.offset).and_then(|place| usize::try_from(place).ok());
        let inside = place.filter(|place| {
            place.checked_add(bytes.len()).is_some_and(|end| end <= self.map.len())
        });
        let Some(place) = inside else {
            let why = "a store outside of the mapped range";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        };
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
