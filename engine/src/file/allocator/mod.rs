//! The allocator: which parts of the file are free, and when a freed part may be written again.
//!
//! ```text
//!   reserve(bytes) ─► Reservation ─ commit(bytes) ─► Extent ─► named by a root of the file
//!        ▲                │ drop, or the tail            │ taken out of the version
//!        │                ▼                              ▼
//!      free ◄──────── forfeited                   release(extent, generation)
//!        ▲                                               │
//!        └────────── durable(generation + 2) ────────────┘
//! ```
//!
//! 1. The unit is 4 KiB. First fit: the free run of the lowest offset that is large enough, so that
//!    the end of the file becomes free in time.
//! 2. Nothing fits: the file grows. The growth is synced before anything is told of it, since a
//!    root that names bytes behind a lost end would be damage.
//! 3. What stays free is given back to the file system (`giving_back.rs`): the tail of the file is
//!    cut off, holes are punched elsewhere. A reserved extent has room on the device again.
//! 4. Nothing is persisted. The live extents are listed in the manifest, and everything else behind
//!    the ring is free: a crash leaks nothing.
//!
//! # Invariants
//! 1. Free, reserved, live and released extents are disjoint, and cover the grid.
//! 2. An extent that a root of generation G was the last to name is free once a superblock of
//!    sequence G + 2 is durable (then all four copies are younger than G), and no reader of this
//!    process holds it (see `guard.rs`).
//! 3. A file length that was given out is durable.
//!
//! # Concurrency
//! All methods take `&self`. `state` is held for map operations only. `growth` is held by whoever
//! grows or shortens the file, across a sync, so that two do not grow it for the same need; nobody
//! who only gives space back waits for it. Order: `growth`, then `state`.

mod free_runs;
mod giving_back;
mod guard;
mod ranges;
mod reservation;
mod scrubbing;
mod state;
#[cfg(test)]
mod tests;

use super::Extent;
use super::disk::{self, Disk};
use crate::codec::round_up;
use crate::error::{Error, Result};
use crate::health::Health;
use crate::limits::BLOCK_SIZE;
use crate::planted::Planted;
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering};
use free_runs::FreeRuns;
pub(crate) use giving_back::Giving;
pub(crate) use guard::ExtentGuard;
pub(crate) use reservation::Reservation;
use state::State;
use std::io;
use std::sync::Arc;

/// The file grows by this share (1/n) of its length at least, so that it grows seldom.
const GROWTH_SHARE: u64 = 8;
/// It grows by no more than this at once, unless one extent needs more.
const GROWTH_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Hands out extents of one file. Shared by `Arc`.
pub(crate) struct Allocator {
    disk: Arc<dyn Disk>,
    grid_start: u64,
    health: Health,
    growth: Mutex<()>,
    state: Mutex<State>,
    /// The file system has no holes.
    no_holes: AtomicBool,
    /// Bytes that no version names any more, and that readers of this process hold.
    held: AtomicU64,
}

