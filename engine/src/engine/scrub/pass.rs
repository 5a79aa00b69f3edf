//! One pass, a structure a step.

use super::report::{EntrySpan, ScrubFault, ScrubProgress, ScrubReport, ScrubStructure};
use crate::cache::Source;
use crate::check::{LiveFile, check_copies, check_log, damage_of, read_roots, read_superblock};
use crate::engine::Core;
use crate::error::{Corruption, Error, ErrorKind, Result};
use crate::file::{Disk, Extent, FreshDisk, ReadPace, cold};
use crate::read::View;
use crate::segment::Segment;
use crate::sstable::{Depth, Span, Sstable};
use crate::sync::{Arc, Ordering};
use crate::version::HasMeta;
use std::collections::BTreeSet;

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Copies,
    Log,
    Manifest,
    /// Segments of this number and above.
    Segments(u64),
    ColdFile,
    /// The same of SSTables.
    Sstables(u64),
    Done,
}

/// See the module.
pub(super) struct Pass {
    pace: Arc<ReadPace>,
    stage: Stage,
    /// Structures of this number and above were made since the pass began.
    end: u64,
    expected_bytes: u64,
    /// Bytes that the store has been told of.
    told_bytes: u64,
    report: ScrubReport,
}

impl std::fmt::Debug for Pass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pass").field("stage", &self.stage).field("end", &self.end).finish()
    }
}

impl Pass {
    pub(super) fn new(core: &Core, pace: Arc<ReadPace>) -> Pass {
        // First the number: what is live below it is in the view that is looked at later.
        let end = core.output.next_number.load(Ordering::Acquire);
        let view = core.views.current();
        let sstables = view.version.iter().map(|(_, _, sstable)| sstable.meta().bytes);
        let expected_bytes = sstables.sum::<u64>() + view.segments.bytes + core.log.used_bytes();
        let past_page_cache = core.disk.geometry().direct;
        let report = ScrubReport { past_page_cache, ..ScrubReport::default() };
        Pass { pace, stage: Stage::Copies, end, expected_bytes, told_bytes: 0, report }
    }

    pub(super) fn report(&self) -> &ScrubReport {
        &self.report
    }

    pub(super) fn into_report(self) -> ScrubReport {
        self.report
    }

    pub(super) fn progress(&self) -> ScrubProgress {
        ScrubProgress {
            read_bytes: self.pace.bytes(),
            expected_bytes: self.expected_bytes,
            faults: self.report.fault_count,
        }
    }

    /// Checks the next structure; says whether there are more.
    pub(super) fn step(&mut self, core: &Core) -> Result<bool> {
        let stepped = self.pace.check().and_then(|()| self.check_next(core));
        let bytes = self.pace.bytes();
        core.scrub.read(bytes - self.told_bytes);
        self.told_bytes = bytes;
        self.report.counts.read_bytes = bytes;
        self.stage = stepped?;
        if self.stage == Stage::Done && !self.report.whole {
            self.report.whole = true;
            core.scrub.ended_whole(core.raw_clock.wall_ms());
        }
        Ok(self.stage != Stage::Done)
    }

    /// Checks what is next, and says what comes behind it.
    fn check_next(&mut self, core: &Core) -> Result<Stage> {
        Ok(match self.stage {
            Stage::Copies => {
                let found = check_copies(&self.live_file(core))?;
                self.report.counts.skipped += found.skipped;
                for damage in found.damage {
                    self.found(core, ScrubStructure::Superblock, damage);
                }
                Stage::Log
            }
            Stage::Log => {
                let outcome = self.log(core);
                self.or_fault(core, ScrubStructure::Log, "WAL", outcome)?;
                Stage::Manifest
            }
            Stage::Manifest => {
                let read = read_roots(&self.live_file(core));
                let outcome = read.map(|roots| roots.map(drop).err());
                self.or_fault(core, ScrubStructure::Manifest, "manifest", outcome)?;
                Stage::Segments(0)
            }
            Stage::Segments(from) => match self.next_segment(core, from) {
                Some(segment) => {
                    self.segment(core, &segment)?;
                    Stage::Segments(segment.meta().number + 1)
                }
                None => Stage::ColdFile,
            },
            Stage::ColdFile => {
                let outcome = self.cold_file(core);
                self.or_fault(core, ScrubStructure::ColdFile, "cold file", outcome)?;
                Stage::Sstables(0)
            }
            Stage::Sstables(from) => match self.next_sstable(core, from) {
                Some(sstable) => {
                    self.sstable(core, &sstable)?;
                    Stage::Sstables(sstable.meta().number + 1)
                }
                None => Stage::Done,
            },
            Stage::Done => Stage::Done,
        })
    }

