//! What a salvage gathers on its way: losses, damaged places, and what is known of the next
//! sequence ids of timelines that lost entries.
//!
//! # Invariants
//! 1. Of a timeline that may have lost its newest entry a state is noted, or the ids of all
//!    timelines jump: an id that was seen is not given again.

use super::report::{DamagedPlace, Loss, Report, TimelineName};
use crate::amendment;
use crate::entry::TableId;
use crate::error::{Corruption, Error, Result};
use crate::limits::UNSYNCED_ENTRIES_MAX;
use crate::marks::MarkKey;
use crate::state::StateRecord;
use crate::version::{AMENDMENT_TABLE, MARK_TABLE, STATE_TABLE, SstableMeta};
use std::collections::BTreeMap;

/// The most jumps that are made.
const EPOCHS_MAX: u64 = 1_000;
/// The most damaged places that are named, and the most losses before those of one timeline are
/// told as one stretch: each has a name, and a hostile file can be wrong at each entry.
const PLACES_MAX: usize = 10_000;
const LOSSES_MAX: usize = 100_000;

/// Why ids have to jump. One timeline may have lost entries to each of these, one behind the other:
/// so what they ask for adds up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    /// Groups of the log, and its end.
    Log,
    /// Payloads that the log names.
    Payloads,
    /// Runs that lost their newest entries.
    Runs,
    /// Records of the manifest.
    Manifest,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) report: Report,
    /// The newest known of timelines that lost entries, by table and key.
    pub(super) states: BTreeMap<TimelineName, StateRecord>,
    /// Between which timelines records of the state table are lost; `None`: between any.
    pub(super) lost_records: Vec<Option<(TimelineName, TimelineName)>>,
    /// How often ids have to jump for each cause that is known.
    jumps: BTreeMap<Cause, u64>,
    /// So many entries are gone, it is not known of which timelines.
    unknown: Option<u64>,
    /// No entry of a timeline that is not known any more is likely to have a greater id.
    seq_bound: u64,
}

impl Findings {
    /// Damage is part of the findings; what cannot be read at all is, too. Anything else ends the
    /// salvage.
    pub(super) fn absorb(&mut self, what: &'static str, offset: u64, error: Error) -> Result<()> {
        match error {
            Error::Corruption(Corruption { what, offset, detail }) => {
                self.damaged(what, offset, detail);
                Ok(())
            }
            Error::Io { .. } | Error::ColdFile { .. } => {
                self.damaged(what, offset, error.to_string());
                Ok(())
            }
            other => Err(other),
        }
    }

    pub(super) fn note_damage(&mut self, damage: Vec<Corruption>, of: &str) {
        for Corruption { what, offset, detail } in damage {
            self.damaged(what, offset, format!("{of}: {detail}"));
        }
    }

    /// A damaged place.
    pub(super) fn damaged(&mut self, what: &'static str, offset: u64, detail: impl Into<String>) {
        match self.report.damage.len() < PLACES_MAX {
            true => self.report.damage.push(DamagedPlace { what, offset, detail: detail.into() }),
            false => self.report.more_damage += 1,
        }
    }

    pub(super) fn lose(&mut self, loss: Loss) {
        self.report.lost.push(loss);
    }

    /// Entries of a known timeline.
    pub(super) fn lose_entries(
        &mut self,
        table: TableId,
        key: &[u8],
        seqs: (u64, u64),
        entries: u64,
    ) {
        let many = self.report.lost.len() >= LOSSES_MAX;
        if let Some(Loss::Entries { table: of, key: last, seqs: (_, to), entries: count }) =
            self.report.lost.last_mut()
            && (*of, &**last) == (table, key)
            && (to.checked_add(1) == Some(seqs.0) || (many && *to < seqs.0))
        {
            *to = seqs.1;
            *count = count.saturating_add(entries);
            return;
        }
        self.lose(Loss::Entries { table, key: key.into(), seqs, entries });
    }

