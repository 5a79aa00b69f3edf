//! The delay of a group: when a leader waits a moment for callers that are about to come back.
//!
//! ```text
//! two threads    A ═ sync ═╗ A comes back ┐        ┌ without a delay A and B take turns, and
//! that commit    B ═ sync ═╝     B wakes  ┴─► lead ┤ each waits for two syncs: one group has one
//! in a loop                     20 us later        └ of them, the next one the other
//! ```
//! A caller that was told of its commit comes back at once, or not for long. Waking it takes a
//! fraction of a sync; a group that begins without it makes it wait for a whole one more. So where
//! a group was synced a moment ago, the next one waits until as many callers are there as were told
//! then or waited already, but no longer than a wake-up takes.
//!
//! # Invariants
//! 1. A single caller never waits, nor does a group that is not to be synced, nor one that follows
//!    more than two milliseconds behind the last.
//! 2. Many callers do not wait either: while a sync lasts enough of them come, and the processors
//!    are what bounds them then.
//! 3. Whether it pays is learned: callers that do not come back at once are soon waited for no
//!    more, but for a try now and then.
//!
//! # Concurrency
//! The leader's own. While it waits anybody may queue.

use crate::limits::GROUP_DELAY_CALLERS_MAX;

/// What is known of waits that have paid, at most.
const CREDIT_MAX: u32 = 16;
/// Without credit so many groups begin at once before the next try.
const GROUPS_BETWEEN_TRIES: u32 = 64;
/// A group that ended so long ago has nobody left who comes back from it.
const RECENT_MS: u64 = 1;

/// Expects callers.
#[derive(Debug)]
pub(super) struct GroupDelay {
    /// Callers that may be in the next group.
    expected: usize,
    /// Slots that waited when the last group was about to be told.
    waiting: usize,
    /// When the last group ended, on the monotonic clock.
    ended_ms: u64,
    /// Rises with each wait that has paid, falls with each that has not.
    credit: u32,
    /// Groups that were not waited for since there is no credit.
    skipped: u32,
}

impl GroupDelay {
    pub(super) fn new() -> GroupDelay {
        GroupDelay { expected: 0, waiting: 0, ended_ms: 0, credit: CREDIT_MAX / 2, skipped: 0 }
    }

    /// A group is about to be told, while so many slots wait. Looked at later, those who were told
    /// may be back among these, and would be expected twice.
    pub(super) fn tells(&mut self, waiting: usize) {
        self.waiting = waiting;
    }

    /// A synced group has ended: so many callers were told.
    pub(super) fn ended(&mut self, now_ms: u64, told: usize) {
        self.expected = told + self.waiting;
        self.ended_ms = now_ms;
    }

    /// Whether so few callers commit that each of them counts: then a leader that was served leaves
    /// at once, since it is one of them.
    pub(super) fn are_few(&self) -> bool {
        self.expected <= GROUP_DELAY_CALLERS_MAX
    }

    /// How many slots a synced group that has `count` by now waits for, if it is worth it.
    pub(super) fn waits_for(&mut self, now_ms: u64, count: usize) -> Option<usize> {
        let is_recent = now_ms <= self.ended_ms + RECENT_MS;
        if count >= self.expected || !self.are_few() || !is_recent {
            return None;
        }
        if self.credit == 0 {
            self.skipped += 1;
            if self.skipped < GROUPS_BETWEEN_TRIES {
                return None;
            }
        }
        self.skipped = 0;
        Some(self.expected)
    }

    /// Whether a wait has brought those who were waited for.
    pub(super) fn learn(&mut self, came: bool) {
        self.credit = match came {
            true => (self.credit + 1).min(CREDIT_MAX),
            false => self.credit.saturating_sub(1),
        };
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn one_caller_never_waits() {
        let mut delay = GroupDelay::new();
        assert_eq!(delay.waits_for(0, 1), None, "nobody was there before");
        delay.ended(5, 1);
        assert_eq!(delay.waits_for(5, 1), None);
    }

    #[test]
    fn whoever_was_told_or_waits_is_expected_for_a_moment() {
        let mut delay = GroupDelay::new();
        delay.tells(1);
        delay.ended(5, 1);
        assert_eq!(delay.waits_for(5, 1), Some(2));
        assert_eq!(delay.waits_for(6, 1), Some(2));
        assert_eq!(delay.waits_for(6, 2), None, "both are there");
        assert_eq!(delay.waits_for(7, 1), None, "it has something else to do");
    }

    #[test]
    fn many_callers_are_not_waited_for() {
        let mut delay = GroupDelay::new();
        delay.tells(1);
        delay.ended(5, GROUP_DELAY_CALLERS_MAX);
        assert!(!delay.are_few());
        assert_eq!(delay.waits_for(5, 1), None);
    }

    #[test]
    fn callers_that_do_not_come_back_are_soon_waited_for_no_more() {
        let mut delay = GroupDelay::new();
        let mut waits = 0;
        for now_ms in 0..1000 {
            delay.ended(now_ms, 2);
            if delay.waits_for(now_ms, 1).is_some() {
                waits += 1;
                delay.learn(false);
            }
        }
        assert!((10..=30).contains(&waits), "{waits} waits");
        // One that pays is believed again.
        delay.learn(true);
        assert_eq!(delay.waits_for(1000, 1), Some(2));
    }
}
