//! Which SSTables background jobs work on, so that no two jobs take the same one away.
//!
//! A job claims its inputs before it begins, and holds them until its root is durable or it has
//! given up. Who needs an SSTable that is claimed asks its holder to give up; jobs look for that
//! at each step.
//!
//! # Concurrency
//! One lock, held for a look-up.

use crate::sync::{Arc, AtomicBool, Mutex, Ordering};
use std::collections::{BTreeMap, BTreeSet};

/// The claims of one store.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    /// By SSTable: whether its holder is asked to give up.
    held: Mutex<BTreeMap<u64, Arc<AtomicBool>>>,
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
}
