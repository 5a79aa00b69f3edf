//! Edits: the steps by which the catalog of a store changes. The manifest is a log of them.

use super::{Grid, SegmentMeta, SstableMeta, TableKind, Tier};
use crate::entry::TableId;
use crate::file::Extent;
use crate::limits::{AMENDMENT_KEY_LENGTH_MAX, MARK_KEY_LENGTH_MAX, STATE_KEY_LENGTH_MAX};
use crate::options::{Compression, Sequence, TableOptions};

/// The engine's own keyed table of timeline state.
pub(crate) const STATE_TABLE: TableId = TableId(1);
/// The engine's own keyed table of amendments.
pub(crate) const AMENDMENT_TABLE: TableId = TableId(2);
/// The engine's own keyed table of marks: low-water marks, deleted ranges, retention.
pub(crate) const MARK_TABLE: TableId = TableId(3);
/// The engine's own keyed tables, in every catalog from the beginning, and their longest keys.
/// Users cannot choose names that begin with a zero.
pub(super) const ENGINE_TABLES: [(TableId, &str, usize); 3] = [
    (STATE_TABLE, "\u{0}state", STATE_KEY_LENGTH_MAX),
    (AMENDMENT_TABLE, "\u{0}amendments", AMENDMENT_KEY_LENGTH_MAX),
    (MARK_TABLE, "\u{0}marks", MARK_KEY_LENGTH_MAX),
];
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
    /// How it is cut by time.
    pub(crate) grid: Grid,
    /// Entries with a time to live of their own have been written to it: the newest of a timeline
    /// may be left out while older ones are there. Stays.
    pub(crate) own_ttl: bool,
    /// What retractions of its entries took back has been erased, up to this commit. Never falls.
    pub(crate) erased_through: u64,
}

impl TableRecord {
    /// The record of a new table.
    pub(crate) fn new(id: TableId, name: &str, options: TableOptions) -> TableRecord {
        let grid = Grid::new(&options);
        TableRecord {
            id,
            name: name.to_owned(),
            options,
            expired_before_ms: 0,
            grid,
            own_ttl: false,
            erased_through: 0,
        }
    }

    /// The fence of the time to live at `now_ms` of the expiry clock: what was committed at or
    /// after this time is alive.
    pub(crate) fn alive_from_ms(&self, now_ms: u64) -> u64 {
        // An entry of time t is alive while now < t + ttl.
        let fence = |ttl_ms| now_ms.saturating_add(1).saturating_sub(ttl_ms);
        self.options.ttl_ms.map_or(0, fence).max(self.expired_before_ms)
    }

    /// This record with other options and a grid for them, from `now_ms` of the expiry clock on.
    pub(crate) fn altered(&self, options: TableOptions, grid: Grid, now_ms: u64) -> TableRecord {
        let expired_before_ms = self.alive_from_ms(now_ms);
        TableRecord { options, expired_before_ms, grid, ..self.clone() }
    }

    /// A keyed table of the engine's own.
    pub(super) fn engine_owned(id: TableId, name: &str) -> TableRecord {
        let options = TableOptions {
            kind: TableKind::Keyed,
            sequence: Sequence::Assigned,
            ttl_ms: None,
            keep_last: None,
            compression: Compression::None,
            cold_after_ms: None,
            placement: Tier::Hot,
            erase_after_ms: None,
        };
        TableRecord::new(id, name, options)
    }
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Edit {
    /// A user's table begins.
    TableCreated(TableRecord),
    /// A user's table gets another record: other options, a later fence.
    TableAltered(TableRecord),
    /// A user's table ends. Its SSTables were removed before; its id is never used again.
    TableDropped {
        /// Its id.
        table: TableId,
    },
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
    /// A payload segment becomes live, before the SSTables that need it.
    SegmentAdded {
        /// What is known of it.
        meta: SegmentMeta,
    },
    /// A segment that no live SSTable needs is live no more.
    SegmentRemoved {
        /// Its number.
        number: u64,
    },
    /// A live segment lies in another extent from now on, with the same records at the same
    /// offsets; payloads of some may have been erased.
    SegmentReplaced {
        /// Its number.
        number: u64,
        /// Where it lies now.
        extent: Extent,
        /// Checksum of its footer there.
        footer_checksum: u32,
    },
    /// The store was opened after commits may have been lost: seqs jump behind this commit.
    EpochBegun {
        /// The last commit that was found.
        commit: u64,
    },
    /// The store has a cold file from now on: cold SSTables of this number and above lie in it.
    ColdFile {
        /// The first SSTable number.
        first: u64,
    },
    /// Numbers below these were given out.
    Counters {
        /// The next SSTable's number.
        next_sstable: u64,
        /// The next table's id.
        next_table: u32,
    },
}
