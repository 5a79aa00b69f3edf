//! The bounded cache of state cells.

use super::{StateCell, StateRecord};
use crate::entry::TableId;
use crate::error::Result;
use crate::planted::Planted;
use crate::sync::{Arc, AtomicU64, Mutex, Ordering};
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::{BuildHasher, Hasher};

const SHARDS: usize = 64;
/// Heap bytes that one cached timeline takes, about: its slot in a table that is seven tenths full
/// on average, the cell behind its counters, and the allocator's rounding of both.
const CELL_BYTES: usize = size_of::<Slot>() * 3 / 2 + size_of::<StateCell>() + 32;
/// Timelines so few that they are looked up one by one.
const FEW: usize = 4;
/// Look-ups that wait for memory together.
const TOGETHER: usize = 32;

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
        let shard = &self.shards[shard_of(hash)];
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
            if shard.evictions != evictions && !Planted::LoadedAndEvicted.is_on() {
                // Somebody may have loaded, written and evicted this very timeline meanwhile.
                continue;
            }
            let cell = Arc::new(StateCell::new(table, key, &record, end));
            let slot = Slot { hash, cell: Arc::clone(&cell) };
            if shard.bytes + slot.bytes() > self.shard_bytes_max {
                shard.evict();
            }
            shard.bytes += slot.bytes();
            shard.cells.insert_unique(hash, slot, |slot| slot.hash);
            return Ok(cell);
        }
    }

    /// The cells of many timelines, in their order, as [`StateCache::pin`] gives each: a shard is
    /// locked once for all that fall into it, and memory is asked for many at a time. Nothing is
    /// loaded where one of them is an error.
    pub(crate) fn pin_all<'a>(
        &self,
        timelines: impl ExactSizeIterator<Item = Result<(TableId, &'a [u8])>>,
        mut load: impl FnMut(TableId, &[u8]) -> Result<(StateRecord, u64)>,
    ) -> Result<Vec<Arc<StateCell>>> {
        let mut wanted = Vec::with_capacity(timelines.len());
        for timeline in timelines {
            let (table, key) = timeline?;
            wanted.push(Wanted { hash: self.hash(table, key), table, key });
        }
        let mut cells: Vec<Option<Arc<StateCell>>> = vec![None; wanted.len()];
        if wanted.len() >= FEW {
            let (order, ends) = by_shard(&wanted);
            let mut start = 0;
            for (shard, end) in self.shards.iter().zip(ends) {
                for indexes in order[start..end].chunks(TOGETHER) {
                    shard.lock().get_all(&wanted, indexes, &mut cells);
                }
                start = end;
            }
        }
        wanted
            .iter()
            .zip(cells)
            .map(|(&Wanted { table, key, .. }, cell)| match cell {
                Some(cell) => Ok(cell),
                None => self.pin(table, key, || load(table, key)),
            })
            .collect()
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

/// A timeline that is looked up.
struct Wanted<'a> {
    hash: u64,
    table: TableId,
    key: &'a [u8],
}

fn shard_of(hash: u64) -> usize {
    // Not the bits by which the table of a shard places its slots.
    (hash >> 48) as usize % SHARDS
}

/// The indexes of the timelines, those of a shard together, and where each shard's end.
fn by_shard(wanted: &[Wanted<'_>]) -> (Vec<usize>, [usize; SHARDS]) {
    let mut ends = [0; SHARDS];
    wanted.iter().for_each(|one| ends[shard_of(one.hash)] += 1);
    let mut sum = 0;
    for end in &mut ends {
        sum += std::mem::replace(end, sum);
    }
    let mut order = vec![0; wanted.len()];
    for (index, one) in wanted.iter().enumerate() {
        // Up to here the place of the shard's next one, in the end that behind its last.
        let place = &mut ends[shard_of(one.hash)];
        order[*place] = index;
        *place += 1;
    }
    (order, ends)
}

impl Slot {
    /// Heap bytes.
    fn bytes(&self) -> usize {
        CELL_BYTES + self.cell.name.heap_bytes()
    }
}

impl Shard {
    fn find(&self, hash: u64, table: TableId, key: &[u8]) -> Option<&Arc<StateCell>> {
        let found =
            self.cells.find(hash, |slot| slot.hash == hash && slot.cell.name.is(table, key));
        found.map(|slot| &slot.cell)
    }

    fn get(&self, hash: u64, table: TableId, key: &[u8]) -> Option<Arc<StateCell>> {
        self.find(hash, table, key).map(pinned)
    }

    /// Pins those of `indexes` that are cached; there are at most [`TOGETHER`]. First all slots are
    /// looked for, then all cells are touched, and only then the first one is compared and pinned:
    /// to count a pointer up waits for every load before it.
    fn get_all(
        &self,
        wanted: &[Wanted<'_>],
        indexes: &[usize],
        cells: &mut [Option<Arc<StateCell>>],
    ) {
        let mut alike = [None; TOGETHER];
        for (place, index) in alike.iter_mut().zip(indexes) {
            let hash = wanted[*index].hash;
            *place = self.cells.find(hash, |slot| slot.hash == hash).map(|slot| &slot.cell);
        }
        let touched = alike.iter().flatten().map(|cell| cell.touched.load(Ordering::Relaxed));
        std::hint::black_box(touched.fold(false, |sum, touched| sum ^ touched));
        for (place, index) in alike.iter().zip(indexes) {
            let Wanted { hash, table, key } = wanted[*index];
            cells[*index] = match place {
                Some(cell) if cell.name.is(table, key) => Some(pinned(cell)),
                Some(_) => self.get(hash, table, key),
                None => None,
            };
        }
    }

    /// Drops cells that nobody has pinned and nobody touched since the last sweep.
    fn evict(&mut self) {
        let before = self.cells.len();
        self.cells.retain(|slot| {
            let pinned = Arc::strong_count(&slot.cell) > 1 && !Planted::PinnedEvicted.is_on();
            pinned || slot.cell.touched.swap(false, Ordering::Relaxed)
        });
        if self.cells.len() == before {
            self.cells.retain(|slot| Arc::strong_count(&slot.cell) > 1);
        }
        self.bytes = self.cells.iter().map(Slot::bytes).sum();
        self.evictions += 1;
    }
}

fn pinned(cell: &Arc<StateCell>) -> Arc<StateCell> {
    cell.touched.store(true, Ordering::Relaxed);
    Arc::clone(cell)
}
