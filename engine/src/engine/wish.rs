//! What users ask a worker for, and wait for.
//!
//! ```text
//! users    make 1          make 2
//! worker      [ looks, works, … for 1 ] hears 1   [ looks, works, … for 2 ] hears 2
//! ```
//! Who asks while the worker is at it may ask for more: for what was written since it looked. So
//! wishes are numbered, and each user waits for its own.
//!
//! # Concurrency
//! Any thread makes wishes, and wakes the worker; one worker hears them.

use crate::sync::{AtomicU64, Ordering};

/// Wishes for one thing.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    made: AtomicU64,
    heard: AtomicU64,
}

impl Wishes {
    /// Makes one, and returns its number.
    pub(super) fn make(&self) -> u64 {
        self.made.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// The newest one, unless it has been heard. What is looked at from here on is what it was made
    /// for.
    pub(super) fn newest(&self) -> Option<u64> {
        let made = self.made.load(Ordering::Acquire);
        (made > self.heard.load(Ordering::Acquire)).then_some(made)
    }

    /// All is done for this one, and for those before it.
    pub(super) fn hear(&self, wish: u64) {
        self.heard.fetch_max(wish, Ordering::AcqRel);
    }

    /// Whether all is done for this one.
    pub(super) fn is_heard(&self, wish: u64) -> bool {
        self.heard.load(Ordering::Acquire) >= wish
    }
}
