//! `OsDisk`: the real file behind [`Disk`].
//!
//! ```text
//!   write_at, read_past_cache_at ──► direct descriptor (O_DIRECT) ──► device
//!                  or, where that is missing, ──┐
//!   read_at, map, stores, length, sync ► buffered descriptor ──► page cache ──► device
//! ```
//!
//! Two descriptors, because writes should not pass through the page cache (a sync of the log would
//! wait for the dirty pages of the background), while reads and maps want it. The kernel keeps the
//! two coherent: a direct write drops the cached pages of its range.
//!
//! # Invariants
//! I1. Both descriptors are of one inode: compared at open, since the name may be moved meanwhile.
//! I2. Where there is a direct descriptor, nothing is ever written through the buffered one but by
//!     stores (`stores.rs`), whose range has one writer: it never stores while it writes directly.
//!     The kernel writes dirty pages back before a direct write of their range, and forgets them
//!     after it; only a store at the same time could be lost.
//! I3. Opening and probing never write.
//! I4. The lock is that of the descriptor that is written through. A write that was begun holds it
//!     too, so a process that dies has let go of the file only when nothing of it is written any
//!     more: what a dead process has begun never meets what its successor writes.
//!
//! # Concurrency
//! All calls take `&self`, move no file position, and may run at the same time.

#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod platform;
#[cfg(not(target_os = "linux"))]
#[path = "portable.rs"]
mod platform;
mod stores;
#[cfg(test)]
mod tests;
#[cfg(all(target_os = "linux", not(loom)))]
mod uring;

#[cfg(all(target_os = "linux", not(loom)))]
use super::Begun;
use super::{AlignedBuffer, Disk, Flush, Geometry, Identity, Region, StoreBy, Stores};
use crate::error::{Error, Result};
use crate::limits::BLOCK_SIZE;
use crate::sync::Arc;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use stores::{MappedStores, WrittenStores};

/// A write of fewer bytes is over before the caller has done anything beside it.
#[cfg(all(target_os = "linux", not(loom)))]
const BEGUN_BYTES_MIN: usize = 32 * 1024;
/// Bytes of one write of zeros where the file system cannot allocate.
const ZERO_PIECE_BYTES: usize = 1024 * 1024;

/// What may be done with the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// The file exists and is only read.
    ReadOnly,
    /// The file exists.
    ReadWrite,
    /// The file is created, empty, where it does not exist.
    CreateReadWrite,
}

/// A file of the operating system.
#[derive(Debug)]
pub struct OsDisk {
    path: PathBuf,
    /// Past the page cache; `None` where that is not possible, and when only reading.
    direct: Option<File>,
    /// The same of a reader.
    direct_reader: Option<File>,
    buffered: File,
    geometry: Geometry,
    identity: Identity,
    #[cfg(all(target_os = "linux", not(loom)))]
    rings: Arc<uring::Rings>,
}

impl OsDisk {
    /// Opens, or creates, the file at `path`. A created file's name is durable on return.
    ///
    /// # Errors
    /// [`Error::NotFound`] without a file and without leave to create it, [`Error::InvalidUse`] for
    /// something that is no regular file, else [`Error::Io`].
    pub fn open(path: impl AsRef<Path>, mode: OpenMode) -> Result<OsDisk> {
        let path = path.as_ref();
        let buffered = open_buffered(path, mode)?;
        let metadata =
            buffered.metadata().map_err(|error| Error::io("reading file metadata", 0, error))?;
        if !metadata.is_file() {
            return Err(Error::invalid(format!("{} is not a regular file", path.display())));
        }
        if mode == OpenMode::CreateReadWrite {
            sync_folder_of(path).map_err(|error| Error::io("syncing the folder", 0, error))?;
        }
        let inode = (metadata.dev(), metadata.ino());
        let writes = mode != OpenMode::ReadOnly;
        let (direct, alignment) = match platform::open_direct(path, writes) {
            Some((direct, alignment)) => {
                check_same_file(&direct, inode)?;
                (Some(direct), alignment)
            }
            None => (None, block_size()),
        };
        let geometry = Geometry { alignment, direct: direct.is_some() };
        let identity = Identity { device: inode.0, inode: inode.1, boot: platform::boot_id() };
        // A reader writes through none, yet must see the geometry that a writer sees.
        let (direct, direct_reader) = if writes { (direct, None) } else { (None, direct) };
        Ok(OsDisk {
            path: path.to_path_buf(),
            direct,
            direct_reader,
            buffered,
            geometry,
            identity,
            #[cfg(all(target_os = "linux", not(loom)))]
            rings: Arc::default(),
        })
    }

