//! Giving space back while the store runs: the worker behind `file/allocator/giving_back.rs`.
//!
//! ```text
//! every second    what older roots alone needed and nobody reads, if it is much: one root more
//! every 10 s      look: what was free all the time since the last look is cold
//!                 cold at the end        cut the grid ─► root ─► shorten the file
//!                 cold inside, beyond what is kept for reuse        punch holes
//!                 cold inside, very much of it       move the highest extent to a lower place
//! ```
//! A store at rest, or at a steady pace, comes to a state in which nothing of this happens: what it
//! takes again within ten seconds is never cold, and [`Core::kept_bytes`] are kept in any case.
//!
//! An SSTable is moved as bytes: its blocks name their SSTable and their place in it, not their
//! place in the file. One root takes the old extent out and the new one in, under the same number;
//! readers hold the old one as long as they need it. Payload segments stay where they are: every
//! open SSTable that refers to one would have to be replaced with it. The manifest moves by
//! beginning a new base.
//!
//! `Engine::compact` asks for all of it at once, and for everything that is free.
//!
//! # Concurrency
//! One worker. `root` is held while the file is shortened: no superblock that names a longer file
//! is being written then.

use super::Core;
use super::root::Change;
use super::workers::Task;
use crate::codec::round_up;
use crate::error::{Error, Result};
use crate::file::disk::read_exact_at;
use crate::file::{Extent, ExtentGuard, ExtentWriter, Giving, Reservation};
use crate::limits::{
    BLOCK_SIZE, FREE_KEPT_BYTES_MAX, OUTPUT_PIECE_BYTES, PUNCH_BYTES_MIN, PUNCH_PAUSE_MS,
};
use crate::runtime::Progress;
use crate::sstable::Sstable;
use crate::sync::{Arc, AtomicBool, Mutex, Ordering};
use crate::version::SstableMeta;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::Duration;

/// How often is looked whether older roots keep space back.
const TICK_MS: u64 = 1000;
/// How often free space is looked at: what stays free from one look to the next is cold.
const LOOK_MS: u64 = 10_000;
/// Extents that are moved for one wish, for each SSTable that there is: an end to it.
const MOVES_PER_SSTABLE: usize = 8;
/// What the space of a move is asked for.
const MOVED: &str = "an extent that is moved down";
/// A wish for everything: nothing is kept, nothing has to be cold.
const ALL: Giving = Giving { keep_bytes: 0, least_bytes: BLOCK_SIZE, warm: true };

/// What a user and the worker tell each other.
#[derive(Default)]
pub(crate) struct SpaceWish {
    /// All free space is to be given back.
    asked: AtomicBool,
    /// Why giving space back failed last, until it succeeds.
    error: Mutex<Option<Error>>,
}

/// What the worker does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing until the next tick.
    Rest,
    /// Moves what lies highest.
    Move,
    /// Writes roots until nothing waits for them.
    Roots,
    Cut,
    Shorten,
    Punch,
}

/// See the module.
pub(super) struct SpaceWorker {
    stage: Stage,
    /// A user has asked for everything.
    all: bool,
    next_tick_ms: u64,
    next_look_ms: u64,
    /// What waited for roots at the last tick, and the root then.
    waited: (u64, u64),
    /// Roots that the present stage may still write.
    roots_left: usize,
    /// Extents that may still be moved.
    moves_left: usize,
    moving: Option<Moving>,
    /// SSTables that cannot be read: they stay where they are.
    unreadable: BTreeSet<u64>,
}

/// An SSTable on its way to a lower place.
struct Moving {
    sstable: Arc<Sstable>,
    reservation: Reservation,
    writer: ExtentWriter,
}

impl SpaceWorker {
    pub(super) fn new() -> SpaceWorker {
        SpaceWorker {
            stage: Stage::Rest,
            all: false,
            next_tick_ms: 0,
            next_look_ms: 0,
            waited: (0, 0),
            roots_left: 0,
            moves_left: 0,
            moving: None,
            unreadable: BTreeSet::new(),
        }
    }
}

impl Task for SpaceWorker {
    fn step(&mut self, core: &Arc<Core>) -> Progress {
        let progress = core.health.check().and_then(|()| self.try_step(core));
        progress.unwrap_or_else(|error| {
            // Space is given back another time. A failed root has poisoned the store by itself.
            self.moving = None;
            core.after_failure();
            *core.space.error.lock() = Some(error);
            self.end(core);
            Progress::Idle(Some(Duration::from_millis(TICK_MS)))
        })
    }
}

