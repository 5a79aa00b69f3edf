//! The frame bodies of a memtable, by frame number: each is held once, however many entries and
//! readers point into it.
//!
//! # Invariants
//! 1. Frame numbers are dense from 0. A slot is filled once, before any entry names it.
//!
//! # Concurrency
//! One writer pushes. Any number of readers.

use super::segments::{CAPACITY, Segments, place};
use crate::sync::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// What one frame costs beside its bytes: the counted pointer's header and the vector.
const FRAME_OVERHEAD: usize = 2 * size_of::<usize>() + size_of::<Vec<u8>>();

/// See the module.
pub(super) struct Frames {
    slots: Segments<OnceLock<Arc<Vec<u8>>>>,
    count: AtomicU32,
    bytes: AtomicUsize,
}

impl Frames {
    pub(super) fn new() -> Frames {
        Frames { slots: Segments::new(), count: AtomicU32::new(0), bytes: AtomicUsize::new(0) }
    }

    /// Adds a frame and returns its number; `None` when numbers have run out. Writer only.
    pub(super) fn push(&self, body: Arc<Vec<u8>>) -> Option<u32> {
        let number = self.count.load(Ordering::Relaxed);
        if number >= CAPACITY {
            return None;
        }
        let more = self.slots.ensure(place(number)) + body.capacity() + FRAME_OVERHEAD;
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
    pub(super) fn get(&self, number: u32) -> &Arc<Vec<u8>> {
        self.slots.get(number).get().expect("a frame is stored before anything names it")
    }

    /// A frame, if so many were pushed. For memtables that are written no more.
    pub(super) fn get_if_there(&self, number: u32) -> Option<&Arc<Vec<u8>>> {
        (number < self.count.load(Ordering::Relaxed)).then(|| self.get(number))
    }

    /// Bytes of all frames and of their slots.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}
