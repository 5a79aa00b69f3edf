//! Amendments in memory: versions by the place of the entry, laid over entries as they are read.
//!
//! # Invariants
//! 1. Versions of a place ascend by commit, and by their order in the batch.
//! 2. `copies` counts the entries that are kept and name a place as their origin; places without
//!    copies are not in it.
//! 3. A place has versions only while its entry or a copy of it is kept.

use super::state::Key;
use std::collections::{BTreeMap, HashMap};
use tidelog_engine::{Entry, Payload, Revision};

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
}

impl Amendments {
    pub(super) fn add(
        &mut self,
        place: Place,
        commit: u64,
        time_ms: u64,
        payload: Option<Payload>,
    ) {
        self.versions.entry(place).or_default().push(Amended { commit, time_ms, payload });
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

    /// The entry as it was written and as each amendment made it.
    pub(super) fn versions(&self, key: &Key, entry: &Entry, snapshot: u64) -> Vec<Entry> {
        let amended = self.of(key, entry, snapshot);
        let revised = amended.iter().map(|amended| revised(entry, amended));
        std::iter::once(entry.clone()).chain(revised).collect()
    }

    /// The amendments of an entry and its origin, oldest first.
    fn of(&self, key: &Key, entry: &Entry, snapshot: u64) -> Vec<Amended> {
        if self.versions.is_empty() {
            return Vec::new();
        }
        let own = self.versions.get(&(key.clone(), entry.seq));
        let origin = origin_of(entry).and_then(|origin| self.versions.get(&origin));
        let all = own.into_iter().chain(origin).flatten();
        let counts = |amended: &&Amended| (entry.commit..=snapshot).contains(&amended.commit);
        let mut found: Vec<Amended> = all.filter(counts).cloned().collect();
        // Stable: of one place they are in order already.
        found.sort_by_key(|amended| amended.commit);
        found
    }
}

fn origin_of(entry: &Entry) -> Option<Place> {
    let origin = entry.origin.as_ref()?;
    Some(((origin.table, origin.key.clone()), origin.seq))
}

fn revised(entry: &Entry, amended: &Amended) -> Entry {
    let Amended { commit, time_ms, payload } = amended.clone();
    let retracted = payload.is_none();
    Entry {
        payload: payload.unwrap_or_else(|| Payload::from_vec(Vec::new())),
        revision: Some(Revision { commit, time_ms, retracted }),
        ..entry.clone()
    }
}
