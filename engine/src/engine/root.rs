//! The root: superblock, manifest and catalog, and the one way to change them.
//!
//! ```text
//! 1. apply the edits to a copy of the catalog           an impossible edit ends here
//!    what lies in the cold file: header, sync           a failure ends here
//! 2. append them to the manifest                        no room: NoSpace, nothing has changed
//! 3. sync: SSTables, manifest record, log
//! 4. write the superblock, two halves, a sync behind each
//! 5. the new catalog is the catalog; freed extents and ring space are released; the view is new
//! ```
//! A failure in 3 or 4 poisons the store: which root is on the disk is then unknown until it is
//! opened again. Both are good: nothing the old root needs has been overwritten.
//!
//! # Concurrency
//! Runs under the `root` lock, on background threads and in `create_table`.

use super::open::NewLog;
use super::segment_copy::{open_segment, over_replaced};
use super::{Core, Counters};
use crate::entry::TableId;
use crate::error::{Error, Result};
use crate::file::cold::{self, ColdHeader, ColdRef};
use crate::file::superblock::Superblock;
use crate::limits;
use crate::manifest::Manifest;
use crate::options::{Durability, TableOptions};
use crate::planted::Planted;
use crate::read::{AmendmentSstables, Frozen, SegmentTotals};
use crate::segment::Segment;
use crate::sstable::Sstable;
use crate::sync::{Arc, Ordering};
use crate::version::{Catalog, Edit, HasMeta, SegmentMeta, SstableMeta, TableRecord, Version};
use std::collections::BTreeMap;

/// See the module.
pub(crate) struct Root {
    pub(crate) superblock: Superblock,
    /// `None` in a store opened for reading.
    pub(crate) manifest: Option<Manifest>,
    pub(crate) catalog: Catalog,
}

/// One change of the root.
#[derive(Default)]
pub(crate) struct Change {
    /// Edits beside those that follow from the other fields.
    pub(crate) edits: Vec<Edit>,
    pub(crate) removed: Vec<u64>,
    pub(crate) added: Vec<(u8, Arc<Sstable>)>,
    /// New payload segments, which `added` refers to. Those that nobody needs any more go by
    /// themselves.
    pub(crate) segments: Vec<Arc<Segment>>,
    /// Live segments that lie in other extents from now on.
    pub(crate) replaced: Vec<Arc<Segment>>,
    pub(crate) moved: Vec<(u64, u8)>,
    /// A table that ends, once its SSTables are removed.
    pub(crate) dropped: Option<TableId>,
    /// The memtable that `added` replaces.
    pub(crate) flushed: Option<Arc<Frozen>>,
    /// Whether unsynced entries may be published from now on.
    pub(crate) unsynced: Option<bool>,
    /// The cold file that the store has from now on.
    pub(crate) cold: Option<ColdRef>,
    /// The log that begins, empty or a copy of the old one.
    pub(crate) log: Option<NewLog>,
    /// The manifest begins anew, in another extent.
    pub(crate) manifest_anew: bool,
    /// The store is being closed in order.
    pub(crate) clean: bool,
}

impl Change {
    /// Segments that the log named until now, and the manifest does from now on. They are the
    /// memtable's: a change that fails does not give them back.
    fn large_segments(&self) -> Vec<Arc<Segment>> {
        self.flushed.as_ref().map(|frozen| frozen.memtable.large_segments()).unwrap_or_default()
    }
}

impl Core {
    /// Makes a change durable and visible.
    pub(crate) fn commit_root(&self, change: Change) -> Result<()> {
        self.commit_root_with(|_| Ok(change))
    }

    /// The same, for a change that depends on the root it changes.
    pub(super) fn commit_root_with(
        &self,
        change: impl FnOnce(&Root) -> Result<Change>,
    ) -> Result<()> {
        self.views.free_retired();
        let mut root = self.root.lock();
        // A panic, of a disk for one, leaves as open as a failure which root is on the disk.
        let what = "changing the root was cut off";
        self.health.guard(what, || self.change_root(&mut root, change))?;
        drop(root);
        self.views.free_retired();
        Ok(())
    }

