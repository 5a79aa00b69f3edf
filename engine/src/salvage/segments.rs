//! The payload segments: which records can be read, and a place in the new store for them.
//!
//! A segment that is whole is copied as it is, before anything refers to it in the new store: one
//! that cannot be read any more by then is damaged, too. One that is damaged is written anew, with
//! the records that entries of the new store refer to; the offsets of these do not change.
//!
//! # Invariants
//! 1. `reads` says yes only to records that were verified; of a damaged segment exactly those are
//!    written. They do not lie over each other. A whole one is in the new store when it is asked
//!    for.
//! 2. A damaged segment is read a few times at most, whatever references and records say: honest
//!    ones together name no more than it has.
//! 3. What keeps its place in the new store lies over nothing else that does.

use super::extents::Extents;
use super::findings::Findings;
use super::target::Target;
use crate::codec::round_up;
use crate::error::{Error, Result};
use crate::file::Extent;
use crate::limits::BLOCK_SIZE;
use crate::segment::{LargePayload, RecordPlaces, Reference, Segment};
use crate::sstable::Output;
use crate::version::SegmentMeta;
use std::collections::{BTreeMap, BTreeSet};

/// One segment of the old store.
struct Known {
    segment: Segment,
    state: State,
    /// The log names it, and its place: it keeps that.
    in_log: bool,
}

enum State {
    /// These are its records.
    Whole(RecordPlaces),
    Damaged(Asked),
}

/// Records that cannot be read may take so many times the bytes of their segment to look for.
const ASKED_SHARE: u64 = 4;

/// The records of a damaged segment that were asked for.
#[derive(Default)]
struct Asked {
    /// Where those end that can be read, by offset.
    readable: BTreeMap<u64, u64>,
    /// The offsets of the others.
    unreadable: BTreeSet<u64>,
    /// Bytes in which those were looked for. What can be read is no more than the segment.
    bytes: u64,
    /// Whether a segment of the log is what the log says once it is written anew.
    fits_log: Option<bool>,
}

/// See the module.
#[derive(Default)]
pub(super) struct SegmentHealth {
    known: BTreeMap<u64, Known>,
    /// Where the whole ones lie.
    whole: Extents,
}

impl SegmentHealth {
    /// Verifies a segment that the manifest or the log names, and says whether it is whole.
    pub(super) fn add(&mut self, segment: Segment, in_log: bool, findings: &mut Findings) -> bool {
        let SegmentMeta { number, extent, bytes, .. } = *segment.meta();
        let (damage, places) = segment.verify_all();
        let state = match damage.is_empty() {
            true => State::Whole(places),
            false => State::Damaged(Asked::default()),
        };
        findings.note_damage(damage, &format!("segment {number}"));
        let is_whole = matches!(state, State::Whole(_));
        if is_whole {
            self.whole.take(extent, bytes);
        }
        self.known.insert(number, Known { segment, state, in_log });
        is_whole
    }

    /// Copies the whole ones to the target, to the same places. What was read well a moment ago may
    /// not be now: then it is damaged.
    pub(super) fn copy_whole(
        &mut self,
        target: &mut Target,
        findings: &mut Findings,
    ) -> Result<()> {
        for known in self.known.values_mut().filter(|it| matches!(it.state, State::Whole(_))) {
            let SegmentMeta { extent, bytes, .. } = *known.segment.meta();
            if let Err(error) = target.copy(&**known.segment.disk(), extent, bytes, true)? {
                findings.absorb("segment", extent.offset, error)?;
                known.state = State::Damaged(Asked::default());
                self.whole.give_back(extent);
            }
        }
        Ok(())
    }

    /// Whether whole segments lie where this one should: then it was there before them.
    pub(super) fn is_written_over(&self, meta: &SegmentMeta) -> bool {
        self.whole.have(meta.extent, meta.bytes)
    }

    /// Gives up what the log names and cannot have its place, since something that can be read has
    /// it: `sstables` keep theirs, with so many bytes. Of two that are damaged the newer has it.
    pub(super) fn settle(&mut self, sstables: impl Iterator<Item = (Extent, u64)>) {
        let mut kept = self.whole.clone();
        for (extent, bytes) in sstables {
            kept.take(extent, bytes);
        }
        for known in self.known.values_mut().rev().filter(|known| known.in_log) {
            let SegmentMeta { extent, bytes, .. } = *known.segment.meta();
            if let State::Damaged(asked) = &mut known.state
                && !kept.take(extent, bytes)
            {
                asked.fits_log = Some(false);
            }
        }
    }

