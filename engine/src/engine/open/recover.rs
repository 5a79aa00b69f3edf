//! From a file to a core: what the root says, and what the log adds.

use super::super::flush_pace::FlushWaiters;
use super::super::root::{Change, Root};
use super::super::space::SpaceWish;
use super::super::sync_due::SyncDue;
use super::super::tiers::ColdState;
use super::super::wish::Wishes;
use super::super::{Core, Counters, Erasure};
use super::Parts;
use super::cold::{self, ColdFile};
use super::fill;
use super::first_pass::{self, Named};
use super::replay::{self, LogEnd};
use super::tail::Tail;
use super::without_log::{NewLog, WithoutLog};
use crate::cache::{BlockCache, Source};
use crate::commit::{CommitQueue, Leader};
use crate::compaction::{OutputContext, OutputMemory};
use crate::error::{Error, Result};
use crate::file::disk::sync;
use crate::file::superblock::{self, Superblock};
use crate::file::{Allocator, Disk, Extent, ExtentGuard, Pacer};
use crate::health::Health;
use crate::limits;
use crate::manifest::{self, Manifest};
use crate::memory::{OwnProcess, Pool};
use crate::memtable::Memtable;
use crate::options::{Options, ReadMode};
use crate::planted::Planted;
use crate::read::{AmendmentSstables, SegmentTotals, Snapshots, View, Views};
use crate::runtime::StoreClock;
use crate::segment::{Segment, Segments};
use crate::sstable::{Allowance, Sstable};
use crate::state::StateCache;
use crate::sync::{Arc, AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Mutex, Ordering};
use crate::version::{Catalog, Edit, SstableMeta, Version};
use crate::wal::{WalState, Writer};
use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::Duration;

/// How often a reader beside a writer begins anew before it gives up.
const OPEN_ATTEMPTS_MAX: usize = 32;
/// How often in a row the same damage must be found, beside a writer, to be believed.
const DAMAGE_SIGHTINGS: usize = 3;
/// Rest between two attempts: the writer ends what it was doing.
const OPEN_PAUSE: Duration = Duration::from_millis(1);

/// Opens for writing: recovers, and begins an empty log.
pub(super) fn open_for_writing(
    parts: &Parts,
    ungated: Arc<dyn Disk>,
    options: &Options,
) -> Result<Arc<Core>> {
    let disk = &parts.disk;
    // What is read from here on is on the disk: stale clean pages cannot be believed otherwise.
    sync(&**disk, "syncing before recovery").inspect_err(|_| doubt(&*ungated))?;
    let superblock = superblock::read(&**disk)?;
    superblock.check_writable()?;
    superblock::heal(&**disk, &superblock)?;
    let mut options = options.clone();
    options.ring_bytes = superblock.ring.length;
    let catalog = manifest::replay(&**disk, superblock.file, &superblock.manifest)?;
    let log = fill::read_and_fill(parts, &superblock, &catalog, &options)?;
    // Told before anything is written over what tells it.
    let superblock = match log.0.gap {
        true => without_boot(&**disk, superblock)?,
        false => superblock,
    };
    let mut core = assemble(parts, &options, &superblock, (catalog, &log.0.named))?;
    core.ungated_disk = ungated;
    let mut tail = Tail::default();
    let end = replay::for_writing(&core, &superblock, log, &mut tail)?;
    begin_log(&mut core, parts, &superblock, &end, tail)?;
    if core.views.current().active.bytes() >= options.memtable_bytes / limits::RECOVERED_FLUSH_SHARE
    {
        // Nobody may ever fill it: readers would go on finding each entry in a place of its own,
        // and each further opening would replay it.
        core.freeze_active();
    }
    Ok(Arc::new(core))
}

/// The first sync has failed. The system tells that once: the next opening would believe that all
/// is there. So the superblock forgets the boot, as after a failed sync of a store that is open,
/// and that opening begins an epoch. The best that can be done: should this fail as well, the disk
/// has lost the file anyway.
fn doubt(disk: &dyn Disk) {
    let forget = || {
        let found = superblock::read(disk)?;
        found.check_writable()?;
        superblock::heal(disk, &found)?;
        without_boot(disk, found)
    };
    let _: Result<Superblock> = forget();
}

