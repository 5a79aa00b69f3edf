//! Which versions of a key of a keyed table survive, and what a key's versions amount to: pure.
//!
//! ```text
//! commits     1     2     3     4     5     6     7     8
//! versions    Put   Add   Add   Del   Add   Max   Add   Add       snapshots at 3 and 6
//!             \____ stripe ____/ \____ stripe ____/ \_ now _/
//! survivors   Put (1+2+3, at 3)   Put (5+6, at 6)    Add (7+8, at 8)
//! ```
//!
//! The live snapshots cut the commits into stripes: stripe `i` ends with snapshot `i`, the last
//! stripe with now. No reader can tell two versions of one stripe apart, so a stripe keeps what its
//! versions amount to and no more:
//! 1. Versions come newest first. Behind a Put or a Delete nothing of the stripe is visible.
//! 2. Neighbouring operands of one kind become one (Add with Add, Max with Max).
//! 3. Operands in front of a Put or a Delete are applied to it: the outcome is one Put.
//! 4. At the bottom, where nothing older lies below, operands without a base are applied to
//!    nothing, and a Delete that hides nothing goes.
//!
//! # Invariants
//! 1. For every live snapshot, and for now, [`fold`] over the survivors (and what lies below) is
//!    [`fold`] over all versions (and what lies below).
//! 2. A survivor carries commit, index and time of the newest version it stands for: survivors are
//!    in the order of the versions, and no snapshot sees what it could not see before.
//! 3. Memory is bounded by the survivors, whatever the number of versions.
//!
//! # Concurrency
//! None: a value of one thread. The caller makes sure that every reader which is not in the list of
//! snapshots reads at a commit at or above all versions given.

use crate::batch::KeyedOperation;
use crate::entry::{KeyedVersion, Payload};
use crate::marks::TimelineMarks;
use crate::planted::Planted;
use std::cmp::Ordering;

/// What the versions of one key, newest first, amount to. `None` where the key does not exist.
///
/// Shared by the read path, flush and compaction, so that folding early can never change an answer.
pub(crate) fn fold<'a>(versions: impl IntoIterator<Item = &'a KeyedVersion>) -> Option<Payload> {
    let mut operands: Vec<&KeyedVersion> = Vec::new();
    let mut value = None;
    for version in versions {
        match version.operation {
            KeyedOperation::Put => value = Some(version.value.clone()),
            KeyedOperation::Delete => {}
            KeyedOperation::Add | KeyedOperation::Max | KeyedOperation::Mark => {
                operands.push(version);
                continue;
            }
        }
        break;
    }
    operands.iter().rev().fold(value, |base, operand| apply(operand, base))
}

/// Applies one operand to what was there.
fn apply(operand: &KeyedVersion, base: Option<Payload>) -> Option<Payload> {
    if operand.operation == KeyedOperation::Mark {
        let merged = base.map(|base| TimelineMarks::merge_encoded(&base, &operand.value));
        return Some(merged.map_or_else(|| operand.value.clone(), Payload::from_vec));
    }
    let before = base.as_deref().and_then(counter);
    let amount = counter(&operand.value);
    let after = match operand.operation {
        KeyedOperation::Add => before.unwrap_or(0).wrapping_add(amount.unwrap_or(0)),
        KeyedOperation::Max => match (before, amount) {
            (Some(before), Some(amount)) => before.max(amount),
            (None, Some(amount)) => amount,
            // A value that is no counter gives way: here to what was there.
            (_, None) => return base,
        },
        KeyedOperation::Put | KeyedOperation::Delete | KeyedOperation::Mark => {
            unreachable!("not a counter's operand")
        }
    };
    Some(Payload::from_vec(after.to_le_bytes().to_vec()))
}

/// The counter in a value, if it is one.
fn counter(value: &[u8]) -> Option<i64> {
    value.try_into().ok().map(i64::from_le_bytes)
}

/// Takes the versions of one key, newest first, and gives back those that survive.
#[derive(Debug)]
pub(crate) struct Keeper<'a> {
    /// Commits of the live snapshots, ascending.
    snapshots: &'a [u64],
    /// Versions committed before this are expired, and with them everything older.
    expired_before_ms: Option<u64>,
    /// Newest first.
    survivors: Vec<KeyedVersion>,
    /// Where the survivors of the newest version's stripe, and of every older stripe, begin.
    stripe_starts: Vec<usize>,
    /// The stripe of the last version.
    stripe: usize,
    /// An expired version was met: nothing behind it can be seen.
    expired: bool,
}

