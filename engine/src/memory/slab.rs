//! Bytes that are copied in one after the other, each run of them once, and read from then on.
//!
//! # Invariants
//! 1. `used` only grows while anybody has a piece, and what lies between an old and a new value of
//!    it belongs to the call of [`Slab::push`] that moved it: nobody else ever writes there.
//! 2. A [`Piece`] is made when its bytes are written, and is the only way to read them.
//!
//! # Concurrency
//! Any number of threads push and read.

use super::{PAGE_BYTES, map};
use crate::sync::{Arc, AtomicUsize, Ordering};
use memmap2::MmapRaw;
use std::ops::Deref;

/// See the module.
pub(crate) struct Slab {
    memory: MmapRaw,
    used: AtomicUsize,
}

/// Bytes in a slab, which lives as long as any of them.
#[derive(Clone)]
pub(crate) struct Piece {
    slab: Arc<Slab>,
    start: u32,
    length: u32,
}

impl Slab {
    /// Room for so many bytes; `None` where the system has none, or for more than 32 bits tell.
    pub(crate) fn new(bytes: usize) -> Option<Arc<Slab>> {
        u32::try_from(bytes).ok()?;
        let memory = MmapRaw::from(map(bytes).ok()?);
        Some(Arc::new(Slab { memory, used: AtomicUsize::new(0) }))
    }

    /// The same, with all of its pages there.
    pub(super) fn touched(bytes: usize) -> Option<Arc<Slab>> {
        u32::try_from(bytes).ok()?;
        let mut memory = map(bytes).ok()?;
        memory.iter_mut().step_by(PAGE_BYTES).for_each(|byte| *byte = 0);
        Some(Arc::new(Slab { memory: memory.into(), used: AtomicUsize::new(0) }))
    }

    /// Bytes of the whole.
    pub(super) fn bytes(&self) -> usize {
        self.memory.len()
    }

    /// Begins at the front again. Nobody has a piece, since whoever calls is the one owner.
    pub(super) fn clear(&mut self) {
        self.used.store(0, Ordering::Relaxed);
    }

    /// Bytes that were not given out.
    pub(crate) fn free_bytes(&self) -> usize {
        self.memory.len() - self.used.load(Ordering::Relaxed)
    }

    /// Copies `bytes` behind those before; `None` where they do not fit.
    pub(crate) fn push(self: &Arc<Slab>, bytes: &[u8]) -> Option<Piece> {
        let behind =
            |used: usize| used.checked_add(bytes.len()).filter(|end| *end <= self.memory.len());
        let claimed = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, behind);
        let at = claimed.ok()?;
        let (start, length) = (u32::try_from(at).ok()?, u32::try_from(bytes.len()).ok()?);
        // SAFETY: `behind` has checked that the bytes from `at` on end inside the map, so `at` does
        // not lie behind its end either.
        let place = unsafe { self.memory.as_mut_ptr().add(at) };
        // SAFETY: the source is a slice. The target lies inside the map, see above, was claimed by
        // this call and no other (invariant 1), and nobody reads it, since there is no piece of it
        // yet (invariant 2). They do not overlap: `bytes` is no claimed and unwritten part of this
        // slab, as there is no way to such a slice.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) };
        Some(Piece { slab: Arc::clone(self), start, length })
    }
}

impl Deref for Piece {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: a piece lies inside its slab's map, see `push`, which lives as long as the piece.
        let place = unsafe { self.slab.memory.as_ptr().add(self.start as usize) };
        // SAFETY: its bytes were written before it was made, and are never written again
        // (invariants 1 and 2); the map lives as long as the borrowed piece.
        unsafe { std::slice::from_raw_parts(place, self.length as usize) }
    }
}

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_what_was_pushed_and_outlive_the_handle() {
        let slab = Slab::new(4096).unwrap();
        let pieces: Vec<Piece> = (0..16u8).map(|at| slab.push(&[at; 250]).unwrap()).collect();
        assert_eq!(slab.free_bytes(), 96);
        assert!(slab.push(&[1; 97]).is_none(), "what does not fit is refused");
        assert_eq!(&*slab.push(&[9; 96]).unwrap(), &[9; 96]);
        assert_eq!(&*slab.push(&[]).unwrap(), &[0; 0], "nothing always fits");
        drop(slab);
        for (at, piece) in (0..16u8).zip(&pieces) {
            assert_eq!(**piece, [at; 250]);
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "what several threads do is tested on threads")]
    fn threads_push_beside_each_other() {
        let slab = Slab::new(1 << 20).unwrap();
        let push = |mark: u8| {
            let slab = Arc::clone(&slab);
            std::thread::spawn(move || {
                (1..100).map(|length| slab.push(&vec![mark; length]).unwrap()).collect::<Vec<_>>()
            })
        };
        let threads: Vec<_> = (1..5).map(|mark| (mark, push(mark))).collect();
        for (mark, thread) in threads {
            for (length, piece) in (1..100).zip(thread.join().unwrap()) {
                assert_eq!(*piece, vec![mark; length]);
            }
        }
    }
}