    fn live_file(&self, core: &Core) -> LiveFile {
        let writes = Arc::clone(&core.root_writes);
        LiveFile::new(Arc::clone(&core.disk), Arc::clone(&self.pace), writes)
    }

    fn log(&mut self, core: &Core) -> Result<Option<Corruption>> {
        let file = self.live_file(core);
        // A superblock without two equal copies is reported with the manifest.
        let Ok(superblock) = read_superblock(&file)? else { return Ok(None) };
        let found = check_log(&file, &superblock, &mut |_, _| Ok(()))?;
        self.report.counts.log_bytes += found.bytes;
        self.report.counts.skipped += found.skipped;
        Ok(found.damage)
    }

    /// The cold file is that of the root, if there is one.
    fn cold_file(&mut self, core: &Core) -> Result<Option<Corruption>> {
        let Some(place) = core.output.cold.as_ref().filter(|_| !core.cold.is_refused()) else {
            return Ok(None);
        };
        let cold = FreshDisk::new(Arc::clone(&place.disk), Arc::clone(&self.pace));
        let Ok(superblock) = read_superblock(&self.live_file(core))? else { return Ok(None) };
        let Some(root) = superblock.cold else { return Ok(None) };
        // Its header is written before the root that names the next generation, to the copy that
        // is not of this one: so the file is always that of an older root too.
        let checked = cold.hurried(|| cold::check(&cold, superblock.file, &root, &[], false));
        match checked {
            Err(error) if error.kind() == ErrorKind::ColdFile => {
                let detail = error.to_string();
                Ok(Some(Corruption { what: "cold file", offset: 0, detail }))
            }
            outcome => outcome.map(|()| None),
        }
    }

    /// The next live segment, those that only the log names included. Nothing but its extent is
    /// held: the view goes at once, and with it the SSTables.
    fn next_segment(&self, core: &Core, from: u64) -> Option<Segment> {
        let view = core.views.current();
        let number = |segment: &&Arc<Segment>| segment.meta().number;
        // There may be millions, so none is counted up, and none but the next of each SSTable is
        // looked at: all of them in each step would take the square of their number.
        let sstables = view.version.iter().map(|(_, _, sstable)| sstable.segments());
        let flushed = sstables.filter_map(|segments| segments.first_from(from)).min_by_key(number);
        let large: Vec<Arc<Segment>> =
            view.memtables().filter_map(|memtable| memtable.large_segment_from(from)).collect();
        let next = flushed.into_iter().chain(&large).min_by_key(number)?;
        if !self.is_due(next.meta().number, from) {
            return None;
        }
        Some(next.for_check(self.source(core, next.disk(), next.meta().extent)))
    }

    fn next_sstable(&self, core: &Core, from: u64) -> Option<Sstable> {
        let view = core.views.current();
        let sstables = view.version.iter().map(|(_, _, sstable)| sstable);
        let next = sstables.filter(|sstable| self.is_due(sstable.meta().number, from));
        let next = next.min_by_key(|sstable| sstable.meta().number)?;
        Some(next.for_check(self.source(core, next.disk(), next.meta().extent)))
    }

    fn is_due(&self, number: u64, from: u64) -> bool {
        (from..self.end).contains(&number)
    }

    /// Where a structure is read from: the device, and nothing that others have read.
    fn source(&self, core: &Core, disk: &Arc<dyn Disk>, extent: Extent) -> Source {
        let fresh = FreshDisk::new(Arc::clone(disk), Arc::clone(&self.pace));
        fresh.begin(extent.offset..extent.end());
        Source::uncached(Arc::new(fresh), core.file)
    }

