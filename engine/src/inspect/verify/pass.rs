//! One pass over a file that others may be writing.

use super::timelines::{verify_contents, verify_timelines};
use super::{Fault, Report, VerifyOptions};
use crate::cache::{BlockCache, Source};
use crate::check::{LiveFile, Roots, check_copies, check_log, damage_of, read_roots};
use crate::entry::TableId;
use crate::error::{Corruption, Result};
use crate::file::superblock::Superblock;
use crate::file::{Disk, Extent, FileId, FreshDisk, ReadPace};
use crate::inspect::log::LogContents;
use crate::inspect::{Inspector, LogPayload, space};
use crate::limits::VERIFY_CACHE_BYTES;
use crate::options::ReadMode;
use crate::segment::{RecordPlaces, Segment};
use crate::sstable::{Depth, Sstable};
use crate::sync::Arc;
use crate::version::{SegmentMeta, SstableMeta, TableKind};
use std::collections::{BTreeMap, BTreeSet};

/// Looks at one structure that is replaced between all of them, after which it is left out.
const LOOKS_MAX: u32 = 8;

/// See the module.
pub(super) struct Pass<'a> {
    inspector: &'a Inspector,
    file: LiveFile,
    pace: Arc<ReadPace>,
    report: Report,
    /// Where the records of each segment are: four bytes each, the one thing here that grows with
    /// the file.
    records: BTreeMap<u64, RecordPlaces>,
}

/// What became of the root while something was looked at.
enum Root {
    /// It is the same: nothing was replaced.
    Same,
    Newer,
}

