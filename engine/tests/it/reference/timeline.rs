//! One timeline: what was written to it, what hides it, and what each of its seqs may look like.

use super::Place;
use super::clock::{Range, fence};
use std::collections::BTreeMap;
use std::sync::Arc;
use tidelog_engine::GapReason;

/// One entry.
#[derive(Clone)]
pub(crate) struct Written {
    pub(super) payload: Arc<[u8]>,
    pub(super) batch: u64,
    /// Bounds of its commit time; they meet where it is known.
    pub(super) time_ms: Range,
    pub(super) ttl_ms: Option<u64>,
    pub(super) origin: Option<Place>,
    /// It was seen to have expired, and never comes back.
    pub(super) expired: bool,
    /// So many entries were sent together, this one among them.
    pub(super) sharers: usize,
    /// The others name it as their origin.
    pub(super) is_origin: bool,
}

/// Short, since it is printed with all others of its timeline.
impl std::fmt::Debug for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Written { batch, time_ms, ttl_ms, expired, .. } = self;
        write!(f, "batch {batch} at {time_ms:?} for {ttl_ms:?}, expired: {expired}")
    }
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub(crate) struct Timeline {
    /// Whatever was not lost, hidden or not.
    pub(crate) entries: BTreeMap<u64, Written>,
    /// The highest seq.
    pub(crate) latest: u64,
    /// How many power losses there had been when it was written last.
    pub(super) losses: u64,
    /// Ids were jumped over.
    pub(super) jumped: bool,
    trimmed_below: u64,
    deleted_below: u64,
    deleted: Vec<(u64, u64)>,
    /// The last that was said, if anything was.
    keep_last: Option<Option<u64>>,
    /// What lies below was once hidden by that, and may be out of the file.
    pushed_out_below: u64,
    ttl_ms: Option<u64>,
    /// Bounds of the commit time before which everything has expired for good.
    expired_before_ms: Range,
}

/// What the table of a timeline says of it, at a moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around {
    /// Bounds of the clock of expiry.
    pub(super) clock_ms: Range,
    /// Bounds of the commit time before which everything in the table has expired.
    pub(super) alive_from_ms: Range,
    pub(super) keep_last: Option<u64>,
    /// The least that this ever was: what it hid may be out of the file.
    pub(super) keep_last_min: Option<u64>,
    /// Something of the table may expire, or might have once.
    pub(super) expires: bool,
    /// It is looked at in a snapshot of before.
    pub(super) held: bool,
}

/// What a seq may look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Looks {
    pub(super) shown: bool,
    pub(super) expired: bool,
    pub(super) lost: bool,
    pub(super) trimmed: bool,
    pub(super) deleted: bool,
}

impl Looks {
    pub(super) fn may_be(self, reason: GapReason) -> bool {
        match reason {
            GapReason::Expired => self.expired,
            GapReason::Lost => self.lost,
            GapReason::Trimmed => self.trimmed,
            GapReason::Deleted => self.deleted,
            _ => false,
        }
    }
}

impl Timeline {
    pub(super) fn append(&mut self, seq: u64, entry: Written, losses: u64) {
        assert!(seq > self.latest, "the caller has looked at it");
        self.jumped |= seq != self.latest + 1;
        self.latest = seq;
        self.losses = losses;
        self.entries.insert(seq, entry);
        self.push_out();
    }

    pub(super) fn keep_last(&mut self, count: Option<u64>) {
        self.keep_last = Some(count);
        self.push_out();
    }

    fn push_out(&mut self) {
        let below = self.newest(self.keep_last.flatten());
        self.pushed_out_below = self.pushed_out_below.max(below);
    }

    pub(super) fn trim(&mut self, before: u64) {
        self.trimmed_below = self.trimmed_below.max(before.min(self.latest + 1));
    }

    pub(super) fn delete(&mut self, from: u64, to: u64) {
        if from <= self.latest {
            self.deleted.push((from, to.min(self.latest)));
        }
    }

    pub(super) fn delete_all(&mut self) {
        self.deleted_below = self.latest + 1;
    }

    pub(super) fn set_ttl(&mut self, ttl_ms: Option<u64>, clock_ms: Range) {
        if let Some(old) = self.ttl_ms {
            let Range(low, high) = self.expired_before_ms;
            let now = fence(clock_ms, old);
            self.expired_before_ms = Range(low.max(now.0), high.max(now.1));
        }
        self.ttl_ms = ttl_ms;
    }

    /// Whether the timeline itself lets entries expire.
    pub(super) fn expires(&self) -> bool {
        self.ttl_ms.is_some() || self.expired_before_ms.1 > 0
    }

    /// The lowest of the newest seqs, which keep-last leaves: deleted and expired entries count,
    /// lost ones do not.
    fn newest(&self, count: Option<u64>) -> u64 {
        let Some(count) = count else { return 0 };
        let count = usize::try_from(count).unwrap();
        self.entries.keys().rev().nth(count - 1).copied().unwrap_or(0)
    }

    /// What each seq may look like.
    pub(super) fn looks(&self, around: &Around) -> impl Fn(u64) -> Looks {
        let keep_last = self.keep_last.flatten().or(around.keep_last);
        let kept_from = self.newest(keep_last);
        let pushed_out_below = self.newest(around.keep_last_min).max(self.pushed_out_below);
        let own = self.ttl_ms.map_or(Range(0, 0), |ttl_ms| fence(around.clock_ms, ttl_ms));
        let most = |pick: fn(Range) -> u64| {
            pick(around.alive_from_ms).max(pick(own)).max(pick(self.expired_before_ms))
        };
        let alive_from_ms = Range(most(|range| range.0), most(|range| range.1));
        let expires = around.expires || self.expires();
        let clock_ms = around.clock_ms;
        move |seq| {
            let none = Looks::default();
            let in_range = |(from, to): &(u64, u64)| (*from..=*to).contains(&seq);
            if seq < self.deleted_below {
                return Looks { deleted: true, ..none };
            }
            if seq < self.trimmed_below {
                return Looks { trimmed: true, ..none };
            }
            if self.deleted.iter().any(in_range) {
                return Looks { deleted: true, ..none };
            }
            let Some(entry) = self.entries.get(&seq) else {
                // Beside what has expired, or was pushed out, it cannot always be told from it.
                return Looks {
                    lost: true,
                    expired: expires,
                    trimmed: keep_last.is_some(),
                    ..none
                };
            };
            let own = entry.ttl_ms.unwrap_or(u64::MAX);
            let end = |time: u64| time.saturating_add(own);
            let must = entry.time_ms.1 < alive_from_ms.0 || end(entry.time_ms.1) <= clock_ms.0;
            let may = entry.time_ms.0 < alive_from_ms.1 || end(entry.time_ms.0) <= clock_ms.1;
            let expired = must || may || entry.expired;
            // Beside lost ids one reason cannot always be told from another.
            let other = expired && self.jumped;
            if seq < kept_from {
                return Looks { trimmed: true, expired: other, lost: other, ..none };
            }
            // It may be out of the file, and why is not known any more.
            let gone = seq < pushed_out_below;
            Looks {
                shown: !must && !entry.expired,
                expired: expired || gone && expires,
                lost: other || gone,
                trimmed: (other || gone && self.jumped) && keep_last.is_some(),
                deleted: false,
            }
        }
    }
}