    fn change_root(
        &self,
        root: &mut Root,
        change: impl FnOnce(&Root) -> Result<Change>,
    ) -> Result<()> {
        let mut change = change(root)?;
        self.refer_to_present(root, &mut change.added);
        let (mut next, catalog) = match self.prepare(root, &change) {
            Ok(prepared) => prepared,
            Err(error) => {
                // No superblock was tried for it: nothing on the disk names what was added.
                let added = change.added.into_iter().map(|(_, sstable)| sstable);
                let segments = change.segments.into_iter().chain(change.replaced);
                self.output.discard(added.collect(), segments.collect());
                if self.health.check().is_err() {
                    self.forget_boot(&root.superblock);
                }
                return Err(error);
            }
        };
        // From here on a failure leaves open which root is on the disk, so what was added is
        // neither used nor given back until the store is opened again.
        if let Err(error) = self.write_root(&mut next) {
            let cause = "writing the manifest or the superblock failed";
            let error = self.health.poison(cause, &error);
            // Its sync spoke for the log too.
            self.forget_boot(&root.superblock);
            return Err(error);
        }
        let written = root_bytes(&root.superblock, &next);
        Counters::add(&self.counters.root_bytes, written);
        // An SSTable that is lower in the file now keeps its number.
        let relocated = change.added.iter().map(|(_, sstable)| sstable.meta());
        let relocated = relocated.filter(|meta| change.removed.contains(&meta.number));
        let relocated = relocated.map(|meta| meta.extent);
        let segments = change.replaced.iter().map(|segment| segment.meta().extent);
        let relocated = relocated.chain(segments).map(|extent| extent.length).sum();
        Counters::add(&self.counters.relocated_bytes, relocated);
        root.superblock = next;
        root.catalog = catalog;
        self.durable_clock_ms.store(root.superblock.clock_high_water_ms, Ordering::Release);
        self.release(root);
        self.show(root, change);
        Ok(())
    }

    /// Steps 1 and 2: the next superblock and the catalog behind it.
    fn prepare(&self, root: &mut Root, change: &Change) -> Result<(Superblock, Catalog)> {
        self.health.check()?;
        let mut edits = edits(change);
        let mut catalog = root.catalog.clone();
        apply(&mut catalog, &edits)?;
        // A segment goes in the same root as the last SSTable that needed it.
        let unused: Vec<u64> = catalog.segments.unused().collect();
        let gone = unused.into_iter().map(|number| Edit::SegmentRemoved { number });
        let gone: Vec<Edit> = gone.collect();
        apply(&mut catalog, &gone)?;
        edits.extend(gone);
        let mut next = root.superblock.clone();
        self.prepare_cold(&mut next, &catalog, change)?;
        let manifest = root.manifest.as_mut().ok_or(Error::Closed { what: "the manifest" })?;
        if change.manifest_anew {
            next.manifest = manifest.begin_anew(&catalog)?;
        } else if !edits.is_empty() {
            next.manifest = manifest.append(&edits, &catalog)?;
        }
        next.sequence += 1;
        next.clean = change.clean;
        next.unsynced = change.unsynced.unwrap_or(next.unsynced);
        next.file_length = self.allocator.file_length();
        if !Planted::ClockForgotten.is_on() {
            next.clock_high_water_ms = self.clock.high_water().max(next.clock_high_water_ms);
        }
        if let Some(frozen) = &change.flushed {
            next.wal.lsn = frozen.end.lsn;
            next.wal.previous = frozen.end.previous;
            next.commit = frozen.commit;
        }
        if let Some(log) = &change.log {
            log.name_in(&mut next);
        }
        Ok((next, catalog))
    }

    /// What becomes live in the cold file is made durable there, under the next generation. A
    /// failure leaves the store as it is: only the cold file is in doubt, and its gate is closed.
    fn prepare_cold(
        &self,
        next: &mut Superblock,
        catalog: &Catalog,
        change: &Change,
    ) -> Result<()> {
        if let Some(cold) = change.cold {
            next.cold = Some(cold);
        }
        if !change.added.iter().any(|(_, sstable)| catalog.is_in_cold_file(sstable.meta())) {
            return Ok(());
        }
        let (Some(cold), Some(root)) = (&self.output.cold, &mut next.cold) else {
            return Err(Error::invalid("an SSTable in a cold file that the store does not have"));
        };
        root.generation += 1;
        let ColdRef { id, generation } = *root;
        cold::advance(&*cold.disk, &ColdHeader { generation, id, file: self.file })
    }

    /// Steps 3 and 4.
    fn write_root(&self, next: &mut Superblock) -> Result<()> {
        let written = match Planted::RootNotSynced.is_on() {
            true => self.log.synced_lsn(),
            false => self.log.sync_beside(&*self.disk, "syncing before a superblock")?,
        };
        // Never lower: in recovery the present log is not the one that is being replayed.
        next.synced_lsn = next.synced_lsn.max(written).max(next.wal.lsn);
        self.write_superblock(&*self.disk, next)
    }

