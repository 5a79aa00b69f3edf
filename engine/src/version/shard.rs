//! Shards: a level structure of its own for each window of time and each tier of a table.
//!
//! Commit times of a timeline never fall, so a table can be cut by time. Each piece is a level
//! structure by itself, and the pieces follow each other.

use std::cmp::Reverse;

/// Where the data of a shard lie, and how they are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Tier {
    /// New data: in the store's file, quick to read.
    #[default]
    Hot,
    /// Old data: small.
    Cold,
}

/// The name of a shard of a table.
///
/// Shards compare as readers go through them: the hot ones before the cold ones, and inside a tier
/// the newest window first. For any one timeline, all entries in a greater shard are older.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Shard {
    /// Its tier.
    pub tier: Tier,
    /// Its window: where it begins in time, in milliseconds since 1970; 0 where a table is not cut.
    pub window: u64,
}

impl Shard {
    /// Before all others, and behind all others.
    pub(super) const FIRST: Shard = Shard { tier: Tier::Hot, window: u64::MAX };
    pub(super) const LAST: Shard = Shard { tier: Tier::Cold, window: 0 };

    /// The hot shard of this window.
    pub fn hot(window: u64) -> Shard {
        Shard { tier: Tier::Hot, window }
    }
}

impl Ord for Shard {
    fn cmp(&self, other: &Shard) -> std::cmp::Ordering {
        let order = |shard: &Shard| (shard.tier, Reverse(shard.window));
        order(self).cmp(&order(other))
    }
}

impl PartialOrd for Shard {
    fn partial_cmp(&self, other: &Shard) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
