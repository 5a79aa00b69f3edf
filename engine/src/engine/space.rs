//! Giving space back while the store runs: the worker behind `file/allocator/giving_back.rs`.
//!
//! ```text
//! every second    what older roots alone needed and nobody reads, if it is much: one root more
//! every 5 min     look: what was free all the time since the last one is cold
//!                 cold at the end        cut the grid ─► root ─► shorten the file
//!                 cold inside, beyond what is kept for reuse        punch holes
//!                 cold inside, very much of it       move the highest extent to a lower place
//! ```
//! A store at rest, or at a steady pace, comes to a state in which nothing of this happens: what it
//! takes again within five minutes is never cold, and [`Core::kept_bytes`] are kept in any case.
//! Between two large merges room lies free for minutes. With looks every ten seconds a steady store
//! punched two holes a second, and four operations of an hour took 0.1 to 0.2 s: what a hole waits
//! for the file system's journal now and then, and the log behind it.
//!
//! How extents are moved says `space_moves.rs`.
//!
//! `Engine::compact` asks for all of it at once, and for everything that is free.
//!
//! # Concurrency
//! One worker. `root` is held while the file is shortened: no superblock that names a longer file
//! is being written then.

use super::Core;
use super::root::Change;
use super::space_moves::Mover;
use super::wish::Wishes;
use super::workers::Task;
use crate::codec::round_up;
use crate::error::{Error, Result};
use crate::file::Giving;
use crate::limits::{BLOCK_SIZE, FREE_KEPT_BYTES_MIN, PUNCH_BYTES_MIN, PUNCH_PAUSE_MS};
use crate::runtime::Progress;
use crate::sync::{Arc, Mutex};
use std::time::Duration;

/// How often is looked whether older roots keep space back.
const TICK_MS: u64 = 1000;
/// How often free space is looked at: what stays free from one look to the next is cold.
const LOOK_MS: u64 = 300_000;
/// Extents that are moved for one wish, for each SSTable and segment that there is: an end to it.
const MOVES_PER_EXTENT: usize = 8;
/// Roots that free what the newest one has released.
const ROOTS: usize = 2;
/// A wish for everything: nothing is kept, nothing has to be cold.
const ALL: Giving = Giving { keep_bytes: 0, least_bytes: BLOCK_SIZE, warm: true };

/// What a user and the worker tell each other.
#[derive(Default)]
pub(crate) struct SpaceWish {
    /// For all free space to be given back.
    wishes: Wishes,
    /// Why giving space back failed last, until it succeeds.
    error: Mutex<Option<Error>>,
}

/// What the worker does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing until the next tick.
    Rest,
    /// Writes roots, so that what was released a moment ago is a place to move to.
    Release,
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
    /// The wish for everything that it works for.
    all: Option<u64>,
    next_tick_ms: u64,
    next_look_ms: u64,
    /// What waited for roots at the last tick, and the root then.
    waited: (u64, u64),
    /// Roots that the present stage may still write.
    roots_left: usize,
    mover: Mover,
}

impl SpaceWorker {
    pub(super) fn new() -> SpaceWorker {
        SpaceWorker {
            stage: Stage::Rest,
            all: None,
            next_tick_ms: 0,
            next_look_ms: 0,
            waited: (0, 0),
            roots_left: 0,
            mover: Mover::default(),
        }
    }
}

impl Task for SpaceWorker {
    fn step(&mut self, core: &Arc<Core>) -> Progress {
        let progress = core.health.check().and_then(|()| self.try_step(core));
        progress.unwrap_or_else(|error| {
            // Space is given back another time. A failed root has poisoned the store by itself.
            self.mover.give_up();
            core.after_failure();
            *core.space.error.lock() = Some(error);
            self.end(core);
            Progress::Idle(Some(Duration::from_millis(TICK_MS)))
        })
    }
}

