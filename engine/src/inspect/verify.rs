//! Everything in the file against everything else.
//!
//! 1. Each superblock copy by itself; the root that they make.
//! 2. The log: every group, every frame, every record; the large payloads that it names.
//! 3. The manifest: every record; the catalog they make; the order and overlap of its levels.
//! 4. The map of the file: no two owners of one byte, none outside the file.
//! 5. Each payload segment: every record, its counts against its footer and the manifest.
//! 6. Each SSTable: every checksum, its order, its directory and filter against its data, its
//!    counts against the manifest, and each of its references against the records of the segments.
//! 7. Each timeline over all SSTables of its table: disjoint runs of sequence ids, newer SSTables
//!    with higher ones.
//! 8. Each mark: that it is one.
//! 9. Each amendment: that it is one.
//!
//! Goes on after each fault, so one call names them all.

use super::log::LogEnding;
use super::marks::verify_marks;
use super::{CopyVerdict, Inspector, LogPayload, space};
use crate::amendment::{decode_key, decode_value};
use crate::batch::KeyedOperation;
use crate::entry::TableId;
use crate::error::{Corruption, Error, Result};
use crate::file::superblock::Superblock;
use crate::segment::RecordPlaces;
use crate::sstable::{RunLocation, Sstable, TimelineCursor};
use crate::sync::Arc;
use crate::version::{AMENDMENT_TABLE, Catalog, MARK_TABLE, Shard, TableKind};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// What [`Inspector::verify`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Everything that is wrong; empty where nothing is.
    pub faults: Vec<Fault>,
    /// What was looked at.
    pub counts: Counts,
    /// An unfinished end of the log, which is no fault: the next opening cuts it off.
    pub torn_tail: Option<String>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The damaged structure.
    pub what: &'static str,
    /// Its offset in the file.
    pub offset: u64,
    /// What was expected, and what was found.
    pub detail: String,
}

/// What was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Groups of the log.
    pub groups: u64,
    /// Commits in the log.
    pub commits: u64,
    /// Entries, keyed writes and amendments in the log.
    pub log_entries: u64,
    /// Tables, the engine's own left out.
    pub tables: u64,
    /// Live SSTables.
    pub sstables: u64,
    /// Bytes of SSTables read.
    pub sstable_bytes: u64,
    /// Live payload segments, those that the log names among them.
    pub segments: u64,
    /// Bytes of segments read.
    pub segment_bytes: u64,
    /// Payloads in segments.
    pub records: u64,
    /// Those of them that were erased.
    pub erased: u64,
    /// Entries and versions in SSTables.
    pub entries: u64,
    /// Timelines in SSTables, each counted once.
    pub timelines: u64,
}

impl Report {
    pub(super) fn fault(&mut self, what: &'static str, offset: u64, detail: impl Into<String>) {
        self.faults.push(Fault { what, offset, detail: detail.into() });
    }

    /// Damage is a fault; what cannot be read at all ends the verification.
    fn absorb(&mut self, error: Error) -> Result<()> {
        match error {
            Error::Corruption(Corruption { what, offset, detail }) => {
                self.fault(what, offset, detail);
                Ok(())
            }
            other => Err(other),
        }
    }
}

impl Inspector {
    /// Verifies the whole file.
    ///
    /// # Errors
    /// `Io` where the file cannot be read; `SnapshotTooOld` where a live writer replaced what was
    /// being read; `Unsupported` for another version's file. Damage is no error but part of the
    /// report.
    pub fn verify(&self) -> Result<Report> {
        let mut report = Report::default();
        let superblock = match self.superblock() {
            Ok(superblock) => superblock,
            Err(error) => {
                self.verify_copies(&mut report);
                report.absorb(error)?;
                return Ok(report);
            }
        };
        let verified = self.verify_below(&superblock, &mut report);
        if verified.is_ok() && report.faults.is_empty() {
            return Ok(report);
        }
        // Beside a live writer, a place may have been given to something else while it was read.
        let now = self.superblock()?;
        if now.sequence != superblock.sequence {
            let offset = report.faults.first().map_or(0, |fault| fault.offset);
            return Err(Error::SnapshotTooOld { what: "what was being verified", offset });
        }
        verified.map(|()| report)
    }

