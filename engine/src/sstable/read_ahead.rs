//! How much the system is asked to read where a map is touched for the first time.
//!
//! Maps are told that they are read at random, so that a touch reads one page and not the
//! megabytes around it: these would be in the way of commits, and are seldom wanted. What is
//! wanted is known here instead: the block that was touched, and once blocks follow each other,
//! the piece that comes next. A pass over everything is always one piece ahead, so that it works
//! on one while the next is read.
//!
//! # Invariants
//! 1. A hint is inside the bounds that are given, and at most [`OUTPUT_PIECE_BYTES`] or one block
//!    long.
//!
//! # Concurrency
//! Any thread. What two threads write at once mixes: a hint is too long or missing, nothing else.

use crate::limits::OUTPUT_PIECE_BYTES;
use crate::sync::{AtomicU64, Ordering};
use std::ops::Range;

/// Neighbours in a row after which more of them are expected.
const NEIGHBOURS_MIN: u64 = 2;

/// What was touched last in one map.
#[derive(Debug, Default)]
pub(super) struct ReadAhead {
    start: AtomicU64,
    end: AtomicU64,
    neighbours: AtomicU64,
    asked_start: AtomicU64,
    asked_end: AtomicU64,
    /// Everything from the first touch on is wanted.
    passes: bool,
}

impl ReadAhead {
    /// For a pass over everything from the first touch on.
    pub(super) fn pass() -> ReadAhead {
        let neighbours = AtomicU64::new(NEIGHBOURS_MIN);
        ReadAhead { neighbours, passes: true, ..ReadAhead::default() }
    }

    /// What to ask for when `touched` is: `None` where it was asked for before. What lies behind
    /// `end` is never wanted.
    pub(super) fn touch(&self, touched: Range<u64>, end: u64) -> Option<Range<u64>> {
        let is_first = self.end.load(Ordering::Relaxed) == 0;
        let forward = touched.start == self.end.load(Ordering::Relaxed) || is_first;
        let backward = touched.end == self.start.load(Ordering::Relaxed);
        let neighbours = match forward || backward {
            true => self.neighbours.load(Ordering::Relaxed).saturating_add(u64::from(!is_first)),
            false => 0,
        };
        self.neighbours.store(neighbours, Ordering::Relaxed);
        self.start.store(touched.start, Ordering::Relaxed);
        self.end.store(touched.end, Ordering::Relaxed);
        let asked =
            self.asked_start.load(Ordering::Relaxed)..self.asked_end.load(Ordering::Relaxed);
        let piece = OUTPUT_PIECE_BYTES as u64;
        if asked.start <= touched.start && touched.end <= asked.end {
            let next = asked.end..end.min(asked.end.saturating_add(piece));
            let is_near = touched.end.saturating_add(piece) > asked.end;
            if !self.passes || !is_near || next.is_empty() {
                return None;
            }
            self.asked_end.store(next.end, Ordering::Relaxed);
            return Some(next);
        }
        let wanted = match (neighbours >= NEIGHBOURS_MIN, backward) {
            (false, _) => touched,
            (true, false) => {
                touched.start..touched.end.max(end.min(touched.start.saturating_add(piece)))
            }
            (true, true) => touched.start.min(touched.end.saturating_sub(piece))..touched.end,
        };
        self.asked_start.store(wanted.start, Ordering::Relaxed);
        self.asked_end.store(wanted.end, Ordering::Relaxed);
        Some(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: u64 = 10 << 20;
    const PIECE: u64 = OUTPUT_PIECE_BYTES as u64;

    fn touch(ahead: &ReadAhead, block: u64) -> Option<Range<u64>> {
        ahead.touch(block * 16_384..(block + 1) * 16_384, END)
    }

    #[test]
    fn a_touch_at_random_asks_for_its_block_alone() {
        let ahead = ReadAhead::default();
        for block in [7, 100, 3, 200, 4, 8] {
            assert_eq!(touch(&ahead, block), Some(block * 16_384..(block + 1) * 16_384));
        }
    }

    #[test]
    fn neighbours_ask_for_a_piece_once_in_either_direction() {
        let ahead = ReadAhead::default();
        assert!(touch(&ahead, 50).is_some() && touch(&ahead, 51).is_some());
        assert_eq!(touch(&ahead, 52), Some(52 * 16_384..52 * 16_384 + PIECE));
        assert!((53..68).all(|block| touch(&ahead, block).is_none()));
        assert_eq!(touch(&ahead, 68), Some(68 * 16_384..68 * 16_384 + PIECE));
        let ahead = ReadAhead::default();
        assert!(touch(&ahead, 50).is_some() && touch(&ahead, 49).is_some());
        assert_eq!(touch(&ahead, 48), Some(49 * 16_384 - PIECE..49 * 16_384));
        assert!((33..48).rev().all(|block| touch(&ahead, block).is_none()));
        assert_eq!(touch(&ahead, 32), Some(33 * 16_384 - PIECE..33 * 16_384));
    }

    #[test]
    fn a_hint_ends_where_the_bytes_do() {
        let ahead = ReadAhead::pass();
        assert_eq!(ahead.touch(0..16_384, 40_000), Some(0..40_000));
        assert_eq!(ahead.touch(16_384..32_768, 40_000), None, "nothing is left to ask for");
        let ahead = ReadAhead::default();
        assert!([2, 1].iter().all(|block| touch(&ahead, *block).is_some()));
        assert_eq!(touch(&ahead, 0), Some(0..16_384));
        // A block that is longer than a piece, or than what the bounds say, is asked for whole.
        assert_eq!(ReadAhead::pass().touch(0..2 * PIECE, PIECE), Some(0..2 * PIECE));
    }

    #[test]
    fn a_pass_is_a_piece_ahead_from_its_first_touch_on() {
        let ahead = ReadAhead::pass();
        assert_eq!(touch(&ahead, 0), Some(0..PIECE));
        assert_eq!(touch(&ahead, 1), Some(PIECE..2 * PIECE));
        assert!((2..16).all(|block| touch(&ahead, block).is_none()));
        assert_eq!(touch(&ahead, 16), Some(2 * PIECE..3 * PIECE));
        let ahead = ReadAhead::pass();
        assert_eq!(touch(&ahead, 5), Some(5 * 16_384..5 * 16_384 + PIECE));
    }
}
