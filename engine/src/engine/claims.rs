//! Which SSTables background jobs work on, so that no two jobs take the same one away.
//!
//! A job claims its inputs before it begins, and holds them until its root is durable or it has
//! given up. Who needs an SSTable that is claimed asks its holder to give up; jobs look for that
//! at each step. What expiry has asked for no other job begins with before expiry could claim it:
//! whoever gave way would pick the same job at once, and be asked again.
//!
//! # Concurrency
//! Two locks, each held for a look-up, never one inside the other.

use crate::sync::{Arc, AtomicBool, Mutex, Ordering};
use std::collections::{BTreeMap, BTreeSet};

/// The claims of one store.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    /// By SSTable: whether its holder is asked to give up.
    held: Mutex<BTreeMap<u64, Arc<AtomicBool>>>,
    /// What expiry found claimed when it looked last.
    wanted: Mutex<BTreeSet<u64>>,
}

/// A claim; dropped, it ends.
#[derive(Debug)]
pub(crate) struct Claim {
    claims: Arc<Claims>,
    numbers: BTreeSet<u64>,
    asked: Arc<AtomicBool>,
}

impl Claims {
    /// The SSTables that are claimed.
    pub(crate) fn numbers(&self) -> BTreeSet<u64> {
        self.held.lock().keys().copied().collect()
    }

    /// The SSTables that no job is to begin with: those that are claimed, and those that expiry
    /// waits for.
    pub(crate) fn busy(&self) -> BTreeSet<u64> {
        let mut busy = self.numbers();
        busy.extend(self.wanted.lock().iter());
        busy
    }

    /// Claims all of these, or none where somebody else has one of them.
    pub(crate) fn claim(self: &Arc<Self>, numbers: BTreeSet<u64>) -> Option<Claim> {
        let mut held = self.held.lock();
        if numbers.iter().any(|number| held.contains_key(number)) {
            return None;
        }
        let asked = Arc::new(AtomicBool::new(false));
        held.extend(numbers.iter().map(|number| (*number, Arc::clone(&asked))));
        Some(Claim { claims: Arc::clone(self), numbers, asked })
    }

    /// Asks whoever has these to give up, for expiry: until it says what it wants next, nobody else
    /// begins with them.
    pub(crate) fn want(&self, numbers: BTreeSet<u64>) {
        // Noted first: who gives way looks at it before the next job.
        self.wanted.lock().clone_from(&numbers);
        numbers.into_iter().for_each(|number| self.ask(number));
    }

    /// Asks whoever has this one to give up.
    pub(crate) fn ask(&self, number: u64) {
        if let Some(asked) = self.held.lock().get(&number) {
            asked.store(true, Ordering::Release);
        }
    }
}

impl Claim {
    /// Whether the holder should give up.
    pub(crate) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    /// What is claimed.
    pub(crate) fn numbers(&self) -> &BTreeSet<u64> {
        &self.numbers
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut held = self.claims.held.lock();
        for number in &self.numbers {
            held.remove(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_whole_or_not_at_all_and_ends_with_its_holder() {
        let claims = Arc::new(Claims::default());
        let first = claims.claim(BTreeSet::from([1, 2])).unwrap();
        assert!(claims.claim(BTreeSet::from([2, 3])).is_none());
        let second = claims.claim(BTreeSet::from([3])).unwrap();
        assert_eq!(claims.numbers(), BTreeSet::from([1, 2, 3]));
        claims.ask(2);
        claims.ask(99);
        assert!(first.is_asked() && !second.is_asked());
        drop(first);
        assert_eq!(&claims.numbers(), second.numbers());
        assert!(claims.claim(BTreeSet::from([1, 2])).is_some_and(|claim| !claim.is_asked()));
    }

    #[test]
    fn what_is_wanted_stays_busy_until_something_else_is() {
        let claims = Arc::new(Claims::default());
        let claim = claims.claim(BTreeSet::from([1, 2])).unwrap();
        claims.want(BTreeSet::from([2, 3]));
        assert!(claim.is_asked());
        drop(claim);
        assert_eq!((claims.numbers(), claims.busy()), (BTreeSet::new(), BTreeSet::from([2, 3])));
        let claim = claims.claim(BTreeSet::from([2])).unwrap();
        claims.want(BTreeSet::from([1]));
        assert_eq!(claims.busy(), BTreeSet::from([1, 2]));
        assert!(!claim.is_asked());
    }
}
