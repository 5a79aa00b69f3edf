//! The new store's last part: log, segments, manifest and superblock.
//!
//! 1. The log, since it says which segments it names.
//! 2. Records of timelines that lost their newest entries, and how often ids jump.
//! 3. The damaged segments that SSTables or log refer to. Whole ones are there by then; those that
//!    nothing refers to lie in free space.
//! 4. One base of a manifest.
//! 5. All of it is verified, as `tidelog verify` does, under the superblock that it will have.
//! 6. A sync; the superblock.

use super::bodies::Written;
use super::findings::{Cause, Findings};
use super::log::Log;
use super::next_ids::Known;
use super::report::{Report, TableReport};
use super::root::Root;
use super::rooted::Rooted;
use super::segments::SegmentHealth;
use super::target::Target;
use crate::error::{Error, Result};
use crate::file::superblock::{Superblock, WalHead};
use crate::file::{Allocator, Extent, ReadOnly};
use crate::inspect::Inspector;
use crate::limits::{COUNTER_MAX, UNSYNCED_ENTRIES_MAX};
use crate::manifest::Manifest;
use crate::sync::Arc;
use crate::version::{Catalog, Edit, STATE_TABLE, SegmentMeta, SstableMeta, TableRecord};
use std::collections::BTreeSet;

/// See the module.
pub(super) struct NewStore<'a> {
    root: &'a Root,
    target: Target,
    findings: Findings,
    /// Level and meta of each SSTable.
    metas: Vec<(u8, SstableMeta)>,
    next_number: u64,
}

/// What the root says of the new log.
struct NewLog {
    head: WalHead,
    /// All of it is on the disk.
    end_lsn: u64,
    large: Vec<SegmentMeta>,
}

