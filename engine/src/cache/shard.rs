//! One shard of the block cache: a map to slots, and the CLOCK hand over them.

use super::{BlockKey, Keep};
use crate::file::Region;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// What a slot costs beside its bytes, about.
const SLOT_OVERHEAD: usize = 96;

#[derive(Debug)]
struct Slot {
    key: BlockKey,
    region: Region,
    /// Turns of the hand that the slot has still to live through unused.
    credit: u8,
    keep: Keep,
}

#[derive(Debug)]
pub(super) struct Shard {
    capacity: usize,
    bytes: usize,
    slots: Vec<Slot>,
    places: HashMap<BlockKey, usize, FixedState>,
    hand: usize,
}

impl Shard {
    pub(super) fn new(capacity: usize) -> Shard {
        Shard { capacity, bytes: 0, slots: Vec::new(), places: HashMap::default(), hand: 0 }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn get(&mut self, key: BlockKey) -> Option<Region> {
        let slot = &mut self.slots[*self.places.get(&key)?];
        slot.credit = slot.keep.credit();
        Some(slot.region.clone())
    }

    pub(super) fn insert(&mut self, key: BlockKey, region: Region, keep: Keep) {
        let cost = region.len() + SLOT_OVERHEAD;
        if cost > self.capacity || self.places.contains_key(&key) {
            return;
        }
        while self.bytes + cost > self.capacity {
            self.evict();
        }
        self.bytes += cost;
        self.places.insert(key, self.slots.len());
        let credit = keep.credit() - 1;
        self.slots.push(Slot { key, region, credit, keep });
    }

    /// Takes the first slot from the hand on that has no credit left. Bounded: a few turns take all
    /// of it.
    fn evict(&mut self) {
        debug_assert!(!self.slots.is_empty(), "a shard that is too full holds something");
        loop {
            self.hand = if self.hand < self.slots.len() { self.hand } else { 0 };
            let slot = &mut self.slots[self.hand];
            if slot.credit == 0 {
                self.take(self.hand);
                // The newest slot has taken its place: it is not the next to go.
                self.hand += 1;
                return;
            }
            slot.credit -= 1;
            self.hand += 1;
        }
    }

    fn take(&mut self, index: usize) {
        let slot = self.slots.swap_remove(index);
        self.bytes -= slot.region.len() + SLOT_OVERHEAD;
        self.places.remove(&slot.key);
        if let Some(moved) = self.slots.get(index) {
            self.places.insert(moved.key, index);
        }
    }
}
