//! What is left of a damaged SSTable of a timeline table.
//!
//! ```text
//! directory     alice 1..9       bob 1..4      carol 1..7
//! fragments     alice 1..5 ####  ########  ### carol 4..7
//! lost          alice 6..9       bob 1..4      carol 1..3   exactly, by directory and base index
//! ```
//! A fragment says how many entries of its timeline lie before it in the SSTable, and the directory
//! how many there are. Where a page of the directory is gone as well, the manifest still says how
//! many entries the SSTable had: what is not accounted for is lost, of timelines between two keys.
//!
//! # Invariants
//! 1. Entries met, entries missed by name, and entries lost without one add up to what the manifest
//!    says, or to more.
//! 2. An entry whose payload lies in a record that cannot be read is lost.

use super::findings::Findings;
use super::keys::KeyBounds;
use super::rebuild::Rebuild;
use super::report::Loss;
use super::segments::SegmentHealth;
use super::target::Target;
use crate::codec::DecodeError;
use crate::error::{Error, Result};
use crate::file::FileId;
use crate::options::Sequence;
use crate::read::state_of_run;
use crate::sstable::{FragmentView, Remains, RunLocation, Sstable};
use crate::state::StateRecord;
use crate::version::{SstableMeta, TableRecord, Tier};
use std::collections::BTreeMap;

const WHAT: &str = "SSTable timeline block";

/// Writes the entries that are left to the target. `None` where there are none.
pub(super) fn salvage(
    sstable: &Sstable,
    (record, file): (&TableRecord, FileId),
    health: &mut SegmentHealth,
    target: &mut Target,
    findings: &mut Findings,
) -> Result<Option<SstableMeta>> {
    let meta = sstable.meta();
    let mut remains = sstable.remains()?;
    let rebuild = Rebuild::of(meta, record, file, target);
    let runs = remains.take_runs();
    let bounds = KeyBounds::default();
    let assigned = record.options.sequence == Sequence::Assigned;
    let mut work =
        Work { meta, rebuild, bounds, runs, open: None, accounted: 0, assigned, health, findings };
    remains.damaged().iter().for_each(|place| work.bounds.damaged(place));
    for index in 0..remains.block_count() {
        work.block(&remains, index)?;
    }
    work.end();
    let Work { rebuild, .. } = work;
    rebuild.finish(meta, target)
}

struct Work<'a> {
    meta: &'a SstableMeta,
    rebuild: Rebuild,
    bounds: KeyBounds,
    /// Runs that were not come to yet.
    runs: BTreeMap<Box<[u8]>, RunLocation>,
    open: Option<OpenRun>,
    /// Entries met, or lost by name.
    accounted: u64,
    /// Whether the engine gives the ids.
    assigned: bool,
    health: &'a mut SegmentHealth,
    findings: &'a mut Findings,
}

/// The run that is being gone over.
struct OpenRun {
    key: Box<[u8]>,
    /// What the directory says of it.
    run: Option<RunLocation>,
    /// Entries so far, those that are lost included.
    index: u64,
    /// The newest entry that was met.
    newest: StateRecord,
    lost: bool,
}

