//! The manifest: its records, and what they make.

use super::Inspector;
use crate::engine::TableInfo;
use crate::error::{Error, Result};
use crate::file::superblock::Superblock;
use crate::manifest;
use crate::version::{Catalog, Edit, SegmentMeta, SstableMeta};

/// The records of the manifest, as far as they can be read.
#[derive(Debug, Clone)]
pub struct ManifestReport {
    /// In order.
    pub records: Vec<ManifestRecord>,
    /// Why there are no more, where that is not the end of the used part.
    pub damage: Option<Error>,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestRecord {
    /// Offset in the file.
    pub offset: u64,
    /// Bytes, padding included.
    pub bytes: u64,
    /// Its number.
    pub number: u64,
    /// Whether it begins a new catalog.
    pub base: bool,
    /// Its checksum.
    pub checksum: u32,
    /// What it says, an edit an item.
    pub edits: Vec<String>,
}

/// A live SSTable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SstableReport {
    /// Its level.
    pub level: u8,
    /// What the manifest knows of it.
    pub meta: SstableMeta,
}

impl Inspector {
    /// Every record of the manifest.
    ///
    /// # Errors
    /// Where there is no root to find it by.
    pub fn manifest(&self) -> Result<ManifestReport> {
        let superblock = self.superblock_or_best_copy()?;
        let (records, damage) =
            manifest::records_until_damage(&*self.disk, superblock.file, &superblock.manifest);
        let records = records.into_iter().map(|record| ManifestRecord {
            offset: record.offset,
            bytes: record.bytes,
            number: record.number,
            base: record.base,
            checksum: record.checksum,
            edits: record.edits.iter().map(describe).collect(),
        });
        Ok(ManifestReport { records: records.collect(), damage })
    }

    /// The tables of the store, the engine's own included.
    ///
    /// # Errors
    /// Where root or manifest cannot be read.
    pub fn tables(&self) -> Result<Vec<TableInfo>> {
        let catalog = self.catalog(&self.superblock_or_best_copy()?)?;
        let records = catalog.tables.values();
        Ok(records
            .map(|record| TableInfo {
                id: record.id,
                name: record.name.clone(),
                options: record.options.clone(),
            })
            .collect())
    }

    /// The live SSTables, by table, shard and level.
    ///
    /// # Errors
    /// Where root or manifest cannot be read.
    pub fn sstables(&self) -> Result<Vec<SstableReport>> {
        let catalog = self.catalog(&self.superblock_or_best_copy()?)?;
        let live = catalog.version.iter();
        Ok(live.map(|(_, level, meta)| SstableReport { level, meta: meta.clone() }).collect())
    }

    /// The live payload segments, by number.
    ///
    /// # Errors
    /// Where root or manifest cannot be read.
    pub fn segments(&self) -> Result<Vec<SegmentMeta>> {
        let catalog = self.catalog(&self.superblock_or_best_copy()?)?;
        Ok(catalog.segments.iter().cloned().collect())
    }

    pub(super) fn catalog(&self, superblock: &Superblock) -> Result<Catalog> {
        manifest::replay(&*self.disk, superblock.file, &superblock.manifest)
    }
}

fn describe(edit: &Edit) -> String {
    match edit {
        Edit::TableCreated(record) => {
            format!("table {} {:?} created: {:?}", record.id.0, record.name, record.options)
        }
        Edit::TableDropped { table } => format!("table {} dropped", table.0),
        Edit::TableAltered(record) => format!(
            "table {} {:?} altered: {:?}, expired before {}",
            record.id.0, record.name, record.options, record.expired_before_ms
        ),
        Edit::SstableAdded { level, meta } => format!(
            "SSTable {} added to table {}, {:?} window {}, at level {level}: {} bytes at offset \
             {}, {} entries of {} keys, commits {} to {}, {} segments",
            meta.number,
            meta.table.0,
            meta.shard.tier,
            meta.shard.window,
            meta.bytes,
            meta.extent.offset,
            meta.entries,
            meta.keys,
            meta.commits.0,
            meta.commits.1,
            meta.segments.len(),
        ),
        Edit::SstableRemoved { number } => format!("SSTable {number} removed"),
        Edit::SstableMoved { number, level } => format!("SSTable {number} moved to level {level}"),
        Edit::ColdFile { first } => {
            format!("cold SSTables from {first} on lie in the cold file")
        }
        Edit::EpochBegun { commit } => format!("epoch begun behind commit {commit}"),
        Edit::SegmentAdded { meta } => format!(
            "segment {} added: {} bytes at offset {}, {} payloads of {} bytes, home table {}",
            meta.number,
            meta.bytes,
            meta.extent.offset,
            meta.records,
            meta.payload_bytes,
            meta.table.0,
        ),
        Edit::SegmentRemoved { number } => format!("segment {number} removed"),
        Edit::SegmentReplaced { number, extent, footer_checksum } => format!(
            "segment {number} replaced: at offset {}, footer checksum {footer_checksum:#010x}",
            extent.offset
        ),
        Edit::Counters { next_sstable, next_table } => {
            format!("next SSTable {next_sstable}, next table {next_table}")
        }
    }
}
