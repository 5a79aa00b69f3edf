//! Giving space back to the file system: the tail of the file is cut off, holes are punched into
//! what is free inside. Called in bounded pieces by one background worker.
//!
//! ```text
//!  grid   | live | hole | live | free … |          cut ─► the grid ends earlier
//!  root   |                             |          the next superblock says so, durably
//!  file   |                             |          shorten ─► now the file ends there too
//! ```
//! 1. `look`, every few minutes: whatever is free now is *cold* at the next look if nobody took it
//!    in between. Only cold space is given back, and some of it is kept for reuse, so that a steady
//!    store does not give back what it takes again a moment later.
//! 2. `cut` ends the grid before the cold free run at its end. The file keeps its length.
//! 3. The caller makes a superblock with the new length durable, in all four copies.
//! 4. `shorten` cuts the file itself, a bounded piece at a time. Never below what the superblock
//!    says, since a file that is shorter than its root says is damage; and never below the grid,
//!    which may have grown again.
//! 5. `punch` takes a cold run out of the free ones, punches it, and puts it back as a hole. Who is
//!    given a hole later gets room for it first (`Allocator::reserve`).
//!
//! A crash anywhere leaves a file that is longer than its root says, or holes in free space:
//! neither matters. Nothing of it needs a sync.
//!
//! # Invariants
//! 1. Only free space is touched: no root that can be read back names it, and no reader of this
//!    process holds it.
//! 2. `growth` is held while the grid is cut and the file is shortened: nobody lengthens it then.

use super::Allocator;
use crate::error::{Error, Result};
use crate::file::Extent;
use crate::limits::{CUT_BYTES_MAX, PUNCH_BYTES_MAX};
use crate::sync::Ordering;

/// Free runs that one search for something to punch looks at.
const PUNCH_RUNS_MAX: usize = 4096;

/// How much may be given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Giving {
    /// Free bytes that stay as they are, for reuse.
    pub(crate) keep_bytes: u64,
    /// A cut or a hole of fewer bytes is not made.
    pub(crate) least_bytes: u64,
    /// Give back what is not cold, too.
    pub(crate) warm: bool,
}

impl Allocator {
    /// What is free now is cold from now on, until somebody takes it.
    pub(crate) fn look(&self) {
        let mut state = self.state.lock();
        let free: Vec<Extent> = state.free.iter().collect();
        state.cold = free.into_iter().collect();
        state.punched_from = u64::MAX;
    }

    /// Bytes that were free at the last look and are still.
    pub(crate) fn cold_bytes(&self) -> u64 {
        self.state.lock().cold.bytes()
    }

    /// Lets the grid end earlier, if it ends in enough free space. The next superblock says so;
    /// call [`Allocator::shorten`] once it is durable.
    pub(crate) fn cut(&self, giving: Giving) -> bool {
        let _growing = self.growth.lock();
        let mut state = self.state.lock();
        let Some(run) = state.free.trailing(state.file_length) else {
            return false;
        };
        let warm_end = match giving.warm {
            true => run.offset,
            false => state.cold.missing(run).last().map_or(run.offset, |gap| gap.end()),
        };
        let trailing_holes: u64 = state.holes.common(run).map(|hole| hole.length).sum();
        // Holes that are being filled count as holes still.
        let kept_elsewhere = state.solid_bytes().saturating_sub(run.length - trailing_holes);
        let keep = giving.keep_bytes.saturating_sub(kept_elsewhere);
        let end = warm_end.max(run.offset.saturating_add(keep));
        if end.saturating_add(giving.least_bytes) > run.end() {
            return false;
        }
        let gone = Extent { offset: end, length: run.end() - end };
        state.take(gone);
        state.holes.remove(gone);
        state.file_length = end;
        true
    }

    /// Cuts a piece of what the file has behind the grid and behind `root_length`, the length that
    /// the durable superblock says. The caller sees to it that no other superblock is written
    /// meanwhile. Returns whether there is more to cut.
    ///
    /// # Errors
    /// The disk's. Nothing is lost: the file is as long as before, or shorter, but long enough.
    pub(crate) fn shorten(&self, root_length: u64) -> Result<bool> {
        let _growing = self.growth.lock();
        let (target, length) = {
            let state = self.state.lock();
            (state.file_length.max(root_length), state.physical_length)
        };
        if length <= target {
            return Ok(false);
        }
        let next = target.max(length.saturating_sub(CUT_BYTES_MAX));
        self.disk.truncate(next).map_err(|error| Error::io("shorten the file", next, error))?;
        let mut state = self.state.lock();
        state.physical_length = next;
        // What is cut off is gone, and zero should it ever come back.
        state.dirty.remove(Extent { offset: next, length: u64::MAX - next });
        drop(state);
        Ok(next > target)
    }

    /// Punches one hole. Returns whether there may be more to punch since the last look.
    ///
    /// # Errors
    /// The disk's; the space stays free.
    pub(crate) fn punch(&self, giving: Giving) -> Result<bool> {
        if self.no_holes.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let piece = match self.next_to_punch(giving) {
            Next::Piece(piece) => piece,
            Next::LookedAtMany => return Ok(true),
            Next::Nothing => return Ok(false),
        };
        let punched = self.disk.punch_hole(piece.offset, piece.length);
        let mut state = self.state.lock();
        state.free.add(piece);
        state.cold.add(piece);
        match punched {
            Ok(true) => {
                state.holes.add(piece);
                state.dirty.remove(piece);
            }
            Ok(false) => self.no_holes.store(true, Ordering::Relaxed),
            Err(error) => return Err(Error::io("punch a hole", piece.offset, error)),
        }
        Ok(true)
    }

    /// Takes the highest stretch that should be punched, so that nobody else gets it meanwhile.
    fn next_to_punch(&self, giving: Giving) -> Next {
        let mut state = self.state.lock();
        let spare = state.solid_bytes().saturating_sub(giving.keep_bytes);
        if spare < giving.least_bytes {
            return Next::Nothing;
        }
        let (mut found, mut looked_at, mut from) = (None, 0, state.punched_from);
        for run in state.free.iter_before(from) {
            looked_at += 1;
            let run = Extent { length: run.length.min(from - run.offset), ..run };
            found = match giving.warm {
                true => last_large(state.holes.missing(run).into_iter(), giving),
                false => {
                    let cold = state.cold.common(run);
                    last_large(cold.flat_map(|part| state.holes.missing(part)), giving)
                }
            };
            from = run.offset;
            if found.is_some() || looked_at == PUNCH_RUNS_MAX {
                break;
            }
        }
        state.punched_from = from;
        let Some(part) = found else {
            let more = looked_at == PUNCH_RUNS_MAX;
            return if more { Next::LookedAtMany } else { Next::Nothing };
        };
        let length = part.length.min(PUNCH_BYTES_MAX).min(spare);
        let piece = Extent { offset: part.end() - length, length };
        state.punched_from = piece.offset;
        state.take(piece);
        Next::Piece(piece)
    }
}

/// What a search for something to punch has found.
enum Next {
    Piece(Extent),
    LookedAtMany,
    Nothing,
}

fn last_large(parts: impl Iterator<Item = Extent>, giving: Giving) -> Option<Extent> {
    parts.filter(|part| part.length >= giving.least_bytes).last()
}