impl Work<'_> {
    fn block(&mut self, remains: &Remains, index: usize) -> Result<()> {
        let place = remains.place(index);
        let fragments = match remains.fragments(index) {
            Ok(fragments) => fragments,
            Err(error) => {
                self.bounds.damaged(&place);
                return self.findings.absorb(WHAT, self.meta.extent.offset, error);
            }
        };
        if let (Some(first), Some(last)) = (fragments.first(), fragments.last()) {
            self.bounds.readable(place.clone(), first.view().key(), last.view().key());
        }
        for fragment in &fragments {
            match self.fragment(&fragment.view()) {
                Ok(()) => {}
                // Nobody wrote it like that.
                Err(error @ Error::Corruption(_)) => {
                    self.bounds.damaged(&place);
                    self.findings.absorb(WHAT, self.meta.extent.offset, error)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn fragment(&mut self, fragment: &FragmentView<'_>) -> Result<()> {
        let damaged = |error: DecodeError| {
            Error::corruption(WHAT, self.meta.extent.offset, error.to_string())
        };
        let last = fragment.count() - 1;
        let last_seq = fragment.last_seq().map_err(damaged)?;
        self.expect_in_range((fragment.key(), fragment.first_seq()), (fragment.key(), last_seq))?;
        let newest = StateRecord {
            next_seq: last_seq.saturating_add(1),
            last_commit: fragment.commit(last).map_err(damaged)?,
            last_time_ms: fragment.time_ms(last).map_err(damaged)?,
        };
        let readable = self.readable(fragment).map_err(damaged)?;
        if readable.iter().all(|readable| *readable) {
            self.rebuild.append_fragment(fragment)?;
        } else {
            for k in (0..fragment.count()).filter(|k| readable[*k]) {
                let entry = fragment.entry(k).map_err(damaged)?;
                self.rebuild.append(fragment.key(), &entry)?;
            }
        }
        self.enter(fragment.key());
        self.miss_up_to(fragment);
        for k in (0..fragment.count()).filter(|k| !readable[*k]) {
            let seq = fragment.seq(k).map_err(damaged)?;
            self.findings.lose_entries(self.meta.table, fragment.key(), (seq, seq), 1);
            self.open.iter_mut().for_each(|open| open.lost = true);
        }
        self.accounted += fragment.count() as u64;
        if let Some(open) = &mut self.open {
            open.index = fragment.base_index() + fragment.count() as u64;
            open.newest = newest;
        }
        Ok(())
    }

    /// Refuses what lies outside of what the manifest says: in the new store it would lie over
    /// another SSTable of the level.
    fn expect_in_range(&self, first: (&[u8], u64), last: (&[u8], u64)) -> Result<()> {
        let (from, to) = (&self.meta.first, &self.meta.last);
        if first >= (&*from.0, from.1) && last <= (&*to.0, to.1) {
            return Ok(());
        }
        let detail = "a fragment lies outside of the range that the manifest says";
        Err(Error::corruption(WHAT, self.meta.extent.offset, detail))
    }

    /// For each entry, whether all of it can be read.
    fn readable(&mut self, fragment: &FragmentView<'_>) -> Result<Vec<bool>, DecodeError> {
        let mut readable = Vec::with_capacity(fragment.count());
        for k in 0..fragment.count() {
            let reference = fragment.reference(k)?;
            readable.push(reference.is_none_or(|reference| self.health.reads(reference)));
        }
        Ok(readable)
    }

    /// Goes on with the run of `key`; those of smaller keys are over.
    fn enter(&mut self, key: &[u8]) {
        if self.open.as_ref().is_some_and(|open| *open.key == *key) {
            return;
        }
        self.close();
        while let Some(first) = self.runs.first_entry().filter(|first| **first.key() < *key) {
            let (key, run) = first.remove_entry();
            self.lose_run(&key, run);
        }
        let run = self.runs.remove(key);
        let newest = StateRecord::NEW;
        self.open = Some(OpenRun { key: key.into(), run, index: 0, newest, lost: false });
    }

    /// Entries of the run between what was met of it and this fragment.
    fn miss_up_to(&mut self, fragment: &FragmentView<'_>) {
        let Some(open) = &mut self.open else { return };
        let Some(missing) = fragment.base_index().checked_sub(open.index).filter(|n| *n > 0) else {
            return;
        };
        let from = match open.index {
            0 => open.run.map_or(1, |run| run.first_seq),
            _ => open.newest.next_seq,
        };
        let to = fragment.first_seq().saturating_sub(1).max(from);
        open.lost = true;
        self.findings.lose_entries(self.meta.table, &open.key, (from, to), missing);
        self.accounted += missing;
    }

    /// Nothing more of the open run comes.
    fn close(&mut self) {
        let Some(mut open) = self.open.take() else { return };
        let mut state = open.newest;
        if let Some(run) = open.run {
            if let Some(missing) = run.count.checked_sub(open.index).filter(|n| *n > 0) {
                let seqs = (open.newest.next_seq, run.last_seq.max(open.newest.next_seq));
                self.findings.lose_entries(self.meta.table, &open.key, seqs, missing);
                self.accounted += missing;
                open.lost = true;
            }
            let said = state_of_run(&run);
            if said.is_newer_than(&state) {
                state = said;
            }
        }
        if open.lost {
            self.findings.note_state(self.meta.table, &open.key, state);
        }
        self.note_seq(state.next_seq);
    }

    /// A run of which nothing was met.
    fn lose_run(&mut self, key: &[u8], run: RunLocation) {
        self.findings.lose_entries(self.meta.table, key, (run.first_seq, run.last_seq), run.count);
        self.findings.note_state(self.meta.table, key, state_of_run(&run));
        self.note_seq(run.last_seq);
        self.accounted += run.count;
    }

    fn note_seq(&mut self, seq: u64) {
        if self.assigned {
            self.findings.note_seq(seq);
        }
    }

    /// What is not accounted for is lost without a name.
    fn end(&mut self) {
        self.close();
        while let Some((key, run)) = self.runs.pop_first() {
            self.lose_run(&key, run);
        }
        let entries = self.meta.entries.saturating_sub(self.accounted);
        if entries > 0 {
            self.note_seq(self.meta.last.1.max(self.meta.first.1));
            lose_unnamed(self.meta, self.bounds.around(self.meta), entries, self.findings);
        }
    }
}

/// Entries of an SSTable that nothing names.
pub(super) fn lose_unnamed(
    meta: &SstableMeta,
    keys: (Box<[u8]>, Box<[u8]>),
    entries: u64,
    findings: &mut Findings,
) {
    // What is cold of a timeline is never needed to know its next id: a record tells it.
    if meta.shard.tier == Tier::Hot {
        findings.jump(entries);
    }
    findings.lose(Loss::UnknownEntries {
        table: meta.table,
        keys,
        entries,
        sstable: meta.number,
        offset: meta.extent.offset,
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::Extent;
    use crate::options::{Compression, ReadMode, TableOptions};
    use crate::sstable::EntryRef;
    use crate::sstable::testing::{FILE, Fixture, options};
    use crate::sync::Arc;
    use crate::testing::{SimDisk, SimOptions};
    use crate::version::TableKind;

    /// A manifest whose checksums hold may say any range. What was taken beyond it lay over another
    /// SSTable, and the new store was none.
    #[test]
    fn what_lies_outside_of_the_range_of_the_manifest_is_lost() {
        let options = options(TableKind::Timeline, Compression::None);
        let mut fixture = Fixture::build(options, 700, |builder| {
            for key in [&b"alice"[..], b"bob", b"carol"] {
                for seq in 1..=50 {
                    let entry = EntryRef {
                        seq,
                        commit: seq,
                        time_ms: 100 + seq,
                        ttl_ms: None,
                        event_ms: None,
                        origin: None,
                        payload: b"a text of some bytes",
                        shared: None,
                        erased: false,
                    };
                    builder.append(key, &entry)?;
                }
            }
            Ok(())
        })
        .unwrap();
        fixture.meta.last = (b"bob"[..].into(), 50);
        let ring = Extent { offset: 65_536, length: 262_144 };
        let disk = Arc::new(SimDisk::new(SimOptions::default()));
        let mut target = Target::begin(disk, ring, 0).unwrap();
        let record = TableRecord::new(fixture.meta.table, "t", TableOptions::timeline());
        let (mut health, mut findings) = (SegmentHealth::default(), Findings::default());
        let sstable = fixture.open(ReadMode::Read);
        let of = (&record, FILE);
        let meta = salvage(&sstable, of, &mut health, &mut target, &mut findings).unwrap().unwrap();
        assert_eq!((meta.entries, &*meta.last.0, meta.last.1), (100, &b"bob"[..], 50));
        let [Loss::Entries { key, entries: 50, .. }] = &findings.report.lost[..] else {
            panic!("{:?}", findings.report.lost);
        };
        assert_eq!(&**key, b"carol");
    }
}