    /// Versions of keys between two of an SSTable of a keyed table.
    pub(super) fn lose_versions(
        &mut self,
        meta: &SstableMeta,
        (from, to): (Box<[u8]>, Box<[u8]>),
        versions: u64,
    ) {
        let named = |name: &dyn Fn(&[u8]) -> Option<TimelineName>| name(&from).zip(name(&to));
        let loss = match meta.table {
            MARK_TABLE => Loss::Marks {
                timelines: named(&|key| {
                    MarkKey::decode(key).map(|mark| (mark.table, mark.id.into()))
                }),
            },
            AMENDMENT_TABLE => Loss::Amendments {
                timelines: named(&|key| {
                    amendment::decode_key(key).map(|(table, id, _)| (table, id.into()))
                }),
            },
            STATE_TABLE => {
                self.jump(versions);
                let timelines = named(&|key| {
                    let (table, id) = key.split_first_chunk::<4>()?;
                    Some((TableId(u32::from_be_bytes(*table)), id.into()))
                });
                self.lost_records.push(timelines.clone());
                Loss::States { timelines }
            }
            table => Loss::Versions { table, keys: (from.clone(), to.clone()), versions },
        };
        self.lose(loss);
    }

    /// What is known of a timeline that lost entries.
    pub(super) fn note_state(&mut self, table: TableId, key: &[u8], state: StateRecord) {
        let known = self.states.entry((table, key.into())).or_insert(state);
        if state.is_newer_than(known) {
            *known = state;
        }
    }

    /// An id of a table whose ids the engine gives.
    pub(super) fn note_seq(&mut self, seq: u64) {
        self.seq_bound = self.seq_bound.max(seq);
    }

    /// So many entries of unknown timelines may be gone.
    pub(super) fn jump(&mut self, entries: u64) {
        let known = self.unknown.unwrap_or(0);
        self.unknown = Some(known.saturating_add(entries));
    }

    /// Ids have to jump so often at least for this cause.
    pub(super) fn jump_times(&mut self, cause: Cause, times: u64) {
        let known = self.jumps.entry(cause).or_default();
        *known = times.max(*known);
    }

    /// How often ids have to jump.
    pub(super) fn epochs(&self) -> u64 {
        let bound = |entries| self.seq_bound.saturating_add(entries) / UNSYNCED_ENTRIES_MAX;
        let unknown = self.unknown.map_or(0, |entries| 1 + bound(entries));
        self.jumps.values().copied().fold(unknown, u64::saturating_add).min(EPOCHS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every other entry of a timeline is gone: beyond a bound they are one stretch.
    #[test]
    fn many_stretches_and_places_become_few() {
        let mut findings = Findings::default();
        for number in 0..LOSSES_MAX as u64 + 5 {
            let seq = 2 * number + 1;
            findings.lose_entries(TableId(16), b"t", (seq, seq), 1);
            findings.damaged("WAL", number, "damaged");
        }
        assert_eq!(findings.report.lost.len(), LOSSES_MAX);
        let last = 2 * LOSSES_MAX as u64 - 1;
        let Some(Loss::Entries { seqs, entries, .. }) = findings.report.lost.last() else {
            panic!("{:?}", findings.report.lost.last());
        };
        assert_eq!((*seqs, *entries), ((last, last + 10), 6));
        findings.lose_entries(TableId(16), b"u", (1, 1), 1);
        assert_eq!(findings.report.lost.len(), LOSSES_MAX + 1);
        assert_eq!(findings.report.damage.len(), PLACES_MAX);
        assert_eq!(findings.report.more_damage, (LOSSES_MAX - PLACES_MAX) as u64 + 5);
    }

    /// A timeline of which 600,000 entries are gone from an SSTable and as many from the log behind
    /// it had ids that one jump does not get over.
    #[test]
    fn what_different_causes_ask_for_adds_up() {
        let mut findings = Findings::default();
        assert_eq!(findings.epochs(), 0);
        findings.jump_times(Cause::Runs, 1);
        findings.jump_times(Cause::Log, 1);
        assert_eq!(findings.epochs(), 2);
        // Of one cause the most counts: those are other timelines, or counted on by who asks.
        findings.jump_times(Cause::Log, 3);
        findings.jump_times(Cause::Log, 2);
        assert_eq!(findings.epochs(), 4);
        findings.note_seq(1_500_000);
        findings.jump(600_000);
        assert_eq!(findings.epochs(), 4 + 3);
        findings.jump_times(Cause::Manifest, u64::MAX);
        assert_eq!(findings.epochs(), EPOCHS_MAX);
    }
}