impl Allocator {
    /// An allocator of the grid `grid_start..file_length`, in which `live` is in use.
    ///
    /// # Errors
    /// Corruption where live extents overlap or lie outside the grid.
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        grid_start: u64,
        file_length: u64,
        live: &[Extent],
    ) -> Result<Allocator> {
        Allocator::with_health(disk, grid_start, file_length, live, Health::default())
    }

    /// Like `new`, and poisons `health` when the sync of a longer file fails: the error is reported
    /// once for the whole file, so it may stand for lost writes of others.
    pub(crate) fn with_health(
        disk: Arc<dyn Disk>,
        grid_start: u64,
        file_length: u64,
        live: &[Extent],
        health: Health,
    ) -> Result<Allocator> {
        assert!(grid_start.is_multiple_of(BLOCK_SIZE) && file_length.is_multiple_of(BLOCK_SIZE));
        assert!(grid_start <= file_length, "the grid lies inside the file");
        let mut sorted = live.to_vec();
        sorted.sort_unstable();
        let mut free = FreeRuns::default();
        let mut position = grid_start;
        for extent in sorted {
            let end = check_live(extent, position, file_length)?;
            free.add(Extent { offset: position, length: extent.offset - position });
            position = end;
        }
        free.add(Extent { offset: position, length: file_length - position });
        let state = State { free, file_length, physical_length: file_length, ..State::default() };
        Ok(Allocator {
            disk,
            grid_start,
            health,
            growth: Mutex::new(()),
            state: Mutex::new(state),
            no_holes: AtomicBool::new(false),
            held: AtomicU64::new(0),
        })
    }

    /// A contiguous reservation of at least `bytes`, a multiple of the block size.
    ///
    /// # Errors
    /// `NoSpace` that names `what` and the bytes; nothing is changed, and later calls work again
    /// once there is room. An I/O error, or `Poisoned`, when the longer file could not be synced.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: u64, what: &'static str) -> Result<Reservation> {
        assert!(bytes > 0, "an extent has at least one byte");
        let none = Error::NoSpace { what, needed: bytes };
        let length = bytes.checked_next_multiple_of(BLOCK_SIZE).ok_or(none)?;
        let fitting = self.state.lock().take_first(length);
        let extent = match fitting {
            Some(extent) => extent,
            None => self.reserve_growing(length, what)?,
        };
        let reservation = Reservation::new(Arc::clone(self), extent);
        match self.fill_holes(extent, what) {
            Ok(()) => Ok(reservation),
            Err(Error::NoSpace { what, needed }) => {
                drop(reservation);
                // The device is full, but it may still have room in what was never punched.
                let solid = self.state.lock().take_solid(length);
                let solid = solid.map(|extent| Reservation::new(Arc::clone(self), extent));
                solid.ok_or(Error::NoSpace { what, needed })
            }
            Err(error) => Err(error),
        }
    }

    /// A reservation of `bytes` that ends at `end` or before; `None` where nothing is free there,
    /// or it is a hole for which a full disk has no room: whoever looks for a better place than
    /// the one it has keeps that.
    ///
    /// # Errors
    /// As [`Allocator::reserve`], but for a full disk.
    pub(crate) fn reserve_before(
        self: &Arc<Self>,
        bytes: u64,
        end: u64,
        what: &'static str,
    ) -> Result<Option<Reservation>> {
        let fitting = self.state.lock().take_first_before(round_up(bytes, BLOCK_SIZE), end);
        let Some(extent) = fitting else {
            return Ok(None);
        };
        let reservation = Reservation::new(Arc::clone(self), extent);
        match self.fill_holes(extent, what) {
            Err(Error::NoSpace { .. }) => Ok(None),
            filled => filled.map(|()| Some(reservation)),
        }
    }

    /// The extent is in no version any more. `generation` is the sequence of the last superblock
    /// whose manifest names it. Use [`ExtentGuard`] for what readers may hold.
    pub(crate) fn release(&self, extent: Extent, generation: u64) {
        let mut state = self.state.lock();
        assert!(extent.end() <= state.file_length, "only extents of this file are released");
        let age = if Planted::ReusedEarly.is_on() { 0 } else { 2 };
        if state.durable >= generation.saturating_add(age) {
            state.free.add(extent);
        } else {
            state.released.entry(generation).or_default().push(extent);
        }
    }

    /// The extent was committed, but no superblock that was ever written names it: it is free at
    /// once. Never call this after a failed write of a superblock that names it.
    pub(crate) fn forfeit(&self, extent: Extent) {
        self.state.lock().free.add(extent);
    }

    /// The superblock of `sequence` is durable, in all four copies.
    pub(crate) fn durable(&self, sequence: u64) {
        self.state.lock().durable(sequence);
    }

    /// Whether a sync of the longer file failed: the file does not grow any more.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.health.check().is_err()
    }

    /// Bytes that can be reserved without growing the file.
    pub(crate) fn free_bytes(&self) -> u64 {
        self.state.lock().free.bytes()
    }

    /// Where the grid begins: behind the ring.
    pub(crate) fn grid_start(&self) -> u64 {
        self.grid_start
    }

    /// The length of the file that is durable: what the next superblock should say.
    pub(crate) fn file_length(&self) -> u64 {
        self.state.lock().file_length
    }

    /// The free runs, by offset.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn free_runs(&self) -> Vec<Extent> {
        self.state.lock().free.iter().collect()
    }

    /// Bytes that were released and wait for a superblock.
    pub(crate) fn released(&self) -> u64 {
        self.state.lock().released_bytes()
    }

    /// Bytes that no version names any more, and that readers of this process hold.
    pub(crate) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Free bytes without room on the device.
    pub(crate) fn holes(&self) -> u64 {
        self.state.lock().holes.bytes()
    }

    /// Gives room to what of a reserved extent has none.
    fn fill_holes(&self, extent: Extent, what: &'static str) -> Result<()> {
        let holes: Vec<Extent> = {
            let mut state = self.state.lock();
            let holes = state.holes.common(extent).collect();
            state.holes.remove(extent);
            holes
        };
        let (Some(first), Some(last)) = (holes.first(), holes.last()) else {
            return Ok(());
        };
        let needed = last.end() - first.offset;
        self.allocate(first.offset, needed).map_err(|error| {
            // Still reserved: they are free again when the reservation goes.
            holes.iter().for_each(|hole| self.state.lock().holes.add(*hole));
            match error {
                Error::NoSpace { .. } => Error::NoSpace { what, needed },
                other => other,
            }
        })
    }

    /// Reserves at the end of the file. The free run there, if any, is part of the extent.
    fn reserve_growing(&self, length: u64, what: &'static str) -> Result<Extent> {
        let _growing = self.growth.lock();
        let (start, old_end) = {
            let mut state = self.state.lock();
            // Somebody else may have grown the file, or given space back, in the meantime.
            if let Some(extent) = state.take_first(length) {
                return Ok(extent);
            }
            let end = state.file_length;
            (state.take_trailing().map_or(end, |run| run.offset), end)
        };
        let grown = self.grow(old_end, length - (old_end - start), what);
        let mut state = self.state.lock();
        let Ok(step) = grown else {
            state.free.add(Extent { offset: start, length: old_end - start });
            return Err(grown.expect_err("it is no success"));
        };
        state.file_length = old_end + step;
        state.physical_length = state.physical_length.max(state.file_length);
        let extent = Extent { offset: start, length };
        let rest = state.file_length - extent.end();
        state.free.add(Extent { offset: extent.end(), length: rest });
        Ok(extent)
    }

    /// Makes the file longer by `needed` bytes at least, durably, and returns by how many.
    fn grow(&self, end: u64, needed: u64, what: &'static str) -> Result<u64> {
        self.health.check()?;
        let step = round_up((end / GROWTH_SHARE).min(GROWTH_BYTES_MAX), BLOCK_SIZE).max(needed);
        let step = match self.allocate(end, step) {
            Err(Error::NoSpace { .. }) if step > needed => {
                self.allocate(end, needed).map(|()| needed)
            }
            result => result.map(|()| step),
        };
        let step = step.map_err(|error| match error {
            Error::NoSpace { .. } => Error::NoSpace { what, needed },
            other => other,
        })?;
        if Planted::GrowthNotSynced.is_on() {
            return Ok(step);
        }
        match disk::sync(&*self.disk, "sync the longer file") {
            Ok(()) => Ok(step),
            Err(error) => {
                self.health.poison("sync of the longer file", &error);
                Err(error)
            }
        }
    }

    fn allocate(&self, offset: u64, length: u64) -> Result<()> {
        let representable =
            offset.checked_add(length).is_some_and(|end| i64::try_from(end).is_ok());
        if !representable {
            return Err(Error::NoSpace { what: "a longer file", needed: length });
        }
        loop {
            match self.disk.allocate(offset, length) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result.map_err(|e| Error::io("lengthen the file", offset, e)),
            }
        }
    }
}

impl std::fmt::Debug for Allocator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Allocator")
            .field("file_length", &state.file_length)
            .field("free_bytes", &state.free.bytes())
            .finish_non_exhaustive()
    }
}

/// Checks a live extent that must begin at `position` or behind it, and returns its end.
fn check_live(extent: Extent, position: u64, file_length: u64) -> Result<u64> {
    let corrupt = |detail: String| Error::corruption("extents", extent.offset, detail);
    let aligned =
        extent.offset.is_multiple_of(BLOCK_SIZE) && extent.length.is_multiple_of(BLOCK_SIZE);
    if !aligned || extent.length == 0 {
        return Err(corrupt(format!("an extent of {} bytes is not possible", extent.length)));
    }
    if extent.offset < position {
        return Err(corrupt(format!("the extent begins before {position}, where others end")));
    }
    match extent.offset.checked_add(extent.length) {
        Some(end) if end <= file_length => Ok(end),
        _ => Err(corrupt(format!(
            "the extent of {} bytes ends behind the file of {file_length}",
            extent.length
        ))),
    }
}