    /// What is wrong with a reference by itself.
    pub(super) fn wrong(&self, reference: Reference) -> Option<String> {
        match self.known.get(&reference.number()).map(|known| &known.state) {
            Some(State::Whole(places)) if places.contains(reference) => None,
            Some(State::Whole(_)) => Some("there is no record".to_owned()),
            // That it is damaged was noted once; which entries that costs is told as lost.
            Some(State::Damaged(_)) => None,
            None => Some("there is no such segment".to_owned()),
        }
    }

    /// Whether what a reference names may have been lost: an SSTable with such a one is looked at
    /// closely.
    pub(super) fn is_in_doubt(&self, reference: Reference) -> bool {
        let state = self.known.get(&reference.number()).map(|known| &known.state);
        matches!(state, Some(State::Damaged(_)))
    }

    /// Whether the record can be read; then it will be in the new store.
    pub(super) fn reads(&mut self, reference: Reference) -> bool {
        let Some(known) = self.known.get_mut(&reference.number()) else {
            return false;
        };
        match &mut known.state {
            State::Whole(places) => places.contains(reference),
            State::Damaged(asked) => asked.reads(&known.segment, reference.offset()),
        }
    }

    /// Whether the payload that a message of the log names can be read.
    pub(super) fn reads_large(&mut self, large: &LargePayload) -> bool {
        let same = self.known.get(&large.number).is_some_and(|known| large.is_of(&known.segment));
        same && self.reads(large.reference()) && self.fits_log(large.number)
    }

    /// Whether a segment that the log names can be in the new store: there, too, the log says what
    /// its footer says.
    fn fits_log(&mut self, number: u64) -> bool {
        let Some(known) = self.known.get_mut(&number) else {
            return false;
        };
        let State::Damaged(asked) = &mut known.state else {
            return true;
        };
        let segment = &known.segment;
        *asked.fits_log.get_or_insert_with(|| {
            let written = segment.write_remains(&BTreeSet::from([0]), &mut |_| Ok(()));
            written.is_ok_and(|written| written == *segment.meta())
        })
    }

    /// Where the segments end that whole ones keep, and those that the log names: such a one has
    /// its place also where the file of `length` bytes was cut off in the middle of it.
    pub(super) fn end(&self, length: u64) -> u64 {
        let metas = self.known.values().map(|known| known.segment.meta());
        let begun = metas.filter(|meta| meta.extent.offset < length);
        let end = |meta: &SegmentMeta| {
            meta.extent.offset.saturating_add(round_up(meta.bytes, BLOCK_SIZE))
        };
        begun.map(end).max().unwrap_or(0)
    }

    /// The greatest number.
    pub(super) fn last_number(&self) -> u64 {
        self.known.keys().next_back().copied().unwrap_or(0)
    }

    /// Writes the damaged ones of these numbers to the target, where the whole ones are; gives what
    /// its manifest says of them. `in_place`: those that the log names, by place.
    pub(super) fn write(
        &self,
        numbers: &BTreeSet<u64>,
        in_place: bool,
        target: &mut Target,
    ) -> Result<Vec<SegmentMeta>> {
        let known = numbers.iter().filter_map(|number| self.known.get(number));
        known.map(|known| known.write(in_place, target)).collect()
    }
}

impl Known {
    fn write(&self, in_place: bool, target: &mut Target) -> Result<SegmentMeta> {
        let meta = self.segment.meta();
        let State::Damaged(asked) = &self.state else {
            let extent = Target::kept(meta.extent, meta.bytes);
            return Ok(SegmentMeta { extent, ..meta.clone() });
        };
        let needed: BTreeSet<u64> = asked.readable.keys().copied().collect();
        let mut appender = target.appender();
        let written = self.segment.write_remains(&needed, &mut |bytes| appender.write(bytes))?;
        let extent = target.place(appender)?;
        if !in_place {
            return Ok(SegmentMeta { extent, ..written });
        }
        // The log says where it is, and what its footer says: the same as before.
        if written != *meta {
            let detail = format!("segment {} is not what the log says", meta.number);
            return Err(Error::corruption("large payload", meta.extent.offset, detail));
        }
        let disk = target.disk().clone();
        target.copy_within(&*disk, extent, meta)?;
        Ok(written)
    }
}

