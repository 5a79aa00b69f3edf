//! Amendments in memory: versions by the place of the entry, laid over entries as they are read.
//!
//! # Invariants
//! 1. Versions of a place ascend by commit, and by their order in the batch.
//! 2. `copies` counts the entries that are kept and name a place as their origin; places without
//!    copies are not in it.
//! 3. A place has versions only while its entry or a copy of it is kept.

use super::state::Key;
use std::collections::{BTreeMap, HashMap};
use tidelog_engine::{Entry, Payload, Revision, TableId};

/// A timeline and a sequence id there.
pub(super) type Place = (Key, u64);

#[derive(Default)]
pub(super) struct Amendments {
    versions: BTreeMap<Place, Vec<Amended>>,
    copies: HashMap<Place, u64>,
}

/// What one amendment made of an entry; no payload where it was retracted.
#[derive(Clone)]
struct Amended {
    commit: u64,
    time_ms: u64,
    payload: Option<Payload>,
    /// It amends the origin of the entry that it was looked up for.
    of_origin: bool,
}

impl Amendments {
    pub(super) fn add(
        &mut self,
        place: Place,
        commit: u64,
        time_ms: u64,
        payload: Option<Payload>,
    ) {
        self.versions.entry(place).or_default().push(Amended {
            commit,
            time_ms,
            payload,
            of_origin: false,
        });
    }

    /// Whether nothing is kept of any entry.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.versions.is_empty() && self.copies.is_empty()
    }

    /// An entry was added.
    pub(super) fn entry_added(&mut self, entry: &Entry) {
        if let Some(origin) = origin_of(entry) {
            *self.copies.entry(origin).or_default() += 1;
        }
    }

    /// An entry was dropped: its versions are, too, once no copy is left; so are those of its
    /// origin where that is gone.
    pub(super) fn entry_dropped(
        &mut self,
        key: &Key,
        entry: &Entry,
        is_kept: impl Fn(&Place) -> bool,
    ) {
        if let Some(origin) = origin_of(entry)
            && let Some(count) = self.copies.get_mut(&origin)
        {
            *count -= 1;
            if *count == 0 {
                self.copies.remove(&origin);
                if !is_kept(&origin) {
                    self.versions.remove(&origin);
                }
            }
        }
        let place = (key.clone(), entry.seq);
        if !self.copies.contains_key(&place) {
            self.versions.remove(&place);
        }
    }

    /// The entry as a snapshot shows it.
    pub(super) fn amended(&self, key: &Key, entry: &Entry, snapshot: u64) -> Entry {
        match self.of(key, entry, snapshot).last() {
            Some(amended) => revised(entry, amended),
            None => entry.clone(),
        }
    }

    /// The entry as it was written and as each amendment made it. `erases`: whether a retraction of
    /// a table, by commit and commit time, is past the erasure deadline; what it took back is shown
    /// as erased then.
    pub(super) fn versions(
        &self,
        key: &Key,
        entry: &Entry,
        snapshot: u64,
        erases: impl Fn(TableId, u64, u64) -> bool,
    ) -> Vec<Entry> {
        let amended = self.of(key, entry, snapshot);
        let table_of = |amended: &Amended| match &entry.origin {
            Some(origin) if amended.of_origin => origin.table,
            _ => key.0,
        };
        let erasing: Vec<bool> = amended
            .iter()
            .map(|it| it.payload.is_none() && erases(table_of(it), it.commit, it.time_ms))
            .collect();
        let revised = amended.iter().enumerate().map(|(index, it)| {
            let mut later = amended.iter().zip(&erasing).skip(index + 1);
            let erased = it.payload.is_some()
                && later.any(|(later, erases)| *erases && later.of_origin == it.of_origin);
            shown(revised(entry, it), erased)
        });
        let original = shown(entry.clone(), erasing.contains(&true));
        std::iter::once(original).chain(revised).collect()
    }

    /// The amendments of an entry and its origin, oldest first.
    fn of(&self, key: &Key, entry: &Entry, snapshot: u64) -> Vec<Amended> {
        if self.versions.is_empty() {
            return Vec::new();
        }
        let own = self.versions.get(&(key.clone(), entry.seq));
        let origin = origin_of(entry).and_then(|origin| self.versions.get(&origin));
        let counts = |amended: &Amended| (entry.commit..=snapshot).contains(&amended.commit);
        let of_origin = origin.into_iter().flatten().cloned();
        let of_origin = of_origin.map(|amended| Amended { of_origin: true, ..amended });
        let own = own.into_iter().flatten().cloned();
        let mut found: Vec<Amended> = own.chain(of_origin).filter(counts).collect();
        // Stable: of one place they are in order already.
        found.sort_by_key(|amended| amended.commit);
        found
    }
}

fn origin_of(entry: &Entry) -> Option<Place> {
    let origin = entry.origin.as_ref()?;
    Some(((origin.table, origin.key.clone()), origin.seq))
}

/// The version, without its payload where that was erased.
fn shown(version: Entry, erased: bool) -> Entry {
    match erased {
        true => Entry { payload: Payload::from_vec(Vec::new()), erased, ..version },
        false => version,
    }
}

fn revised(entry: &Entry, amended: &Amended) -> Entry {
    let Amended { commit, time_ms, payload, .. } = amended.clone();
    let retracted = payload.is_none();
    Entry {
        payload: payload.unwrap_or_else(|| Payload::from_vec(Vec::new())),
        revision: Some(Revision { commit, time_ms, retracted }),
        ..entry.clone()
    }
}