    fn verify_below(&self, superblock: &Superblock, report: &mut Report) -> Result<()> {
        self.verify_copies(report);
        let named = self.verify_log(superblock, report)?;
        let catalog = match self.catalog(superblock) {
            Ok(catalog) => catalog,
            Err(error) => return report.absorb(error),
        };
        report.counts.tables =
            catalog.tables.keys().filter(|table| !table.is_engine_owned()).count() as u64;
        if let Err(detail) = catalog.version.check_invariants() {
            report.fault("manifest", superblock.manifest.extent.offset, detail);
        }
        for (offset, detail) in
            space::faults(&space::owned(superblock, &catalog, &named), self.length()?)
        {
            report.fault("map of the file", offset, detail);
        }
        self.verify_payloads(superblock, &catalog, &named, report);
        let records = self.verify_segments(superblock, &catalog, report);
        let cold = self.verify_cold_file(superblock, &catalog, report)?;
        self.verify_sstables(superblock, &catalog, (cold, &records), report)
    }

    fn verify_copies(&self, report: &mut Report) {
        for copy in self.superblocks() {
            match copy.verdict {
                CopyVerdict::Valid(_) => {}
                CopyVerdict::Unsupported(detail) | CopyVerdict::Damaged(detail) => {
                    report.fault("superblock copy", copy.offset, detail);
                }
            }
        }
    }

    /// Gives the large payloads that the log names.
    fn verify_log(&self, superblock: &Superblock, report: &mut Report) -> Result<Vec<LogPayload>> {
        let named;
        match self.check_log(superblock) {
            Ok(contents) => {
                report.counts.groups = contents.groups;
                report.counts.commits = contents.commits;
                report.counts.log_entries = contents.entries + contents.keyed + contents.amendments;
                named = contents.payloads;
            }
            Err(error) => return report.absorb(error).map(|()| Vec::new()),
        }
        if let LogEnding::Torn(trace) = self.log_of(superblock)?.ending {
            report.torn_tail = Some(trace);
        }
        Ok(named)
    }

    /// The segments that the log names and the manifest does not yet.
    fn verify_payloads(
        &self,
        superblock: &Superblock,
        catalog: &Catalog,
        named: &[LogPayload],
        report: &mut Report,
    ) {
        let mut numbers = BTreeSet::new();
        for LogPayload { commit, segment, .. } in named {
            let number = segment.number;
            if !numbers.insert(number) || catalog.is_number_used(number) {
                let detail =
                    format!("commit {commit} names segment {number}, which is there already");
                report.fault("large payload", segment.extent.offset, detail);
            }
            report.counts.segments += 1;
            report.counts.segment_bytes += segment.bytes;
            report.counts.records += segment.records;
            let (damage, _) = self.segment(superblock.file, segment.clone()).verify_all();
            for Corruption { what, offset, detail } in damage {
                report.fault(what, offset, format!("of commit {commit} in the log: {detail}"));
            }
        }
    }

    /// Where the records of each segment are: four bytes each, the one thing here that grows with
    /// the file.
    fn verify_segments(
        &self,
        superblock: &Superblock,
        catalog: &Catalog,
        report: &mut Report,
    ) -> BTreeMap<u64, RecordPlaces> {
        let mut records = BTreeMap::new();
        for meta in catalog.segments.iter() {
            let (damage, places) = self.segment(superblock.file, meta.clone()).verify_all();
            report.counts.segments += 1;
            report.counts.segment_bytes += meta.bytes;
            report.counts.records += meta.records;
            report.counts.erased += places.erased;
            for Corruption { what, offset, detail } in damage {
                report.fault(what, offset, detail);
            }
            records.insert(meta.number, places);
        }
        records
    }

    /// Whether the cold file can be looked into, if there is one.
    fn verify_cold_file(
        &self,
        superblock: &Superblock,
        catalog: &Catalog,
        report: &mut Report,
    ) -> Result<bool> {
        if let Err(error) = self.check_cold(superblock, catalog) {
            report.fault("cold file", 0, error.to_string());
            return Ok(false);
        }
        if let Some(length) = self.cold_length()? {
            for (offset, detail) in space::faults(&space::owned_of_cold(catalog), length) {
                report.fault("map of the cold file", offset, detail);
            }
        }
        Ok(true)
    }