/// Makes durable that something may be lost which readers have seen, if anything was unsynced:
/// whichever opening comes through begins an epoch.
fn without_boot(disk: &dyn Disk, found: Superblock) -> Result<Superblock> {
    if !found.unsynced || found.identity.boot == [0; 16] {
        return Ok(found);
    }
    let mut next = found;
    next.sequence += 1;
    next.identity.boot = [0; 16];
    superblock::write(disk, &next)?;
    Ok(next)
}

/// Opens for reading, possibly beside a live writer: nothing is written, the log goes to memory.
///
/// What looks like damage may be the writer at work: the root was superseded and its extents
/// reused, punched or cut off, or the log grew between the look at its end and the look behind it.
/// True damage stays: the same finding at the same place under the same root, however often one
/// looks.
pub(super) fn open_beside_writer(parts: &Parts, options: &Options) -> Result<Arc<Core>> {
    let mut sightings = 0;
    let mut last_place = None;
    let mut last_finding = ("WAL", limits::RING_OFFSET);
    for _ in 0..OPEN_ATTEMPTS_MAX {
        let superblock = superblock::read(&*parts.disk)?;
        let error = match open_read_only(parts, options, &superblock) {
            Ok(Some(core)) => return Ok(core),
            Ok(None) => continue,
            Err(error) => error,
        };
        let Some((what, offset)) = error.damaged_place() else {
            return Err(error);
        };
        last_finding = (what, offset);
        let place = Some((superblock.sequence, what, offset));
        sightings = if place == last_place { sightings + 1 } else { 1 };
        if sightings == DAMAGE_SIGHTINGS {
            return Err(error);
        }
        last_place = place;
        parts.scheduler.pause(OPEN_PAUSE);
    }
    let (what, offset) = last_finding;
    Err(Error::SnapshotTooOld { what, offset })
}

/// `None` where the writer has overtaken the reading.
fn open_read_only(
    parts: &Parts,
    options: &Options,
    superblock: &Superblock,
) -> Result<Option<Arc<Core>>> {
    let mut options = options.clone();
    options.ring_bytes = superblock.ring.length;
    let catalog = manifest::replay(&*parts.disk, superblock.file, &superblock.manifest)?;
    // Nothing is allocated here, so what the log names needs no reservation.
    let core = assemble(parts, &options, superblock, (catalog, &Named::new()))?;
    let end = replay::read_only(&core, superblock)?;
    // The writer reuses the ring before the head of its newest root: a log that ends before that
    // head only seems to end there, and commits that were acknowledged are missing.
    if superblock::read(&*parts.disk)?.wal.lsn > end.position.lsn {
        return Ok(None);
    }
    // What was read may not be on the disk yet; once it is shown to anyone it must never be lost.
    sync(&*parts.disk, "syncing what was read")?;
    core.published.store(end.commit, Ordering::Release);
    Ok(Some(Arc::new(core)))
}

