//! Which amendments of an entry survive a compaction of their table: pure.
//!
//! Nothing is folded: the earlier payloads of an entry stay readable as versions. An amendment goes
//! when no reader can meet it any more. It is laid over its own entry, and over entries of its
//! commit or older ones that name it as their origin. So it goes when
//! 1. its entry is gone: the table was dropped, or the amendment itself, which is younger, would
//!    have expired; and
//! 2. no SSTable holds an entry with an origin that is as old as the amendment or older. Memtables
//!    do not: what is in an SSTable was committed before all that they hold.
//!
//! A retraction in a table with an erasure deadline stays, whatever else holds, until what it took
//! back has been erased: it is all that says that there is something to erase.
//!
//! Of an entry that is amended again and again the newest [`REVISIONS_KEPT_MAX`] stay, or
//! [`REVISION_BYTES_KEPT_MAX`] of them, and each that is the newest one for a live snapshot: all
//! amendments of one entry lie in one SSTable, and must fit into memory.
//!
//! An SSTable in which all have gone is dropped without being read.
//!
//! # Invariants
//! 1. For every live snapshot, and for now, the newest amendment of an entry that can be met stays.
//! 2. What survives is in the order in which it came.
//!
//! # Concurrency
//! None: a value of one thread.

use crate::amendment::{AmendmentKind, decode_key, decode_value};
use crate::entry::{KeyedVersion, TableId};
use crate::limits::{REVISION_BYTES_KEPT_MAX, REVISIONS_KEPT_MAX};
use crate::planted::Planted;
use crate::version::SstableMeta;
use std::collections::BTreeMap;

/// What is left of the entries that amendments may be laid over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AmendmentFences {
    /// The commit time from which on entries are alive, of each table that is there.
    pub(crate) alive_from_ms: BTreeMap<TableId, u64>,
    /// The smallest commit of an entry with an origin in any SSTable; `u64::MAX` where none has
    /// one.
    pub(crate) oldest_origin: u64,
    /// Of each table with an erasure deadline: the commit up to which what retractions took back
    /// has been erased.
    pub(crate) erased_through: BTreeMap<TableId, u64>,
}

/// Whether what a version took back has still to be erased. `erased_through`: by table with an
/// erasure deadline.
pub(crate) fn is_to_be_erased(
    erased_through: &BTreeMap<TableId, u64>,
    version: &KeyedVersion,
) -> bool {
    let table = decode_key(&version.key).map(|(table, ..)| table);
    let erased = table.and_then(|table| erased_through.get(&table));
    erased.is_some_and(|erased| version.commit > *erased)
        && decode_value(&version.value) == Some(AmendmentKind::Retracted)
}

impl AmendmentFences {
    /// Whether a reader can still meet the amendment.
    pub(crate) fn is_needed(&self, version: &KeyedVersion) -> bool {
        let Some((table, _, _)) = decode_key(&version.key) else {
            // Not an amendment: for verification to report, not for us to hide.
            return true;
        };
        let entry_may_live =
            self.alive_from_ms.get(&table).is_some_and(|alive| version.time_ms >= *alive);
        entry_may_live
            || version.commit >= self.oldest_origin
            || is_to_be_erased(&self.erased_through, version)
    }

    /// Whether a reader can still meet any amendment of an SSTable, as far as its meta tells.
    pub(crate) fn needs_any_of(&self, meta: &SstableMeta) -> bool {
        let ends = (decode_key(&meta.first.0), decode_key(&meta.last.0));
        let (Some((least, ..)), Some((greatest, ..))) = ends else {
            return true;
        };
        let mut alive = self.alive_from_ms.range(least..=greatest.max(least));
        let mut erased = self.erased_through.range(least..=greatest.max(least));
        meta.commits.1 >= self.oldest_origin
            || alive.any(|(_, alive)| meta.times_ms.1 >= *alive)
            || erased.any(|(_, erased)| meta.commits.1 > *erased)
    }
}

/// Takes the amendments of one entry, newest first, and gives back those that survive.
#[derive(Debug)]
pub(crate) struct AmendmentKeeper<'a> {
    /// Commits of the live snapshots, ascending.
    snapshots: &'a [u64],
    fences: &'a AmendmentFences,
    survivors: Vec<KeyedVersion>,
    bytes: usize,
    /// The stripe of the last version, see `keep.rs`.
    stripe: usize,
}

impl<'a> AmendmentKeeper<'a> {
    pub(crate) fn new(snapshots: &'a [u64], fences: &'a AmendmentFences) -> AmendmentKeeper<'a> {
        AmendmentKeeper { snapshots, fences, survivors: Vec::new(), bytes: 0, stripe: usize::MAX }
    }

    /// Takes the next older amendment.
    pub(crate) fn push(&mut self, version: KeyedVersion) {
        let stripe = self.snapshots.partition_point(|snapshot| *snapshot < version.commit);
        let newest_of_stripe = stripe != self.stripe;
        self.stripe = stripe;
        let many = self.survivors.len() >= REVISIONS_KEPT_MAX
            || self.bytes + version.value.len() > REVISION_BYTES_KEPT_MAX;
        let keeps =
            newest_of_stripe || !many || is_to_be_erased(&self.fences.erased_through, &version);
        if keeps && self.fences.is_needed(&version) && !Planted::AmendmentsForgotten.is_on() {
            self.bytes += version.value.len();
            self.survivors.push(version);
        }
    }

    /// The survivors, newest first.
    pub(crate) fn finish(self) -> Vec<KeyedVersion> {
        self.survivors
    }
}
