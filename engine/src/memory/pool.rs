//! What the memtables of a store hold of large memory, to be used again.
//!
//! # Invariants
//! 1. Something is given out again only where the pool is its one owner.
//! 2. No more than the limit is known here; what is made beyond it goes back to the system when its
//!    owner lets go of it.
//!
//! # Concurrency
//! Any number of threads. Locks are held to look through a few dozen pointers.

use super::slab::Slab;
use super::words::WordMap;
use crate::sync::{Arc, AtomicU64, Mutex, Ordering};

/// See the module. The default knows nothing and keeps nothing.
#[derive(Default)]
pub(crate) struct Pool {
    bytes_max: usize,
    slabs: Mutex<Vec<Arc<Slab>>>,
    words: Mutex<Vec<Arc<WordMap>>>,
    /// How often it was asked, and that count at the last look of [`Pool::trim_unused`].
    asked: AtomicU64,
    looked_at: AtomicU64,
}

impl Pool {
    /// A pool that knows of at most so many bytes of slabs, and as many of words.
    pub(crate) fn new(bytes_max: usize) -> Pool {
        Pool { bytes_max, ..Pool::default() }
    }

    /// An empty slab of so many bytes or more; `None` where the system has no memory.
    pub(crate) fn slab(&self, bytes: usize) -> Option<Arc<Slab>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mut slabs = self.slabs.lock();
        for slab in slabs.iter_mut().filter(|slab| slab.bytes() >= bytes) {
            if let Some(free) = Arc::get_mut(slab) {
                free.clear();
                return Some(Arc::clone(slab));
            }
        }
        let slab = Slab::new(bytes)?;
        if slabs.iter().map(|slab| slab.bytes()).sum::<usize>() + bytes <= self.bytes_max {
            slabs.push(Arc::clone(&slab));
        }
        Some(slab)
    }

    /// A map of just so many bytes, and whether there may be something in it.
    pub(super) fn word_map(&self, bytes: usize) -> Option<(Arc<WordMap>, bool)> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mut words = self.words.lock();
        for map in words.iter_mut().filter(|map| map.bytes() == bytes) {
            if Arc::get_mut(map).is_some() {
                return Some((Arc::clone(map), true));
            }
        }
        let map = Arc::new(WordMap::new(bytes)?);
        if words.iter().map(|map| map.bytes()).sum::<usize>() + bytes <= self.bytes_max {
            words.push(Arc::clone(&map));
        }
        Some((map, false))
    }

    /// Gives back to the system what nobody holds, unless the pool was asked since the last look.
    /// Tells whether another look is worth it.
    pub(crate) fn trim_unused(&self) -> bool {
        let asked = self.asked.load(Ordering::Relaxed);
        if self.looked_at.swap(asked, Ordering::Relaxed) == asked {
            self.slabs.lock().retain(|slab| Arc::strong_count(slab) > 1);
            self.words.lock().retain(|map| Arc::strong_count(map) > 1);
            return false;
        }
        let is_free = |count: usize| count == 1;
        self.slabs.lock().iter().any(|slab| is_free(Arc::strong_count(slab)))
            || self.words.lock().iter().any(|map| is_free(Arc::strong_count(map)))
    }
}

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use super::super::Words;
    use super::*;

    const MEBI: usize = 1 << 20;

    #[test]
    fn what_nobody_holds_is_given_out_again() {
        let pool = Pool::new(2 * MEBI);
        let slab = pool.slab(MEBI).unwrap();
        let piece = slab.push(b"held").unwrap();
        let place = piece.as_ptr();
        drop(slab);
        let other = pool.slab(MEBI).unwrap();
        assert_ne!(other.push(b"other").unwrap().as_ptr(), place, "a piece holds its slab");
        assert_eq!(&*piece, b"held");
        drop(piece);
        let again = pool.slab(MEBI / 2).unwrap();
        assert_eq!(again.free_bytes(), MEBI);
        assert_eq!(again.push(b"new").unwrap().as_ptr(), place);
    }

    #[test]
    fn words_come_back_zero_where_that_is_asked() {
        let pool = Arc::new(Pool::new(MEBI));
        let count = MEBI / 8;
        let first = Words::zeroed(&pool, count);
        first.iter().for_each(|word| word.store(7, Ordering::Relaxed));
        let place = first.as_ptr();
        drop(first);
        let dirty = Words::dirty(&pool, count);
        assert_eq!(dirty.as_ptr(), place);
        drop(dirty);
        let clean = Words::zeroed(&pool, count);
        assert_eq!(clean.as_ptr(), place);
        assert!(clean.iter().all(|word| word.load(Ordering::Relaxed) == 0));
        let beyond = Words::zeroed(&pool, count);
        drop(beyond);
        assert_eq!(pool.words.lock().len(), 1, "what is beyond the limit is not kept");
    }

    #[test]
    fn an_idle_pool_lets_go_of_what_is_free_and_of_nothing_else() {
        let pool = Pool::new(4 * MEBI);
        assert!(!pool.trim_unused(), "there is nothing to look for");
        let (held, free) = (pool.slab(MEBI).unwrap(), pool.slab(MEBI).unwrap());
        drop(free);
        assert!(pool.trim_unused(), "it was asked since");
        assert_eq!(pool.slabs.lock().len(), 2);
        assert!(!pool.trim_unused());
        assert_eq!(pool.slabs.lock().len(), 1);
        assert!(held.push(b"still there").is_some());
    }
}