impl<'a> Keeper<'a> {
    pub(crate) fn new(snapshots: &'a [u64], expired_before_ms: Option<u64>) -> Keeper<'a> {
        debug_assert!(snapshots.is_sorted());
        Keeper {
            snapshots,
            expired_before_ms,
            survivors: Vec::new(),
            stripe_starts: Vec::new(),
            stripe: usize::MAX,
            expired: false,
        }
    }

    /// Takes the next older version of the key.
    pub(crate) fn push(&mut self, version: KeyedVersion) {
        if let Some(last) = self.survivors.last() {
            let order = (version.commit, version.index).cmp(&(last.commit, last.index));
            debug_assert!(order != Ordering::Greater, "versions come newest first");
            debug_assert_eq!(version.key, last.key, "versions of one key");
        }
        self.expired |= self.expired_before_ms.is_some_and(|before| version.time_ms < before);
        if self.expired {
            return;
        }
        let stripe = match Planted::SnapshotsForgotten.is_on() {
            true => 0,
            false => self.snapshots.partition_point(|snapshot| *snapshot < version.commit),
        };
        if stripe != self.stripe {
            self.stripe = stripe;
            self.stripe_starts.push(self.survivors.len());
            self.survivors.push(version);
            return;
        }
        self.push_inside_stripe(version);
    }

    /// The stripe holds at least one survivor already.
    fn push_inside_stripe(&mut self, version: KeyedVersion) {
        let last = self.survivors.last_mut().expect("a stripe begins with a survivor");
        match last.operation {
            KeyedOperation::Put | KeyedOperation::Delete => {}
            operation if operation == version.operation => join(last, &version),
            KeyedOperation::Add | KeyedOperation::Max | KeyedOperation::Mark => {
                let is_base = version.operation.is_base();
                self.survivors.push(version);
                if is_base {
                    let start = *self.stripe_starts.last().expect("a stripe has begun");
                    self.fold_tail(start);
                }
            }
        }
    }

    /// Puts what the survivors from `start` on amount to in their place.
    fn fold_tail(&mut self, start: usize) {
        let value = fold(&self.survivors[start..]);
        self.survivors.truncate(start + 1);
        let newest = self.survivors.last_mut().expect("a tail is never empty");
        match value {
            Some(value) => {
                newest.operation = KeyedOperation::Put;
                newest.value = value;
            }
            None => {
                newest.operation = KeyedOperation::Delete;
                newest.value = Payload::from_vec(Vec::new());
            }
        }
    }

    /// The survivors, newest first. `bottom`: nothing older of this key lies below.
    pub(crate) fn finish(mut self, bottom: bool) -> Vec<KeyedVersion> {
        // An expired version hides what lies below from every reader, as the bottom does.
        let bottom = bottom || Planted::DeletesForgotten.is_on();
        while (bottom || self.expired) && !self.survivors.is_empty() {
            let start = self.stripe_starts.pop().expect("every survivor lies in a stripe");
            self.fold_tail(start);
            let oldest = self.survivors.last().expect("a folded tail is one survivor");
            if oldest.operation != KeyedOperation::Delete {
                break;
            }
            self.survivors.pop();
        }
        self.survivors
    }
}

/// Makes one operand of two neighbours of one kind; `newer` becomes it.
fn join(newer: &mut KeyedVersion, older: &KeyedVersion) {
    if newer.operation == KeyedOperation::Mark {
        let merged = TimelineMarks::merge_encoded(&older.value, &newer.value);
        newer.value = Payload::from_vec(merged);
        return;
    }
    let (new, old) = (counter(&newer.value), counter(&older.value));
    let value = match newer.operation {
        KeyedOperation::Add => Some(new.unwrap_or(0).wrapping_add(old.unwrap_or(0))),
        KeyedOperation::Max => new.max(old),
        KeyedOperation::Put | KeyedOperation::Delete | KeyedOperation::Mark => {
            unreachable!("not a counter's operand")
        }
    };
    // Two values that are no counters change nothing together, as each of them does.
    if let Some(value) = value {
        newer.value = Payload::from_vec(value.to_le_bytes().to_vec());
    }
}
