//! The frame bodies of a memtable, by frame number: each is held once, however many entries and
//! readers point into it.
//!
//! The bodies that a leader brings are copied one behind the other into slabs. What a batch was
//! built in is warm in the processor's cache, and is taken for the next one; the copy lies on huge
//! pages, where the flush reads it. A giant body, and one that recovery shares, is kept as it is.
//!
//! # Invariants
//! 1. Frame numbers are dense from 0. A slot is filled once, before any entry names it.
//!
//! # Concurrency
//! One writer pushes. Any number of readers.

use super::segments::{CAPACITY, Segments, place};
use crate::entry::Payload;
use crate::memory::{Piece, Pool, Slab};
use crate::sync::{Arc, AtomicU32, AtomicUsize, Mutex, Ordering};
use std::ops::{Deref, Range};
use std::sync::OnceLock;

/// What one frame costs beside its bytes: the counted pointer's header and the vector.
const FRAME_OVERHEAD: usize = 2 * size_of::<usize>() + size_of::<Vec<u8>>();
/// The smallest and the largest slab. A new one is as large as all bodies so far.
const SLAB_BYTES: Range<usize> = 64 * 1024..4 * 1024 * 1024;
/// A body from so many bytes on is not copied.
const COPIED_BYTES: usize = 1024 * 1024;

/// The bytes of one body.
#[derive(Clone)]
pub(crate) enum Frame {
    Whole(Arc<Vec<u8>>),
    Copied(Piece),
}

impl Frame {
    /// Bytes of it that a reader keeps.
    pub(super) fn payload(&self, range: Range<usize>) -> Payload {
        match self {
            Frame::Whole(body) => Payload::in_frame(Arc::clone(body), range),
            Frame::Copied(piece) => Payload::in_piece(piece, range),
        }
    }
}

impl Deref for Frame {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Frame::Whole(body) => body,
            Frame::Copied(piece) => piece,
        }
    }
}

/// See the module.
pub(super) struct Frames {
    slots: Segments<OnceLock<Frame>>,
    count: AtomicU32,
    bytes: AtomicUsize,
    pool: Arc<Pool>,
    /// The slab that is being filled.
    slab: Mutex<Option<Arc<Slab>>>,
}

impl Frames {
    pub(super) fn new(pool: &Arc<Pool>) -> Frames {
        Frames {
            slots: Segments::new(),
            count: AtomicU32::new(0),
            bytes: AtomicUsize::new(0),
            pool: Arc::clone(pool),
            slab: Mutex::new(None),
        }
    }

    /// A body to be pushed, copied where that is better. Writer only.
    pub(super) fn take(&self, mut body: Vec<u8>) -> Frame {
        if body.len() < COPIED_BYTES
            && let Some(piece) = self.copy(&body)
        {
            return Frame::Copied(piece);
        }
        // What growing has left over would count against the memtable's limit.
        body.shrink_to_fit();
        Frame::Whole(Arc::new(body))
    }

    fn copy(&self, body: &[u8]) -> Option<Piece> {
        let mut slab = self.slab.lock();
        if let Some(piece) = slab.as_ref().and_then(|slab| slab.push(body)) {
            return Some(piece);
        }
        // Nobody else takes what the slab before has left.
        let left = slab.as_ref().map_or(0, |slab| slab.free_bytes());
        self.bytes.fetch_add(left, Ordering::Relaxed);
        let bytes = self.bytes().clamp(SLAB_BYTES.start, SLAB_BYTES.end);
        let bytes = bytes.next_power_of_two();
        *slab = self.pool.slab(bytes.max(body.len()));
        self.pool.slab_ahead((2 * bytes).min(SLAB_BYTES.end));
        slab.as_ref()?.push(body)
    }

    /// Adds a frame and returns its number; `None` when numbers have run out. Writer only.
    pub(super) fn push(&self, body: Frame) -> Option<u32> {
        let number = self.count.load(Ordering::Relaxed);
        if number >= CAPACITY {
            return None;
        }
        let bytes = match &body {
            Frame::Whole(body) => body.capacity() + FRAME_OVERHEAD,
            Frame::Copied(piece) => piece.len(),
        };
        let more = self.slots.ensure(place(number)) + bytes;
        let stored = self.slots.get(number).set(body);
        assert!(stored.is_ok(), "frame {number} was pushed already");
        self.bytes.fetch_add(more, Ordering::Relaxed);
        self.count.store(number + 1, Ordering::Relaxed);
        Some(number)
    }

    /// Whether one more frame can be numbered.
    pub(super) fn has_room(&self) -> bool {
        self.count.load(Ordering::Relaxed) < CAPACITY
    }

    /// A frame that an entry names.
    pub(super) fn get(&self, number: u32) -> &Frame {
        self.slots.get(number).get().expect("a frame is stored before anything names it")
    }

    /// A frame, if so many were pushed. For memtables that are written no more.
    pub(super) fn get_if_there(&self, number: u32) -> Option<&Frame> {
        (number < self.count.load(Ordering::Relaxed)).then(|| self.get(number))
    }

    /// Bytes of all frames and of their slots.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}
