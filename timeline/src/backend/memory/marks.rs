//! Marks in memory: what hides entries of a timeline at a moment, and why.

use crate::backend::MarkChange;
use tidelog_engine::GapReason;

/// A mark as it was committed.
pub(super) struct Settled {
    pub(super) commit: u64,
    /// The time of the commit.
    time_ms: u64,
    change: MarkChange,
}

impl Settled {
    /// A mark that hides nothing beyond `last`, the highest seq so far.
    pub(super) fn new(change: MarkChange, last: u64, commit: u64, time_ms: u64) -> Settled {
        let change = match change {
            MarkChange::TrimBefore(seq) => MarkChange::TrimBefore(seq.min(last + 1)),
            MarkChange::DeleteAll => MarkChange::DeleteRange(0, last),
            MarkChange::DeleteRange(from, to) => MarkChange::DeleteRange(from, to.min(last)),
            other => other,
        };
        Settled { commit, time_ms, change }
    }
}

/// Takes out what says nothing beside the others, where all of them are seen by all: of trims, of
/// deletions from the front and of numbers to keep one is left, and no hole below what they hide.
/// So marks do not grow with the number of trims.
pub(super) fn merge(marks: &mut Vec<Settled>) {
    let fences = Fences::new(marks, u64::MAX, (None, 0), 0);
    let low_water = fences.low_water();
    let is_kept = |mark: &Settled| matches!(mark.change, MarkChange::KeepLast(_));
    let last_kept = marks.iter().rposition(is_kept);
    let (mut index, mut trims, mut deletions) = (0, 0, 0);
    marks.retain(|mark| {
        index += 1;
        match mark.change {
            MarkChange::TrimBefore(seq) if seq == fences.trimmed_below => {
                trims += 1;
                trims == 1
            }
            MarkChange::TrimBefore(_) => false,
            MarkChange::DeleteRange(0, to) if to + 1 == fences.deleted_below => {
                deletions += 1;
                deletions == 1
            }
            MarkChange::DeleteRange(0, _) => false,
            MarkChange::DeleteRange(_, to) => to >= low_water,
            MarkChange::KeepLast(_) => last_kept == Some(index - 1),
            MarkChange::TimeToLive(_) | MarkChange::DeleteAll => true,
        }
    });
}

/// What hides entries of a timeline at a moment.
#[derive(Default)]
pub(super) struct Fences {
    trimmed_below: u64,
    deleted_below: u64,
    /// First and last seq.
    holes: Vec<(u64, u64)>,
    ttl_ms: Option<u64>,
    /// What was committed before had expired when the time to live was changed.
    expired_before: u64,
    keep_last: Option<u64>,
    latest: u64,
    now: u64,
}

impl Fences {
    /// What the marks up to a commit amount to. `keep_last`: of the table; `latest`: the highest
    /// seq at the commit.
    pub(super) fn new(
        marks: &[Settled],
        commit: u64,
        (keep_last, latest): (Option<u64>, u64),
        now: u64,
    ) -> Fences {
        let mut fences = Fences { keep_last, latest, now, ..Fences::default() };
        for mark in marks.iter().filter(|mark| mark.commit <= commit) {
            match mark.change {
                MarkChange::TrimBefore(seq) => {
                    fences.trimmed_below = fences.trimmed_below.max(seq);
                }
                MarkChange::DeleteRange(0, to) => {
                    fences.deleted_below = fences.deleted_below.max(to + 1);
                }
                MarkChange::DeleteRange(from, to) => fences.holes.push((from, to)),
                MarkChange::TimeToLive(ttl) => {
                    fences.expired_before = fences.alive_from(mark.time_ms);
                    fences.ttl_ms =
                        ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
                }
                MarkChange::KeepLast(count) => fences.keep_last = count.or(keep_last),
                MarkChange::DeleteAll => unreachable!("settled as a range"),
            }
        }
        fences
    }

    /// No entry below is shown to anyone who sees these marks.
    pub(super) fn low_water(&self) -> u64 {
        self.trimmed_below.max(self.deleted_below)
    }

    fn alive_from(&self, now: u64) -> u64 {
        let fence = self.ttl_ms.map_or(0, |ttl| now.saturating_add(1).saturating_sub(ttl));
        fence.max(self.expired_before)
    }

    /// Why marks hide a seq, if they do.
    pub(super) fn reason(&self, seq: u64) -> Option<GapReason> {
        let hole = |hole: &(u64, u64)| hole.0 <= seq && seq <= hole.1;
        if seq < self.deleted_below {
            return Some(GapReason::Deleted);
        }
        if seq < self.trimmed_below {
            return Some(GapReason::Trimmed);
        }
        if self.holes.iter().any(hole) {
            return Some(GapReason::Deleted);
        }
        let kept_out =
            self.keep_last.is_some_and(|count| self.latest - seq.min(self.latest) >= count);
        kept_out.then_some(GapReason::Trimmed)
    }

    /// Whether an entry is shown.
    pub(super) fn shows(&self, seq: u64, time_ms: u64) -> bool {
        time_ms >= self.alive_from(self.now) && self.reason(seq).is_none()
    }
}
