//! What a salvage says: what was recovered, what was lost, and where the damage is.

use crate::entry::TableId;
use crate::version::TableKind;

/// What [`Salvage::run`](super::Salvage::run) did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The tables of the new store, the engine's own left out.
    pub tables: Vec<TableReport>,
    /// What is not in the new store, or may not be right there. Empty: nothing was lost.
    pub lost: Vec<Loss>,
    /// Every damaged place that was met, whether or not it cost anything: the first 10,000 of them.
    pub damage: Vec<DamagedPlace>,
    /// How many more there were. What they cost is in `lost` all the same.
    pub more_damage: u64,
    /// How often the next sequence ids of all timelines jump by 1,000,000 beyond what an opening of
    /// the old store would make of them: so that no id that was seen is given again where it is not
    /// known which were.
    pub epochs: u64,
    /// An unfinished end of the log, which every opening cuts off: it was never acknowledged as
    /// durable, unless the last group that was is damaged and looks like one that was not. So ids
    /// jump. (Where the last group is gone without a trace, nothing tells: an opening has the same
    /// doubt, see `docs/DURABILITY.md`.)
    pub torn_tail: Option<TornTail>,
}

impl Report {
    /// Whether nothing is known to be lost: all is in the new store, and right. Where
    /// [`Report::torn_tail`] is there, what that may have held is not, and nothing tells whether
    /// anything of it had been promised.
    pub fn is_whole(&self) -> bool {
        self.lost.is_empty()
    }
}

/// An unfinished end of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// Where it is, and what was found of it.
    pub detail: String,
    /// The first commit that may have been in it: those before are in the new store, or among the
    /// losses.
    pub commit: u64,
}

/// A table of the new store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableReport {
    /// Its id, which is that of the old store.
    pub id: TableId,
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: TableKind,
    /// Entries, or versions of keys, that are in the new store, hidden ones included.
    pub recovered: u64,
}

/// A damaged place of the old store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedPlace {
    /// The damaged structure.
    pub what: &'static str,
    /// Its offset in the file, or in the cold file where the structure lies there.
    pub offset: u64,
    /// What was expected, and what was found.
    pub detail: String,
}

/// Something that is not in the new store, or may not be right there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// Entries of one timeline.
    Entries {
        /// Its table.
        table: TableId,
        /// Its id.
        key: Box<[u8]>,
        /// The first and the last sequence id; all lost entries of this stretch lie in it.
        seqs: (u64, u64),
        /// How many there were at most.
        entries: u64,
    },
    /// Entries of timelines that nothing readable names.
    UnknownEntries {
        /// Their table.
        table: TableId,
        /// Between which keys the timelines lie, both included.
        keys: (Box<[u8]>, Box<[u8]>),
        /// How many there were at most.
        entries: u64,
        /// The SSTable that held them, and its place.
        sstable: u64,
        /// Its offset in the file, or in the cold file.
        offset: u64,
    },
    /// Versions of keys of a keyed table: the keys may show older values, or none.
    Versions {
        /// The table.
        table: TableId,
        /// Between which keys, both included.
        keys: (Box<[u8]>, Box<[u8]>),
        /// How many versions there were at most.
        versions: u64,
    },
    /// Trims, deletions and retention of timelines: what they hid may be shown again.
    Marks {
        /// Between which timelines, both included, in the order of marks: by table, then by the
        /// length of the name, and by its bytes only then. `None` where that is not known.
        timelines: Option<(TimelineName, TimelineName)>,
    },
    /// Amendments: entries may show the payload that they had before, those retracted included.
    Amendments {
        /// Between which timelines, both included; `None` where that is not known.
        timelines: Option<(TimelineName, TimelineName)>,
    },
    /// Records of timelines: those without entries may be missing, and the next ids of all jump
    /// (see [`Report::epochs`]). Timelines with entries are recorded anew.
    States {
        /// Between which timelines, both included; `None` where that is not known.
        timelines: Option<(TimelineName, TimelineName)>,
    },
    /// Commits of the log, with everything in them: entries, values, amendments, marks.
    Commits {
        /// The first one.
        first: u64,
        /// The last one; `None` where it is not known how many there were.
        last: Option<u64>,
        /// Where in the file the damage is.
        offset: u64,
    },
    /// What the manifest said from here on: SSTables that were added then are lost, with everything
    /// in them; what was dropped, deleted or expired then may be shown again; tables may have other
    /// options.
    Manifest {
        /// Where in the file the damage is.
        offset: u64,
        /// The last commit that is certain to be in what could be read.
        commit: u64,
    },
}

/// A timeline of a table.
pub type TimelineName = (TableId, Box<[u8]>);
