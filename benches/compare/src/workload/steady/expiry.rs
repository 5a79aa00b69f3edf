//! Which messages must be there and which must not: what the harness knows of their times.
//!
//! A message was committed between two moments, before and after the call. Until its time to live
//! is over since the first it is surely alive; once it is over since the second it has surely
//! expired. In between, and for a little while on both sides since engines count milliseconds of
//! the wall clock, both answers are right.

use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tidelog_benches::Message;

/// How far clocks may be apart.
const SLACK: Duration = Duration::from_millis(100);

/// One message with its two moments.
#[derive(Debug, Clone, Copy)]
struct Written {
    message: Message,
    before: Instant,
    after: Instant,
}

/// All messages that may be alive.
pub struct Alive {
    ttl: Duration,
    /// In the order in which they were written, those whose time is over at the front.
    written: VecDeque<Written>,
    /// For each timeline its newest message that may be dead, and its newest one surely dead.
    fading: Vec<(u64, u64)>,
    /// Messages of `written` that have been looked at for each of the two, from the front.
    looked: (usize, usize),
    /// Messages of `written`, from the front, that the application has deleted.
    deleted: usize,
}

impl Alive {
    /// None yet.
    pub fn new(timelines: u32, ttl: Duration) -> Alive {
        Alive {
            ttl,
            written: VecDeque::new(),
            fading: vec![(0, 0); timelines as usize],
            looked: (0, 0),
            deleted: 0,
        }
    }

    /// Takes a batch, committed between two moments.
    pub fn add(&mut self, batch: &[Message], before: Instant, after: Instant) {
        for &message in batch {
            self.written.push_back(Written { message, before, after });
        }
    }

    /// Messages that have surely expired and were not taken yet, for the application to delete.
    pub fn take_expired(&mut self, count: usize) -> Vec<Message> {
        self.look(Instant::now());
        let expired = self.written.range(self.deleted..self.looked.1).take(count);
        let expired: Vec<Message> = expired.map(|written| written.message).collect();
        self.deleted += expired.len();
        expired
    }

    /// The oldest seq of a timeline that must be there at this moment, if it was written at all.
    pub fn oldest_surely_alive(&mut self, timeline: u64, now: Instant) -> u64 {
        self.look(now);
        self.fading[index(timeline)].0 + 1
    }

    /// The newest seq of a timeline that must not be there any more; 0 if there is none.
    pub fn newest_surely_expired(&mut self, timeline: u64, now: Instant) -> u64 {
        self.look(now);
        self.fading[index(timeline)].1
    }

    /// Brings what is kept up to a moment.
    fn look(&mut self, now: Instant) {
        while let Some(written) = self.written.get(self.looked.0) {
            if now + SLACK < written.before + self.ttl {
                break;
            }
            self.fading[index(written.message.timeline)].0 = written.message.seq;
            self.looked.0 += 1;
        }
        while let Some(written) = self.written.get(self.looked.1) {
            if now < written.after + self.ttl + SLACK {
                break;
            }
            self.fading[index(written.message.timeline)].1 = written.message.seq;
            self.looked.1 += 1;
        }
        self.forget();
    }

    /// Lets go of what was looked at for everything, if somebody deletes, by him too.
    fn forget(&mut self) {
        /// So little is not worth a move.
        const KEPT: usize = 1 << 16;
        let done = self.looked.1.min(if self.deleted > 0 { self.deleted } else { usize::MAX });
        if done > KEPT {
            self.written.drain(..done);
            self.looked = (self.looked.0 - done, self.looked.1 - done);
            self.deleted = self.deleted.saturating_sub(done);
        }
    }
}

fn index(timeline: u64) -> usize {
    usize::try_from(timeline).expect("timelines are counted in u32")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_fade_between_their_two_moments() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut alive = Alive::new(2, Duration::from_secs(10));
        let message = |seq| Message { timeline: 1, seq };
        alive.add(&[message(1), message(2)], at(0), at(2));
        alive.add(&[message(3)], at(5), at(6));
        assert_eq!(alive.oldest_surely_alive(1, at(9)), 1);
        assert_eq!(alive.newest_surely_expired(1, at(9)), 0);
        assert_eq!(alive.oldest_surely_alive(1, at(11)), 3, "one and two may be gone");
        assert_eq!(alive.newest_surely_expired(1, at(11)), 0, "and may be there");
        assert_eq!(alive.newest_surely_expired(1, at(13)), 2);
        assert_eq!(alive.oldest_surely_alive(1, at(13)), 3);
        assert_eq!(alive.newest_surely_expired(1, at(17)), 3);
        assert_eq!(alive.oldest_surely_alive(0, at(17)), 1, "another timeline");
    }
}