impl<'a> NewStore<'a> {
    pub(super) fn new(
        root: &'a Root,
        metas: Vec<(u8, SstableMeta)>,
        health: &SegmentHealth,
        (target, findings): (Target, Findings),
    ) -> NewStore<'a> {
        let next_number = root.catalog.next_sstable.max(health.last_number().saturating_add(1));
        NewStore { root, target, findings, metas, next_number }
    }

    /// Writes everything that is not an SSTable of the old store. `before_root` is asked at the
    /// end, when the old store was read for the last time: what it refuses never becomes a store.
    pub(super) fn finish(
        mut self,
        log: &Log<'_>,
        health: &mut SegmentHealth,
        before_root: &dyn Fn() -> Result<()>,
    ) -> Result<Report> {
        let (root, file) = (self.root, self.root.superblock.file);
        let known = Known::over(self.target.disk(), file, &self.metas);
        health.settle(self.metas.iter().map(|(_, meta)| (meta.extent, meta.bytes)));
        let (written, head, end_lsn) =
            log.write(&root.catalog, (health, &known), &self.target, &mut self.findings)?;
        known.note_unrecorded(&mut self.findings)?;
        let record = &root.catalog.tables[&STATE_TABLE];
        let place = (file, self.next_number);
        let states = known.write_states(record, place, &mut self.findings, &mut self.target)?;
        if let Some(meta) = states {
            self.next_number += 1;
            self.metas.push((0, meta));
        }
        let needed: BTreeSet<u64> =
            self.metas.iter().flat_map(|(_, meta)| meta.segments.iter().copied()).collect();
        let segments = health.write(&needed, false, &mut self.target)?;
        let large = health.write(&written.large, true, &mut self.target)?;
        let catalog = self.catalog(&segments, log)?;
        let superblock = self.new_root(&catalog, NewLog { head, end_lsn, large })?;
        self.verify(&superblock)?;
        before_root()?;
        self.target.finish(&superblock)?;
        Ok(self.report(&written))
    }

    /// What the manifest will say.
    fn catalog(&mut self, segments: &[SegmentMeta], log: &Log<'_>) -> Result<Catalog> {
        let new = self.new_epochs(log);
        let old = &self.root.catalog;
        let mut catalog = Catalog::new();
        let users = old.tables.values().filter(|record| !record.id.is_engine_owned());
        let tables = users.map(|record: &TableRecord| Edit::TableCreated(record.clone()));
        let segments = segments.iter().map(|meta| Edit::SegmentAdded { meta: meta.clone() });
        let sstables = self.metas.iter();
        let sstables =
            sstables.map(|(level, meta)| Edit::SstableAdded { level: *level, meta: meta.clone() });
        let epochs = old.epochs.iter().map(|commit| Edit::EpochBegun { commit: *commit });
        let new = new.into_iter().map(|commit| Edit::EpochBegun { commit });
        let next_sstable = self.next_number;
        let counters = Edit::Counters { next_sstable, next_table: old.next_table };
        let edits = tables.chain(segments).chain(sstables).chain(epochs).chain(new);
        for edit in edits.chain([counters]) {
            let offset = self.root.superblock.manifest.extent.offset;
            catalog.apply(&edit).map_err(|detail| Error::corruption("manifest", offset, detail))?;
        }
        Ok(catalog)
    }

    /// The epochs that begin now: that which an opening would begin, and one more for each jump.
    /// What a power loss has taken may have come behind what is damaged.
    fn new_epochs(&mut self, log: &Log<'_>) -> Vec<u64> {
        let Superblock { identity: last, unsynced, commit, .. } = self.root.superblock;
        let newest = self.root.catalog.epochs.last().copied().unwrap_or(0);
        let behind = log.last_commit().max(newest).max(commit).min(COUNTER_MAX);
        let same_boot = log.identity() == last && last.boot != [0; 16];
        let of_opening = u64::from(unsynced && !same_boot);
        if !self.root.whole {
            // Epochs, and commits of SSTables, may be among what could not be read.
            let commits = behind.saturating_sub(log.last_commit()) / UNSYNCED_ENTRIES_MAX;
            self.findings.jump(0);
            let times = 1 + commits + self.root.unread;
            self.findings.jump_times(Cause::Manifest, times);
        }
        self.findings.report.epochs = self.findings.epochs();
        let count = of_opening + self.findings.report.epochs;
        (0..count).map(|_| behind).collect()
    }

    /// Writes the manifest, and gives the superblock that names it.
    fn new_root(&self, catalog: &Catalog, log: NewLog) -> Result<Superblock> {
        let old = &self.root.superblock;
        let mut live: Vec<Extent> = self.metas.iter().map(|(_, meta)| meta.extent).collect();
        live.extend(catalog.segments.iter().map(|meta| meta.extent));
        live.extend(log.large.iter().map(|meta| meta.extent));
        let disk = Arc::clone(self.target.disk());
        let allocator =
            Allocator::new(Arc::clone(&disk), old.ring.end(), self.target.end(), &live)?;
        let allocator = Arc::new(allocator);
        let manifest =
            Manifest::create_anew(Arc::clone(&disk), old.file, Arc::clone(&allocator), catalog)?;
        Ok(Superblock {
            sequence: old.sequence.saturating_add(1),
            incarnation: old.incarnation.saturating_add(1),
            file_length: allocator.file_length(),
            manifest: manifest.reference(),
            wal: log.head,
            synced_lsn: log.end_lsn,
            commit: self.root.commit,
            clean: old.clean && log.end_lsn == log.head.lsn,
            unsynced: false,
            identity: disk.identity(),
            cold: None,
            ..old.clone()
        })
    }

    /// Verifies the new store under the root that it will have.
    fn verify(&self, superblock: &Superblock) -> Result<()> {
        let rooted = ReadOnly(Rooted::new(Arc::clone(self.target.disk()), superblock));
        let verified = Inspector::over(Arc::new(rooted)).verify()?;
        match verified.faults.first() {
            None => Ok(()),
            Some(fault) => {
                let detail = format!("the new store: {}", fault.detail);
                Err(Error::corruption(fault.what, fault.offset, detail))
            }
        }
    }

    /// Says what is in the new store.
    fn report(mut self, written: &Written) -> Report {
        let users = self.root.catalog.tables.values();
        for record in users.filter(|record| !record.id.is_engine_owned()) {
            let of_table = self.metas.iter().filter(|(_, meta)| meta.table == record.id);
            let flushed: u64 = of_table.map(|(_, meta)| meta.entries).sum();
            let logged = written.entries.get(&record.id).copied().unwrap_or(0);
            self.findings.report.tables.push(TableReport {
                id: record.id,
                name: record.name.clone(),
                kind: record.options.kind,
                recovered: flushed + logged,
            });
        }
        self.findings.report
    }
}
