//! The block cache: verified, decompressed blocks of SSTables, bounded in bytes.
//!
//! Used where blocks are read with `pread`, and for decompressed blocks everywhere. What comes out
//! has been verified when it went in, so a hit costs no checksum.
//!
//! ```text
//! key (SSTable number, offset) --hash--> shard --map--> slot [key | region | credit]
//!                                                        ^ hand
//! ```
//!
//! Eviction is CLOCK: a hit fills the slot's credit; the hand takes one from each slot it passes,
//! until it meets a slot without any, and takes that. What tells where data lie ([`Keep::Lookup`])
//! has more credit: one such page spares the reads of many others, and a first append to a timeline
//! must not cost more than one.
//!
//! # Invariants
//! 1. The bytes of a shard never exceed its capacity; a block larger than that is never cached.
//! 2. SSTable numbers are never reused, so an entry is never stale; `remove` only frees memory.
//!
//! # Concurrency
//! One lock a shard, held for a lookup or an insertion, never across I/O.

mod shard;
mod source;
#[cfg(test)]
mod tests;
mod verified;

use crate::file::Region;
use crate::sync::{AtomicU64, Mutex, Ordering};
use shard::Shard;
pub(crate) use source::Source;
use verified::Verified;

/// Most shards; a small cache has fewer, so that a shard still holds some blocks.
const SHARD_COUNT_MAX: usize = 16;
/// Fewest bytes for which another shard is worth having.
const SHARD_BYTES_MIN: usize = 1024 * 1024;

/// A block's name: SSTable number and offset in the SSTable.
pub(crate) type BlockKey = (u64, u64);

/// How hard a block is to come by without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Filters and indexes.
    Lookup,
    /// Data, and directories: one page of many.
    Data,
}

impl Keep {
    /// Turns of the hand that a block stays after its last use.
    fn credit(self) -> u8 {
        match self {
            Keep::Lookup => 8,
            Keep::Data => 1,
        }
    }
}

/// The cache, shared by all SSTables of a store.
#[derive(Debug)]
pub(crate) struct BlockCache {
    shards: Box<[Mutex<Shard>]>,
    hits: AtomicU64,
    misses: AtomicU64,
    verified: Verified,
}

impl BlockCache {
    /// A cache of at most `bytes` bytes; with 0 it keeps nothing.
    pub(crate) fn new(bytes: usize) -> BlockCache {
        let count = (bytes / SHARD_BYTES_MIN).clamp(1, SHARD_COUNT_MAX);
        let shards = (0..count).map(|_| Mutex::new(Shard::new(bytes / count))).collect();
        let (hits, misses) = (AtomicU64::new(0), AtomicU64::new(0));
        BlockCache { shards, hits, misses, verified: Verified::new(bytes) }
    }

    /// The block, if it is cached.
    pub(crate) fn get(&self, key: BlockKey) -> Option<Region> {
        let found = self.shard(key).lock().get(key);
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// Keeps a verified block.
    pub(crate) fn insert(&self, key: BlockKey, region: Region, keep: Keep) {
        self.shard(key).lock().insert(key, region, keep);
    }

    /// Whether a small unit of a map, named by bits that are never zero and never reused, has been
    /// verified and not been forgotten since.
    pub(crate) fn is_verified(&self, name: u64) -> bool {
        self.verified.contains(name)
    }

    /// The unit of this name has been verified.
    pub(crate) fn mark_verified(&self, name: u64) {
        self.verified.insert(name);
    }

    /// All small units of maps have to be verified at each touch from now on.
    pub(crate) fn distrust(&self) {
        self.verified.distrust();
    }

    /// Bytes held now.
    pub(crate) fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().bytes()).sum()
    }

    /// Lookups that found their block, and those that did not.
    pub(crate) fn hits_and_misses(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }

    fn shard(&self, (number, offset): BlockKey) -> &Mutex<Shard> {
        // Neighbouring blocks go to different shards: the high bits of a product depend on all
        // bits.
        let mixed = (number.rotate_left(32) ^ offset).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let index = mixed % self.shards.len() as u64;
        &self.shards[usize::try_from(index).expect("less than the number of shards")]
    }
}
