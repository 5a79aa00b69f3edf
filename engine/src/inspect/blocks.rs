//! The blocks of SSTables.

use super::Inspector;
use crate::cache::Source;
use crate::error::{Error, Result};
use crate::file::FileId;
use crate::file::superblock::Superblock;
use crate::segment::Segment;
use crate::sstable::Sstable;
use crate::sync::Arc;
use crate::version::{Catalog, SegmentMeta, SstableMeta};

/// One block or page of an SSTable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockReport {
    /// Its offset in the file.
    pub offset: u64,
    /// Bytes, header included.
    pub length: u64,
    /// What it should be.
    pub kind: &'static str,
    /// How the content is compressed.
    pub codec: &'static str,
    /// Bytes of the content after decompression.
    pub raw_length: u64,
    /// Fragments, versions or entries in it.
    pub items: u64,
    /// What is wrong with it.
    pub damage: Option<String>,
}

/// A block, or a record of a segment, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockText {
    /// Number of its SSTable or segment.
    pub number: u64,
    /// Whether it is of a segment.
    pub in_segment: bool,
    /// A line an item.
    pub text: String,
}

impl Inspector {
    /// The blocks and pages of an SSTable.
    ///
    /// # Errors
    /// `NotFound` where no such SSTable is live; where its footer cannot be read.
    pub fn blocks(&self, number: u64) -> Result<Vec<BlockReport>> {
        let superblock = self.superblock_or_best_copy()?;
        let catalog = self.catalog(&superblock)?;
        let Some((_, meta)) = catalog.version.find(number) else {
            return Err(Error::NotFound { what: format!("SSTable {number}") });
        };
        let base = meta.extent.offset;
        let blocks = self.sstable(&catalog, superblock.file, meta.clone()).blocks()?;
        let report = blocks.into_iter().map(|block| BlockReport {
            offset: base + block.offset,
            length: block.length,
            kind: block.kind,
            codec: block.codec,
            raw_length: block.raw_length,
            items: block.items,
            damage: block.damage,
        });
        Ok(report.collect())
    }

    /// The block of an SSTable, or the record of a segment, that holds the byte at `address` of the
    /// file, in words.
    ///
    /// # Errors
    /// `NotFound` where the address lies in no block of a live SSTable and in no live segment;
    /// `Corruption` where the record cannot be found behind damaged ones.
    pub fn block(&self, address: u64) -> Result<BlockText> {
        let superblock = self.superblock_or_best_copy()?;
        let catalog = self.catalog(&superblock)?;
        if let Some(found) = self.record_text(&superblock, &catalog, address) {
            return found;
        }
        let no_block = || Error::NotFound { what: format!("a block at address {address}") };
        let inside = |meta: &SstableMeta| {
            !catalog.is_in_cold_file(meta)
                && (meta.extent.offset..meta.extent.offset.saturating_add(meta.bytes))
                    .contains(&address)
        };
        let mut live = catalog.version.iter();
        let meta = live.find(|(_, _, meta)| inside(meta)).map(|(_, _, meta)| meta.clone());
        let sstable = self.sstable(&catalog, superblock.file, meta.ok_or_else(no_block)?);
        let relative = address - sstable.meta().extent.offset;
        let blocks = sstable.blocks()?;
        let holds = |offset: u64, length: u64| (offset..offset + length).contains(&relative);
        let block = blocks.iter().find(|block| holds(block.offset, block.length));
        let text = sstable.describe_block(block.ok_or_else(no_block)?.offset)?;
        Ok(BlockText { number: sstable.meta().number, in_segment: false, text })
    }

    /// The record at an address, where that lies in a segment.
    fn record_text(
        &self,
        superblock: &Superblock,
        catalog: &Catalog,
        address: u64,
    ) -> Option<Result<BlockText>> {
        let inside = |meta: &&SegmentMeta| {
            (meta.extent.offset..meta.extent.offset.saturating_add(meta.bytes)).contains(&address)
        };
        let named = self.log_of(superblock).map(|log| log.payloads).unwrap_or_default();
        let named = named.iter().map(|payload| &payload.segment);
        let meta = catalog.segments.iter().chain(named).find(inside)?.clone();
        let segment = self.segment(superblock.file, meta.clone());
        let text = segment.describe(address - meta.extent.offset);
        Some(text.map(|text| BlockText { number: meta.number, in_segment: true, text }))
    }

    /// A segment, read past every cache.
    pub(super) fn segment(&self, file: FileId, meta: SegmentMeta) -> Segment {
        Segment::new(meta, self.source(file), None)
    }

    /// An SSTable, read past every cache.
    pub(super) fn sstable(
        &self,
        catalog: &Catalog,
        file: FileId,
        meta: SstableMeta,
    ) -> Arc<Sstable> {
        let source = Source { disk: self.disk_of(catalog, &meta), ..self.source(file) };
        Arc::new(Sstable::new(meta, source, None))
    }

    fn source(&self, file: FileId) -> Source {
        Source::uncached(Arc::clone(&self.disk), file)
    }
}