impl Asked {
    fn reads(&mut self, segment: &Segment, offset: u64) -> bool {
        if self.readable.contains_key(&offset) {
            return true;
        }
        if self.unreadable.contains(&offset) {
            return false;
        }
        let left = (segment.meta().bytes * ASKED_SHARE).saturating_sub(self.bytes);
        let (end, bytes) = segment.remaining_record(offset, left);
        // Only a hostile file has records that lie over each other: the first one counts.
        let taken = end.filter(|end| self.is_free(offset, *end));
        match taken {
            Some(end) => {
                self.readable.insert(offset, end);
            }
            None => {
                self.bytes += bytes;
                self.unreadable.insert(offset);
            }
        }
        taken.is_some()
    }

    /// Whether no record lies there that can be read.
    fn is_free(&self, offset: u64, end: u64) -> bool {
        let before = self.readable.range(..offset).next_back();
        let behind = self.readable.range(offset..).next();
        before.is_none_or(|(_, before)| *before <= offset)
            && behind.is_none_or(|(behind, _)| end <= *behind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Source;
    use crate::entry::TableId;
    use crate::file::{ExtentWriter, FileId, Pacer};
    use crate::segment::{FOOTER_SIZE, RecordRef, SegmentWriter, record_size};
    use crate::sync::Arc;
    use crate::testing::{SimClock, SimDisk, SimOptions, SimScheduler};

    const FILE: FileId = FileId([7; 16]);

    /// References may be asked for one by one, and each head says a length that can be: the segment
    /// was read once for each of them.
    #[test]
    fn references_into_damage_cost_no_more_than_the_segment() {
        const BYTES: u64 = 2 << 20;
        let head: [u8; 16] = [0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let disk = SimDisk::from_bytes(SimOptions::default(), &head.repeat(1 << 17));
        let meta = SegmentMeta {
            number: 9,
            table: TableId(16),
            extent: Extent { offset: 0, length: BYTES },
            bytes: BYTES,
            footer_checksum: 1,
            records: 1,
            payload_bytes: 1,
        };
        let source = Source::uncached(Arc::new(disk.clone()), FILE);
        let mut health = SegmentHealth::default();
        assert!(!health.add(Segment::new(meta, source, None), false, &mut Findings::default()));
        let before = disk.counts().read_bytes;
        for unit in 0..300 {
            assert!(!health.reads(Reference::new(9, unit * 16)));
        }
        let read = disk.counts().read_bytes - before;
        assert!(read < 5 * BYTES, "{read} bytes were read");
    }

    fn output(disk: &SimDisk, extent: Extent) -> ExtentWriter {
        let clock = SimClock::new(1);
        let scheduler = SimScheduler::new(1, clock.clone());
        let pacer = Pacer::new(Arc::new(clock), Arc::new(scheduler), 0);
        ExtentWriter::new(Arc::new(disk.clone()), extent, Arc::new(pacer))
    }

    /// A segment of so many records of 5,000 bytes at 4,096 of a disk, and their references.
    fn segment(records: usize) -> (SimDisk, SegmentMeta, Vec<Reference>) {
        let record = RecordRef { event_ms: None, origin: None, payload: &[3; 5000] };
        let bytes = records * record_size(&record) + FOOTER_SIZE;
        let extent = Extent { offset: 4096, length: round_up(bytes as u64, BLOCK_SIZE) };
        let length = usize::try_from(extent.end()).unwrap();
        let disk = SimDisk::from_bytes(SimOptions::default(), &vec![0; length]);
        let mut writer = SegmentWriter::new(output(&disk, extent), FILE, 9, TableId(16));
        let references = (0..records).map(|_| writer.append(&record).unwrap()).collect();
        (disk, writer.finish(extent).unwrap(), references)
    }

    /// Rot may say lengths that can be: in vain it was looked for nearly four times the segment.
    /// What could be read counted, too, and so the last records were not looked at any more.
    #[test]
    fn what_is_looked_for_in_vain_costs_no_record_that_can_be_read() {
        const SAID: u32 = 400_000;
        let (disk, meta, references) = segment(100);
        for reference in &references[..4] {
            disk.set_bytes(meta.extent.offset + reference.offset() + 4, &SAID.to_le_bytes());
        }
        let left = meta.bytes * ASKED_SHARE - 4 * u64::from(SAID);
        assert!(left > u64::from(SAID) && left < meta.bytes * 96 / 100, "{left} bytes are left");
        let source = Source::uncached(Arc::new(disk.clone()), FILE);
        let mut health = SegmentHealth::default();
        assert!(!health.add(Segment::new(meta, source, None), false, &mut Findings::default()));
        let readable = references.iter().filter(|reference| health.reads(**reference));
        assert_eq!(readable.count(), 96);
    }

    /// The disk fails to read it by the time at which it is copied: the run ended, and there was no
    /// store at all.
    #[test]
    fn a_whole_segment_that_cannot_be_copied_is_damaged() {
        let (disk, meta, references) = segment(100);
        let source = Source::uncached(Arc::new(disk.clone()), FILE);
        let (mut health, mut findings) = (SegmentHealth::default(), Findings::default());
        assert!(health.add(Segment::new(meta.clone(), source, None), false, &mut findings));
        let ring = Extent { offset: 2 << 20, length: 262_144 };
        let copy = SimDisk::new(SimOptions::default());
        let mut target = Target::begin(Arc::new(copy.clone()), ring, 0).unwrap();
        let begin = usize::try_from(meta.extent.offset).unwrap();
        let place = begin..begin + usize::try_from(meta.bytes).unwrap();
        health.copy_whole(&mut target, &mut findings).unwrap();
        assert_eq!(copy.bytes()[place.clone()], disk.bytes()[place]);
        assert!(findings.report.damage.is_empty() && health.is_written_over(&meta));

        // The end of one record, and the beginning of the next one.
        disk.make_unreadable(meta.extent.offset + references[50].offset() - 20, 30);
        health.copy_whole(&mut target, &mut findings).unwrap();
        assert_eq!(findings.report.damage.len(), 1, "{:?}", findings.report.damage);
        assert!(health.is_in_doubt(references[0]) && !health.is_written_over(&meta));
        let readable = references.iter().filter(|reference| health.reads(**reference));
        assert_eq!(readable.count(), 98);
        let written = health.write(&BTreeSet::from([9]), false, &mut target).unwrap();
        let [written] = &written[..] else { panic!("{written:?}") };
        let anew = Segment::new(written.clone(), Source::uncached(Arc::new(copy), FILE), None);
        let (damage, places) = anew.verify_all();
        assert!(damage.is_empty() && places.contains(references[99]), "{damage:?}");
    }

    /// A large payload at 4,096 of a disk, whose footer is damaged.
    fn large_with_a_damaged_footer() -> (SimDisk, LargePayload) {
        let disk = SimDisk::from_bytes(SimOptions::default(), &[0; 65_536]);
        let extent = Extent { offset: 4096, length: 12_288 };
        let place = (FILE, 9, TableId(16));
        let output = output(&disk, extent);
        let large = LargePayload::write(output, extent, place, &[3; 8000]).unwrap();
        disk.flip_bit(4096 + large.meta().bytes - 20, 3);
        (disk, large)
    }

    fn health_of(disk: &SimDisk, large: &LargePayload) -> SegmentHealth {
        let source = Source::uncached(Arc::new(disk.clone()), FILE);
        let mut health = SegmentHealth::default();
        let segment = Segment::new(large.meta(), source, None);
        assert!(!health.add(segment, true, &mut Findings::default()));
        health
    }

    /// It is written anew at its place. Where an SSTable was copied to that, it would lie over it,
    /// and the new store would not verify: there would be none.
    #[test]
    fn a_large_payload_gives_way_to_what_keeps_its_place() {
        let (disk, large) = large_with_a_damaged_footer();
        for (offset, readable) in [(0, true), (8192, false), (16_384, true)] {
            let mut health = health_of(&disk, &large);
            health.settle([(Extent { offset, length: 4096 }, 4096)].into_iter());
            assert_eq!(health.reads_large(&large), readable, "{offset}");
        }
    }

    /// The log goes on saying what its footer says: what is written anew must fit.
    #[test]
    fn a_large_payload_that_is_not_what_the_log_says_is_lost() {
        let (disk, large) = large_with_a_damaged_footer();
        let other = LargePayload { footer_checksum: large.footer_checksum ^ 1, ..large };
        assert!(!health_of(&disk, &other).reads_large(&other));
        assert!(health_of(&disk, &large).reads_large(&large));
    }

    #[test]
    fn records_do_not_lie_over_each_other() {
        let mut asked = Asked::default();
        asked.readable.extend([(160, 320), (640, 656)]);
        for (offset, end, free) in [
            (0, 160, true),
            (0, 176, false),
            (176, 192, false),
            (304, 336, false),
            (320, 640, true),
            (320, 656, false),
            (656, 700, true),
        ] {
            assert_eq!(asked.is_free(offset, end), free, "{offset} to {end}");
        }
    }
}
