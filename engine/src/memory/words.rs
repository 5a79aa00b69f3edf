//! Atomic words on the heap or, where they are many, on memory of the system's own.

use super::{Pool, map};
use crate::sync::{Arc, AtomicU64, Ordering};
use memmap2::MmapRaw;
use std::ops::Deref;

/// Bytes from which on words are asked of the system, and not of the heap.
const MAPPED_BYTES_MIN: usize = 128 * 1024;

/// Memory for words.
pub(crate) struct WordMap(MmapRaw);

impl WordMap {
    /// So many bytes, which are zero; `None` where the system has none.
    pub(super) fn new(bytes: usize) -> Option<WordMap> {
        Some(WordMap(map(bytes).ok()?.into()))
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.len()
    }
}

/// See the module.
pub(crate) enum Words {
    Heap(Box<[AtomicU64]>),
    #[cfg(not(any(loom, shuttle)))]
    Mapped(Arc<WordMap>),
}

impl Words {
    /// So many words, all zero.
    pub(crate) fn zeroed(pool: &Pool, count: usize) -> Words {
        match Words::mapped(pool, count) {
            Some((words, is_used)) => {
                let used = if is_used { &*words } else { &[] };
                used.iter().for_each(|word| word.store(0, Ordering::Relaxed));
                words
            }
            None => Words::Heap((0..count).map(|_| AtomicU64::new(0)).collect()),
        }
    }

    /// So many words that may be anything: each is stored before it is read for what it says.
    pub(crate) fn dirty(pool: &Pool, count: usize) -> Words {
        match Words::mapped(pool, count) {
            Some((words, _)) => words,
            None => Words::zeroed(pool, count),
        }
    }

    /// Words of a map, where they are many, and whether there may be something in them.
    #[cfg(not(any(loom, shuttle)))]
    fn mapped(pool: &Pool, count: usize) -> Option<(Words, bool)> {
        let bytes = count.checked_mul(size_of::<AtomicU64>())?;
        if bytes < MAPPED_BYTES_MIN {
            return None;
        }
        let (map, is_used) = pool.word_map(bytes)?;
        Some((Words::Mapped(map), is_used))
    }

    #[cfg(any(loom, shuttle))]
    fn mapped(_: &Pool, _: usize) -> Option<(Words, bool)> {
        None
    }
}

impl Deref for Words {
    type Target = [AtomicU64];

    #[inline]
    fn deref(&self) -> &[AtomicU64] {
        match self {
            Words::Heap(words) => words,
            #[cfg(not(any(loom, shuttle)))]
            Words::Mapped(map) => {
                let count = map.0.len() / size_of::<AtomicU64>();
                // SAFETY: the map begins on a page, so it is aligned for words, and has at least so
                // many of them. They were zero when it was made, any bits are a valid word, and
                // nobody touches them but as the atomics that this slice gives out. The map lives
                // as long as the borrowed owner.
                unsafe { std::slice::from_raw_parts(map.0.as_ptr().cast(), count) }
            }
        }
    }
}

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_zero_and_keep_what_is_stored() {
        for count in [0, 1, 1000, MAPPED_BYTES_MIN / 8, 1 << 18] {
            let words = Words::zeroed(&Pool::default(), count);
            assert_eq!(words.len(), count);
            assert!(words.iter().all(|word| word.load(Ordering::Relaxed) == 0));
            for (at, word) in words.iter().enumerate() {
                word.store(at as u64 + 1, Ordering::Relaxed);
            }
            let sum = words.iter().map(|word| word.load(Ordering::Relaxed)).sum::<u64>();
            assert_eq!(sum, count as u64 * (count as u64 + 1) / 2);
        }
    }
}