    /// The path that the file was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn writer(&self) -> &File {
        self.direct.as_ref().unwrap_or(&self.buffered)
    }

    /// A write where direct I/O would refuse it is a mistake everywhere: refuse it everywhere.
    fn check_aligned(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let alignment = self.geometry.alignment;
        let in_file =
            offset.is_multiple_of(alignment as u64) && bytes.len().is_multiple_of(alignment);
        let in_memory = bytes.as_ptr().addr().is_multiple_of(alignment) || !self.geometry.direct;
        if in_file && in_memory {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::InvalidInput, "the write is not aligned"))
    }

    /// Extends the file with written zeros: slow, but then the room is really there.
    fn allocate_by_writing(&self, offset: u64, length: u64) -> io::Result<()> {
        let end = offset.checked_add(length).ok_or(io::ErrorKind::FileTooLarge)?;
        let old_length = self.length()?;
        if old_length >= end {
            return Ok(());
        }
        self.writer().set_len(end)?;
        let mut zeros = AlignedBuffer::with_capacity(ZERO_PIECE_BYTES);
        zeros.extend(&vec![0; ZERO_PIECE_BYTES]);
        let mut place = old_length.next_multiple_of(BLOCK_SIZE);
        let aligned_end = end / BLOCK_SIZE * BLOCK_SIZE;
        while place < aligned_end {
            let count = (aligned_end - place).min(ZERO_PIECE_BYTES as u64);
            let count = usize::try_from(count).expect("it is at most a piece");
            match self.writer().write_at(&zeros.as_slice()[..count], place) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => place += written as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Disk for OsDisk {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn identity(&self) -> Identity {
        self.identity
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.buffered.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.buffered.read_at(buffer, offset)
    }

    fn read_past_cache_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let direct = self.direct.as_ref().or(self.direct_reader.as_ref());
        match direct.map(|direct| direct.read_at(buffer, offset)) {
            // A file system may know the flag and refuse some reads all the same.
            Some(Err(error)) if error.kind() == io::ErrorKind::InvalidInput => {}
            Some(outcome) => return outcome,
            None => {}
        }
        self.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8], flush: Flush) -> io::Result<usize> {
        self.check_aligned(offset, bytes)?;
        match flush {
            Flush::Later => self.writer().write_at(bytes, offset),
            Flush::Now => match platform::write_durable(self.writer(), bytes, offset)? {
                Some(count) => Ok(count),
                None => {
                    let count = self.writer().write_at(bytes, offset)?;
                    self.writer().sync_data()?;
                    Ok(count)
                }
            },
        }
    }

    #[cfg(all(target_os = "linux", not(loom)))]
    fn begin_write(&self, offset: u64, buffer: AlignedBuffer) -> Begun {
        let direct = self.direct.as_ref().filter(|_| buffer.len() >= BEGUN_BYTES_MIN);
        if let (Some(file), Ok(())) = (direct, self.check_aligned(offset, buffer.as_slice())) {
            // SAFETY: `Begun` owns the buffer until it has called the closure, and its bytes stay
            // where they are on the heap. If it is leaked, they are too. The file outlives it or
            // not: the kernel holds what it has begun to write.
            let begun = unsafe { self.rings.begin(file, buffer.as_slice(), offset) };
            if let Some(wait) = begun {
                return Begun::going(buffer, Box::new(wait));
            }
        }
        let outcome = self.write_at(offset, buffer.as_slice(), Flush::Later);
        Begun::ended(buffer, outcome)
    }

    fn sync(&self) -> io::Result<()> {
        // Always the same descriptor: the kernel reports a failed write-back once to each.
        self.writer().sync_data()
    }

    fn allocate(&self, offset: u64, length: u64) -> io::Result<()> {
        if platform::allocate(self.writer(), offset, length)? {
            return Ok(());
        }
        self.allocate_by_writing(offset, length)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.writer().set_len(length)
    }

    fn punch_hole(&self, offset: u64, length: u64) -> io::Result<bool> {
        platform::punch_hole(self.writer(), offset, length)
    }

    fn map(&self, offset: u64, length: u64) -> io::Result<Region> {
        let invalid = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, why);
        let end = offset.checked_add(length).ok_or_else(|| invalid("the range is too long"))?;
        if end > self.length()? {
            // Touching a page behind the end of the file would kill the process.
            return Err(invalid("a map behind the end of the file"));
        }
        if length == 0 {
            return Ok(Region::from_memory(Arc::from([])));
        }
        let length = usize::try_from(length).map_err(|_| invalid("the range is too long"))?;
        let mut options = memmap2::MmapOptions::new();
        options.offset(offset).len(length);
        // SAFETY: the bytes of a map must not change and its pages must not vanish while it lives.
        // Only immutable extents are mapped: written once, before anything refers to them, and
        // neither reused, punched nor cut off while a `Region` of this process holds them (the
        // allocator asks the views first). The range was checked to lie inside the file just now,
        // and the writer lock keeps other processes of this engine from shortening it. Readers in
        // other processes read with `read_at` and do not map.
        let map = unsafe { options.map(&self.buffered) }?;
        // A touch reads its page, not the megabytes around it that a system may read ahead: commits
        // would wait behind them. Readers say what more they need. Where advice is refused, nothing
        // is lost but time.
        let _ = map.advise(memmap2::Advice::Random);
        Ok(Region::from_map(map))
    }

    fn is_cached(&self, offset: u64) -> io::Result<Option<bool>> {
        platform::is_cached(&self.buffered, offset)
    }

    fn open_stores(
        &self,
        offset: u64,
        length: u64,
        by: StoreBy,
    ) -> io::Result<Option<Arc<dyn Stores>>> {
        let system = (rustix::param::page_size(), platform::block_bytes(&self.buffered)?);
        if self.direct.is_none() || !writes_single_blocks(system) {
            return Ok(None);
        }
        let file = &self.buffered;
        let stores: Arc<dyn Stores> = match by {
            StoreBy::Write => Arc::new(WrittenStores::open(file, offset, length)?),
            StoreBy::Map => Arc::new(MappedStores::map(file, offset, length)?),
        };
        Ok(Some(stores))
    }

    fn try_lock(&self) -> io::Result<bool> {
        match self.writer().try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// Tells the system that these bytes of a map are read soon. Where advice is refused, nothing is
/// lost but time.
pub(super) fn will_need(map: &memmap2::Mmap, range: Range<usize>) {
    let _ = map.advise_range(memmap2::Advice::WillNeed, range.start, range.len());
}

/// Brings in these bytes of a map as huge pages. Where the system knows no such advice they are
/// read as others are, soon.
///
/// The advice does not stay: where memory runs short, what was pushed out would be brought in again
/// two mebibytes at a touch, and push out others. Linux before 5.14 brings in nothing without a
/// touch, and keeps the advice.
pub(super) fn bring_in_huge(map: &memmap2::Mmap, range: Range<usize>) {
    #[cfg(target_os = "linux")]
    {
        let advise = |advice| map.advise_range(advice, range.start, range.len());
        if advise(memmap2::Advice::HugePage).is_ok() {
            if advise(memmap2::Advice::PopulateRead).is_ok() {
                let _ = advise(memmap2::Advice::NoHugePage);
            }
            return;
        }
    }
    will_need(map, range);
}

#[expect(clippy::disallowed_methods, reason = "this file is the door to the file system")]
fn open_buffered(path: &Path, mode: OpenMode) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(mode != OpenMode::ReadOnly);
    options.create(mode == OpenMode::CreateReadWrite);
    options.open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::NotFound { what: path.display().to_string() },
        io::ErrorKind::IsADirectory => {
            Error::invalid(format!("{} is not a regular file", path.display()))
        }
        _ => Error::io("opening the file", 0, error),
    })
}

