//! Payloads in segments that are to be erased: which records, and that nobody else needs them.
//!
//! A record belongs to the entries of one message. Where it was retracted by its origin, all of
//! them were: the origin itself, and those that came from it. Where entries that share a record
//! came from nowhere, each may be retracted by itself; then the record goes with the last of them,
//! which a look at all who refer to it tells.
//!
//! # Invariants
//! 1. A record is erased only if every entry that refers to it was taken back by retractions in
//!    tables with an erasure deadline, up to the commit of the pass.
//! 2. Entries keep their references: the record keeps their event time and origin.

use crate::amendment::{AmendmentKind, amendment_key, decode_value};
use crate::compaction::{Place, Retracted};
use crate::engine::Core;
use crate::entry::TableId;
use crate::error::{Error, Result};
use crate::read::View;
use crate::segment::Reference;
use crate::sstable::{EntryRef, FragmentCursor, FragmentView, Sstable};
use crate::sync::Arc;
use crate::version::AMENDMENT_TABLE;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet};

/// Records whose origin is remembered; then all are forgotten.
const REMEMBERED_MAX: usize = 65_536;
/// Bytes that a step reads.
const STEP_BYTES: usize = 1024 * 1024;

/// Records by number of the segment: their offsets.
pub(super) type Records = BTreeMap<u64, BTreeSet<u64>>;

/// What a look through SSTables has found in segments.
#[derive(Default)]
pub(super) struct SharedPayloads {
    /// All of whose entries were retracted.
    certain: BTreeSet<Reference>,
    /// An entry of which was retracted.
    uncertain: BTreeSet<Reference>,
    /// What is known of records: entries that share one are of one commit.
    remembered: HashMap<Reference, Known, FixedState>,
}

/// What is known of a record.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// The origin that it names was retracted.
    retracted: bool,
    erased: bool,
}

impl SharedPayloads {
    /// A record that goes if all who refer to it were retracted, or nobody does.
    pub(super) fn suspect(&mut self, reference: Reference) {
        self.uncertain.insert(reference);
    }

    /// Records about which that must be found out.
    pub(super) fn suspects(&self) -> usize {
        self.uncertain.len()
    }

    /// Notes what an entry has in a segment, if it was retracted.
    pub(super) fn note(
        &mut self,
        retracted: &Retracted,
        sstable: &Sstable,
        place: Place<'_>,
        entry: &EntryRef<'_>,
    ) -> Result<()> {
        let Some(shared) = entry.shared else { return Ok(()) };
        let reference = shared.reference;
        if self.certain.contains(&reference) {
            return Ok(());
        }
        let own = retracted.takes_back(place, entry.commit);
        let by_origin = entry.origin.map(|origin| retracted.takes_back(origin, entry.commit));
        if !own && (by_origin == Some(false) || (by_origin.is_none() && shared.is_origin)) {
            return Ok(());
        }
        let known = self.known(retracted, sstable, reference, entry.commit)?;
        // The origin itself is the place that its record names.
        let by_origin = by_origin.unwrap_or(known.retracted);
        match (known.erased, by_origin, own) {
            (true, ..) | (false, false, false) => {}
            (false, true, _) => _ = self.certain.insert(reference),
            (false, false, true) => _ = self.uncertain.insert(reference),
        }
        Ok(())
    }

    fn known(
        &mut self,
        retracted: &Retracted,
        sstable: &Sstable,
        reference: Reference,
        commit: u64,
    ) -> Result<Known> {
        if let Some(known) = self.remembered.get(&reference) {
            return Ok(*known);
        }
        let record = sstable.record(reference)?;
        let (_, origin) = record.shared()?;
        let known = Known {
            retracted: origin.is_some_and(|origin| retracted.takes_back(origin, commit)),
            erased: record.is_erased(),
        };
        if self.remembered.len() >= REMEMBERED_MAX {
            self.remembered.clear();
        }
        self.remembered.insert(reference, known);
        Ok(known)
    }
}

