//! What a memtable will take soon: touched before it does, on the thread of whoever was called.
//!
//! The first store to a huge page costs the zeros of 2 MiB, and milliseconds where a virtual
//! machine has to ask its host for them. A writer tells where it will be next; while it fills what
//! it has, a worker stores there first.
//!
//! ```text
//! words   [ written | being written | asked for ]    a piece ahead, at last the next map's first
//! slabs   [ written | being written ]  [ spare ]     one that nobody has, whole
//! ```
//!
//! # Invariants
//! 1. What is asked for is advice: where nothing follows from it, nothing is lost but time.
//! 2. Touching changes nothing: a zero is exchanged for a zero, or the memory is nobody's yet.
//! 3. A worker touches a few megabytes at a time: it has other things to do.
//!
//! # Concurrency
//! Any number of threads ask and touch. The lock is held to push and pop, and not while somebody is
//! called: who asks may hold locks of a memtable.

use crate::sync::Mutex;
use std::collections::VecDeque;
use std::sync::OnceLock;

/// So many asks wait at most; what comes behind them is not asked for.
const ASKS_MAX: usize = 64;

/// Something to be made and touched.
pub(super) enum Ask {
    /// A slab of so many bytes that nobody has yet.
    Slab(usize),
    /// A map of so many bytes that nobody has yet, and so many at its front.
    Map { bytes: usize, front: usize },
}

/// See the module.
#[derive(Default)]
pub(super) struct Ahead {
    asks: Mutex<VecDeque<Ask>>,
    call: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Ahead {
    /// Whom to call when something was asked for. Before that, and without, nothing is.
    pub(super) fn call(&self, call: Box<dyn Fn() + Send + Sync>) {
        // A second one is as good as the first.
        let _ = self.call.set(call);
    }

    /// Calls who touches, if there is anybody.
    pub(super) fn call_now(&self) {
        self.call.get().into_iter().for_each(|call| call());
    }

    /// Asks, and calls who touches.
    pub(super) fn ask(&self, ask: Ask) {
        let Some(call) = self.call.get() else { return };
        let mut asks = self.asks.lock();
        if asks.len() < ASKS_MAX {
            asks.push_back(ask);
            drop(asks);
            call();
        }
    }

    /// What was asked for longest ago.
    pub(super) fn next(&self) -> Option<Ask> {
        self.asks.lock().pop_front()
    }
}