/// A core over the root alone; the log is not replayed yet.
fn assemble(
    parts: &Parts,
    options: &Options,
    superblock: &Superblock,
    (catalog, named): (Catalog, &Named),
) -> Result<Core> {
    let health = Health::default();
    let (live, live_cold) = live_extents(superblock, &catalog, named)?;
    let allocator = open_allocator(&parts.disk, superblock, &live, &health)?;
    let cold_file = cold::open(parts, options, superblock, &live_cold)?;
    let source = open_source(&parts.disk, superblock, options);
    let main = (source.clone(), Arc::clone(&allocator));
    let second = cold_file.as_ref().map(|cold| cold.place(&source));
    let version = open_sstables(&catalog, &main, second.as_ref());
    let clock = StoreClock::new(Arc::clone(&parts.clock), clock_mark(parts, superblock));
    let next_number = first_pass::next_number(&catalog, named);
    let output = open_output(parts, options, (source, &allocator), &cold_file, next_number);
    let cold = ColdState::new(cold_file);
    let view = first_view(&catalog, version, superblock.commit + 1, &clock, cold.is_refused());
    let manifest = open_manifest(&parts.disk, superblock, &allocator, options.read_only)?;
    Ok(Core {
        file: superblock.file,
        options: options.clone(),
        raw_clock: Arc::clone(&parts.clock),
        clock,
        scheduler: Arc::clone(&parts.scheduler),
        health,
        views: Views::new(view),
        published: AtomicU64::new(superblock.commit),
        flushed_through: AtomicU64::new(superblock.commit),
        states: StateCache::new(options.memory_budget / 8),
        memory: Arc::new(Pool::new(options.memtable_bytes.saturating_mul(2))),
        queue: CommitQueue::new(),
        leader: Mutex::new(None),
        log: Arc::new(WalState::new(superblock.ring.length, superblock.wal.lsn)),
        root: Mutex::new(Root { superblock: superblock.clone(), manifest, catalog }),
        grids: Mutex::new(()),
        allocator,
        pacer: Arc::clone(&output.pacer),
        output,
        snapshots: Snapshots::default(),
        counters: Counters::default(),
        wakes: OnceLock::new(),
        live_workers: Arc::new(AtomicUsize::new(0)),
        durable_clock_ms: AtomicU64::new(superblock.clock_high_water_ms),
        flush_waiters: FlushWaiters::default(),
        flush_error: Mutex::new(None),
        compaction_error: Mutex::new(None),
        unread_error: Mutex::new(None),
        cold,
        space: SpaceWish::default(),
        erasure: Erasure::default(),
        scrub: Arc::default(),
        root_writes: Arc::default(),
        slowed: AtomicU32::new(0),
        sync_due: SyncDue::default(),
        compact_all: Wishes::default(),
        claims: Arc::default(),
        unsynced_declared: AtomicBool::new(false),
        boot_forgotten: AtomicBool::new(false),
        process: OwnProcess::new(),
        closing: AtomicBool::new(false),
        closed: AtomicBool::new(false),
        without_log: WithoutLog::default(),
        opened_sequence: superblock.sequence,
        ungated_disk: Arc::clone(&parts.disk),
        disk: Arc::clone(&parts.disk),
    })
}

/// What flush and compaction write with.
fn open_output(
    parts: &Parts,
    options: &Options,
    (source, allocator): (Source, &Arc<Allocator>),
    cold_file: &Option<ColdFile>,
    next_number: Arc<AtomicU64>,
) -> OutputContext {
    OutputContext {
        disk: Arc::clone(&parts.disk),
        file: source.file,
        allocator: Arc::clone(allocator),
        pacer: open_pacer(parts, options),
        next_number,
        sstable_bytes: options.sstable_bytes,
        source,
        cold: cold_file.as_ref().map(ColdFile::output),
        memory: Arc::new(OutputMemory::default()),
    }
}

fn open_pacer(parts: &Parts, options: &Options) -> Arc<Pacer> {
    let (clock, scheduler) = (Arc::clone(&parts.clock), Arc::clone(&parts.scheduler));
    Arc::new(Pacer::new(clock, scheduler, options.output_rate))
}

/// How SSTables are read.
fn open_source(disk: &Arc<dyn Disk>, superblock: &Superblock, options: &Options) -> Source {
    // Beside a writer an extent may be reused under a map, after its blocks were verified in it.
    let mode = if options.read_only { ReadMode::Read } else { options.read_mode };
    Source {
        disk: Arc::clone(disk),
        file: superblock.file,
        mode,
        cache: Arc::new(BlockCache::new(options.memory_budget / 8)),
        around: Arc::new(Allowance::of(options.memory_budget)),
        unpacking: Arc::default(),
    }
}

