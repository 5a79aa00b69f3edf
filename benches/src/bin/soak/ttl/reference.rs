//! What the stream has written and when, in 16 bytes a commit: which message goes where follows
//! from its number alone.
//!
//! ```text
//!   message   0 1 2 ... T-1 | T T+1 ... 2T-1 | ...      T timelines, one round each
//!   timeline  every one once | every one once | ...      in another order each round
//!   seq       1 1 1 ... 1    | 2 2 ...   2    | ...
//! ```
//!
//! # Concurrency
//! One writer, any number of readers. A commit's begin is stored before the commit, its end after
//! it; `acknowledged` is stored last, so a reader that loads it finds both of all before.

use std::sync::atomic::{AtomicU64, Ordering};

/// See the module.
pub(crate) struct Reference {
    timelines: u64,
    batch: u64,
    /// A number without a common divisor with `timelines`, and its inverse modulo it.
    step: u64,
    step_inverse: u64,
    begins: Vec<AtomicU64>,
    ends: Vec<AtomicU64>,
    acknowledged: AtomicU64,
}

/// Shifts the order of a round against the one before.
const ROUND_SHIFT: u64 = 7919;

impl Reference {
    /// Nothing written yet, of `commits` to come at most.
    pub(crate) fn new(timelines: u64, batch: u64, commits: u64) -> Reference {
        let step = (timelines * 618 / 1000..).find(|step| divisor(*step, timelines) == 1);
        let step = step.expect("a number above has no common divisor, such as the next prime");
        let inverse = inverse(step % timelines.max(2), timelines);
        let times = || (0..commits).map(|_| AtomicU64::new(0)).collect();
        Reference {
            timelines,
            batch,
            step,
            step_inverse: inverse,
            begins: times(),
            ends: times(),
            acknowledged: AtomicU64::new(0),
        }
    }

    /// The messages of a commit: timeline and seq.
    pub(crate) fn messages(&self, commit: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
        let first = commit * self.batch;
        (first..first + self.batch).map(|message| self.place(message))
    }

    /// A commit begins, at a time in milliseconds since 1970.
    pub(crate) fn begin(&self, commit: u64, now_ms: u64) {
        self.begins[index(commit)].store(now_ms, Ordering::Relaxed);
    }

    /// A commit is acknowledged.
    pub(crate) fn end(&self, commit: u64, now_ms: u64) {
        self.ends[index(commit)].store(now_ms, Ordering::Relaxed);
        self.acknowledged.store((commit + 1) * self.batch, Ordering::Release);
    }

    /// The highest seq of a timeline that is acknowledged; 0 if there is none.
    pub(crate) fn newest(&self, timeline: u64) -> u64 {
        let acknowledged = self.acknowledged.load(Ordering::Acquire);
        let round = acknowledged / self.timelines;
        // Seq n is written in round n - 1: the open round may have written the next one already.
        round + u64::from(self.message(timeline, round + 1) < acknowledged)
    }

    /// The entry was committed at this time or later; `None` if it is not begun.
    pub(crate) fn begun_ms(&self, timeline: u64, seq: u64) -> Option<u64> {
        let commit = self.message(timeline, seq) / self.batch;
        let begun = self.begins.get(index(commit))?.load(Ordering::Relaxed);
        (begun > 0).then_some(begun)
    }

    /// The entry was committed at this time or before; `None` if it is not acknowledged.
    pub(crate) fn ended_ms(&self, timeline: u64, seq: u64) -> Option<u64> {
        let commit = self.message(timeline, seq) / self.batch;
        let ended = self.ends.get(index(commit))?.load(Ordering::Relaxed);
        (ended > 0).then_some(ended)
    }