    fn segment(&mut self, core: &Core, segment: &Segment) -> Result<()> {
        let (damage, _) = segment.verify_all();
        self.pace.check()?;
        let meta = segment.meta();
        self.report.counts.segments += 1;
        self.report.counts.segment_bytes += meta.bytes;
        if damage.is_empty() {
            return Ok(());
        }
        core.output.source.cache.distrust();
        let users = users_of(&core.views.current(), meta.number);
        for Corruption { what, offset, detail } in damage {
            let detail = format!("{detail}; SSTables that refer to it: {users:?}");
            let structure = ScrubStructure::Segment(meta.number);
            let mut fault = fault(structure, Corruption { what, offset, detail });
            fault.table = Some(meta.table);
            self.push(core, fault);
        }
        Ok(())
    }

    fn sstable(&mut self, core: &Core, sstable: &Sstable) -> Result<()> {
        let meta = sstable.meta();
        if is_absent(&**sstable.disk()) {
            self.report.counts.absent_sstables += 1;
            return Ok(());
        }
        let damage = sstable.verify_with(Depth::Bytes, &|_| None);
        self.pace.check()?;
        self.report.counts.sstables += 1;
        self.report.counts.sstable_bytes += meta.bytes;
        if damage.is_empty() {
            return Ok(());
        }
        let view = core.views.current();
        let live = view.version.find(meta.number).map(|(_, live)| live);
        live.into_iter().for_each(|live| live.distrust());
        let in_cold_file = live.is_some_and(|live| is_cold(core, live.disk()));
        for damage in damage {
            let Corruption { what, offset, detail } = damage.corruption;
            let detail = format!("SSTable {}: {detail}", meta.number);
            let structure = ScrubStructure::Sstable(meta.number);
            let mut fault = fault(structure, Corruption { what, offset, detail });
            (fault.table, fault.in_cold_file) = (Some(meta.table), in_cold_file);
            fault.entries = Some(entries(damage.span));
            self.push(core, fault);
        }
        Ok(())
    }

    /// What could not be read is a fault as well, unless the pass is to end.
    fn or_fault(
        &mut self,
        core: &Core,
        structure: ScrubStructure,
        what: &'static str,
        outcome: Result<Option<Corruption>>,
    ) -> Result<()> {
        self.pace.check()?;
        let damage = match outcome {
            Ok(damage) => damage,
            Err(error) => Some(damage_of(error).unwrap_or_else(|error: Error| Corruption {
                what,
                offset: 0,
                detail: error.to_string(),
            })),
        };
        damage.into_iter().for_each(|damage| self.found(core, structure, damage));
        Ok(())
    }

    fn found(&mut self, core: &Core, structure: ScrubStructure, damage: Corruption) {
        let mut fault = fault(structure, damage);
        fault.in_cold_file = structure == ScrubStructure::ColdFile;
        self.push(core, fault);
    }

    fn push(&mut self, core: &Core, fault: ScrubFault) {
        core.scrub.found(&fault);
        self.report.push(fault);
    }
}

fn fault(structure: ScrubStructure, damage: Corruption) -> ScrubFault {
    let Corruption { what, offset, detail } = damage;
    let (in_cold_file, table, entries) = (false, None, None);
    ScrubFault { structure, what, offset, in_cold_file, detail, table, entries }
}

fn entries(span: Span) -> EntrySpan {
    let (first, last) = (span.first, span.last);
    EntrySpan { first: (first.0.into_vec(), first.1), last: (last.0.into_vec(), last.1) }
}

/// Numbers of the SSTables that refer to a segment.
fn users_of(view: &View, segment: u64) -> BTreeSet<u64> {
    let metas = view.version.iter().map(|(_, _, sstable)| sstable.meta());
    metas.filter(|meta| meta.segments.contains(&segment)).map(|meta| meta.number).collect()
}

/// Whether the disk stands in the place of a cold file that was not given.
fn is_absent(disk: &dyn Disk) -> bool {
    let length = disk.length().map_err(|error| Error::io("reading the length", 0, error));
    length.is_err_and(|error| error.kind() == ErrorKind::ColdFile)
}

fn is_cold(core: &Core, disk: &Arc<dyn Disk>) -> bool {
    let cold = core.output.cold.as_ref().map(|place| &place.disk);
    cold.is_some_and(|cold| std::ptr::addr_eq(Arc::as_ptr(cold), Arc::as_ptr(disk)))
}
