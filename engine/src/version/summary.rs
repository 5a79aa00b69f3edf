//! Tables in numbers: tiers, windows and levels, for whoever looks at a store from outside.

use super::{HasMeta, Shard, TableRecord, Tier, Version};
use crate::entry::TableId;
use crate::limits::TTL_WINDOWS;

/// One level of one window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LevelStats {
    /// SSTables in it.
    pub sstables: u64,
    /// Bytes of their extents. Payload segments, which levels share, are not among them.
    pub bytes: u64,
}

/// One window of a table in one tier: a level structure of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WindowStats {
    /// Its tier.
    pub tier: Tier,
    /// Where it begins, in milliseconds since 1970; 0 where the table is not cut by time. A flush
    /// or a move that spans more than one window goes into that of its newest entry, so a window
    /// may hold entries that are a little older.
    pub from_ms: u64,
    /// How long it is, in milliseconds; 0 where it has no end.
    pub width_ms: u64,
    /// Its levels, from level 0 to the deepest that has SSTables.
    pub levels: Vec<LevelStats>,
}

/// The SSTables of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableStats {
    /// The table.
    pub id: TableId,
    /// Its name.
    pub name: String,
    /// Where the table has an erasure deadline, or had one: what retractions up to this commit took
    /// back has been erased; 0 if nothing has.
    pub erased_through: u64,
    /// The windows that have SSTables, as readers go through them: the hot ones, newest first, then
    /// the cold ones, newest first.
    pub windows: Vec<WindowStats>,
}

impl WindowStats {
    /// SSTables of all levels.
    pub fn sstables(&self) -> u64 {
        self.levels.iter().map(|level| level.sstables).sum()
    }

    /// Bytes of all levels.
    pub fn bytes(&self) -> u64 {
        self.levels.iter().map(|level| level.bytes).sum()
    }
}

impl TableStats {
    /// The windows of one tier.
    pub fn tier(&self, tier: Tier) -> impl Iterator<Item = &WindowStats> {
        self.windows.iter().filter(move |window| window.tier == tier)
    }
}

/// Users' tables in the order of their ids, those without SSTables included.
pub(crate) fn summarize<'a, T: HasMeta>(
    tables: impl Iterator<Item = &'a TableRecord>,
    version: &Version<T>,
) -> Vec<TableStats> {
    tables
        .filter(|record| !record.id.is_engine_owned())
        .map(|record| {
            let windows = version.shards(record.id).map(|(shard, levels)| {
                let (from_ms, width_ms) = (shard.window, width_ms(record, shard));
                let mut counted: Vec<LevelStats> = Vec::new();
                for (level, sstable) in levels.iter() {
                    counted
                        .resize(counted.len().max(usize::from(level) + 1), LevelStats::default());
                    let level = &mut counted[usize::from(level)];
                    level.sstables += 1;
                    level.bytes += sstable.meta().extent.length;
                }
                WindowStats { tier: shard.tier, from_ms, width_ms, levels: counted }
            });
            TableStats {
                id: record.id,
                name: record.name.clone(),
                erased_through: record.erased_through,
                windows: windows.collect(),
            }
        })
        .collect()
}

/// Cold windows are as wide as the present time to live says, whatever it was when they were made.
fn width_ms(record: &TableRecord, shard: Shard) -> u64 {
    match shard.tier {
        Tier::Hot => record.grid.width_of(shard.window),
        Tier::Cold => record.options.ttl_ms.map_or(0, |ttl_ms| (ttl_ms / TTL_WINDOWS).max(1)),
    }
}
