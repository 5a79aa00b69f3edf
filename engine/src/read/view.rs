//! The view: everything a read looks at, behind one pointer.

use super::AmendmentSstables;
use crate::entry::TableId;
use crate::memtable::Memtable;
use crate::sstable::Sstable;
use crate::sync::{Arc, AtomicU64, AtomicUsize, Mutex, Ordering, RwLock};
use crate::version::{Catalog, MARK_TABLE, Shard, TableRecord, Tier, Version};
use crate::wal::WalPosition;
use std::collections::{BTreeMap, BTreeSet};

/// The tables of a store by id.
pub(crate) type TableRecords = BTreeMap<TableId, TableRecord>;

/// A consistent set of memtables and SSTables. Never changed, only replaced.
#[derive(Clone)]
pub(crate) struct View {
    pub(crate) active: Arc<Memtable>,
    /// Newest first.
    pub(crate) frozen: Vec<Arc<Frozen>>,
    pub(crate) version: Arc<Version<Arc<Sstable>>>,
    /// Counts the versions of this opening.
    pub(crate) version_number: u64,
    pub(crate) tables: Arc<TableRecords>,
    /// The SSTables of amendments in `version`.
    pub(crate) amendments: Arc<AmendmentSstables>,
    /// See [`View::measure_level0`].
    pub(crate) level0_depth: usize,
    /// Shards with SSTables that cannot be compacted, since they cannot be read.
    pub(crate) damaged: BTreeSet<(TableId, Shard)>,
    /// The cold tier could not be written the last time, or is away.
    pub(crate) cold_failing: bool,
    /// Live payload segments.
    pub(crate) segments: SegmentTotals,
    /// Tables that may have marks. Grows only.
    pub(crate) marked: BTreeSet<TableId>,
    /// Tables that may have entries with a time to live of their own, or had. Grows only.
    pub(crate) own_ttl: BTreeSet<TableId>,
    /// Commits at which an epoch began, see `Durability`.
    pub(crate) epochs: Arc<[u64]>,
}

/// Live payload segments, counted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SegmentTotals {
    pub(crate) count: u64,
    pub(crate) bytes: u64,
}

impl SegmentTotals {
    pub(crate) fn of(catalog: &Catalog) -> SegmentTotals {
        let mut totals = SegmentTotals::default();
        for meta in catalog.segments.iter() {
            totals.count += 1;
            totals.bytes += meta.extent.length;
        }
        totals
    }
}

/// A memtable that takes no more writes, and where the log stood when it was frozen.
pub(crate) struct Frozen {
    pub(crate) memtable: Arc<Memtable>,
    /// The log before this position holds nothing that is not in this or an older memtable.
    pub(crate) end: WalPosition,
    /// The newest commit in it.
    pub(crate) commit: u64,
}

impl View {
    /// Memtables, newest first.
    pub(crate) fn memtables(&self) -> impl Iterator<Item = &Arc<Memtable>> {
        std::iter::once(&self.active).chain(self.frozen.iter().map(|frozen| &frozen.memtable))
    }

