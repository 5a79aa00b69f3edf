//! The bounded cache of state cells.

use super::{StateCell, StateRecord};
use crate::entry::TableId;
use crate::error::Result;
use crate::sync::{Arc, AtomicU64, Mutex, Ordering};
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::{BuildHasher, Hasher};

const SHARDS: usize = 64;
/// Heap bytes that one cached timeline takes beside its id, about: its slot in a table that is
/// seven tenths full on average, the cell behind its counters, and the allocator's rounding of both
/// and of the id.
const CELL_BYTES: usize = size_of::<Slot>() * 3 / 2 + size_of::<StateCell>() + 64;

/// Cells by timeline, in shards.
pub(crate) struct StateCache {
    shards: Vec<Mutex<Shard>>,
    shard_bytes_max: usize,
    hasher: FixedState,
    loads: AtomicU64,
}

#[derive(Default)]
struct Shard {
    cells: HashTable<Slot>,
    /// What they take.
    bytes: usize,
    /// Counts evictions: a loader that sees it change must load again (I1).
    evictions: u64,
}

struct Slot {
    hash: u64,
    table: TableId,
    key: Box<[u8]>,
    cell: Arc<StateCell>,
}

impl StateCache {
    /// A cache that keeps about `bytes` of cells that nobody uses.
    pub(crate) fn new(bytes: usize) -> StateCache {
        StateCache {
            shards: (0..SHARDS).map(|_| Mutex::new(Shard::default())).collect(),
            shard_bytes_max: (bytes / SHARDS).max(4 * CELL_BYTES),
            hasher: FixedState::default(),
            loads: AtomicU64::new(0),
        }
    }

    /// The timeline's cell, loaded with `load` where it is not cached: its state, and the seq
    /// behind its newest entry. While the caller holds the returned pointer the cell cannot be
    /// evicted.
    pub(crate) fn pin(
        &self,
        table: TableId,
        key: &[u8],
        mut load: impl FnMut() -> Result<(StateRecord, u64)>,
    ) -> Result<Arc<StateCell>> {
        let hash = self.hash(table, key);
        let shard = &self.shards[(hash >> 58) as usize % SHARDS];
        loop {
            let evictions = {
                let shard = shard.lock();
                if let Some(cell) = shard.get(hash, table, key) {
                    return Ok(cell);
                }
                shard.evictions
            };
            let (record, end) = load()?;
            self.loads.fetch_add(1, Ordering::Relaxed);
            let mut shard = shard.lock();
            if let Some(cell) = shard.get(hash, table, key) {
                return Ok(cell);
            }
            if shard.evictions != evictions {
                // Somebody may have loaded, written and evicted this very timeline meanwhile.
                continue;
            }
            if shard.bytes + CELL_BYTES + key.len() > self.shard_bytes_max {
                shard.evict();
            }
            let cell = Arc::new(StateCell::new(&record, end));
            let slot = Slot { hash, table, key: key.into(), cell: Arc::clone(&cell) };
            shard.bytes += CELL_BYTES + key.len();
            shard.cells.insert_unique(hash, slot, |slot| slot.hash);
            return Ok(cell);
        }
    }

    /// Cached timelines.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().cells.len()).sum()
    }

    /// Bytes that they take.
    pub(crate) fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().bytes).sum()
    }

    /// Loads since the cache was made.
    pub(crate) fn loads(&self) -> u64 {
        self.loads.load(Ordering::Relaxed)
    }

    fn hash(&self, table: TableId, key: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u32(table.0);
        hasher.write(key);
        hasher.finish()
    }
}

impl Shard {
    fn get(&self, hash: u64, table: TableId, key: &[u8]) -> Option<Arc<StateCell>> {
        let slot = self.cells.find(hash, |slot| slot.table == table && *slot.key == *key)?;
        slot.cell.touched.store(true, Ordering::Relaxed);
        Some(Arc::clone(&slot.cell))
    }

    /// Drops cells that nobody has pinned and nobody touched since the last sweep.
    fn evict(&mut self) {
        let before = self.cells.len();
        self.cells.retain(|slot| {
            let pinned = Arc::strong_count(&slot.cell) > 1;
            pinned || slot.cell.touched.swap(false, Ordering::Relaxed)
        });
        if self.cells.len() == before {
            self.cells.retain(|slot| Arc::strong_count(&slot.cell) > 1);
        }
        self.bytes = self.cells.iter().map(|slot| CELL_BYTES + slot.key.len()).sum();
        self.evictions += 1;
    }
}
