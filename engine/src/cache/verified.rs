//! Which small units of maps have been verified: a table of fixed size, so that it costs the same
//! however many segments are open.
//!
//! A unit is named by 64 bits that no other unit ever has, and lies in the one slot that they hash
//! to; a newer unit pushes an older one out, which is then verified again at its next touch.
//!
//! # Concurrency
//! Any thread; a slot is one word. It is stored after the unit was verified.

use crate::sync::{AtomicU64, Ordering};

/// Bytes of a cache for each slot.
const CACHE_BYTES_PER_SLOT: usize = 512;

#[derive(Debug)]
pub(super) struct Verified {
    slots: Box<[AtomicU64]>,
}

impl Verified {
    /// The table beside a cache of so many bytes.
    pub(super) fn new(cache_bytes: usize) -> Verified {
        let count = (cache_bytes / CACHE_BYTES_PER_SLOT).next_power_of_two();
        Verified { slots: (0..count).map(|_| AtomicU64::new(0)).collect() }
    }

    pub(super) fn contains(&self, name: u64) -> bool {
        self.slot(name).load(Ordering::Acquire) == name
    }

    pub(super) fn insert(&self, name: u64) {
        debug_assert_ne!(name, 0, "zero is an empty slot");
        self.slot(name).store(name, Ordering::Release);
    }

    /// Nothing counts as verified any more.
    pub(super) fn clear(&self) {
        self.slots.iter().for_each(|slot| slot.store(0, Ordering::Release));
    }

    fn slot(&self, name: u64) -> &AtomicU64 {
        let mixed = name.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let index = mixed % self.slots.len() as u64;
        &self.slots[usize::try_from(index).expect("less than the number of slots")]
    }
}
