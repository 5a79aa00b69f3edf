//! One shard of the block cache: a map to slots, and the CLOCK hand over them.

use super::BlockKey;
use crate::file::Region;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// What a slot costs beside its bytes, about.
const SLOT_OVERHEAD: usize = 96;

#[derive(Debug)]
struct Slot {
    key: BlockKey,
    region: Region,
    referenced: bool,
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

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn get(&mut self, key: BlockKey) -> Option<Region> {
        let slot = &mut self.slots[*self.places.get(&key)?];
        slot.referenced = true;
        Some(slot.region.clone())
    }

    pub(super) fn insert(&mut self, key: BlockKey, region: Region) {
        let cost = region.len() + SLOT_OVERHEAD;
        if cost > self.capacity || self.places.contains_key(&key) {
            return;
        }
        while self.bytes + cost > self.capacity {
            self.evict();
        }
        self.bytes += cost;
        self.places.insert(key, self.slots.len());
        self.slots.push(Slot { key, region, referenced: false });
    }

    /// Takes the first slot from the hand on whose bit is clear. Bounded: one turn clears all bits.
    fn evict(&mut self) {
        debug_assert!(!self.slots.is_empty(), "a shard that is too full holds something");
        loop {
            self.hand = if self.hand < self.slots.len() { self.hand } else { 0 };
            if !self.slots[self.hand].referenced {
                self.take(self.hand);
                return;
            }
            self.slots[self.hand].referenced = false;
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