impl SpaceWorker {
    fn try_step(&mut self, core: &Arc<Core>) -> Result<Progress> {
        if self.all.is_none()
            && let Some(wish) = core.space.wishes.newest()
        {
            self.all = Some(wish);
            core.views.free_retired();
            core.allocator.look();
            self.begin(core, Stage::Release);
        }
        let all = self.all.is_some();
        let giving = if all { ALL } else { core.giving() };
        let stage = self.stage;
        self.stage = match stage {
            Stage::Rest => return self.rest(core),
            Stage::Release if self.write_root(core)? => Stage::Release,
            Stage::Release => {
                self.roots_left = ROOTS;
                Stage::Move
            }
            Stage::Move if self.mover.step(core, all)? => Stage::Move,
            Stage::Move => Stage::Roots,
            Stage::Roots if self.write_root(core)? => Stage::Roots,
            Stage::Roots => Stage::Cut,
            Stage::Cut => {
                // What a steady store needs next is not cut off and allocated again for a little.
                let least_bytes = giving.least_bytes.max(core.used_bytes() / 32);
                let little = Giving { least_bytes, ..giving };
                if core.allocator.cut(if all { giving } else { little }) {
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
        self.roots_left = ROOTS;
        let view = core.views.current();
        let extents = view.version.iter().count() as u64 + view.segments.count;
        let extents = usize::try_from(extents).unwrap_or(usize::MAX);
        self.mover.allow(extents.saturating_add(1).saturating_mul(MOVES_PER_EXTENT));
        self.mover.try_again(core.raw_clock.monotonic_ms(), self.all.is_some());
    }

    /// Writes a root if something waits for one. Returns whether it did.
    fn write_root(&mut self, core: &Core) -> Result<bool> {
        if self.roots_left == 0 || core.released() == 0 {
            return Ok(false);
        }
        core.commit_root(Change::default())?;
        self.roots_left -= 1;
        Ok(true)
    }

    /// What was begun is done, or given up.
    fn end(&mut self, core: &Core) {
        self.stage = Stage::Rest;
        // Who has asked since then, or while less was done, is still to be heard.
        if let Some(wish) = self.all.take() {
            core.space.wishes.hear(wish);
        }
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
}

impl Core {
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
    pub(super) fn used_bytes(&self) -> u64 {
        let grid = self.allocator.file_length().saturating_sub(self.allocator.grid_start());
        grid.saturating_sub(self.allocator.free_bytes())
    }

    /// Free bytes that are kept for reuse: a quarter of what is in use, or a few SSTables. What is
    /// given back and soon taken again costs commits dearly: now and then a hole waits a fifth of a
    /// second for the file system's journal, and the log waits behind it.
    fn kept_bytes(&self) -> u64 {
        round_up((self.used_bytes() / 4).max(self.least_kept()), BLOCK_SIZE)
    }

    fn least_kept(&self) -> u64 {
        (2 * self.options.sstable_bytes).min(FREE_KEPT_BYTES_MIN)
    }

    /// Whether so much of the file has been free for long that extents should be moved.
    pub(super) fn has_much_cold(&self) -> bool {
        self.allocator.cold_bytes() > self.used_bytes() / 4 + self.least_kept()
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
        let wish = self.space.wishes.make();
        while !self.space.wishes.is_heard(wish) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::{Store, append, flush};
    use crate::options::TableOptions;
    use crate::sync::Ordering;

    const MEBI: u64 = 1 << 20;

    fn until(core: &Arc<Core>, worker: &mut SpaceWorker, stage: Stage) {
        for _ in 0..1000 {
            worker.step(core);
            if worker.stage == stage {
                return;
            }
        }
        panic!("{stage:?} does not come");
    }

    /// Who asked in the moment in which a look ended was told that all was given back when nothing
    /// was: where less was looked for, and, once that was mended, still where the look was for the
    /// wish of somebody else.
    #[test]
    fn a_wish_outlives_the_look_that_ends_meanwhile() {
        for asked in [false, true] {
            let store = Store::by_hand();
            let core = store.core();
            let mut worker = SpaceWorker::new();
            if asked {
                core.space.wishes.make();
                until(core, &mut worker, Stage::Punch);
            } else {
                worker.begin(core, Stage::Punch);
            }
            drop(core.allocator.reserve(8 * MEBI, "a test").unwrap());
            let before = core.allocator.file_length();
            let wish = core.space.wishes.make();
            if !asked {
                // In a step that had looked for wishes before.
                worker.end(core);
            }
            let mut steps = 0;
            while !core.space.wishes.is_heard(wish) {
                worker.step(core);
                steps += 1;
                assert!(steps < 1000, "asked {asked}: it is never heard");
            }
            let after = core.allocator.file_length();
            assert!(after + 8 * MEBI <= before, "asked {asked}: {before} bytes, then {after}");
        }
    }

    /// A look for space ended with the first move for which a full disk had no room: the file kept
    /// its length although cutting needs none.
    #[test]
    fn what_lies_at_the_end_is_given_back_on_a_full_disk() {
        for asked in [false, true] {
            let store = Store::by_hand();
            let core = store.core();
            let table = store.engine.create_table("message", TableOptions::timeline()).unwrap();
            // A hole that SSTables would fit into, SSTables, and free space behind them.
            let hole = core.allocator.reserve(8 * MEBI, "a test").unwrap();
            append(core, table, b"t", b"it could lie lower");
            flush(core);
            let end = core.allocator.reserve(8 * MEBI, "a test").unwrap();
            drop((hole, end));
            core.allocator.look();
            while core.allocator.punch(ALL).unwrap() {}
            store.disk.set_capacity(Some(store.disk.used_bytes()));
            let relocated = || core.counters.relocated_bytes.load(Ordering::Relaxed);
            let before = core.allocator.file_length();
            let mut worker = SpaceWorker::new();
            if asked {
                core.space.wishes.make();
            } else {
                worker.begin(core, Stage::Move);
            }
            until(core, &mut worker, Stage::Rest);
            let after = core.allocator.file_length();
            let error = core.space.error.lock().clone();
            assert!(error.is_none() && relocated() == 0, "asked {asked}: {error:?}");
            assert!(after + 4 * MEBI <= before, "asked {asked}: {before} bytes, then {after}");
            // With room they move down, so that there was a move to begin with.
            store.disk.set_capacity(None);
            core.space.wishes.make();
            until(core, &mut worker, Stage::Rest);
            assert!(relocated() > 0, "asked {asked}");
        }
    }
}