impl SpaceWorker {
    fn try_step(&mut self, core: &Arc<Core>) -> Result<Progress> {
        if !self.all && core.space.asked.load(Ordering::Acquire) {
            self.all = true;
            core.allocator.look();
            self.begin(core, Stage::Move);
        }
        let giving = if self.all { ALL } else { core.giving() };
        let stage = self.stage;
        self.stage = match stage {
            Stage::Rest => return self.rest(core),
            Stage::Move if self.move_on(core)? => Stage::Move,
            Stage::Move => Stage::Roots,
            // Two roots free what the newest one has released.
            Stage::Roots if self.roots_left > 0 && core.released() > 0 => {
                core.commit_root(Change::default())?;
                self.roots_left -= 1;
                Stage::Roots
            }
            Stage::Roots => Stage::Cut,
            Stage::Cut => {
                if core.allocator.cut(giving) {
                    core.commit_root(Change::default())?;
                }
                Stage::Shorten
            }
            Stage::Shorten if core.shorten_file()? => Stage::Shorten,
            Stage::Shorten => Stage::Punch,
            Stage::Punch if core.allocator.punch(giving)? => {
                core.scheduler.pause(Duration::from_millis(PUNCH_PAUSE_MS));
                Stage::Punch
            }
            Stage::Punch => {
                *core.space.error.lock() = None;
                core.allocator.look();
                self.end(core);
                Stage::Rest
            }
        };
        Ok(Progress::Busy)
    }

    fn begin(&mut self, core: &Core, stage: Stage) {
        self.stage = stage;
        self.roots_left = 2;
        self.moves_left = MOVES_PER_SSTABLE * (1 + core.views.current().version.iter().count());
    }

    /// What was begun is done, or given up.
    fn end(&mut self, core: &Core) {
        self.stage = Stage::Rest;
        self.all = false;
        core.space.asked.store(false, Ordering::Release);
    }

    /// Between the looks.
    fn rest(&mut self, core: &Arc<Core>) -> Result<Progress> {
        let now_ms = core.raw_clock.monotonic_ms();
        if now_ms < self.next_tick_ms {
            return Ok(Progress::Idle(Some(Duration::from_millis(self.next_tick_ms - now_ms))));
        }
        self.next_tick_ms = now_ms + TICK_MS;
        core.views.free_retired();
        let sequence = core.root.lock().superblock.sequence;
        let waits = (core.released(), sequence);
        let much = core.least_given().max(core.allocator.file_length() / 64);
        if waits.0 >= much && waits == self.waited {
            core.commit_root(Change::default())?;
            core.commit_root(Change::default())?;
        }
        self.waited = waits;
        if now_ms >= self.next_look_ms {
            self.next_look_ms = now_ms + LOOK_MS;
            self.begin(core, if core.has_much_cold() { Stage::Move } else { Stage::Cut });
        }
        Ok(Progress::Busy)
    }

