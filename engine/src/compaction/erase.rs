//! What retractions have taken back, and what a job leaves of it: the place of each entry, and not
//! its payload. Pure.
//!
//! ```text
//! retracted           entry in an SSTable              what becomes of it
//! (16, room, 7) ──┬── 16, room, 7: "hello"             its payload goes
//!   at commit 90  ├── 17, bob, 3, origin (16, room, 7) its payload goes
//!                 ├── 17, eve, 9: reference            the record in the segment is erased
//!                 └── amendment at commit 50: "hallo"  says that it was erased
//! ```
//! A job that erases is a merge as any other, which looks at each entry that it would copy.
//!
//! # Invariants
//! 1. A retraction takes back what was committed with it or earlier, as readers see it
//!    (`read/overlay.rs`): its own entry, and those that name it as their origin. Of amendments it
//!    takes back the older ones.
//! 2. Entries are as many as before, and in the same order: ids, commits, times and origins stay.
//!
//! # Concurrency
//! Immutable once it is filled.

use super::dead_share::rewrite_in_place;
use super::picker::{Job, JobKind, PickerOptions, pick_level0};
use crate::amendment::{AmendmentKind, TAG_ERASED, decode_key, decode_value};
use crate::codec::DecodeError;
use crate::entry::{KeyedVersion, OriginRef, Payload, TableId};
use crate::segment::Reference;
use crate::sstable::{EntryRef, FragmentView};
use crate::version::{HasMeta, Version};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

/// Commit, and index of the record in its batch.
type Order = (u64, u32);

/// The place of an entry.
pub(crate) type Place<'a> = OriginRef<'a>;

/// Entries that were retracted, each with its newest retraction.
#[derive(Debug, Default)]
pub(crate) struct Retracted {
    /// By table and timeline, as keys of the table of amendments begin; by seq, rising. In order,
    /// so that a pass reads the same blocks in the same order whenever it is run again.
    timelines: BTreeMap<Box<[u8]>, Vec<(u64, Order)>>,
    tables: BTreeSet<TableId>,
    newest: u64,
}

/// What is to be done with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryFate {
    /// Nothing: it was not retracted, or has nothing to be erased.
    Stays,
    /// Its payload, which it has itself, goes.
    Loses,
    /// It was retracted, and its payload is the record of a segment.
    Shares(Reference),
}

impl Retracted {
    /// Adds an entry by its key in the table of amendments; keys come in rising order, each once.
    pub(crate) fn add(&mut self, key: &[u8], order: Order) {
        let Some((table, _, seq)) = decode_key(key) else { return };
        let timeline = &key[..key.len() - size_of::<u64>()];
        match self.timelines.get_mut(timeline) {
            Some(seqs) => seqs.push((seq, order)),
            None => {
                self.timelines.insert(timeline.into(), vec![(seq, order)]);
            }
        }
        self.tables.insert(table);
        self.newest = self.newest.max(order.0);
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.timelines.is_empty()
    }

    /// The newest commit of a retraction.
    pub(crate) fn newest(&self) -> u64 {
        self.newest
    }

    /// The table that retracted entries are of, in rising order.
    pub(crate) fn tables(&self) -> &BTreeSet<TableId> {
        &self.tables
    }

    /// Their timelines, in the order of their keys.
    pub(crate) fn timelines(&self) -> impl Iterator<Item = (TableId, &[u8])> {
        self.timelines.keys().map(|timeline| split_timeline(timeline))
    }

