//! Edits: the steps by which the catalog of a store changes. The manifest is a log of them.

use super::{SegmentMeta, SstableMeta, TableKind};
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
    /// As given at creation.
    pub(crate) options: TableOptions,
}

impl TableRecord {
    /// The table of timeline state.
    pub(crate) fn state() -> TableRecord {
        let options = TableOptions {
            kind: TableKind::Keyed,
            sequence: Sequence::Assigned,
            ttl_ms: None,
            compression: Compression::None,
        };
        TableRecord { id: STATE_TABLE, name: STATE_TABLE_NAME.to_owned(), options }
    }
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Edit {
    /// A user's table begins.
    TableCreated(TableRecord),
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