    fn verify_sstables(
        &self,
        superblock: &Superblock,
        catalog: &Catalog,
        (cold, records): (bool, &BTreeMap<u64, RecordPlaces>),
        report: &mut Report,
    ) -> Result<()> {
        for table in catalog.tables.values() {
            let mut sound = Vec::new();
            let shards = catalog.version.shards(table.id);
            for (level, meta) in shards.flat_map(|(_, levels)| levels.iter()) {
                if !cold && catalog.is_in_cold_file(meta) {
                    continue; // Why is reported already.
                }
                let sstable = self.sstable(catalog, superblock.file, meta.clone());
                let damage = sstable.verify_with(&|reference| {
                    let places = records.get(&reference.number())?;
                    // Behind the first damage of a segment its records are not known.
                    let missing = places.whole && !places.contains(reference);
                    missing.then(|| "there is no record".to_owned())
                });
                report.counts.sstables += 1;
                report.counts.sstable_bytes += meta.bytes;
                report.counts.entries += meta.entries;
                if damage.is_empty() {
                    sound.push((level, sstable));
                }
                for Corruption { what, offset, detail } in damage {
                    let detail = format!("SSTable {}: {detail}", meta.number);
                    report.fault(what, offset, detail);
                }
            }
            if table.options.kind == TableKind::Timeline {
                verify_timelines(table.id, &sound, report)?;
            } else if table.id == AMENDMENT_TABLE {
                sound.iter().try_for_each(|(_, sstable)| verify_amendments(sstable, report))?;
            }
            if table.id == MARK_TABLE {
                sound.iter().try_for_each(|(_, sstable)| verify_marks(sstable, report))?;
            }
        }
        Ok(())
    }
}

/// Every key names an entry, and every value is an amendment.
fn verify_amendments(sstable: &Arc<Sstable>, report: &mut Report) -> Result<()> {
    let mut versions = sstable.keyed_scan(Bound::Unbounded)?;
    while let Some(version) = versions.next()? {
        let sound = decode_key(&version.key).is_some()
            && version.operation == KeyedOperation::Put
            && decode_value(&version.value).is_some();
        if !sound {
            let meta = sstable.meta();
            let detail =
                format!("SSTable {}: commit {} is no amendment", meta.number, version.commit);
            report.fault("amendment", meta.extent.offset, detail);
        }
    }
    Ok(())
}

/// A cursor over the timelines of one SSTable, with its next one at hand.
struct Runs {
    level: u8,
    sstable: Arc<Sstable>,
    cursor: TimelineCursor,
    next: Option<(Box<[u8]>, RunLocation)>,
}

/// One run of a timeline, and where it lies.
struct Run {
    location: RunLocation,
    shard: Shard,
    level: u8,
    number: u64,
    offset: u64,
}

/// Merges the timelines of all sound SSTables of a table.
fn verify_timelines(
    table: TableId,
    sstables: &[(u8, Arc<Sstable>)],
    report: &mut Report,
) -> Result<()> {
    let mut sources = Vec::with_capacity(sstables.len());
    for (level, sstable) in sstables {
        let mut cursor = sstable.timelines(Bound::Unbounded)?;
        let next = cursor.next()?;
        sources.push(Runs { level: *level, sstable: Arc::clone(sstable), cursor, next });
    }
    loop {
        let heads = sources.iter().filter_map(|source| source.next.as_ref().map(|(key, _)| key));
        let Some(key) = heads.min().cloned() else {
            return Ok(());
        };
        report.counts.timelines += 1;
        let mut runs = Vec::new();
        for source in &mut sources {
            let Some((_, location)) = source.next.take_if(|(head, _)| *head == key) else {
                continue;
            };
            let meta = source.sstable.meta();
            let (number, offset, shard) = (meta.number, meta.extent.offset, meta.shard);
            runs.push(Run { location, shard, level: source.level, number, offset });
            source.next = source.cursor.next()?;
        }
        verify_runs(table, &key, runs, report);
    }
}

/// The runs of one timeline hold disjoint ranges of sequence ids; commits rise with them, and newer
/// ones never lie in shards that are read later, nor in deeper levels of the same.
fn verify_runs(table: TableId, key: &[u8], mut runs: Vec<Run>, report: &mut Report) {
    runs.sort_by_key(|run| run.location.first_seq);
    for pair in runs.windows(2) {
        let [older, newer] = pair else { unreachable!("windows of two") };
        let ordered = newer.location.first_seq > older.location.last_seq
            && newer.location.last_commit >= older.location.last_commit
            && (newer.shard, newer.level) <= (older.shard, older.level);
        if !ordered {
            let detail = format!(
                "table {}, timeline {:?}: {} does not go before {}",
                table.0,
                String::from_utf8_lossy(key),
                describe(older),
                describe(newer),
            );
            report.fault("timeline", newer.offset, detail);
        }
    }
}

fn describe(run: &Run) -> String {
    let RunLocation { first_seq, last_seq, last_commit, .. } = run.location;
    format!(
        "SSTable {} of {:?} window {}, level {} with seqs {first_seq} to {last_seq} up to commit \
         {last_commit}",
        run.number, run.shard.tier, run.shard.window, run.level
    )
}