    /// Moves what lies highest to a lower place, a piece a step. Returns whether there is more.
    fn move_on(&mut self, core: &Arc<Core>) -> Result<bool> {
        let Some(mut moving) = self.moving.take() else {
            return self.begin_move(core);
        };
        let number = moving.sstable.meta().number;
        match moving.step(core) {
            Ok(false) => self.moving = Some(moving),
            Ok(true) => moving.publish(core)?,
            // Readers will tell of it, each its own user.
            Err(Error::Io { .. }) if core.health.check().is_ok() => {
                self.unreadable.insert(number);
            }
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// Begins to move the highest extent that there is a lower place for; but where nobody has
    /// asked for everything, the highest of all or none.
    fn begin_move(&mut self, core: &Arc<Core>) -> Result<bool> {
        if self.moves_left == 0 || !(self.all || core.has_much_cold()) {
            return Ok(false);
        }
        self.moves_left -= 1;
        let view = core.views.current();
        let sstables = view.version.iter().map(|(_, _, sstable)| sstable);
        let (manifest, cold_from) = {
            let root = core.root.lock();
            (root.superblock.manifest.extent, root.catalog.cold_file_from)
        };
        // Places in the cold file are no places in this one.
        let here = |sstable: &Sstable| !sstable.meta().is_in_cold_file(cold_from);
        let mut sstables: Vec<&Arc<Sstable>> =
            sstables.filter(|s| here(s) && !self.unreadable.contains(&s.meta().number)).collect();
        sstables.sort_unstable_by_key(|sstable| Reverse(sstable.meta().extent.offset));
        let mut above_manifest = true;
        for sstable in sstables {
            let extent = sstable.meta().extent;
            if above_manifest && extent.offset < manifest.offset {
                above_manifest = false;
                if core.lower_manifest(manifest)? {
                    return Ok(true);
                }
            }
            let lower = core.allocator.reserve_before(extent.length, extent.offset, MOVED)?;
            if let Some(reservation) = lower {
                let (disk, pacer) = (Arc::clone(&core.disk), Arc::clone(&core.pacer));
                let writer = ExtentWriter::new(disk, reservation.extent(), pacer);
                self.moving = Some(Moving { sstable: Arc::clone(sstable), reservation, writer });
                return Ok(true);
            }
            if !self.all {
                return Ok(false);
            }
        }
        if above_manifest { core.lower_manifest(manifest) } else { Ok(false) }
    }
}

impl Moving {
    /// Copies a piece; the last one is told by `true`.
    fn step(&mut self, core: &Core) -> Result<bool> {
        let meta = self.sstable.meta();
        let done = self.writer.position();
        let length = (meta.bytes - done).min(OUTPUT_PIECE_BYTES as u64);
        let length = usize::try_from(length).expect("it is at most a piece");
        let mut piece = vec![0; length];
        let place = meta.extent.offset + done;
        read_exact_at(&*core.disk, "read an SSTable to move it", place, &mut piece)?;
        self.writer.write(&piece)?;
        Ok(self.writer.position() == meta.bytes)
    }

    /// Makes the new place the SSTable's, unless it was taken out of the version meanwhile.
    fn publish(self, core: &Core) -> Result<()> {
        let Moving { sstable, reservation, writer } = self;
        let extent = reservation.commit(writer.finish()?);
        let meta = SstableMeta { extent, ..sstable.meta().clone() };
        let (number, old) = (meta.number, sstable.meta().extent);
        let guard = ExtentGuard::new(extent, Arc::clone(&core.allocator));
        let source = core.output.source.clone();
        let moved = Sstable::new(meta, source, Some(Arc::new(guard)));
        let moved = Arc::new(moved.with_segments(sstable.segments().clone()));
        let mut gone = false;
        let outcome = core.commit_root_with(|root| {
            let live = root.catalog.version.find(number);
            let Some((level, _)) = live.filter(|(_, meta)| meta.extent == old) else {
                gone = true;
                return Err(Error::invalid("the SSTable is live no more"));
            };
            let added = vec![(level, Arc::clone(&moved))];
            Ok(Change { removed: vec![number], added, ..Change::default() })
        });
        if gone {
            core.output.discard(vec![moved], Vec::new());
            return Ok(());
        }
        outcome
    }
}

impl Core {
    /// Begins the manifest anew, if there is a place for it below its extent.
    fn lower_manifest(&self, extent: Extent) -> Result<bool> {
        let lower = self.allocator.reserve_before(extent.length, extent.offset, MOVED)?;
        if lower.is_none() {
            return Ok(false);
        }
        drop(lower);
        self.commit_root(Change { manifest_anew: true, ..Change::default() })?;
        Ok(self.root.lock().superblock.manifest.extent.offset < extent.offset)
    }

    /// What is given back without being asked for.
    fn giving(&self) -> Giving {
        let least_bytes = self.least_given();
        Giving { keep_bytes: self.kept_bytes(), least_bytes, warm: false }
    }

    /// Fewer bytes are not worth the trouble.
    fn least_given(&self) -> u64 {
        PUNCH_BYTES_MIN.min(self.options.sstable_bytes)
    }

    /// Bytes of live extents, and of what still waits to be free.
    fn used_bytes(&self) -> u64 {
        let grid = self.allocator.file_length().saturating_sub(self.allocator.grid_start());
        grid.saturating_sub(self.allocator.free_bytes())
    }

    /// Free bytes that are kept for reuse: an eighth of what is in use, or a few SSTables.
    fn kept_bytes(&self) -> u64 {
        let least = (2 * self.options.sstable_bytes).min(FREE_KEPT_BYTES_MAX);
        round_up((self.used_bytes() / 8).clamp(least, FREE_KEPT_BYTES_MAX), BLOCK_SIZE)
    }

    /// Whether so much of the file has been free for long that extents should be moved.
    fn has_much_cold(&self) -> bool {
        self.allocator.cold_bytes() > self.used_bytes() / 4 + self.kept_bytes()
    }

    /// Cuts a piece off the end of the file, never below what the superblock says. Returns whether
    /// there is more.
    fn shorten_file(&self) -> Result<bool> {
        let root = self.root.lock();
        self.health.check()?;
        self.allocator.shorten(root.superblock.file_length)
    }

    /// Gives back all that is free, and waits for it.
    pub(crate) fn give_space_back(&self) -> Result<()> {
        *self.space.error.lock() = None;
        self.space.asked.store(true, Ordering::Release);
        while self.space.asked.load(Ordering::Acquire) {
            self.check_writable()?;
            self.wake(|wakes| &wakes.space);
            self.scheduler.pause(Duration::from_micros(500));
        }
        match self.space.error.lock().clone() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}
