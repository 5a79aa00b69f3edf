//! Which entries have been amended in this memtable, as far as a filter can tell: readers ask it
//! for each entry they give out, so it must cost next to nothing.
//!
//! ```text
//! nothing was amended      one load
//! other tables were        two more
//! this table was           a bloom filter: 64 KiB, made by the first amendment, six bits a key
//! ```
//! Ten bits a key up to 50,000 amendments; with many more it lets everything pass, and the skip
//! list answers.
//!
//! # Concurrency
//! One writer, which inserts before the commit is published; any number of readers, which look for
//! amendments of commits that were published before they began.

use crate::entry::TableId;
use crate::sync::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use foldhash::fast::FixedState;
use std::hash::BuildHasher;
use std::sync::OnceLock;

/// Words of the filter.
const WORDS: usize = if cfg!(loom) { 4 } else { 8192 };
/// Bits that a key sets.
const PROBES: u32 = 6;

/// See the module.
pub(crate) struct Amended {
    count: AtomicUsize,
    /// The lowest and the highest table of an amended entry.
    least: AtomicU32,
    greatest: AtomicU32,
    bits: OnceLock<Box<[AtomicU64]>>,
}

impl Amended {
    pub(super) fn new() -> Amended {
        Amended {
            count: AtomicUsize::new(0),
            least: AtomicU32::new(u32::MAX),
            greatest: AtomicU32::new(0),
            bits: OnceLock::new(),
        }
    }

    /// Writer only.
    pub(super) fn insert(&self, table: TableId, key: &[u8]) {
        let bits = self.bits.get_or_init(|| (0..WORDS).map(|_| AtomicU64::new(0)).collect());
        for (word, bit) in places(key) {
            let old = bits[word].load(Ordering::Relaxed);
            bits[word].store(old | bit, Ordering::Relaxed);
        }
        let least = self.least.load(Ordering::Relaxed).min(table.0);
        self.least.store(least, Ordering::Relaxed);
        let greatest = self.greatest.load(Ordering::Relaxed).max(table.0);
        self.greatest.store(greatest, Ordering::Relaxed);
        self.count.store(self.count.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// Whether there is nothing at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// Whether entries of the table may have been amended.
    pub(crate) fn may_hold_table(&self, table: TableId) -> bool {
        !self.is_empty()
            && self.least.load(Ordering::Relaxed) <= table.0
            && table.0 <= self.greatest.load(Ordering::Relaxed)
    }

    /// Whether the entry with this key in the table of amendments may have been amended.
    pub(crate) fn may_hold(&self, key: &[u8]) -> bool {
        let Some(bits) = self.bits.get() else {
            return false;
        };
        places(key).all(|(word, bit)| bits[word].load(Ordering::Relaxed) & bit != 0)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bits.get().map_or(0, |bits| size_of_val(&**bits))
    }
}

/// The words and the bits in them that a key sets.
fn places(key: &[u8]) -> impl Iterator<Item = (usize, u64)> {
    let hash = FixedState::default().hash_one(key);
    // Two halves make all probes; the step is odd, so that no two of them meet.
    let (start, step) = (hash, (hash >> 32) | 1);
    (0..PROBES).map(move |probe| {
        let place = start.wrapping_add(step.wrapping_mul(u64::from(probe)));
        let word = usize::try_from((place >> 6) % WORDS as u64).expect("less than the words");
        (word, 1u64 << (place & 63))
    })
}

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_amended_is_never_denied() {
        let amended = Amended::new();
        assert!(amended.is_empty() && !amended.may_hold_table(TableId(16)));
        for number in 0..10_000u32 {
            amended.insert(TableId(16 + number % 3), &number.to_be_bytes());
        }
        assert!((0..10_000u32).all(|number| amended.may_hold(&number.to_be_bytes())));
        assert!(amended.may_hold_table(TableId(16)) && amended.may_hold_table(TableId(18)));
        assert!(!amended.may_hold_table(TableId(15)) && !amended.may_hold_table(TableId(19)));
    }

    #[test]
    fn what_was_not_amended_is_mostly_denied() {
        let amended = Amended::new();
        assert!(!amended.may_hold(b"anything"));
        (0..20_000u32).for_each(|number| amended.insert(TableId(16), &number.to_be_bytes()));
        let wrong =
            (20_000..120_000u32).filter(|number| amended.may_hold(&number.to_be_bytes())).count();
        assert!(wrong < 2_000, "{wrong} of 100,000");
    }
}
