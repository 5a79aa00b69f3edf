//! What a pass that erases must have taken out of the file, and what it may have.
//!
//! A payload belongs to the entries that it was sent to together. A retraction of the entry that
//! the others name as their origin takes it back; so do retractions of all of them, each by its
//! place.

use super::{Contents, Place};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tidelog_engine::{Engine, TableId};

/// How far a store has come with erasing.
#[derive(Debug, Clone, Default)]
pub(super) struct Erased {
    /// Tables that have an erasure deadline, or had one.
    pub(super) tables: BTreeSet<TableId>,
    /// The commit up to which each table says to be erased.
    pub(super) through: BTreeMap<TableId, u64>,
}

/// Whether the payload of a version of an entry was erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Erasure {
    Not,
    May,
    Must,
}

impl Erased {
    pub(super) fn of(engine: &Engine, tables: &BTreeSet<TableId>) -> Erased {
        let stats = engine.stats().tables;
        let through = stats.iter().map(|table| (table.id, table.erased_through)).collect();
        Erased { tables: tables.clone(), through }
    }

    /// Whether what was retracted by this commit is gone.
    fn covers(&self, table: TableId, commit: u64) -> bool {
        self.through.get(&table).is_some_and(|through| *through >= commit)
    }
}

impl Contents {
    /// What became of that which was at a place before the retraction that comes behind a moment.
    pub(super) fn taken_back(
        &self,
        place: &Place,
        since: (u64, usize),
        erased: &Erased,
    ) -> Erasure {
        let table = place.0.0;
        if !erased.tables.contains(&table) {
            return Erasure::Not;
        }
        let later = self.amendments.get(place).into_iter().flatten().filter(|amendment| {
            amendment.payload.is_none() && (amendment.batch, amendment.index) >= since
        });
        let covered = |commit| match erased.covers(table, commit) {
            true => Erasure::Must,
            false => Erasure::May,
        };
        later.map(|retraction| covered(retraction.commit)).max().unwrap_or(Erasure::Not)
    }

    /// What became of the payload that an entry was written with, whoever shares it.
    pub(super) fn written_payload(&self, place: &Place, erased: &Erased) -> Erasure {
        let entry = &self.timelines[&place.0].entries[&place.1];
        let own = self.taken_back(place, (entry.batch, 0), erased);
        let origin = entry.origin.as_ref();
        let by_origin = origin.map(|origin| self.taken_back(origin, (entry.batch, 0), erased));
        let for_all = if entry.sharers == 1 || entry.is_origin { own } else { Erasure::Not };
        if for_all.max(by_origin.unwrap_or(Erasure::Not)) == Erasure::Must {
            return Erasure::Must;
        }
        own.max(by_origin.unwrap_or(Erasure::Not)).min(Erasure::May)
    }

    /// Payloads that no byte of the file may hold any more, and where they were.
    pub(super) fn gone(&self, erased: &Erased) -> Vec<(Place, Arc<[u8]>)> {
        let mut gone = Vec::new();
        for (id, timeline) in &self.timelines {
            for (seq, entry) in &timeline.entries {
                let place = (id.clone(), *seq);
                if self.written_payload(&place, erased) == Erasure::Must {
                    gone.push((place, Arc::clone(&entry.payload)));
                }
            }
        }
        for (place, amendments) in &self.amendments {
            let covered = amendments.iter().filter(|amendment| {
                let since = (amendment.batch, amendment.index);
                self.taken_back(place, since, erased) == Erasure::Must
            });
            let payloads = covered.filter_map(|amendment| amendment.payload.clone());
            gone.extend(payloads.map(|payload| (place.clone(), payload)));
        }
        gone
    }

    /// All that is known of an entry, for failures.
    pub(super) fn story(&self, place: &Place) -> String {
        let entry = self.timelines.get(&place.0).and_then(|line| line.entries.get(&place.1));
        let origin = entry.map(|entry| (&entry.origin, entry.sharers, entry.is_origin));
        let retraction = |place| {
            let amendments = self.amendments.get(place).into_iter().flatten();
            let short = amendments.map(|it| (it.batch, it.index, it.commit, it.payload.is_none()));
            short.collect::<Vec<_>>()
        };
        let of_origin = entry.and_then(|entry| entry.origin.as_ref()).map(retraction);
        format!("{place:?}: {entry:?}, {origin:?}, {:?}, {of_origin:?}", retraction(place))
    }
}
