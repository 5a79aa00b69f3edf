//! What compaction may leave out: dead entries of timelines, and what the engine's own tables say
//! of tables and ranges that are no more.
//!
//! # Invariants
//! 1. An entry is dead when every live snapshot, and now, are shown nothing of it. Low-water marks
//!    and deleted ranges only grow, so the oldest of these moments decides; times to live and
//!    keep-last may be changed back, so the most generous one does.
//! 2. The published commit is read before the snapshots are listed: a snapshot that is missing in
//!    the list is not older than it.
//! 3. Where it cannot be read what is dead (the cold tier is away, perhaps), nothing is.
//! 4. What hides an entry of a timeline is asked for when the job comes to it: of the clock first,
//!    of the view then, and of the moments last. So what has been changed to hide less is known, or
//!    is of that time or a later one; and what a flush has folded into one change is known at the
//!    last of the moments. What was known at the beginning of a long job may have been folded since
//!    into something that hides less, and would be overlooked.
//!
//! # Concurrency
//! Asked by the worker that compacts, in its steps; takes the view of each moment.

use super::Core;
use crate::amendment::decode_key;
use crate::compaction::{Dead, DeadEntries, is_to_be_erased};
use crate::entry::{KeyedVersion, TableId};
use crate::error::{Error, Result};
use crate::marks::{MarkKey, MarkKind, decode_range_end};
use crate::planted::Planted;
use crate::read::{Fences, TableRecords, View, is_known_without, timeline_marks};
use crate::state::StateRecord;
use crate::sync::{Arc, Ordering};
use crate::version::{AMENDMENT_TABLE, MARK_TABLE};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Weak;

/// What a job is told of the dead.
struct Burial {
    core: Weak<Core>,
    table: TableId,
    /// The oldest commit that somebody might read at when the job was picked.
    oldest: u64,
    /// The tables when the job was picked: all that its inputs may speak of.
    tables: Arc<TableRecords>,
    /// The smallest commit of an entry with an origin, as it was then: amendments older than that
    /// are laid over their own entries alone.
    oldest_origin: u64,
    /// Up to which commit tables with an erasure deadline had been erased then.
    erased_through: BTreeMap<TableId, u64>,
    /// The inputs.
    leaving: BTreeSet<u64>,
}

impl Core {
    /// The commits that somebody may read at, the oldest first.
    pub(super) fn moments(&self) -> Vec<u64> {
        let now = self.published.load(Ordering::Acquire);
        let mut moments = match Planted::TrimmedForSnapshots.is_on() {
            true => Vec::new(),
            false => self.snapshots.commits(),
        };
        moments.push(now);
        moments.sort_unstable();
        moments.dedup();
        moments
    }

    /// Whether marks, keep-last or entries' own times to live may hide something in a table.
    pub(super) fn may_have_dead(view: &View, table: TableId) -> bool {
        let record = view.tables.get(&table);
        view.marked.contains(&table)
            || view.own_ttl.contains(&table)
            || record.is_some_and(|record| record.options.keep_last.is_some())
    }

    /// What a compaction of this table may leave out, if there may be anything. `needed`: it asks
    /// in any case what is known of its timelines.
    pub(super) fn burial(
        self: &Arc<Self>,
        view: &View,
        table: TableId,
        leaving: &BTreeSet<u64>,
        needed: bool,
    ) -> Option<Arc<dyn DeadEntries>> {
        if !needed && !table.is_engine_owned() && !Core::may_have_dead(view, table) {
            return None;
        }
        let (core, tables) = (Arc::downgrade(self), Arc::clone(&view.tables));
        let oldest_origin = if table == AMENDMENT_TABLE { oldest_origin(view) } else { 0 };
        let (oldest, leaving) = (self.moments()[0], leaving.clone());
        let erased_through = erased_through(&tables);
        Some(Arc::new(Burial {
            core,
            table,
            oldest,
            tables,
            oldest_origin,
            erased_through,
            leaving,
        }))
    }