/// Makes the name of a new file durable. Done whenever creating is allowed, since an earlier
/// process may have died between creating the file and this call.
#[expect(clippy::disallowed_methods, reason = "this file is the door to the file system")]
fn sync_folder_of(path: &Path) -> io::Result<()> {
    // The name may be a link: what counts is the folder that holds the file itself.
    let real = std::fs::canonicalize(path)?;
    let folder = real.parent().unwrap_or(Path::new("/"));
    match File::open(folder)?.sync_all() {
        // Some file systems cannot sync a folder, and then need not.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) =>
        {
            Ok(())
        }
        done => done,
    }
}

fn check_same_file(direct: &File, inode: (u64, u64)) -> Result<()> {
    let metadata =
        direct.metadata().map_err(|error| Error::io("reading file metadata", 0, error))?;
    if (metadata.dev(), metadata.ino()) == inode {
        return Ok(());
    }
    let moved = io::Error::other("the file was replaced while it was being opened");
    Err(Error::io("opening the file", 0, moved))
}

/// Whether a store makes its own blocks dirty and none beside them: whoever stores keeps away from
/// blocks that must not be lost, but the system writes pages, or the file system's blocks where
/// those are larger.
fn writes_single_blocks((page_bytes, file_system_bytes): (usize, usize)) -> bool {
    page_bytes.max(file_system_bytes) == block_size()
}

fn block_size() -> usize {
    usize::try_from(BLOCK_SIZE).expect("a block is small")
}
