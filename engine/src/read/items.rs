//! Scans that say what is missing, and why.
//!
//! ```text
//! seq      1 . . . . 5 | 6 7 | 8 9 | 10 11 | 12 . . . . | 1,000,012
//! scan                   6 7         10 11                1,000,012
//! items      Trimmed     6 7   Del.  10 11      Lost      1,000,012
//! ```
//! Sequence ids are dense, so whatever is not there was there once, or was lost with the power. A
//! missing stretch is cut at what marks say; of the rest:
//! 1. where nothing of the table or timeline can expire, it was lost;
//! 2. between two entries it was lost, but for what was still in the file when the scan began: what
//!    expires is older than all that was shown then. Where entries may have times to live of their
//!    own, 3 decides here too;
//! 3. below the first entry it was lost if the entry before it is still in the file, expired or
//!    not, and an epoch began between the two;
//! 4. otherwise it has expired. (An entry with a time to live of its own that came right before an
//!    epoch is told as lost, too, once it is out of the file.)
//!
//! # Invariants
//! 1. Entries and gaps tile the asked range as far as the timeline had come at the snapshot.
//! 2. Gaps of one reason that touch are one.

use super::source::Bounds;
use super::{Fences, Scan, Snapshot, View, scan};
use crate::entry::{Direction, Entry, TableId};
use crate::error::Result;
use crate::sync::Arc;
use std::collections::VecDeque;

/// Why entries are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GapReason {
    /// They outlived their time to live.
    Expired,
    /// They were trimmed, or pushed out by newer ones where only so many are kept.
    Trimmed,
    /// They were deleted.
    Deleted,
    /// A power loss took them before they were synced, or they never were: sequence ids jump there
    /// so that none that anyone has seen is given to another entry.
    Lost,
}

/// A stretch of missing sequence ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Gap {
    /// The first missing sequence id.
    pub from: u64,
    /// The last one.
    pub to: u64,
    /// Why they are missing.
    pub reason: GapReason,
}

/// What a scan with gaps meets; see [`Snapshot::scan_items`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// An entry.
    Entry(Entry),
    /// Sequence ids without entries.
    Gap(Gap),
}

/// Entries and gaps of one timeline in order; see [`Snapshot::scan_items`].
pub struct Items {
    scan: Scan,
    direction: Direction,
    /// What must still be accounted for, both ends included; `None` where gaps are not told or
    /// nothing is left.
    rest: Option<(u64, u64)>,
    reasons: Reasons,
    ready: VecDeque<Item>,
    /// The entry before, in the order of the scan: its seq and commit.
    last: Option<(u64, u64)>,
    ended: bool,
}

/// What tells why a seq is missing.
pub(super) struct Reasons {
    pub(super) view: Arc<View>,
    pub(super) table: TableId,
    pub(super) key: Box<[u8]>,
    pub(super) commit: u64,
    pub(super) fences: Fences,
    /// Whether anything here can expire.
    pub(super) expires: bool,
    /// Whether entries may have had times to live of their own.
    pub(super) own_ttl: bool,
}

impl Items {
    /// `range`: what the entries and gaps tile together; `None` where no gaps are told.
    pub(super) fn new(
        scan: Scan,
        direction: Direction,
        range: Option<(u64, u64)>,
        reasons: Reasons,
    ) -> Items {
        let rest = range.filter(|(from, to)| from <= to);
        let ready = VecDeque::new();
        Items { scan, direction, rest, reasons, ready, last: None, ended: false }
    }

    fn advance(&mut self) -> Result<Option<Item>> {
        if let Some(item) = self.ready.pop_front() {
            return Ok(Some(item));
        }
        let entry = self.scan.next().transpose()?;
        let Some((from, to)) = self.rest else {
            return Ok(entry.map(Item::Entry));
        };
        let missing = match (&entry, self.direction) {
            (None, _) => Some((from, to)),
            (Some(entry), Direction::Forward) => {
                self.rest = (entry.seq < to).then_some((entry.seq + 1, to));
                entry.seq.checked_sub(1).map(|before| (from, before))
            }
            (Some(entry), Direction::Backward) => {
                self.rest = (entry.seq > from).then(|| (from, entry.seq - 1));
                Some((entry.seq + 1, to))
            }
        };
        if entry.is_none() {
            self.rest = None;
        }
        let here = entry.as_ref().map(|entry| (entry.seq, entry.commit));
        if let Some((from, to)) = missing.filter(|(from, to)| from <= to) {
            let (older, newer) = match self.direction {
                Direction::Forward => (self.last, here),
                Direction::Backward => (here, self.last),
            };
            let mut gaps = self.reasons.split((from, to), older, newer)?;
            if self.direction == Direction::Backward {
                gaps.reverse();
            }
            self.ready.extend(gaps.into_iter().map(Item::Gap));
        }
        self.last = here;
        self.ready.extend(entry.map(Item::Entry));
        Ok(self.ready.pop_front())
    }
}