impl<'a> Pass<'a> {
    pub(super) fn new(inspector: &'a Inspector, options: VerifyOptions) -> Pass<'a> {
        let (clock, scheduler) = inspector.time.clone();
        let pace = ReadPace::new(clock, scheduler, options.pace, Box::new(|| Ok(())));
        let pace = Arc::new(pace);
        let file = LiveFile::new(Arc::clone(&inspector.disk), Arc::clone(&pace), Arc::default());
        let (report, records) = (Report::default(), BTreeMap::new());
        Pass { inspector, file, pace, report, records }
    }

    pub(super) fn run(mut self) -> Result<Report> {
        let copies = check_copies(&self.file)?;
        self.report.counts.skipped += copies.skipped;
        self.note(copies.damage);
        if let Some((roots, named)) = self.roots_and_log()? {
            self.structures(roots, &named)?;
        }
        self.report.counts.read_bytes = self.pace.bytes();
        Ok(self.report)
    }

    /// Root, log and manifest, and the large payloads that the log names.
    fn roots_and_log(&mut self) -> Result<Option<(Roots, Vec<LogPayload>)>> {
        let superblock = match crate::check::read_superblock(&self.file)? {
            Ok(superblock) => superblock,
            Err(damage) => {
                self.note([damage]);
                return Ok(None);
            }
        };
        let named = self.log(&superblock)?;
        Ok(match read_roots(&self.file)? {
            Ok(roots) => Some((roots, named)),
            Err(damage) => {
                self.note([damage]);
                None
            }
        })
    }

    fn log(&mut self, superblock: &Superblock) -> Result<Vec<LogPayload>> {
        let mut contents = LogContents::new(superblock);
        let found =
            check_log(&self.file, superblock, &mut |root, group| contents.take(root, group));
        let found = found?;
        let counts = &mut self.report.counts;
        counts.skipped += found.skipped;
        counts.groups = contents.groups;
        counts.commits = contents.commits;
        counts.log_entries = contents.entries + contents.keyed + contents.amendments;
        self.report.torn_tail = found.torn_tail.map(|trace| trace.to_string());
        self.note(found.damage);
        Ok(contents.payloads)
    }

    fn structures(&mut self, mut roots: Roots, named: &[LogPayload]) -> Result<()> {
        let tables = roots.catalog.tables.keys().filter(|table| !table.is_engine_owned());
        self.report.counts.tables = tables.count() as u64;
        self.map_of_the_file(&mut roots, named)?;
        // What is made from here on belongs to the next pass; numbers only grow.
        let segments: Vec<u64> = roots.catalog.segments.iter().map(|meta| meta.number).collect();
        let metas = roots.catalog.version.iter().map(|(table, _, meta)| (table, meta.number));
        let mut sstables: BTreeMap<TableId, Vec<u64>> = BTreeMap::new();
        metas.for_each(|(table, number)| sstables.entry(table).or_default().push(number));
        let all: BTreeSet<u64> = segments.iter().copied().collect();
        for payload in named.iter().filter(|payload| !all.contains(&payload.segment.number)) {
            self.large_payload(&mut roots, payload)?;
        }
        for number in segments {
            self.segment(&mut roots, number)?;
        }
        let cold = self.cold_file(&mut roots)?;
        for (table, numbers) in sstables {
            let mut sound = BTreeSet::new();
            for number in numbers {
                if self.sstable(&mut roots, number, cold)? {
                    sound.insert(number);
                }
            }
            self.orders(&mut roots, table, &sound)?;
        }
        Ok(())
    }

    /// The newest root, and whether it is another one.
    fn renew(&mut self, roots: &mut Roots) -> Result<Root> {
        match read_roots(&self.file)? {
            Ok(newest) if newest.superblock.sequence == roots.superblock.sequence => Ok(Root::Same),
            Ok(newest) => {
                *roots = newest;
                Ok(Root::Newer)
            }
            // What is below the root that was read is looked at all the same.
            Err(damage) => {
                self.note([damage]);
                Ok(Root::Same)
            }
        }
    }

    /// Looks at something until what is found of it can be believed. `find`: what the root says of
    /// it; `None` where it is gone.
    fn believed<M: PartialEq, F, T>(
        &mut self,
        roots: &mut Roots,
        find: impl Fn(&Roots) -> Option<M>,
        mut look: impl FnMut(&mut Self, &Roots, &M) -> Result<(Vec<F>, T)>,
    ) -> Result<Option<(M, Vec<F>, T)>> {
        let mut wrong: Option<M> = None;
        for _ in 0..LOOKS_MAX {
            let Some(meta) = find(roots) else { break };
            let (faults, found) = look(self, roots, &meta)?;
            self.pace.check()?;
            if faults.is_empty() || matches!(self.renew(roots)?, Root::Same) {
                return Ok(Some((meta, faults, found)));
            }
            let stayed = find(roots).is_some_and(|now| now == meta);
            if stayed && wrong.as_ref() == Some(&meta) {
                return Ok(Some((meta, faults, found)));
            }
            wrong = stayed.then_some(meta);
        }
        self.report.counts.skipped += 1;
        Ok(None)
    }

    /// No two owners of one byte, none outside the file, and levels in order.
    fn map_of_the_file(&mut self, roots: &mut Roots, named: &[LogPayload]) -> Result<()> {
        let begun = roots.superblock.sequence;
        let moment = |roots: &Roots| Some(roots.superblock.sequence);
        let found = self.believed(roots, moment, |pass, roots, sequence| {
            // The log was read before the manifest: they fit where the root is still the same.
            let named = if *sequence == begun { named } else { &[] };
            let Roots { superblock, catalog } = roots;
            let mut faults: Vec<Fault> = Vec::new();
            let mut fault = |what, offset, detail| faults.push(Fault { what, offset, detail });
            if let Err(detail) = catalog.version.check_invariants() {
                fault("manifest", superblock.manifest.extent.offset, detail);
            }
            let mut numbers = BTreeSet::new();
            for LogPayload { commit, segment, .. } in named {
                // What was flushed since is named by the manifest, under the same number.
                let flushed = *commit <= superblock.commit;
                let used = catalog.is_number_used(segment.number);
                if !flushed && (!numbers.insert(segment.number) || used) {
                    let number = segment.number;
                    let detail =
                        format!("commit {commit} names segment {number}, which is there already");
                    fault("large payload", segment.extent.offset, detail);
                }
            }
            let named: Vec<LogPayload> =
                named.iter().filter(|it| it.commit > superblock.commit).cloned().collect();
            let owned = space::owned(superblock, catalog, &named);
            for (offset, detail) in space::faults(&owned, pass.inspector.length()?) {
                fault("map of the file", offset, detail);
            }
            Ok((faults, ()))
        })?;
        if let Some((_, faults, ())) = found {
            self.report.faults.extend(faults);
        }
        Ok(())
    }

    /// A segment that the log names and the manifest does not yet.
    fn large_payload(&mut self, roots: &mut Roots, payload: &LogPayload) -> Result<()> {
        let LogPayload { commit, segment, .. } = payload;
        let find = |roots: &Roots| match *commit > roots.superblock.commit {
            true => Some(segment.clone()),
            false => segment_of(roots, segment.number),
        };
        let found = self.believed(roots, find, |pass, roots, meta| {
            Ok(pass.open_segment(roots.superblock.file, meta).verify_all())
        })?;
        if let Some((meta, damage, places)) = found {
            self.count_segment(&meta, &places);
            self.note(damage.into_iter().map(|damage| {
                let detail = format!("of commit {commit} in the log: {}", damage.detail);
                Corruption { detail, ..damage }
            }));
        }
        Ok(())
    }

    fn segment(&mut self, roots: &mut Roots, number: u64) -> Result<()> {
        let find = |roots: &Roots| segment_of(roots, number);
        let found = self.believed(roots, find, |pass, roots, meta| {
            Ok(pass.open_segment(roots.superblock.file, meta).verify_all())
        })?;
        if let Some((meta, damage, places)) = found {
            self.count_segment(&meta, &places);
            self.note(damage);
            self.records.insert(number, places);
        }
        Ok(())
    }

    fn count_segment(&mut self, meta: &SegmentMeta, places: &RecordPlaces) {
        let counts = &mut self.report.counts;
        counts.segments += 1;
        counts.segment_bytes += meta.bytes;
        counts.records += meta.records;
        counts.erased += places.erased;
    }

    /// Whether the cold file can be looked into, if there is one.
    fn cold_file(&mut self, roots: &mut Roots) -> Result<bool> {
        let moment = |roots: &Roots| Some(roots.superblock.sequence);
        let found = self.believed(roots, moment, |pass, roots, _| {
            let disk = pass.inspector.cold.clone();
            let disk = disk.map(|disk| FreshDisk::new(disk, Arc::clone(&pass.pace)));
            let fresh = disk.as_ref().map(|disk| disk as &dyn Disk);
            let Roots { superblock, catalog } = roots;
            if let Err(error) = Inspector::check_cold(fresh, superblock, catalog) {
                let detail = error.to_string();
                return Ok((vec![Fault { what: "cold file", offset: 0, detail }], false));
            }
            let Some(length) = pass.inspector.cold_length()? else {
                return Ok((Vec::new(), true));
            };
            let faults = space::faults(&space::owned_of_cold(catalog), length);
            let fault = |(offset, detail)| Fault { what: "map of the cold file", offset, detail };
            Ok((faults.into_iter().map(fault).collect(), true))
        })?;
        let Some((_, faults, usable)) = found else { return Ok(false) };
        self.report.faults.extend(faults);
        Ok(usable)
    }

    /// Whether it is sound.
    fn sstable(&mut self, roots: &mut Roots, number: u64, cold: bool) -> Result<bool> {
        let find = |roots: &Roots| {
            let (_, meta) = roots.catalog.version.find(number)?;
            Some((meta.clone(), roots.catalog.is_in_cold_file(meta)))
        };
        if !cold && find(roots).is_some_and(|(_, in_cold_file)| in_cold_file) {
            return Ok(false); // Why is reported already.
        }
        let found = self.believed(roots, find, |pass, roots, (meta, _)| {
            let sstable = pass.open_sstable(roots, meta);
            let damage = sstable.verify_with(Depth::Lookups, &|reference| {
                let places = pass.records.get(&reference.number())?;
                // Behind the first damage of a segment its records are not known.
                let missing = places.whole && !places.contains(reference);
                missing.then(|| "there is no record".to_owned())
            });
            if damage.is_empty() {
                return Ok((contents(&sstable)?, ()));
            }
            let faults = damage.into_iter().map(|damage| {
                let Corruption { what, offset, detail } = damage.corruption;
                Fault { what, offset, detail: format!("SSTable {number}: {detail}") }
            });
            Ok((faults.collect(), ()))
        })?;
        let Some(((meta, _), faults, ())) = found else { return Ok(false) };
        let counts = &mut self.report.counts;
        counts.sstables += 1;
        counts.sstable_bytes += meta.bytes;
        counts.entries += meta.entries;
        let sound = faults.is_empty();
        self.report.faults.extend(faults);
        Ok(sound)
    }

    /// What the sound SSTables of a table say together.
    fn orders(&mut self, roots: &mut Roots, table: TableId, sound: &BTreeSet<u64>) -> Result<()> {
        let record = roots.catalog.tables.get(&table);
        if record.is_none_or(|record| record.options.kind != TableKind::Timeline) {
            return Ok(());
        }
        let shards = roots.catalog.version.shards(table);
        let sstables = shards.flat_map(|(_, levels)| levels.iter());
        let sstables = sstables.filter(|(_, meta)| sound.contains(&meta.number));
        let cache = Arc::new(BlockCache::new(VERIFY_CACHE_BYTES));
        let open = |(level, meta): (u8, &SstableMeta)| {
            let disk = self.inspector.disk_of(&roots.catalog, meta);
            let fresh = FreshDisk::new(disk, Arc::clone(&self.pace));
            let source = source(roots.superblock.file, fresh, Arc::clone(&cache));
            (level, Arc::new(Sstable::new(meta.clone(), source, None)))
        };
        let sstables: Vec<(u8, Arc<Sstable>)> = sstables.map(open).collect();
        let compared = verify_timelines(table, &sstables);
        self.pace.check()?;
        match compared {
            Ok((timelines, faults)) if faults.is_empty() => {
                self.report.counts.timelines += timelines;
            }
            found => match self.renew(roots)? {
                Root::Newer => self.report.counts.skipped += 1,
                Root::Same => match found {
                    Ok((timelines, faults)) => {
                        self.report.counts.timelines += timelines;
                        self.report.faults.extend(faults);
                    }
                    Err(error) => self.note([damage_of(error)?]),
                },
            },
        }
        Ok(())
    }

    fn open_segment(&self, file: FileId, meta: &SegmentMeta) -> Segment {
        let fresh = self.fresh(Arc::clone(&self.inspector.disk), meta.extent);
        Segment::new(meta.clone(), source(file, fresh, Arc::new(BlockCache::new(0))), None)
    }

    fn open_sstable(&self, roots: &Roots, meta: &SstableMeta) -> Arc<Sstable> {
        let fresh = self.fresh(self.inspector.disk_of(&roots.catalog, meta), meta.extent);
        let cache = Arc::new(BlockCache::new(VERIFY_CACHE_BYTES));
        let source = source(roots.superblock.file, fresh, cache);
        Arc::new(Sstable::new(meta.clone(), source, None))
    }

    /// The disk for a look at one extent.
    fn fresh(&self, disk: Arc<dyn Disk>, extent: Extent) -> FreshDisk {
        let fresh = FreshDisk::new(disk, Arc::clone(&self.pace));
        fresh.begin(extent.offset..extent.offset.saturating_add(extent.length));
        fresh
    }

    fn note(&mut self, damage: impl IntoIterator<Item = Corruption>) {
        let faults = damage.into_iter().map(|Corruption { what, offset, detail }| Fault {
            what,
            offset,
            detail,
        });
        self.report.faults.extend(faults);
    }
}

fn source(file: FileId, disk: FreshDisk, cache: Arc<BlockCache>) -> Source {
    Source {
        disk: Arc::new(disk),
        file,
        mode: ReadMode::Read,
        cache,
        around: Arc::default(),
        unpacking: Arc::default(),
    }
}

fn segment_of(roots: &Roots, number: u64) -> Option<SegmentMeta> {
    roots.catalog.segments.get(number).cloned()
}

/// What is wrong with what an SSTable holds, where it is one of the engine's own.
fn contents(sstable: &Arc<Sstable>) -> Result<Vec<Fault>> {
    match verify_contents(sstable) {
        Ok(faults) => Ok(faults),
        Err(error) => {
            let Corruption { what, offset, detail } = damage_of(error)?;
            Ok(vec![Fault { what, offset, detail }])
        }
    }
}
