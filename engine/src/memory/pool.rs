//! What the memtables of a store hold of large memory, to be used again.
//!
//! # Invariants
//! 1. Something is given out again only where the pool is its one owner.
//! 2. No more than the limit is known here; what is made beyond it goes back to the system when its
//!    owner lets go of it.
//!
//! # Concurrency
//! Any number of threads. Locks are held to look through a few dozen pointers.

use super::HUGE_BYTES;
use super::ahead::{Ahead, Ask};
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
    ahead: Ahead,
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
        if self.has_room(slabs.iter().map(|slab| slab.bytes()), bytes) {
            slabs.push(Arc::clone(&slab));
        }
        Some(slab)
    }

    fn has_room(&self, known: impl Iterator<Item = usize>, bytes: usize) -> bool {
        known.sum::<usize>() + bytes <= self.bytes_max
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
        if self.has_room(words.iter().map(|map| map.bytes()), bytes) {
            words.push(Arc::clone(&map));
        }
        Some((map, false))
    }

    /// Whom to call when something is asked for that is to be touched ahead of its use: they call
    /// [`Pool::touch`].
    pub(crate) fn call_to_touch(&self, call: impl Fn() + Send + Sync + 'static) {
        self.ahead.call(Box::new(call));
    }

    /// A slab of so many bytes will be asked for soon.
    pub(crate) fn slab_ahead(&self, bytes: usize) {
        if bytes >= HUGE_BYTES && !self.has_free_slab(bytes) {
            self.ahead.ask(Ask::Slab(bytes));
        }
    }

    /// So many words will be asked for soon, and those at their front be stored to.
    pub(crate) fn words_ahead(&self, count: usize, front: usize) {
        let (bytes, front) = (count * size_of::<u64>(), front * size_of::<u64>());
        if bytes >= HUGE_BYTES {
            self.ahead.ask(Ask::Map { bytes, front });
        }
    }

    /// A map wants some of its bytes touched.
    pub(super) fn call_for_words(&self) {
        self.ahead.call_now();
    }

    /// Touches some of what was asked for. Whether there was something.
    pub(crate) fn touch(&self) -> bool {
        if let Some(map) = self.wanted_words() {
            map.touch();
            return true;
        }
        match self.ahead.next() {
            None => return false,
            Some(Ask::Slab(bytes)) => self.add_slab(bytes),
            Some(Ask::Map { bytes, front }) => self.add_words(bytes, front),
        }
        true
    }

    fn wanted_words(&self) -> Option<Arc<WordMap>> {
        self.words.lock().iter().find(|map| map.is_wanted()).cloned()
    }

    /// Whether a slab of so many bytes is there that nobody has.
    pub(crate) fn has_free_slab(&self, bytes: usize) -> bool {
        let slabs = self.slabs.lock();
        slabs.iter().any(|slab| slab.bytes() >= bytes && Arc::strong_count(slab) == 1)
    }

    fn add_slab(&self, bytes: usize) {
        let has_room = self.has_room(self.slabs.lock().iter().map(|slab| slab.bytes()), bytes);
        if !has_room || self.has_free_slab(bytes) {
            return;
        }
        // Without the lock: a writer may need another one meanwhile.
        let Some(slab) = Slab::touched(bytes) else { return };
        let mut slabs = self.slabs.lock();
        if self.has_room(slabs.iter().map(|slab| slab.bytes()), bytes) {
            slabs.push(slab);
        }
    }

    fn add_words(&self, bytes: usize, front: usize) {
        let mut words = self.words.lock();
        let mut free = words.iter().filter(|map| Arc::strong_count(map) == 1);
        // One that is free has been used before, or is being touched.
        if free.any(|map| map.bytes() == bytes)
            || !self.has_room(words.iter().map(|map| map.bytes()), bytes)
        {
            return;
        }
        if let Some(map) = WordMap::new(bytes) {
            map.want(front);
            words.push(Arc::new(map));
        }
    }

    /// Gives back to the system what nobody holds, unless the pool was asked since the last look.
    /// Tells whether another look is worth it.
    pub(crate) fn trim_unused(&self) -> bool {
        let asked = self.asked.load(Ordering::Relaxed);
        if self.looked_at.swap(asked, Ordering::Relaxed) == asked {
            // They go to the system without the lock: a writer may wait for it.
            let is_free = |slab: &mut Arc<Slab>| Arc::strong_count(slab) == 1;
            let slabs: Vec<_> = self.slabs.lock().extract_if(.., is_free).collect();
            let is_free = |map: &mut Arc<WordMap>| Arc::strong_count(map) == 1;
            let words: Vec<_> = self.words.lock().extract_if(.., is_free).collect();
            drop((slabs, words));
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

    /// Of each ask somebody is told.
    fn with_calls(bytes_max: usize) -> (Pool, Arc<AtomicU64>) {
        let (pool, calls) = (Pool::new(bytes_max), Arc::new(AtomicU64::new(0)));
        let counted = Arc::clone(&calls);
        pool.call_to_touch(move || _ = counted.fetch_add(1, Ordering::Relaxed));
        (pool, calls)
    }

    #[test]
    fn a_slab_that_will_be_asked_for_is_there_and_touched() {
        let (pool, calls) = with_calls(9 * MEBI);
        let first = pool.slab(4 * MEBI).unwrap();
        pool.slab_ahead(4 * MEBI);
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        assert!(pool.touch());
        assert!(!pool.touch(), "that was all");
        pool.slab_ahead(4 * MEBI);
        assert!(!pool.touch(), "a free one is there");
        let spare = pool.slabs.lock().last().map(Arc::as_ptr);
        let second = pool.slab(4 * MEBI).unwrap();
        assert_eq!(Some(Arc::as_ptr(&second)), spare);
        pool.slab_ahead(4 * MEBI);
        assert!(pool.touch());
        assert_eq!(pool.slabs.lock().len(), 2, "no more than the limit is known");
        pool.slab_ahead(MEBI);
        assert!(!pool.touch(), "small pages cost little");
        drop((first, second));
    }

    #[test]
    fn words_that_will_be_stored_to_are_touched_and_stay_what_they_are() {
        let (pool, calls) = with_calls(8 * MEBI);
        let count = 4 * MEBI / 8;
        pool.words_ahead(count, count / 8);
        let touch = |pool: &Pool| std::iter::from_fn(|| pool.touch().then_some(())).count();
        assert_eq!(touch(&pool), 2, "it is made, and then touched");
        let words = Words::zeroed(&pool, count);
        assert!(!pool.words.lock()[0].want(2 * MEBI), "a huge page is touched whole");
        words.iter().zip(1..).for_each(|(word, at)| word.store(at, Ordering::Relaxed));
        words.touch_ahead(&pool, count / 4);
        assert_eq!(calls.load(Ordering::Relaxed), 1, "it is there");
        words.touch_ahead(&pool, count / 2 + 1);
        assert_eq!(calls.load(Ordering::Relaxed), 2);
        assert_eq!(touch(&pool), 1);
        words.touch_ahead(&pool, count);
        assert_eq!(calls.load(Ordering::Relaxed), 2, "that was all of it");
        assert!((1..).zip(words.iter()).all(|(at, word)| word.load(Ordering::Relaxed) == at));
    }

    #[test]
    fn nothing_is_asked_for_where_nobody_would_touch_it() {
        let pool = Pool::new(8 * MEBI);
        pool.slab_ahead(4 * MEBI);
        pool.words_ahead(MEBI, MEBI);
        assert!(!pool.touch());
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