/// What SSTables, manifest and log have of the first file, and SSTables of the cold one.
fn live_extents(
    superblock: &Superblock,
    catalog: &Catalog,
    named: &Named,
) -> Result<(Vec<Extent>, Vec<Extent>)> {
    if catalog.cold_file_from.is_some() != superblock.cold.is_some() {
        let detail = "one of manifest and superblock knows of a cold file, the other does not";
        return Err(Error::corruption("manifest", superblock.manifest.extent.offset, detail));
    }
    let (mut live, mut live_cold) = (vec![superblock.manifest.extent], Vec::new());
    for (_, _, meta) in catalog.version.iter() {
        match catalog.is_in_cold_file(meta) {
            true => live_cold.push(meta.extent),
            false => live.push(meta.extent),
        }
    }
    live.extend(catalog.segments.iter().map(|meta| meta.extent));
    if !Planted::LargePayloadsNotReserved.is_on() {
        live.extend(named.values().map(|large| large.meta().extent));
    }
    Ok((live, live_cold))
}

/// The free space: all that is not live.
fn open_allocator(
    disk: &Arc<dyn Disk>,
    superblock: &Superblock,
    live: &[Extent],
    health: &Health,
) -> Result<Arc<Allocator>> {
    let usable = usable_length(&**disk, superblock)?;
    let (disk, grid) = (Arc::clone(disk), superblock.ring.end());
    let allocator = Allocator::with_health(disk, grid, usable, live, health.clone())?;
    allocator.durable(superblock.sequence);
    Ok(Arc::new(allocator))
}

/// The blocks that the file has, unless it is shorter than its root says.
fn usable_length(disk: &dyn Disk, superblock: &Superblock) -> Result<u64> {
    let length = disk.length().map_err(|error| Error::io("reading the length", 0, error))?;
    if length < superblock.file_length {
        let detail =
            format!("the file has {length} bytes, the superblock says {}", superblock.file_length);
        return Err(Error::corruption("file", length, detail));
    }
    Ok(length / limits::BLOCK_SIZE * limits::BLOCK_SIZE)
}

/// What readers see of the root alone.
fn first_view(
    catalog: &Catalog,
    version: Version<Arc<Sstable>>,
    next_commit: u64,
    clock: &StoreClock,
    cold_failing: bool,
) -> View {
    let mut view = View {
        level0_depth: 0,
        damaged: BTreeSet::new(),
        cold_failing,
        segments: SegmentTotals::of(catalog),
        marked: BTreeSet::new(),
        own_ttl: BTreeSet::new(),
        active: Arc::new(Memtable::new(next_commit, clock.commit_now())),
        frozen: Vec::new(),
        amendments: Arc::new(AmendmentSstables::of(&version)),
        version: Arc::new(version),
        version_number: 0,
        tables: Arc::new(catalog.tables.clone()),
        epochs: catalog.epochs.clone().into(),
    };
    view.level0_depth = view.measure_level0();
    view.marked = view.tables_with_marks();
    let with_own = view.tables.values().filter(|record| record.own_ttl);
    view.own_ttl = with_own.map(|record| record.id).collect();
    view
}

fn open_manifest(
    disk: &Arc<dyn Disk>,
    superblock: &Superblock,
    allocator: &Arc<Allocator>,
    read_only: bool,
) -> Result<Option<Manifest>> {
    if read_only {
        return Ok(None);
    }
    let (disk, allocator) = (Arc::clone(disk), Arc::clone(allocator));
    let opened = Manifest::open(disk, superblock.file, allocator, &superblock.manifest)?;
    Ok(Some(opened.0))
}

/// Where the expiry clock goes on. Within a lease of the mark the wall clock is believed. Where it
/// is further ahead it must be confirmed first: until then the clock goes on from the mark, or,
/// where the last opening may have run up to a lease ahead of it, from there: so nothing comes
/// back.
fn clock_mark(parts: &Parts, superblock: &Superblock) -> u64 {
    match superblock.clock_high_water_ms {
        0 => 0,
        mark => {
            let lease = mark.saturating_add(limits::CLOCK_LEASE_MS);
            match parts.clock.wall_ms() {
                wall if wall > lease && superblock.clean => mark,
                wall => wall.clamp(mark, lease),
            }
        }
    }
}