    /// The highest seq of a timeline that had certainly expired at a time; 0 if none had.
    pub(crate) fn expired(&self, timeline: u64, now_ms: u64, ttl_ms: u64) -> u64 {
        let is_expired =
            |seq: u64| self.ended_ms(timeline, seq).is_some_and(|t| t + ttl_ms < now_ms);
        let (mut low, mut high) = (0, self.newest(timeline));
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            match is_expired(middle) {
                true => low = middle,
                false => high = middle - 1,
            }
        }
        low
    }

    fn place(&self, message: u64) -> (u64, u64) {
        let round = message / self.timelines;
        let slot = message % self.timelines;
        let timeline = (slot * self.step + round * ROUND_SHIFT) % self.timelines;
        (timeline, round + 1)
    }

    /// The number of the message that is entry `seq` of a timeline.
    fn message(&self, timeline: u64, seq: u64) -> u64 {
        let round = seq - 1;
        let shift = round * ROUND_SHIFT % self.timelines;
        let slot = (timeline + self.timelines - shift) % self.timelines * self.step_inverse;
        round * self.timelines + slot % self.timelines
    }
}

fn index(commit: u64) -> usize {
    usize::try_from(commit).unwrap_or(usize::MAX)
}

fn divisor(left: u64, right: u64) -> u64 {
    if right == 0 { left } else { divisor(right, left % right) }
}

/// The number that, times `value`, leaves 1 modulo `modulus`.
fn inverse(value: u64, modulus: u64) -> u64 {
    let (mut old, mut new) = ((i128::from(value), 1_i128), (i128::from(modulus), 0_i128));
    while new.0 != 0 {
        let quotient = old.0 / new.0;
        (old, new) = (new, (old.0 - quotient * new.0, old.1 - quotient * new.1));
    }
    let positive = old.1.rem_euclid(i128::from(modulus));
    u64::try_from(positive).expect("it is below the modulus")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_writes_every_timeline_once_and_places_are_found_again() {
        for timelines in [1, 2, 3, 10, 97, 1000] {
            let reference = Reference::new(timelines, 1, 0);
            for round in 0..5 {
                let messages = round * timelines..(round + 1) * timelines;
                let mut seen: Vec<u64> = Vec::new();
                for message in messages {
                    let (timeline, seq) = reference.place(message);
                    assert_eq!(seq, round + 1);
                    assert_eq!(reference.message(timeline, seq), message);
                    seen.push(timeline);
                }
                seen.sort_unstable();
                assert!(seen.into_iter().eq(0..timelines), "{timelines} timelines");
            }
        }
    }

    #[test]
    fn what_is_acknowledged_is_known() {
        let reference = Reference::new(10, 4, 10);
        assert_eq!(reference.newest(3), 0);
        for commit in 0..9 {
            reference.begin(commit, 1000 + commit * 10);
            reference.end(commit, 1005 + commit * 10);
            let mut counts = [0_u64; 10];
            for (timeline, seq) in (0..=commit).flat_map(|commit| reference.messages(commit)) {
                let count = &mut counts[usize::try_from(timeline).unwrap()];
                *count = seq.max(*count);
            }
            for (timeline, count) in (0..).zip(counts) {
                assert_eq!(reference.newest(timeline), count, "timeline {timeline}");
            }
        }
        let (timeline, seq) = reference.messages(5).next().unwrap();
        assert_eq!(reference.begun_ms(timeline, seq), Some(1050));
        assert_eq!(reference.ended_ms(timeline, seq), Some(1055));
        let (timeline, seq) = reference.messages(9).next().unwrap();
        assert_eq!(reference.begun_ms(timeline, seq), None);
        assert_eq!(reference.ended_ms(timeline, seq), None);
    }

    #[test]
    fn what_has_certainly_expired_is_known() {
        let reference = Reference::new(10, 10, 5);
        for commit in 0..5 {
            reference.begin(commit, 1000 + commit * 100);
            reference.end(commit, 1010 + commit * 100);
        }
        let expired = |now_ms| reference.expired(7, now_ms, 500);
        assert_eq!(expired(1510), 0, "an entry is alive for the whole of its last millisecond");
        assert_eq!(expired(1511), 1);
        assert_eq!(expired(1711), 3);
        assert_eq!(expired(9999), 5);
    }
}