    /// SSTables that may hold `key`, newest data first.
    pub(crate) fn sstables<'a>(
        &'a self,
        table: TableId,
        key: &'a [u8],
    ) -> impl Iterator<Item = &'a Arc<Sstable>> {
        self.version.candidates(table, key)
    }

    /// All SSTables of a table.
    pub(crate) fn sstables_of(&self, table: TableId) -> impl Iterator<Item = &Arc<Sstable>> {
        let shards = self.version.shards(table);
        shards.flat_map(|(_, levels)| levels.iter().map(|(_, sstable)| sstable))
    }

    /// Tables that may have marks in SSTables, by the keys of these alone.
    pub(crate) fn tables_with_marks(&self) -> BTreeSet<TableId> {
        let table_of = |key: &[u8]| key.first_chunk().map(|id| TableId(u32::from_be_bytes(*id)));
        let spans = self.sstables_of(MARK_TABLE).filter_map(|sstable| {
            let meta = sstable.meta();
            Some(table_of(&meta.first.0)?..=table_of(&meta.last.0)?)
        });
        let spans: Vec<_> = spans.collect();
        let may_have = |id: &&TableId| spans.iter().any(|span| span.contains(id));
        self.tables.keys().filter(may_have).copied().collect()
    }

    /// How deep level 0 lies at its deepest: the flushes that a key may be in, of the shard with
    /// most of them. One flush may have written many SSTables side by side. Damaged shards do not
    /// count, nor cold ones while the cold tier fails: writers who waited for their compaction
    /// would wait for ever.
    pub(crate) fn measure_level0(&self) -> usize {
        let depth = |level: &[Arc<Sstable>]| {
            // Newest first: inside one flush the keys fall, a new flush begins where they do not.
            let begins = |pair: &&[Arc<Sstable>]| pair[1].meta().last.0 > pair[0].meta().first.0;
            usize::from(!level.is_empty()) + level.windows(2).filter(begins).count()
        };
        let shards = self.tables.keys().flat_map(|table| {
            let shards = self.version.shards(*table);
            shards.map(|(shard, levels)| (*table, shard, levels))
        });
        let compacted = shards.filter(|(table, shard, _)| {
            let fails = self.cold_failing && shard.tier == Tier::Cold;
            !fails && !self.damaged.contains(&(*table, *shard))
        });
        compacted.map(|(_, _, levels)| depth(levels.level(0))).max().unwrap_or(0)
    }
}

/// Where the current view lives.
///
/// To let go of a view may free a memtable and unmap SSTables, which takes milliseconds, and
/// whoever lets go of it last pays. So that this is no commit, background work keeps the views
/// that it replaced until nobody else looks at them.
pub(crate) struct Views {
    current: RwLock<Arc<View>>,
    /// Replaced ones that somebody may still look at.
    retired: Mutex<Vec<Arc<View>>>,
    /// That of the current view, for whoever only asks whether the version has changed.
    version_number: AtomicU64,
    /// That of the current view: asked before every group of commits.
    level0_depth: AtomicUsize,
}

impl Views {
    pub(crate) fn new(view: View) -> Views {
        let version_number = AtomicU64::new(view.version_number);
        let level0_depth = AtomicUsize::new(view.level0_depth);
        Views {
            current: RwLock::new(Arc::new(view)),
            retired: Mutex::new(Vec::new()),
            version_number,
            level0_depth,
        }
    }

    pub(crate) fn current(&self) -> Arc<View> {
        Arc::clone(&self.current.read())
    }

    /// The number of the current version.
    pub(crate) fn version_number(&self) -> u64 {
        self.version_number.load(Ordering::Relaxed)
    }

    /// How deep level 0 lies in the current view, see [`View::measure_level0`].
    pub(crate) fn level0_depth(&self) -> usize {
        self.level0_depth.load(Ordering::Relaxed)
    }

    /// Replaces the view by a changed copy. `change` runs under the lock: it must do nothing slow.
    pub(crate) fn replace(&self, change: impl FnOnce(&mut View)) {
        let old = {
            let mut current = self.current.write();
            let mut view = View::clone(&current);
            change(&mut view);
            if !Arc::ptr_eq(&view.version, &current.version) {
                view.version_number += 1;
                self.version_number.store(view.version_number, Ordering::Relaxed);
            }
            self.level0_depth.store(view.level0_depth, Ordering::Relaxed);
            std::mem::replace(&mut *current, Arc::new(view))
        };
        // Outside the lock: the last pointer to a memtable or SSTable may go here.
        drop(old);
    }

    /// Keeps a replaced view until [`Views::free_retired`] finds that nobody looks at it.
    pub(crate) fn retire(&self, old: Arc<View>) {
        self.retired.lock().push(old);
    }

    /// Lets go of the retired views that nobody looks at any more: for background work, now and
    /// then.
    pub(crate) fn free_retired(&self) {
        // Nobody can come to look at a view that has been replaced.
        let unused = |view: &mut Arc<View>| Arc::strong_count(view) == 1;
        let unused: Vec<_> = self.retired.lock().extract_if(.., unused).collect();
        drop(unused);
    }
}