impl Reasons {
    /// A missing stretch as gaps, oldest first. `older`, `newer`: the entries beside it, by seq and
    /// commit.
    fn split(
        &self,
        (from, to): (u64, u64),
        older: Option<(u64, u64)>,
        newer: Option<(u64, u64)>,
    ) -> Result<Vec<Gap>> {
        let mut gaps: Vec<Gap> = Vec::new();
        let mut add = |from: u64, to: u64, reason| match gaps.last_mut() {
            Some(last) if last.reason == reason => last.to = to,
            _ => gaps.push(Gap { from, to, reason }),
        };
        let marks = &self.fences.marks;
        let mut next = from;
        let fenced =
            [(marks.deleted_below, GapReason::Deleted), (marks.low_water(), GapReason::Trimmed)];
        for (below, reason) in fenced {
            let end = below.min(to.saturating_add(1));
            if next < end {
                add(next, end - 1, reason);
                next = end;
            }
        }
        while next <= to {
            let hole = self.fences.hole_from(next).filter(|hole| hole.from <= to);
            let open_to = hole.map_or(to, |hole| hole.from.saturating_sub(1));
            let kept_out = self.fences.shown_from.min(open_to.saturating_add(1));
            if next < kept_out {
                add(next, kept_out - 1, GapReason::Trimmed);
                next = kept_out;
            }
            if next <= open_to {
                for (from, to, reason) in self.unmarked((next, open_to), older, newer)? {
                    add(from, to, reason);
                }
            }
            if let Some(hole) = hole {
                let end = hole.to.min(to);
                add(hole.from.max(next), end, GapReason::Deleted);
            }
            next = hole.map_or(to, |hole| hole.to.min(to)).saturating_add(1);
        }
        Ok(gaps)
    }

    /// Why a stretch is missing that no mark covers.
    fn unmarked(
        &self,
        (from, to): (u64, u64),
        older: Option<(u64, u64)>,
        newer: Option<(u64, u64)>,
    ) -> Result<Vec<(u64, u64, GapReason)>> {
        if !self.expires {
            return Ok(vec![(from, to, GapReason::Lost)]);
        }
        if older.is_some() && !self.own_ttl {
            return self.expired_since((from, to));
        }
        let expired = vec![(from, to, GapReason::Expired)];
        let Some((_, commit)) = newer.filter(|_| !self.view.epochs.is_empty()) else {
            return Ok(expired);
        };
        // The newest entry below, in the file still, whether or not it has expired.
        let bounds = Bounds { from: 0, to, commit: self.commit, alive_from_ms: 0, now_ms: 0 };
        let before = scan::newest_within(&self.view, self.table, &self.key, &bounds)?;
        let lost = before.filter(|before| {
            self.view.epochs.iter().any(|epoch| (before.commit..commit).contains(epoch))
        });
        Ok(match lost {
            None => expired,
            Some(before) => expired_through((from, to), before.seq),
        })
    }

    /// Why a stretch between two entries is missing: what has expired since the scan began was
    /// there when it did.
    fn expired_since(&self, (from, to): (u64, u64)) -> Result<Vec<(u64, u64, GapReason)>> {
        let bounds = Bounds { from, to, commit: self.commit, alive_from_ms: 0, now_ms: 0 };
        let newest = scan::newest_within(&self.view, self.table, &self.key, &bounds)?;
        Ok(expired_through((from, to), newest.map_or(0, |newest| newest.seq)))
    }
}

/// A stretch that has expired up to `last`, and was lost behind it.
fn expired_through((from, to): (u64, u64), last: u64) -> Vec<(u64, u64, GapReason)> {
    match last {
        _ if last < from => vec![(from, to, GapReason::Lost)],
        _ if last < to => {
            vec![(from, last, GapReason::Expired), (last + 1, to, GapReason::Lost)]
        }
        _ => vec![(from, to, GapReason::Expired)],
    }
}

impl Iterator for Items {
    type Item = Result<Item>;

    fn next(&mut self) -> Option<Result<Item>> {
        if self.ended {
            return None;
        }
        let next = self.advance();
        self.ended = !matches!(next, Ok(Some(_)));
        match next {
            Ok(item) => item.map(Ok),
            // Errors of the scan have been explained already; explaining is idempotent.
            Err(error) => Some(Err(self.scan.snapshot().explain(error))),
        }
    }
}

impl Snapshot {
    /// As [`Snapshot::scan`], with what is missing between the entries, and before and behind them
    /// up to the newest sequence id that the timeline had: each stretch once, in the order of the
    /// scan, with its reason. Where nothing is missing there are no gaps; a table whose sequence
    /// ids the caller gives has none either. Unlike a scan, it holds the version of the files that
    /// it began on until it is dropped: what has been replaced since is not given back meanwhile.
    ///
    /// ```
    /// # use tidelog_engine::{Direction, Durability, Engine, Options, TableOptions, WriteBatch};
    /// use tidelog_engine::{Gap, GapReason, Item};
    /// # let folder = tempfile::tempdir()?;
    /// # let engine = Engine::open(folder.path().join("chat.tide"), Options::default())?;
    /// # let messages = engine.create_table("message", TableOptions::timeline())?;
    /// let mut batch = WriteBatch::new();
    /// for text in ["one", "two", "three"] {
    ///     batch.append(messages, b"room", text.as_bytes(), None)?;
    /// }
    /// batch.trim(messages, b"room", 3)?;
    /// engine.commit(batch, Durability::Sync)?;
    /// let snapshot = engine.snapshot();
    /// let mut items = snapshot.scan_items(messages, b"room", 1, u64::MAX, Direction::Forward)?;
    /// let trimmed = Gap { from: 1, to: 2, reason: GapReason::Trimmed };
    /// assert_eq!(items.next().expect("a gap")?, Item::Gap(trimmed));
    /// assert!(matches!(items.next().expect("an entry")?, Item::Entry(entry) if entry.seq == 3));
    /// assert!(items.next().is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Snapshot::get`], here and from the iterator.
    pub fn scan_items(
        &self,
        table: TableId,
        key: &[u8],
        from: u64,
        to: u64,
        direction: Direction,
    ) -> Result<Items> {
        self.items(table, key, (from, to), direction).map_err(|error| self.explain(error))
    }
}