/// Looks whether anybody needs the records of which that is not certain.
pub(super) struct Sharers {
    certain: BTreeSet<Reference>,
    uncertain: BTreeSet<Reference>,
    view: Arc<View>,
    /// Those that refer to one of the segments, still to come.
    sstables: Vec<Arc<Sstable>>,
    cursor: Option<(Arc<Sstable>, FragmentCursor)>,
    /// Tables with an erasure deadline.
    tables: BTreeSet<TableId>,
    through: u64,
}

impl Sharers {
    /// `tables`: those with an erasure deadline. `through`: the commit of the pass.
    pub(super) fn new(
        core: &Core,
        shared: SharedPayloads,
        tables: BTreeSet<TableId>,
        through: u64,
    ) -> Sharers {
        let SharedPayloads { certain, mut uncertain, .. } = shared;
        uncertain.retain(|reference| !certain.contains(reference));
        let segments: BTreeSet<u64> = uncertain.iter().map(|it| it.number()).collect();
        let view = core.views.current();
        let refers = |sstable: &&Arc<Sstable>| {
            sstable.meta().segments.iter().any(|number| segments.contains(number))
        };
        let sstables = view.version.iter().map(|(_, _, sstable)| sstable).filter(refers);
        let sstables = sstables.map(Arc::clone).collect();
        Sharers { certain, uncertain, view, sstables, cursor: None, tables, through }
    }

    /// Gives the records that are to be erased with the last step.
    pub(super) fn step(&mut self, core: &Core) -> Result<Option<Records>> {
        let Some((sstable, mut cursor)) = self.cursor.take() else {
            return self.next_sstable(core);
        };
        let mut bytes = 0;
        while bytes < STEP_BYTES {
            let Some(fragment) = cursor.next()? else { return Ok(None) };
            bytes += fragment.view().bytes().len();
            self.look_at(&sstable, &fragment.view())?;
        }
        self.cursor = Some((sstable, cursor));
        Ok(None)
    }

    fn next_sstable(&mut self, core: &Core) -> Result<Option<Records>> {
        let sstable = if self.uncertain.is_empty() { None } else { self.sstables.pop() };
        if let Some(sstable) = sstable {
            core.check_reach(&sstable)?;
            let cursor = sstable.fragments(None)?;
            self.cursor = Some((sstable, cursor));
            return Ok(None);
        }
        let mut records = Records::new();
        for reference in self.certain.iter().chain(&self.uncertain) {
            records.entry(reference.number()).or_default().insert(reference.offset());
        }
        Ok(Some(records))
    }

    /// Who refers to a record and was not retracted, needs it.
    fn look_at(&mut self, sstable: &Sstable, view: &FragmentView<'_>) -> Result<()> {
        let offset = sstable.meta().extent.offset;
        let damaged = |error: crate::codec::DecodeError| {
            Error::corruption("SSTable fragment", offset, error.to_string())
        };
        for k in 0..view.count() {
            let reference = view.reference(k).map_err(damaged)?;
            let Some(reference) = reference.filter(|it| self.uncertain.contains(it)) else {
                continue;
            };
            let entry = view.entry(k).map_err(damaged)?;
            let place = Place { table: sstable.meta().table, key: view.key(), seq: entry.seq };
            let by_origin = match entry.origin {
                Some(origin) => self.is_retracted(origin, entry.commit)?,
                None => false,
            };
            if !by_origin && !self.is_retracted(place, entry.commit)? {
                self.uncertain.remove(&reference);
            }
        }
        Ok(())
    }

    /// Whether what was committed at `commit` for this place was ever taken back, up to the commit
    /// of the pass, in a table that erases.
    fn is_retracted(&self, place: Place<'_>, commit: u64) -> Result<bool> {
        if !self.tables.contains(&place.table) {
            return Ok(false);
        }
        let key = amendment_key(place.table, place.key, place.seq);
        for sstable in self.view.sstables(AMENDMENT_TABLE, &key) {
            if !sstable.filter_contains(&key)? {
                continue;
            }
            let versions = sstable.all_versions(&key, self.through)?;
            if versions.iter().any(|version| {
                version.commit >= commit
                    && decode_value(&version.value) == Some(AmendmentKind::Retracted)
            }) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
