//! For tests: SSTables built into a simulated disk, and damage done to them.

use super::builder::Built;
use super::{Builder, BuilderOptions, Sstable};
use crate::cache::{BlockCache, Source};
use crate::entry::TableId;
use crate::error::Result;
use crate::file::{Disk, Extent, FileId, Flush, Geometry, Identity, Region};
use crate::limits::{BLOCK_SIZE, DATA_BLOCK_BYTES};
use crate::options::{Compression, ReadMode};
use crate::segment::Segments;
use crate::testing::{SimDisk, SimOptions};
use crate::version::{SstableMeta, TableKind};
use std::io;
use std::sync::Arc;

/// The file id of test SSTables.
pub(crate) const FILE: FileId = FileId([7; 16]);
/// Where the extent of a test SSTable begins.
pub(crate) const EXTENT_OFFSET: u64 = 16 * BLOCK_SIZE;

/// Options of a test SSTable.
pub(crate) fn options(kind: TableKind, compression: Compression) -> BuilderOptions {
    BuilderOptions {
        file: FILE,
        number: 42,
        table: TableId(16),
        kind,
        compression,
        block_bytes: DATA_BLOCK_BYTES,
    }
}

/// What the manifest would hold of it.
pub(crate) fn meta(options: &BuilderOptions, built: &Built) -> SstableMeta {
    let extent = Extent { offset: EXTENT_OFFSET, length: built.bytes };
    let of = (options.table, options.kind);
    built.clone().into_meta(options.number, of, extent)
}

/// A built SSTable on a simulated disk.
pub(crate) struct Fixture {
    pub(crate) disk: SimDisk,
    pub(crate) meta: SstableMeta,
}

impl Fixture {
    /// Builds with what `fill` appends.
    pub(crate) fn build(
        options: BuilderOptions,
        block_bytes: usize,
        fill: impl FnOnce(&mut Builder<Vec<u8>>) -> Result<()>,
    ) -> Result<Fixture> {
        let options = BuilderOptions { block_bytes, ..options };
        // Small enough for the data of a test to have a dictionary.
        let mut builder = Builder::new(Vec::new(), options).sample(32 * 1024, 1024);
        fill(&mut builder)?;
        let (bytes, built) = builder.finish()?;
        assert_eq!(bytes.len() as u64, built.bytes);
        let start = usize::try_from(EXTENT_OFFSET).expect("a small number");
        let mut file = vec![0xaa; start];
        file.extend_from_slice(&bytes);
        let disk = SimDisk::from_bytes(SimOptions::default(), &file);
        Ok(Fixture { disk, meta: meta(&options, &built) })
    }

    /// Opens it as a store would.
    pub(crate) fn open(&self, mode: ReadMode) -> Arc<Sstable> {
        let disk = Arc::new(self.disk.clone()) as Arc<dyn Disk>;
        let cache = Arc::new(BlockCache::new(4 * 1024 * 1024));
        let unpacking = Arc::default();
        let source = Source { disk, file: FILE, mode, cache, around: Arc::default(), unpacking };
        Arc::new(Sstable::new(self.meta.clone(), source, None))
    }

    /// The same, with the segments that its entries refer to.
    pub(crate) fn open_with(&self, mode: ReadMode, segments: Segments) -> Arc<Sstable> {
        let disk = Arc::new(self.disk.clone()) as Arc<dyn Disk>;
        let cache = Arc::new(BlockCache::new(4 * 1024 * 1024));
        let source = Source {
            disk,
            file: FILE,
            mode,
            cache,
            around: Arc::default(),
            unpacking: Arc::default(),
        };
        Arc::new(Sstable::new(self.meta.clone(), source, None).with_segments(segments))
    }

    /// Opens it for maps on a system that has none.
    pub(crate) fn open_without_maps(&self) -> Arc<Sstable> {
        let disk = Arc::new(NoMaps(self.disk.clone())) as Arc<dyn Disk>;
        let cache = Arc::new(BlockCache::new(4 * 1024 * 1024));
        let (mode, unpacking) = (ReadMode::Map, Arc::default());
        let source = Source { disk, file: FILE, mode, cache, around: Arc::default(), unpacking };
        Arc::new(Sstable::new(self.meta.clone(), source, None))
    }

    /// Changes the bytes of the SSTable, behind the back of whoever has it open.
    pub(crate) fn change(&self, change: impl FnOnce(&mut [u8])) {
        let start = usize::try_from(EXTENT_OFFSET).expect("a small number");
        let mut bytes = self.disk.bytes().split_off(start);
        change(&mut bytes);
        self.disk.set_bytes(EXTENT_OFFSET, &bytes);
    }
}

/// A disk that cannot map.
struct NoMaps(SimDisk);

impl Disk for NoMaps {
    fn geometry(&self) -> Geometry {
        self.0.geometry()
    }

    fn identity(&self) -> Identity {
        self.0.identity()
    }

    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8], flush: Flush) -> io::Result<usize> {
        self.0.write_at(offset, bytes, flush)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn allocate(&self, offset: u64, length: u64) -> io::Result<()> {
        self.0.allocate(offset, length)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.truncate(length)
    }

    fn punch_hole(&self, offset: u64, length: u64) -> io::Result<bool> {
        self.0.punch_hole(offset, length)
    }

    fn map(&self, _: u64, _: u64) -> io::Result<Region> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.0.try_lock()
    }
}