fn open_sstables(
    catalog: &Catalog,
    main: &(Source, Arc<Allocator>),
    cold: Option<&(Source, Arc<Allocator>)>,
) -> Version<Arc<Sstable>> {
    let guard = |extent, allocator: &Arc<Allocator>| {
        Some(Arc::new(ExtentGuard::new(extent, Arc::clone(allocator))) as Arc<_>)
    };
    let (source, allocator) = main;
    let segments = Segments::new(catalog.segments.iter().map(|meta| {
        Arc::new(Segment::new(meta.clone(), source.clone(), guard(meta.extent, allocator)))
    }));
    let opened: std::result::Result<_, std::convert::Infallible> =
        catalog.version.try_map(|meta: &SstableMeta| {
            let second = cold.filter(|_| catalog.is_in_cold_file(meta));
            let (source, allocator) = second.unwrap_or(main);
            let needed = segments.select(&meta.segments).expect("the catalog has checked them");
            let guard = guard(meta.extent, allocator);
            let sstable = Sstable::new(meta.clone(), source.clone(), guard);
            Ok(Arc::new(sstable.with_segments(needed)))
        });
    match opened {
        Ok(version) => version,
    }
}

/// The last step of recovery: a new log under a new salt, which holds what the old one held and no
/// SSTable has, and one superblock that names it, records the epoch, and names this writer.
fn begin_log(
    core: &mut Core,
    parts: &Parts,
    found: &Superblock,
    end: &LogEnd,
    mut tail: Tail,
) -> Result<()> {
    let identity = parts.disk.identity();
    let same_boot = identity == found.identity && identity.boot != [0; 16];
    // Readers of the last opening may have seen commits that a power loss took.
    let lost = found.unsynced && !same_boot && !Planted::EpochForgotten.is_on();
    let same_inode =
        (identity.device, identity.inode) == (found.identity.device, found.identity.inode);
    let new = NewLog {
        position: end.position.aligned(parts.disk.geometry().alignment),
        salt: if Planted::SaltKept.is_on() { found.wal.salt } else { parts.entropy.random()? },
        identity,
        moved: !same_inode,
        lost_behind: lost.then_some(end.commit),
        commit: end.commit,
    };
    let newest = core.views.current().version.iter().map(|(_, _, s)| s.meta().times_ms.1).max();
    core.clock.commits_seen(end.time_ms.max(newest.unwrap_or(0)));
    let head = core.root.lock().superblock.wal.lsn;
    let disk = Arc::clone(&core.disk);
    let mut writer = Writer::behind(disk, core.file, found.ring, new.salt, new.position, head);
    match tail.shrink_to_fit(core, &writer, end.position, end.commit) {
        Err(error @ Error::NoSpace { .. }) => {
            return core.go_without_log(found, end.position, new, error);
        }
        outcome => outcome?,
    }
    let memtable_lsn = tail.write(core, &mut writer)?;
    let mut edits = new.edits();
    let new_cold = match found.cold {
        None if parts.cold.is_some() => Some(cold::create(parts, core.file, found.sequence)?),
        _ => None,
    };
    if let Some((file, _)) = &new_cold {
        // What is cold already stays where it is.
        edits.push(Edit::ColdFile { first: core.output.next_number.load(Ordering::Relaxed) });
        core.output.cold = Some(file.output());
        core.cold = ColdState::new(Some(file.clone()));
    }
    let cold = new_cold.map(|(_, root)| root);
    let log = Some(new);
    let change = Change { edits, log, cold, unsynced: Some(false), ..Change::default() };
    core.log = Arc::clone(writer.state());
    core.commit_root(change)?;
    let next_commit = core.first_commit_behind(end.commit);
    if !tail.fills_active() {
        let fresh = Memtable::in_pool(next_commit, core.clock.commit_now(), &core.memory);
        core.views.replace(|view| view.active = Arc::new(fresh));
    }
    let flushed = core.root.lock().superblock.commit;
    core.published.store(end.commit, Ordering::Release);
    core.flushed_through.store(flushed, Ordering::Release);
    core.choose_unsynced(&mut writer);
    *core.leader.lock() = Some(Leader::new(writer, next_commit, memtable_lsn));
    Ok(())
}
