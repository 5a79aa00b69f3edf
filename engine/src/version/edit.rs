//! Edits: the steps by which the catalog of a store changes. The manifest is a log of them.

use super::{SstableMeta, TableKind};
use crate::entry::TableId;
use crate::options::{Compression, Sequence, TableOptions};

/// The engine's own keyed table of timeline state, in every catalog from the beginning.
pub(crate) const STATE_TABLE: TableId = TableId(1);
/// Its name: users cannot choose one that begins with a zero.
pub(crate) const STATE_TABLE_NAME: &str = "\u{0}state";
/// The first id of a user's table.
pub(crate) const FIRST_USER_TABLE: u32 = 16;

/// A table of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableRecord {
    /// Never reused.
    pub(crate) id: TableId,
    /// Unique in the store.
    pub(crate) name: String,
    /// As given at creation, or by the last change.
    pub(crate) options: TableOptions,
    /// What was committed before this time has expired under an earlier time to live, and stays
    /// so, however long the present one is. Never falls.
    pub(crate) expired_before_ms: u64,
}

impl TableRecord {
    /// The record of a new table.
    pub(crate) fn new(id: TableId, name: &str, options: TableOptions) -> TableRecord {
        TableRecord { id, name: name.to_owned(), options, expired_before_ms: 0 }
    }

    /// The fence of the time to live at `now_ms` of the expiry clock: what was committed at or
    /// after this time is alive.
    pub(crate) fn alive_from_ms(&self, now_ms: u64) -> u64 {
        // An entry of time t is alive while now < t + ttl.
        let fence = |ttl_ms| now_ms.saturating_add(1).saturating_sub(ttl_ms);
        self.options.ttl_ms.map_or(0, fence).max(self.expired_before_ms)
    }

    /// This record with other options, from `now_ms` of the expiry clock on.
    pub(crate) fn altered(&self, options: TableOptions, now_ms: u64) -> TableRecord {
        let expired_before_ms = self.alive_from_ms(now_ms);
        TableRecord { options, expired_before_ms, ..self.clone() }
    }

    /// The table of timeline state.
    pub(crate) fn state() -> TableRecord {
        let options = TableOptions {
            kind: TableKind::Keyed,
            sequence: Sequence::Assigned,
            ttl_ms: None,
            compression: Compression::None,
        };
        TableRecord::new(STATE_TABLE, STATE_TABLE_NAME, options)
    }
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Edit {
    /// A user's table begins.
    TableCreated(TableRecord),
    /// A user's table gets another record: other options, a later fence.
    TableAltered(TableRecord),
    /// An SSTable becomes live.
    SstableAdded {
        /// Its level.
        level: u8,
        /// What is known of it.
        meta: SstableMeta,
    },
    /// An SSTable is live no more.
    SstableRemoved {
        /// Its number.
        number: u64,
    },
    /// An SSTable goes to another level as it is.
    SstableMoved {
        /// Its number.
        number: u64,
        /// Its new level.
        level: u8,
    },
    /// The store was opened after commits may have been lost: seqs jump behind this commit.
    EpochBegun {
        /// The last commit that was found.
        commit: u64,
    },
    /// Numbers below these were given out.
    Counters {
        /// The next SSTable's number.
        next_sstable: u64,
        /// The next table's id.
        next_table: u32,
    },
}