    /// What the older superblocks alone needed is free now.
    fn release(&self, root: &mut Root) {
        let sequence = root.superblock.sequence;
        let replaced = root.manifest.as_mut().map(Manifest::take_replaced).unwrap_or_default();
        for extent in replaced {
            // The root before this one was the last that needed it.
            self.allocator.release(extent, sequence - 1);
        }
        self.allocator.durable(sequence);
        if let Some(cold) = &self.output.cold {
            cold.allocator.durable(sequence);
        }
        // During recovery the log that is replayed is not the one that will be written.
        let head = match Planted::RingReleasedEarly.is_on() {
            true => self.log.written_lsn(),
            false => root.superblock.wal.lsn,
        };
        if head <= self.log.written_lsn() {
            self.log.release(head);
        }
    }

    /// Swaps the view. The flushed mark goes first: a leader that still sees the memtable in its
    /// view, or sees the mark, asks again in either case.
    fn show(&self, root: &Root, change: Change) {
        if let Some(frozen) = &change.flushed {
            self.flushed_through.store(frozen.commit, Ordering::Release);
        }
        let sequence = root.superblock.sequence;
        let tables = Arc::new(root.catalog.tables.clone());
        let epochs: Arc<[u64]> = root.catalog.epochs.clone().into();
        let segments = SegmentTotals::of(&root.catalog);
        let old = self.views.current();
        let version = Arc::new(next_version(&old.version, &change));
        let amendments = Arc::new(AmendmentSstables::of(&version));
        self.views.replace(|view| {
            view.version = version;
            view.amendments = amendments;
            view.tables = tables;
            view.epochs = epochs;
            view.segments = segments;
            view.level0_depth = view.measure_level0();
            if let Some(dropped) = change.dropped {
                view.marked.remove(&dropped);
                view.own_ttl.remove(&dropped);
            }
            if let Some(flushed) = &change.flushed {
                view.frozen.retain(|frozen| !Arc::ptr_eq(frozen, flushed));
            }
        });
        let is_live = |segment: &Segment| {
            root.catalog.segments.contains(segment.meta().number)
                && !Planted::SegmentsForgotten.is_on()
        };
        // Several of the SSTables may have needed a segment: it goes once.
        let large = change.large_segments();
        let mut segments: BTreeMap<u64, &Arc<Segment>> = BTreeMap::new();
        let written = change.segments.iter().chain(&large);
        segments.extend(written.map(|segment| (segment.meta().number, segment)));
        for (_, _, sstable) in old.version.iter() {
            if change.removed.contains(&sstable.meta().number) {
                sstable.mark_obsolete(sequence - 1);
                segments.extend(
                    sstable.segments().iter().map(|segment| (segment.meta().number, segment)),
                );
            }
        }
        let replaced = change.replaced.iter();
        let before = replaced.filter_map(|now| open_segment(&old.version, now.meta().number));
        before.for_each(|segment| segment.mark_obsolete(sequence - 1));
        let gone = segments.into_values().filter(|segment| !is_live(segment));
        gone.for_each(|segment| segment.mark_obsolete(sequence - 1));
        self.views.retire(old);
    }

    /// Before the first commit that is acknowledged unsynced: the superblock says so, so that the
    /// next opening knows that readers may have seen what a power loss took.
    pub(crate) fn declare_unsynced(&self, durability: Durability) -> Result<()> {
        let declared = self.unsynced_declared.load(Ordering::Acquire);
        if durability == Durability::Sync || declared || Planted::UnsyncedNotDeclared.is_on() {
            return Ok(());
        }
        self.check_writable()?;
        self.commit_root(Change { unsynced: Some(true), ..Change::default() })?;
        self.unsynced_declared.store(true, Ordering::Release);
        Ok(())
    }

    /// Drops a table: its SSTables go in the same root as itself. What memtables and the log hold
    /// of it is left out when they are flushed, what the engine's own tables say of it when they
    /// are compacted; until then nobody can ask for it.
    pub(crate) fn drop_table(&self, table: TableId) -> Result<()> {
        self.check_changeable()?;
        let mut gone = Vec::new();
        self.commit_root_with(|root| {
            if table.is_engine_owned() || !root.has_table(table) {
                return Err(Error::NotFound { what: format!("table {}", table.0) });
            }
            let shards = root.catalog.version.shards(table);
            let sstables = shards.flat_map(|(_, levels)| levels.iter());
            let removed: Vec<u64> = sstables.map(|(_, meta)| meta.number).collect();
            gone.clone_from(&removed);
            Ok(Change { removed, dropped: Some(table), ..Change::default() })
        })?;
        // Whoever works on them gives up at the next step, and gives back what it has written.
        gone.into_iter().for_each(|number| self.claims.ask(number));
        self.wake(|wakes| &wakes.compact);
        Ok(())
    }

