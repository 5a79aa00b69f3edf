//! For tests: SSTables built into a disk in memory, and damage done to them.

use super::{Builder, BuilderOptions, Built, Source, Sstable};
use crate::cache::BlockCache;
use crate::entry::TableId;
use crate::error::Result;
use crate::file::{Disk, Extent, FileId, Flush, Geometry, Identity, Region};
use crate::limits::BLOCK_SIZE;
use crate::options::{Compression, ReadMode};
use crate::sync::Mutex;
use crate::version::{SstableMeta, TableKind};
use std::io;
use std::sync::Arc;

/// The file id of test SSTables.
pub(crate) const FILE: FileId = FileId([7; 16]);
/// Where the extent of a test SSTable begins.
pub(crate) const EXTENT_OFFSET: u64 = 16 * BLOCK_SIZE;

/// A file in memory, for reading. A map of it is a copy of what it holds at that time.
#[derive(Debug)]
pub(crate) struct MemoryDisk {
    bytes: Mutex<Vec<u8>>,
    maps: bool,
}

impl MemoryDisk {
    pub(crate) fn new(bytes: Vec<u8>, maps: bool) -> MemoryDisk {
        MemoryDisk {
            bytes: Mutex::new(bytes),
            maps,
        }
    }

    /// Changes the bytes behind the back of whoever reads them.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Vec<u8>)) {
        change(&mut self.bytes.lock());
    }
}

impl Disk for MemoryDisk {
    fn geometry(&self) -> Geometry {
        Geometry {
            alignment: 512,
            direct: true,
        }
    }

    fn identity(&self) -> Identity {
        Identity::default()
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.bytes.lock().len() as u64)
    }

    /// Gives at most 1,000 bytes less than asked for, since short reads are legal.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.bytes.lock();
        let start = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        let room = buffer.len().saturating_sub(1000).max(1).min(buffer.len());
        let count = room.min(bytes.len() - start);
        buffer[..count].copy_from_slice(&bytes[start..start + count]);
        Ok(count)
    }

    fn write_at(&self, _: u64, _: &[u8], _: Flush) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn allocate(&self, _: u64, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn truncate(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn punch_hole(&self, _: u64, _: u64) -> io::Result<bool> {
        Ok(false)
    }

    fn map(&self, offset: u64, length: u64) -> io::Result<Region> {
        let bytes = self.bytes.lock();
        let bounds = usize::try_from(offset)
            .ok()
            .zip(usize::try_from(offset + length).ok());
        match bounds.and_then(|(start, end)| bytes.get(start..end)) {
            Some(mapped) if self.maps => Ok(Region::from_memory(Arc::from(mapped))),
            Some(_) => Err(io::ErrorKind::Unsupported.into()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn try_lock(&self) -> io::Result<bool> {
        Ok(true)
    }
}

/// Options of a test SSTable.
pub(crate) fn options(kind: TableKind, compression: Compression) -> BuilderOptions {
    BuilderOptions {
        file: FILE,
        number: 42,
        table: TableId(16),
        kind,
        compression,
    }
}

/// What the manifest would hold of it.
pub(crate) fn meta(options: &BuilderOptions, built: &Built) -> SstableMeta {
    SstableMeta {
        number: options.number,
        table: options.table,
        kind: options.kind,
        extent: Extent {
            offset: EXTENT_OFFSET,
            length: built.bytes,
        },
        bytes: built.bytes,
        footer_checksum: built.footer_checksum,
        entries: built.entries,
        keys: built.keys,
        payload_bytes: built.payload_bytes,
        first: built.first.clone(),
        last: built.last.clone(),
        commits: built.commits,
        times_ms: built.times_ms,
    }
}

/// A built SSTable on a disk in memory.
pub(crate) struct Fixture {
    pub(crate) disk: Arc<MemoryDisk>,
    pub(crate) meta: SstableMeta,
}

impl Fixture {
    /// Builds with what `fill` appends.
    pub(crate) fn build(
        options: BuilderOptions,
        block_target: usize,
        fill: impl FnOnce(&mut Builder<Vec<u8>>) -> Result<()>,
    ) -> Result<Fixture> {
        let mut builder = Builder::new(Vec::new(), options).block_target(block_target);
        fill(&mut builder)?;
        let (bytes, built) = builder.finish()?;
        assert_eq!(bytes.len() as u64, built.bytes);
        let start = usize::try_from(EXTENT_OFFSET).expect("a small number");
        let mut file = vec![0xaa; start];
        file.extend_from_slice(&bytes);
        let disk = Arc::new(MemoryDisk::new(file, true));
        Ok(Fixture {
            disk,
            meta: meta(&options, &built),
        })
    }

    /// Opens it as a store would.
    pub(crate) fn open(&self, mode: ReadMode) -> Arc<Sstable> {
        let disk = Arc::clone(&self.disk) as Arc<dyn Disk>;
        let cache = Arc::new(BlockCache::new(4 * 1024 * 1024));
        let source = Source {
            disk,
            file: FILE,
            mode,
            cache,
        };
        Arc::new(Sstable::new(self.meta.clone(), source, None))
    }

    /// Changes the bytes of the SSTable.
    pub(crate) fn change(&self, change: impl FnOnce(&mut [u8])) {
        let start = usize::try_from(EXTENT_OFFSET).expect("a small number");
        self.disk.change(|bytes| change(&mut bytes[start..]));
    }
}
