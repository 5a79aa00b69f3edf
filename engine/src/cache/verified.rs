//! Which small units of maps have been verified: a table of fixed size, so that it costs the same
//! however many segments are open.
//!
//! A unit is named by 64 bits that no other unit ever has, and lies in the one slot that they hash
//! to; a newer unit pushes an older one out, which is then verified again at its next touch.
//!
//! # Concurrency
//! Any thread; a slot is one word. It is stored after the unit was verified.

use crate::sync::{AtomicBool, AtomicU64, Ordering};

/// Bytes of a cache for each slot.
const CACHE_BYTES_PER_SLOT: usize = 512;

#[derive(Debug)]
pub(super) struct Verified {
    slots: Box<[AtomicU64]>,
    /// Nothing counts as verified once it was.
    distrusted: AtomicBool,
}

impl Verified {
    /// The table beside a cache of so many bytes.
    pub(super) fn new(cache_bytes: usize) -> Verified {
        let count = (cache_bytes / CACHE_BYTES_PER_SLOT).next_power_of_two();
        let slots = (0..count).map(|_| AtomicU64::new(0)).collect();
        Verified { slots, distrusted: AtomicBool::new(false) }
    }

    pub(super) fn contains(&self, name: u64) -> bool {
        self.slot(name).load(Ordering::Acquire) == name
    }

    pub(super) fn insert(&self, name: u64) {
        debug_assert_ne!(name, 0, "zero is an empty slot");
        let slot = self.slot(name);
        slot.swap(name, Ordering::AcqRel);
        // A name that was stored behind the clearing sees what was stored before that.
        if self.distrusted.load(Ordering::Acquire) {
            slot.store(0, Ordering::Release);
        }
    }

    /// Nothing counts as verified from now on: the device gave other bytes than memory has, and the
    /// system may read a page from it again at any time.
    pub(super) fn distrust(&self) {
        self.distrusted.store(true, Ordering::Release);
        self.slots.iter().for_each(|slot| slot.store(0, Ordering::Release));
    }

    fn slot(&self, name: u64) -> &AtomicU64 {
        let mixed = name.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let index = mixed % self.slots.len() as u64;
        &self.slots[usize::try_from(index).expect("less than the number of slots")]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_distrusted_is_never_remembered_again() {
        let verified = Verified::new(1 << 20);
        verified.insert(7);
        assert!(verified.contains(7) && !verified.contains(8));
        verified.distrust();
        assert!(!verified.contains(7));
        verified.insert(7);
        assert!(!verified.contains(7));
    }
}
