//! Which tables a pass is for, once something cannot be read: each has a pass of its own then, so
//! that damage holds up only the tables of which it may hide something.
//!
//! ```text
//! pass for all ── reads what cannot be read ──► one for each ──┬── ends well: erased
//!      ▲                                                       └── fails: held up for a while
//!      └───────────────── no table is held up any more ◄──────────────────┘
//! ```
//!
//! # Concurrency
//! Owned by the worker that erases.

use crate::entry::TableId;
use crate::error::Error;
use std::collections::{BTreeMap, BTreeSet};

/// How long a table is left alone whose pass has failed, in milliseconds.
const REST_MS: u64 = 60_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct HeldUp {
    /// A pass for several tables has failed over what cannot be read.
    one_by_one: bool,
    /// Tables whose own passes have failed over it, and until when they are left alone, on the
    /// monotonic clock.
    tables: BTreeMap<TableId, u64>,
}

impl HeldUp {
    /// Whether passes are for one table each.
    pub(super) fn one_by_one(&self) -> bool {
        self.one_by_one
    }

    /// Tables that are left alone now.
    pub(super) fn tables(&self, now_ms: u64) -> BTreeSet<TableId> {
        let tables = self.tables.iter().filter(|(_, until_ms)| now_ms < **until_ms);
        tables.map(|(table, _)| *table).collect()
    }

    /// How long until the first of these is tried again; `None` where there are none.
    pub(super) fn rest_ms(&self, now_ms: u64) -> Option<u64> {
        self.tables.values().min().map(|until_ms| until_ms.saturating_sub(now_ms))
    }

    /// A pass for these tables has failed.
    pub(super) fn failed(&mut self, tables: &BTreeSet<TableId>, error: &Error, now_ms: u64) {
        if !error.is_unreadable() {
            return;
        }
        if self.one_by_one {
            let until_ms = now_ms.saturating_add(REST_MS);
            self.tables.extend(tables.iter().map(|table| (*table, until_ms)));
        }
        // A single table is simply tried again.
        self.one_by_one |= tables.len() > 1;
    }

    /// A pass for these tables has ended, well or for want of anybody who asks for it. Says whether
    /// none is held up any more.
    pub(super) fn ended(&mut self, tables: &BTreeSet<TableId>) -> bool {
        self.tables.retain(|table, _| !tables.contains(table));
        self.one_by_one &= !self.tables.is_empty();
        self.tables.is_empty()
    }

    /// Tables without a deadline are forgotten.
    pub(super) fn keep(&mut self, wanted: impl Fn(TableId) -> bool) {
        self.tables.retain(|table, _| wanted(*table));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: TableId = TableId(16);
    const OTHER: TableId = TableId(17);

    #[test]
    fn damage_holds_up_one_table_after_a_pass_for_all_has_failed() {
        let damage = Error::corruption("block", 0, "rotten");
        let full = Error::NoSpace { what: "an SSTable", needed: 1 };
        let (all, one) = (BTreeSet::from([ONE, OTHER]), BTreeSet::from([ONE]));
        let mut held_up = HeldUp::default();
        held_up.failed(&all, &full, 0);
        held_up.failed(&one, &damage, 0);
        assert!(!held_up.one_by_one() && held_up.rest_ms(0).is_none());
        held_up.failed(&all, &damage, 0);
        assert!(held_up.one_by_one() && held_up.tables(0).is_empty());
        held_up.failed(&one, &full, 5);
        assert!(held_up.tables(5).is_empty(), "room comes back by itself");
        held_up.failed(&one, &damage, 10);
        assert_eq!(held_up.tables(9 + REST_MS), one);
        assert_eq!(held_up.rest_ms(20), Some(REST_MS - 10));
        assert!(!held_up.ended(&BTreeSet::from([OTHER])) && held_up.one_by_one());
        assert!(held_up.tables(10 + REST_MS).is_empty(), "it is tried again");
        assert!(held_up.ended(&one) && !held_up.one_by_one());
        held_up.failed(&all, &damage, 0);
        held_up.failed(&one, &damage, 0);
        held_up.keep(|table| table == OTHER);
        assert!(held_up.tables(0).is_empty());
    }
}
