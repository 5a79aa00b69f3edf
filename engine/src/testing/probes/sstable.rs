//! SSTables of a timeline table.

use super::MemoryDisk;
use crate::cache::{BlockCache, Source};
use crate::entry::TableId;
use crate::error::Result;
use crate::file::{Extent, FileId};
use crate::limits::DATA_BLOCK_BYTES;
use crate::options::{Compression, ReadMode};
use crate::sstable::{Builder, BuilderOptions, EntryRef, Sstable};
use crate::version::{SstableMeta, TableKind};
use std::sync::Arc;

const FILE: FileId = FileId([7; 16]);

/// An entry that becomes part of an SSTable; rows come by key, then by seq.
#[derive(Debug, Clone)]
pub struct Row {
    /// The timeline.
    pub key: Vec<u8>,
    /// The seq.
    pub seq: u64,
    /// The payload.
    pub payload: Vec<u8>,
}

/// An open SSTable whose blocks are read with `pread`, into no cache: each look pays for the read
/// and the checksum.
pub struct Table(Arc<Sstable>);

/// Builds an SSTable of rows in memory. Gives the count of its entries.
///
/// # Errors
/// For rows in a wrong order.
pub fn encode(rows: &[Row], compression: Compression) -> Result<u64> {
    let (bytes, meta) = build(rows, compression)?;
    std::hint::black_box(bytes);
    Ok(meta.entries)
}

fn build(rows: &[Row], compression: Compression) -> Result<(Vec<u8>, SstableMeta)> {
    let options = BuilderOptions {
        file: FILE,
        number: 42,
        table: TableId(16),
        kind: TableKind::Timeline,
        compression,
        block_bytes: DATA_BLOCK_BYTES,
    };
    let mut builder = Builder::new(Vec::new(), options);
    for (commit, row) in (1..).zip(rows) {
        builder.append(
            &row.key,
            &EntryRef {
                seq: row.seq,
                commit,
                time_ms: commit,
                event_ms: None,
                ttl_ms: None,
                origin: None,
                payload: &row.payload,
                shared: None,
                erased: false,
            },
        )?;
    }
    let (bytes, built) = builder.finish()?;
    let extent = Extent { offset: 0, length: built.bytes };
    let of = (options.table, options.kind);
    let meta = built.into_meta(options.number, of, extent);
    Ok((bytes, meta))
}

impl Table {
    /// Builds and opens one of these rows.
    ///
    /// # Errors
    /// As [`encode`].
    pub fn new(rows: &[Row], compression: Compression, mapped: bool) -> Result<Table> {
        let (bytes, meta) = build(rows, compression)?;
        let source = Source {
            disk: Arc::new(MemoryDisk::from_bytes(bytes)),
            file: FILE,
            mode: if mapped { ReadMode::Map } else { ReadMode::Read },
            cache: Arc::new(BlockCache::new(0)),
            around: Arc::default(),
            unpacking: Arc::default(),
        };
        Ok(Table(Arc::new(Sstable::new(meta, source, None))))
    }

    /// Whether the directory has a timeline.
    ///
    /// # Errors
    /// Corruption.
    pub fn has(&self, key: &[u8]) -> Result<bool> {
        Ok(self.0.find(key)?.is_some())
    }

    /// Whether the filter lets a timeline pass.
    ///
    /// # Errors
    /// Corruption.
    pub fn may_have(&self, key: &[u8]) -> Result<bool> {
        self.0.filter_contains(key)
    }

    /// Reads and verifies every block, and decodes every entry. Gives their count.
    ///
    /// # Errors
    /// Corruption.
    pub fn decode(&self) -> Result<u64> {
        let mut fragments = self.0.fragments(None)?;
        let mut entries = 0;
        while let Some(fragment) = fragments.next()? {
            let view = fragment.view();
            for k in 0..view.count() {
                let payload = view.entry(k).map_or(0, |entry| entry.payload.len());
                entries += u64::from(std::hint::black_box(payload) > 0);
            }
        }
        Ok(entries)
    }
}
