//! SSTables over a simulated disk, with a segment that their entries may refer to.
//!
//! - `contents.rs`: what goes in.
//! - `open.rs`: what comes out, by every way there is.
//! - `repair.rs`: the checksums of changed bytes.

mod contents;
mod open;
mod repair;

pub use contents::{Content, Contents, Row, Version};
pub use open::{Open, Place, Run};
pub use repair::{Unit, repair};

use super::segment::{self, FILE, extent_bytes};
use crate::entry::TableId;
use crate::error::Result;
use crate::file::Extent;
use crate::limits::BLOCK_SIZE;
use crate::options::Compression;
use crate::segment::Segments;
use crate::sstable::{Builder, BuilderOptions, Sstable};
use crate::testing::SimDisk;
use crate::version::{SegmentMeta, SstableMeta, TableKind};
use std::ops::Bound;
use std::sync::Arc;

/// The number of a fuzzed SSTable.
const NUMBER: u64 = 42;
const TABLE: TableId = TableId(16);
/// A dictionary is decided about after so many bytes, and has at most so many: few enough for the
/// small SSTables of a fuzzer to have one.
const DICTIONARY: (usize, usize) = (32 * 1024, 1024);

/// A built SSTable, and the segment that it needs, on a disk of their own.
#[derive(Debug, Clone)]
pub struct Table {
    disk: SimDisk,
    meta: SstableMeta,
    segment: Option<SegmentMeta>,
}

impl Table {
    /// Builds one.
    ///
    /// # Errors
    /// For contents in a wrong order, or of an impossible size.
    pub fn build(
        contents: &Contents,
        compression: Compression,
        block_bytes: usize,
    ) -> Result<Table> {
        match contents {
            Contents::Timelines { rows, records } => {
                let extent = Extent { offset: 0, length: extent_bytes(records) };
                let disk = segment::blank(extent.end());
                let (meta, references) = segment::write(&disk, extent, records)?;
                let kind = TableKind::Timeline;
                let mut builder = empty(kind, compression, block_bytes);
                for row in rows {
                    builder.append(&row.key, &row.entry(&references))?;
                }
                place(builder, kind, disk, extent.end(), Some(meta))
            }
            Contents::Keys(versions) => {
                let disk = segment::blank(BLOCK_SIZE);
                let kind = TableKind::Keyed;
                let mut builder = empty(kind, compression, block_bytes);
                for version in versions {
                    builder.add_version(&version.stored())?;
                }
                place(builder, kind, disk, BLOCK_SIZE, None)
            }
        }
    }

    /// The same data in another SSTable, copied as a compaction does it.
    ///
    /// # Errors
    /// What the SSTable says; as [`Table::build`].
    pub fn copied(&self, compression: Compression, block_bytes: usize) -> Result<Table> {
        let kind = self.meta.kind;
        let sstable = self.sstable(false);
        let mut builder = empty(kind, compression, block_bytes);
        if kind == TableKind::Timeline {
            let mut fragments = sstable.fragments(None)?;
            while let Some(fragment) = fragments.next()? {
                builder.append_fragment(&fragment.view())?;
            }
        } else {
            let mut versions = sstable.keyed_scan(Bound::Unbounded)?;
            while let Some(version) = versions.next()? {
                builder.add_version(&version)?;
            }
        }
        let offset = self.meta.extent.offset;
        place(builder, kind, self.disk.copied(), offset, self.segment.clone())
    }

    /// The bytes of the SSTable, footer included.
    pub fn bytes(&self) -> Vec<u8> {
        let start = usize::try_from(self.meta.extent.offset).expect("a small file");
        let length = usize::try_from(self.meta.bytes).expect("a small file");
        self.disk.bytes()[start..start + length].to_vec()
    }

    /// The SSTable of the same meta with other bytes.
    #[must_use]
    pub fn with_bytes(&self, bytes: &[u8]) -> Table {
        let disk = self.disk.copied();
        disk.set_bytes(self.meta.extent.offset, bytes);
        Table { disk, meta: self.meta.clone(), segment: self.segment.clone() }
    }

    /// Bytes of the segment; none where nothing can be shared.
    pub fn segment_bytes(&self) -> u64 {
        self.segment.as_ref().map_or(0, |meta| meta.bytes)
    }

    /// The same with another bit in the segment.
    #[must_use]
    pub fn with_segment_bit_flipped(&self, offset: u64, bit: u32) -> Table {
        let disk = self.disk.copied();
        // The segment lies at the front of the file.
        disk.flip_bit(offset, bit);
        Table { disk, meta: self.meta.clone(), segment: self.segment.clone() }
    }

    /// The SSTable with other bytes, whose checksums are repaired, for a manifest that knows the
    /// new footer. `units`: those of the undamaged SSTable.
    #[must_use]
    pub fn repaired(&self, bytes: &mut [u8], units: &[Unit]) -> Table {
        let footer_checksum = repair(bytes, FILE, NUMBER, units);
        let mut table = self.with_bytes(bytes);
        table.meta.footer_checksum = footer_checksum;
        table
    }

    /// The same bytes for a manifest that says other numbers.
    #[must_use]
    pub fn claiming(&self, entries: u64, keys: u64, commit: u64, time_ms: u64) -> Table {
        let commits = (commit, self.meta.commits.1.max(commit));
        let times_ms = (time_ms, self.meta.times_ms.1.max(time_ms));
        let meta = SstableMeta { entries, keys, commits, times_ms, ..self.meta.clone() };
        Table { disk: self.disk.clone(), meta, segment: self.segment.clone() }
    }

    /// Its blocks and pages, in order.
    ///
    /// # Errors
    /// Corruption.
    pub fn units(&self) -> Result<Vec<Unit>> {
        let mut units = Vec::new();
        for block in self.sstable(false).blocks()? {
            let (kind, offset, length) = (block.kind, block.offset, block.length);
            units.push(Unit { kind, offset, length });
        }
        Ok(units)
    }

    /// Opens it as a store would.
    pub fn open(&self, mapped: bool) -> Open {
        Open::new(self.sstable(mapped))
    }

    fn sstable(&self, mapped: bool) -> Arc<Sstable> {
        let meta = self.segment.as_ref();
        let segment = meta.map(|meta| Arc::new(segment::open(&self.disk, meta, mapped)));
        let source = segment::source(&self.disk, mapped);
        let sstable = Sstable::new(self.meta.clone(), source, None);
        Arc::new(sstable.with_segments(Segments::new(segment)))
    }
}

/// A builder that has taken nothing yet.
fn empty(kind: TableKind, compression: Compression, block_bytes: usize) -> Builder<Vec<u8>> {
    let options =
        BuilderOptions { file: FILE, number: NUMBER, table: TABLE, kind, compression, block_bytes };
    Builder::new(Vec::new(), options).sample(DICTIONARY.0, DICTIONARY.1)
}

/// Puts what was built on a disk.
fn place(
    builder: Builder<Vec<u8>>,
    kind: TableKind,
    disk: SimDisk,
    offset: u64,
    segment: Option<SegmentMeta>,
) -> Result<Table> {
    let (bytes, built) = builder.finish()?;
    disk.set_bytes(offset, &bytes);
    let extent = Extent { offset, length: built.bytes };
    let meta = built.into_meta(NUMBER, (TABLE, kind), extent);
    Ok(Table { disk, meta, segment })
}