    /// Creates a table.
    pub(crate) fn create_table(&self, name: &str, options: TableOptions) -> Result<TableId> {
        self.check_writable()?;
        check_table_name(name)?;
        options.validate()?;
        let mut id = TableId(0);
        self.commit_root_with(|root| {
            if root.catalog.table_named(name).is_some() {
                return Err(Error::AlreadyExists { what: format!("table {name}") });
            }
            if root.catalog.user_table_count() >= limits::TABLE_COUNT_MAX {
                return Err(Error::TooLarge {
                    what: "number of tables",
                    value: limits::TABLE_COUNT_MAX as u64 + 1,
                    limit: limits::TABLE_COUNT_MAX as u64,
                });
            }
            id = TableId(root.catalog.next_table);
            let record = TableRecord::new(id, name, options);
            Ok(Change { edits: vec![Edit::TableCreated(record)], ..Change::default() })
        })?;
        self.wake(|wakes| &wakes.erase);
        Ok(id)
    }
}

fn apply(catalog: &mut Catalog, edits: &[Edit]) -> Result<()> {
    let refused = |why| Error::invalid(format!("impossible edit: {why}"));
    edits.iter().try_for_each(|edit| catalog.apply(edit)).map_err(refused)
}

impl Root {
    /// Whether a table still is. A flush or a compaction may have begun before it was dropped.
    pub(super) fn has_table(&self, table: TableId) -> bool {
        self.catalog.tables.contains_key(&table)
    }
}

/// Bytes that were written between two roots: to the manifest, the superblock, and the header of
/// the cold file.
fn root_bytes(old: &Superblock, new: &Superblock) -> u64 {
    let manifest = match old.manifest.extent == new.manifest.extent {
        true => new.manifest.length - old.manifest.length,
        // A new extent is written as a whole: records, then zeros.
        false => new.manifest.extent.length,
    };
    let header = if old.cold == new.cold { 0 } else { cold::HEADER_BYTES };
    manifest + (limits::SUPERBLOCK_COPIES * limits::SUPERBLOCK_SIZE) as u64 + header
}

/// The version behind `old`.
fn next_version(old: &Version<Arc<Sstable>>, change: &Change) -> Version<Arc<Sstable>> {
    let mut removed = change.removed.clone();
    let mut added = change.added.clone();
    for (number, level) in &change.moved {
        let (_, sstable) = old.find(*number).expect("the catalog has accepted the move");
        removed.push(*number);
        added.push((*level, Arc::clone(sstable)));
    }
    over_replaced(old.apply(&removed, added), &change.replaced)
}

/// The edits of a change: what goes, before what comes.
fn edits(change: &Change) -> Vec<Edit> {
    let mut edits = change.edits.clone();
    edits.extend(change.removed.iter().map(|number| Edit::SstableRemoved { number: *number }));
    let large = change.large_segments();
    let segments = change.segments.iter().chain(&large);
    edits.extend(segments.map(|segment| Edit::SegmentAdded { meta: segment.meta().clone() }));
    edits.extend(change.replaced.iter().map(|segment| {
        let SegmentMeta { number, extent, footer_checksum, .. } = *segment.meta();
        Edit::SegmentReplaced { number, extent, footer_checksum }
    }));
    edits.extend(change.added.iter().map(|(level, sstable)| Edit::SstableAdded {
        level: *level,
        meta: SstableMeta::clone(sstable.meta()),
    }));
    edits.extend(
        change
            .moved
            .iter()
            .map(|(number, level)| Edit::SstableMoved { number: *number, level: *level }),
    );
    edits.extend(change.dropped.map(|table| Edit::TableDropped { table }));
    edits
}

fn check_table_name(name: &str) -> Result<()> {
    if name.is_empty() || name.contains('\0') {
        return Err(Error::invalid(format!("{name:?} is no table name")));
    }
    if name.len() > limits::TABLE_NAME_LENGTH_MAX {
        return Err(Error::TooLarge {
            what: "table name length",
            value: name.len() as u64,
            limit: limits::TABLE_NAME_LENGTH_MAX as u64,
        });
    }
    Ok(())
}
