//! Scrubbing: what is in no use keeps no old bytes. Called in bounded pieces by the worker that
//! erases (`engine/erasure/`).
//!
//! ```text
//! grid      | live | free | live | reserved | hole | held | free |
//! dirty            \______/      \__________/      \_____________/
//! scrubbed         | zero |      when it is free   when they let go
//! ```
//! 1. `begin_scrub`: whatever is not live, and no hole, is *dirty*. What is reserved is dirty too:
//!    whoever has it may give back a part that was not written over, or all of it.
//! 2. `scrub` takes a dirty piece out of the free space, overwrites it with zeros, or has a hole
//!    punched where it is long, and puts it back.
//! 3. It is over when all that is dirty is live: whoever made it live has written over all of it.
//!
//! # Invariants
//! 1. Only free space is touched, as when it is given back (`giving_back.rs`).
//! 2. What is live has been written from its front to its end since it was reserved, or holds
//!    zeros.
//! 3. Nothing is synced here: the caller syncs before it says that anything was erased.

use super::Allocator;
use crate::error::{Error, Result};
use crate::file::{AlignedBuffer, Extent, Flush, Pacer, disk};
use crate::limits::{OUTPUT_PIECE_BYTES, PUNCH_BYTES_MAX, PUNCH_BYTES_MIN};
use crate::sync::Ordering;

impl Allocator {
    /// Whatever is not `live` may hold bytes that are to be erased.
    pub(crate) fn begin_scrub(&self, live: &[Extent]) {
        let mut state = self.state.lock();
        let end = state.physical_length.max(state.file_length);
        let all = Extent { offset: self.grid_start, length: end - self.grid_start };
        state.dirty = state.holes.missing(all).into_iter().collect();
        live.iter().for_each(|extent| state.dirty.remove(*extent));
    }

    /// Scrubs one piece of what is dirty and free. Returns whether there was any.
    ///
    /// # Errors
    /// The disk's; the space stays free and dirty.
    pub(crate) fn scrub(&self, pacer: &Pacer) -> Result<bool> {
        let Some(piece) = self.take_dirty() else { return Ok(false) };
        let scrubbed = self.make_zero(piece, pacer);
        let mut state = self.state.lock();
        state.free.add(piece);
        let punched = scrubbed?;
        state.dirty.remove(piece);
        if punched {
            state.holes.add(piece);
        }
        Ok(true)
    }

    /// Bytes that are still dirty, and neither free nor `live`.
    pub(crate) fn unscrubbed(&self, live: &[Extent]) -> u64 {
        let state = self.state.lock();
        let live: u64 =
            live.iter().flat_map(|extent| state.dirty.common(*extent)).map(|it| it.length).sum();
        state.dirty.bytes() - live
    }

    /// Nobody asks any more.
    pub(crate) fn end_scrub(&self) {
        self.state.lock().dirty = std::iter::empty().collect();
    }

    /// Takes a dirty piece out of the free space, so that nobody else gets it meanwhile.
    fn take_dirty(&self) -> Option<Extent> {
        let mut state = self.state.lock();
        if state.dirty.bytes() == 0 {
            return None;
        }
        let mut parts = state.free.iter().flat_map(|run| state.dirty.common(run));
        let part = parts.next()?;
        let longest = match part.length >= PUNCH_BYTES_MIN && !self.no_holes() {
            true => PUNCH_BYTES_MAX,
            false => OUTPUT_PIECE_BYTES as u64,
        };
        drop(parts);
        let piece = Extent { offset: part.offset, length: part.length.min(longest) };
        state.take(piece);
        Some(piece)
    }

    fn no_holes(&self) -> bool {
        self.no_holes.load(Ordering::Relaxed)
    }

    /// Has a piece read as zeros; says whether it is a hole now.
    fn make_zero(&self, piece: Extent, pacer: &Pacer) -> Result<bool> {
        if piece.length >= PUNCH_BYTES_MIN && !self.no_holes() {
            let punched = self.disk.punch_hole(piece.offset, piece.length);
            match punched.map_err(|error| Error::io("punch a hole", piece.offset, error))? {
                true => return Ok(true),
                false => self.no_holes.store(true, Ordering::Relaxed),
            }
        }
        let mut zeros = AlignedBuffer::with_capacity(OUTPUT_PIECE_BYTES);
        zeros.extend(&[0]);
        zeros.pad_to(OUTPUT_PIECE_BYTES);
        let mut offset = piece.offset;
        while offset < piece.end() {
            let length = (piece.end() - offset).min(OUTPUT_PIECE_BYTES as u64);
            pacer.take(length);
            let bytes = &zeros.as_slice()[..usize::try_from(length).expect("at most a piece")];
            disk::write_all_at(&*self.disk, "erase free space", offset, bytes, Flush::Later)?;
            offset += length;
        }
        Ok(false)
    }
}
