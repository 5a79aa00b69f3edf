//! All SSTables, one by one: copied where they are whole, or else built anew of what is left.
//!
//! # Invariants
//! 1. An SSTable is copied only if all of it verifies, each reference of it included.
//! 2. No place of a file is read for two SSTables, or for a segment and one.

use super::extents::Extents;
use super::findings::Findings;
use super::keys::KeyBounds;
use super::root::Root;
use super::segments::SegmentHealth;
use super::target::Target;
use super::{keyed, timelines};
use crate::cache::{BlockCache, Source};
use crate::error::Result;
use crate::file::Disk;
use crate::limits::VERIFY_CACHE_BYTES;
use crate::sstable::{Depth, Sstable};
use crate::sync::Arc;
use crate::version::{SstableMeta, TableKind};
use std::cell::Cell;

/// See the module.
pub(super) struct Sstables<'a> {
    root: &'a Root,
    /// The first file, and where cold SSTables are read.
    disks: (Arc<dyn Disk>, Arc<dyn Disk>),
    /// What of the two is taken.
    places: (Extents, Extents),
    health: &'a mut SegmentHealth,
    target: &'a mut Target,
    findings: &'a mut Findings,
}

impl<'a> Sstables<'a> {
    pub(super) fn new(
        root: &'a Root,
        disks: (Arc<dyn Disk>, Arc<dyn Disk>),
        health: &'a mut SegmentHealth,
        places: Extents,
        (target, findings): (&'a mut Target, &'a mut Findings),
    ) -> Sstables<'a> {
        let places = (places, Extents::default());
        Sstables { root, disks, places, health, target, findings }
    }

    /// Writes them to the target; gives level and meta of each.
    pub(super) fn salvage_all(&mut self) -> Result<Vec<(u8, SstableMeta)>> {
        let root = self.root;
        let mut metas = Vec::new();
        for (_, level, meta) in root.catalog.version.iter() {
            if let Some(salvaged) = self.salvage(meta)? {
                metas.push((level, salvaged));
            }
        }
        Ok(metas)
    }

    fn salvage(&mut self, meta: &SstableMeta) -> Result<Option<SstableMeta>> {
        let in_cold_file = self.root.catalog.is_in_cold_file(meta);
        let places = if in_cold_file { &mut self.places.1 } else { &mut self.places.0 };
        if !places.take(meta.extent, meta.bytes) {
            self.leave_out(meta);
            return Ok(None);
        }
        let disk = Arc::clone(if in_cold_file { &self.disks.1 } else { &self.disks.0 });
        let file = self.root.superblock.file;
        // Each key is looked up: without a cache it would cost reads of its own.
        let cache = Arc::new(BlockCache::new(VERIFY_CACHE_BYTES));
        let source = Source { cache, ..Source::uncached(Arc::clone(&disk), file) };
        let sstable = Sstable::new(meta.clone(), source, None);
        let health = &*self.health;
        let in_doubt = Cell::new(false);
        let damage = sstable.verify_with(Depth::Lookups, &|reference| {
            in_doubt.set(in_doubt.get() || health.is_in_doubt(reference));
            health.wrong(reference)
        });
        let damage: Vec<_> = damage.into_iter().map(|damage| damage.corruption).collect();
        if damage.is_empty() && !in_doubt.get() {
            match self.target.copy(&*disk, meta.extent, meta.bytes, !in_cold_file)? {
                Ok(extent) => return Ok(Some(SstableMeta { extent, ..meta.clone() })),
                // What was read well a moment ago cannot be read now.
                Err(error) => self.findings.absorb("SSTable", meta.extent.offset, error)?,
            }
        }
        self.findings.note_damage(damage, &format!("SSTable {}", meta.number));
        let Some(record) = self.root.catalog.tables.get(&meta.table) else {
            return Ok(None);
        };
        match meta.kind {
            TableKind::Timeline => timelines::salvage(
                &sstable,
                (record, file),
                self.health,
                self.target,
                self.findings,
            ),
            TableKind::Keyed => keyed::salvage(&sstable, record, file, self.target, self.findings),
        }
    }

    /// An SSTable whose place is that of something else.
    fn leave_out(&mut self, meta: &SstableMeta) {
        let detail = format!("SSTable {} lies over something else", meta.number);
        self.findings.damaged("manifest", meta.extent.offset, detail);
        let keys = KeyBounds::default().around(meta);
        self.findings.note_seq(meta.first.1.max(meta.last.1));
        match meta.kind {
            TableKind::Timeline => timelines::lose_unnamed(meta, keys, meta.entries, self.findings),
            TableKind::Keyed => self.findings.lose_versions(meta, keys, meta.entries),
        }
    }
}