    /// All of them, as places, in the order of their keys.
    pub(crate) fn places(&self) -> impl Iterator<Item = Place<'_>> {
        self.timelines.iter().flat_map(|(timeline, seqs)| {
            let (table, key) = split_timeline(timeline);
            seqs.iter().map(move |(seq, _)| Place { table, key, seq: *seq })
        })
    }

    /// Whether any of a timeline has one of these seqs.
    pub(crate) fn any_within(
        &self,
        table: TableId,
        key: &[u8],
        within: RangeInclusive<u64>,
    ) -> bool {
        let seqs = self.timelines.get(timeline(table, key).as_slice());
        seqs.is_some_and(|seqs| {
            let next = seqs.partition_point(|(seq, _)| seq < within.start());
            seqs.get(next).is_some_and(|(seq, _)| within.contains(seq))
        })
    }

    /// Whether what was committed at `commit` for this place was taken back.
    pub(crate) fn takes_back(&self, place: Place<'_>, commit: u64) -> bool {
        commit <= self.newest
            && self.tables.contains(&place.table)
            && self.order_of(place).is_some_and(|(retracted, _)| commit <= retracted)
    }

    /// Whether an entry was retracted, whenever it or what came from it was committed.
    pub(crate) fn contains(&self, place: Place<'_>) -> bool {
        self.order_of(place).is_some()
    }

    fn order_of(&self, place: Place<'_>) -> Option<Order> {
        let seqs = self.timelines.get(timeline(place.table, place.key).as_slice())?;
        let found = seqs.binary_search_by_key(&place.seq, |(seq, _)| *seq).ok()?;
        Some(seqs[found].1)
    }

    /// What becomes of an entry at `place`, as far as it says itself what it came from.
    pub(crate) fn fate(&self, place: Place<'_>, entry: &EntryRef<'_>) -> EntryFate {
        let empty = entry.shared.is_none() && entry.payload.is_empty();
        if empty || entry.commit > self.newest {
            return EntryFate::Stays;
        }
        let of_origin = entry.origin.is_some_and(|origin| self.takes_back(origin, entry.commit));
        if !of_origin && !self.takes_back(place, entry.commit) {
            return EntryFate::Stays;
        }
        match entry.shared {
            Some(shared) => EntryFate::Shares(shared.reference),
            None => EntryFate::Loses,
        }
    }

    /// Whether an entry of the fragment loses a payload that it has itself.
    pub(crate) fn concerns(
        &self,
        table: TableId,
        fragment: &FragmentView<'_>,
    ) -> Result<bool, DecodeError> {
        if fragment.commit(0)? > self.newest {
            return Ok(false);
        }
        for k in 0..fragment.count() {
            let entry = fragment.entry(k)?;
            let place = Place { table, key: fragment.key(), seq: entry.seq };
            if self.fate(place, &entry) == EntryFate::Loses {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether an amendment was taken back and still has its payload.
    pub(crate) fn concerns_version(&self, version: &KeyedVersion) -> bool {
        let replaced = decode_value(&version.value) == Some(AmendmentKind::Replaced);
        let place = decode_key(&version.key).filter(|_| replaced);
        let retracted =
            place.and_then(|(table, key, seq)| self.order_of(Place { table, key, seq }));
        retracted.is_some_and(|retracted| (version.commit, version.index) < retracted)
    }

    /// Erases what amendments were taken back.
    pub(super) fn erase_versions(&self, versions: &mut [KeyedVersion]) {
        for version in versions {
            if self.concerns_version(version) {
                version.value = Payload::from_vec(vec![TAG_ERASED]);
            }
        }
    }
}

/// As keys of the table of amendments begin.
fn timeline(table: TableId, key: &[u8]) -> Vec<u8> {
    let mut timeline = Vec::with_capacity(size_of::<u32>() + key.len());
    timeline.extend_from_slice(&table.0.to_be_bytes());
    timeline.extend_from_slice(key);
    timeline
}

fn split_timeline(timeline: &[u8]) -> (TableId, &[u8]) {
    let (table, key) = timeline.split_first_chunk::<4>().expect("a table comes before the key");
    (TableId(u32::from_be_bytes(*table)), key)
}

/// The job that writes an SSTable anew, if it is live and nothing that the job needs is busy. In
/// level 0, which is in order of age, the oldest SSTables go to level 1 instead: after a few jobs
/// this one was among them.
pub(crate) fn pick_erase<T: HasMeta + Clone>(
    version: &Version<T>,
    number: u64,
    options: &PickerOptions,
    busy: &BTreeSet<u64>,
) -> Option<Job<T>> {
    let (level, item) = version.find(number)?;
    if level > 0 {
        return (!busy.contains(&number)).then(|| rewrite_in_place(level, item));
    }
    let wanted = (item.meta().table, item.meta().shard);
    let job = pick_level0(version, wanted, options, busy)?;
    Some(Job { kind: JobKind::Merge, ..job })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amendment::{TAG_REPLACED, TAG_RETRACTED, amendment_key};
    use crate::batch::KeyedOperation;

    const TABLE: TableId = TableId(16);

    fn retracted() -> Retracted {
        let mut retracted = Retracted::default();
        retracted.add(&amendment_key(TABLE, b"hall", 7), (80, 0));
        retracted.add(&amendment_key(TABLE, b"room", 7), (90, 2));
        retracted.add(&amendment_key(TABLE, b"room", 9), (40, 0));
        retracted
    }

    fn entry<'a>(commit: u64, payload: &'a [u8], origin: Option<Place<'a>>) -> EntryRef<'a> {
        EntryRef {
            seq: 1,
            commit,
            time_ms: 1,
            event_ms: None,
            ttl_ms: None,
            origin,
            payload,
            shared: None,
            erased: false,
        }
    }

    fn room(seq: u64) -> Place<'static> {
        Place { table: TABLE, key: b"room", seq }
    }

    #[test]
    fn an_entry_loses_its_payload_by_its_own_place_and_by_its_origin() {
        let retracted = retracted();
        let inbox = Place { table: TableId(17), key: b"bob", seq: 1 };
        let fate = |place, entry: &EntryRef<'_>| retracted.fate(place, entry);
        assert_eq!(fate(room(7), &entry(5, b"text", None)), EntryFate::Loses);
        assert_eq!(fate(inbox, &entry(5, b"text", Some(room(7)))), EntryFate::Loses);
        // With the retraction, and after it; nothing to erase; not retracted.
        assert_eq!(fate(inbox, &entry(90, b"text", Some(room(7)))), EntryFate::Loses);
        assert_eq!(fate(inbox, &entry(91, b"text", Some(room(7)))), EntryFate::Stays);
        assert_eq!(fate(inbox, &entry(41, b"text", Some(room(9)))), EntryFate::Stays);
        assert_eq!(fate(room(7), &entry(5, b"", None)), EntryFate::Stays);
        assert_eq!(fate(room(8), &entry(5, b"text", Some(room(6)))), EntryFate::Stays);
        let other = Place { table: TableId(17), ..room(7) };
        assert_eq!(fate(other, &entry(5, b"text", None)), EntryFate::Stays);
        assert_eq!((retracted.newest(), retracted.places().count()), (90, 3));
        assert!(retracted.any_within(TABLE, b"room", 8..=20));
        assert!(!retracted.any_within(TABLE, b"room", 8..=8));
        assert_eq!(retracted.timelines().count(), 2);
    }

    #[test]
    fn amendments_before_the_retraction_lose_their_payload() {
        let version = |commit, index, value: &[u8]| KeyedVersion {
            key: amendment_key(TABLE, b"room", 7).into(),
            commit,
            index,
            time_ms: 1,
            operation: KeyedOperation::Put,
            value: Payload::from_vec(value.to_vec()),
        };
        let text = &[TAG_REPLACED, b'x'];
        let mut versions = [
            version(91, 0, text),
            version(90, 3, text),
            version(90, 2, &[TAG_RETRACTED]),
            version(90, 1, text),
            version(50, 0, &[TAG_RETRACTED]),
            version(10, 0, text),
        ];
        retracted().erase_versions(&mut versions);
        let tags: Vec<&[u8]> = versions.iter().map(|version| &*version.value).collect();
        let erased: &[u8] = &[TAG_ERASED];
        assert_eq!(tags, [text, text, &[2][..], erased, &[2][..], erased]);
    }
}
