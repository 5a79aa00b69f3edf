//! Atomic words on the heap or, where they are many, on memory of the system's own.

use super::{HUGE_BYTES, PAGE_BYTES, Pool, map};
use crate::sync::{Arc, AtomicU64, AtomicUsize, Ordering};
use memmap2::MmapRaw;
use std::ops::Deref;

/// Bytes from which on words are asked of the system, and not of the heap.
const MAPPED_BYTES_MIN: usize = 128 * 1024;

/// Memory for words.
pub(crate) struct WordMap {
    memory: MmapRaw,
    /// Bytes at the front that were touched ahead, now or for an owner before.
    touched: AtomicUsize,
    /// Bytes at the front that are to be touched.
    wanted: AtomicUsize,
}

/// Bytes that are touched at once.
const PIECE_BYTES: usize = 2 * HUGE_BYTES;

impl WordMap {
    /// So many bytes, which are zero; `None` where the system has none.
    pub(super) fn new(bytes: usize) -> Option<WordMap> {
        let (touched, wanted) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Some(WordMap { memory: map(bytes).ok()?.into(), touched, wanted })
    }

    pub(super) fn bytes(&self) -> usize {
        self.memory.len()
    }

    /// Asks for the huge pages up to `end`. Whether any is to be touched.
    pub(super) fn want(&self, end: usize) -> bool {
        let end = end.next_multiple_of(HUGE_BYTES).min(self.bytes());
        self.wanted.fetch_max(end, Ordering::Relaxed);
        self.is_wanted()
    }

    /// Whether something is to be touched.
    pub(super) fn is_wanted(&self) -> bool {
        self.touched.load(Ordering::Relaxed) < self.wanted.load(Ordering::Relaxed)
    }

    /// Makes some of the pages there that are wanted and are not.
    #[cfg(not(any(loom, shuttle)))]
    pub(super) fn touch(&self) {
        let start = self.touched.load(Ordering::Relaxed);
        let end = self.wanted.load(Ordering::Relaxed).min(start + PIECE_BYTES);
        let (first, behind) = (start / size_of::<AtomicU64>(), end / size_of::<AtomicU64>());
        let words = self.words()[..behind].iter().skip(first);
        for word in words.step_by(PAGE_BYTES / size_of::<AtomicU64>()) {
            // A load would be given the page of zeros that all share. Whoever uses the word already
            // has its store kept.
            let _ = word.compare_exchange(0, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
        self.touched.fetch_max(end, Ordering::Relaxed);
    }

    /// Models have no maps: nothing is there to be touched, and nothing is wanted any more.
    #[cfg(any(loom, shuttle))]
    pub(super) fn touch(&self) {
        self.touched.fetch_max(self.wanted.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    #[cfg(not(any(loom, shuttle)))]
    fn words(&self) -> &[AtomicU64] {
        let count = self.bytes() / size_of::<AtomicU64>();
        // SAFETY: the map begins on a page, so it is aligned for words, and has at least so many of
        // them. They were zero when it was made, any bits are a valid word, and nobody touches them
        // but as the atomics that this slice gives out. The map lives as long as it is borrowed.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr().cast(), count) }
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

    /// Has the pages of what lies before word `end` touched soon, if they are huge.
    #[cfg(not(any(loom, shuttle)))]
    pub(crate) fn touch_ahead(&self, pool: &Pool, end: usize) {
        if let Words::Mapped(map) = self
            && map.bytes() >= HUGE_BYTES
            && map.want(end * size_of::<AtomicU64>())
        {
            pool.call_for_words();
        }
    }

    #[cfg(any(loom, shuttle))]
    pub(crate) fn touch_ahead(&self, _: &Pool, _: usize) {}

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
            Words::Mapped(map) => map.words(),
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