    /// What is dead of a timeline to everybody who reads it now or later: see invariant 4.
    pub(super) fn dead_of(&self, table: TableId, key: &[u8]) -> Result<Dead> {
        let now_ms = self.expiry_now();
        let view = self.views.current();
        let moments = self.moments();
        let Some(record) = view.tables.get(&table) else {
            return Ok(Dead::default());
        };
        let oldest = moments[0];
        let fences = Fences::read(&view, table, key, oldest)?;
        let mut dead = Dead {
            below: u64::MAX,
            before_ms: u64::MAX,
            holes: Arc::clone(&fences.holes),
            own: (now_ms, oldest),
        };
        for moment in moments {
            let marks = match moment == oldest || !view.marked.contains(&table) {
                true => fences.marks,
                false => timeline_marks(&view, table, key, moment)?.unwrap_or_default(),
            };
            dead.before_ms = dead.before_ms.min(marks.alive_from_ms(now_ms));
            let keeps = marks.keep_last.value().or(record.options.keep_last).is_some();
            if !keeps {
                dead.below = fences.marks.low_water();
            } else if dead.below > fences.marks.low_water() {
                let shown = self.shown_from(&view, table, key, moment, &marks)?;
                dead.below = dead.below.min(shown);
            }
            if dead.before_ms == 0 && !keeps {
                // No later moment can make this any less.
                break;
            }
        }
        dead.below = dead.below.max(fences.marks.low_water());
        dead.below += u64::from(Planted::TrimOneMore.is_on() && dead.below > 0);
        Ok(dead)
    }
}

/// The smallest commit of an entry with an origin in any SSTable; `u64::MAX` where none has one.
pub(super) fn oldest_origin(view: &View) -> u64 {
    let commits = view.version.iter().map(|(_, _, sstable)| sstable.meta().oldest_origin);
    commits.filter(|commit| *commit > 0).min().unwrap_or(u64::MAX)
}

/// Up to which commit each table with an erasure deadline has been erased.
pub(super) fn erased_through(tables: &TableRecords) -> BTreeMap<TableId, u64> {
    let erasing = tables.values().filter(|record| record.options.erase_after_ms.is_some());
    erasing.map(|record| (record.id, record.erased_through)).collect()
}

impl Burial {
    /// Whether the amendments of an entry, all that survived, the newest first, can go: the entry
    /// was trimmed or deleted, no copy is as old as they are, and nothing is left to be erased.
    fn forgets_amendments(&self, survivors: &[KeyedVersion]) -> Result<bool> {
        let Some(newest) = survivors.first() else { return Ok(false) };
        let Some((table, key, seq)) = decode_key(&newest.key) else {
            return Ok(false);
        };
        if survivors.iter().any(|version| is_to_be_erased(&self.erased_through, version)) {
            return Ok(false);
        }
        if newest.commit >= self.oldest_origin {
            return Ok(false);
        }
        let Some(core) = self.core.upgrade() else { return Ok(false) };
        // What keep-last hides may be shown again, and must then still be amended: only what hides
        // for ever counts.
        let fences = Fences::read(&core.views.current(), table, key, self.oldest)?;
        Ok(seq < fences.marks.low_water() || fences.hole_at(seq).is_some())
    }
}

impl DeadEntries for Burial {
    fn of_timeline(&self, key: &[u8]) -> Result<Dead> {
        let Some(core) = self.core.upgrade() else { return Ok(Dead::default()) };
        let now_ms = core.expiry_now();
        match core.dead_of(self.table, key) {
            // What has outlived its own time to live needs no look at anything else.
            Err(error) if error.is_unreadable() => {
                Ok(Dead { own: (now_ms, self.oldest), ..Dead::default() })
            }
            dead => dead,
        }
    }

    fn is_last_known(&self, key: &[u8], state: &StateRecord) -> Result<bool> {
        let Some(core) = self.core.upgrade() else { return Ok(true) };
        let view = core.views.current();
        let published = core.published.load(Ordering::Acquire);
        Ok(!is_known_without(&view, self.table, key, state, &self.leaving, published)?)
    }

    fn forgets(&self, survivors: &[KeyedVersion]) -> Result<bool> {
        let Some(first) = survivors.first().filter(|_| self.table.is_engine_owned()) else {
            return Ok(false);
        };
        if self.table == AMENDMENT_TABLE {
            return self.forgets_amendments(survivors);
        }
        // Every table of the engine's own begins its keys with the table that it speaks of.
        let table = first.key.first_chunk().map(|id| TableId(u32::from_be_bytes(*id)));
        if table.is_some_and(|table| !self.tables.contains_key(&table)) {
            return Ok(true);
        }
        if self.table != MARK_TABLE {
            return Ok(false);
        }
        let damage = || Error::corruption("mark", 0, "a key that none can have");
        let key = MarkKey::decode(&first.key).ok_or_else(damage)?;
        if key.kind != MarkKind::Range {
            return Ok(false);
        }
        // A range that the low-water mark covers for everybody says nothing more.
        let end = survivors.iter().filter_map(|version| decode_range_end(&version.value)).max();
        let Some(core) = self.core.upgrade() else { return Ok(false) };
        let view = core.views.current();
        let marks = timeline_marks(&view, key.table, key.id, self.oldest)?.unwrap_or_default();
        Ok(end.is_some_and(|end| end <= marks.low_water() || end <= key.from))
    }
}
