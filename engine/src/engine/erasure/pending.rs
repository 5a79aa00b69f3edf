//! Which retractions wait for their erasure, as far as the worker must know to be in time.
//!
//! Of each table with an erasure deadline: a few spans of commits with the time of the first
//! retraction in each. A commit that retracts is noted once it is published; what was retracted
//! before the table was followed (before the store was opened, or the table given the option) is
//! found by a scan, which begins after that. So nothing falls between the two.
//!
//! # Concurrency
//! One lock, held for a look-up. The leader takes it for commits that retract, and only while a
//! table is followed at all.

use crate::entry::TableId;
use crate::sync::{AtomicBool, Mutex, Ordering};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Spans of a table; more are made one with the last.
const SPANS_MAX: usize = 64;
/// A span is as long as this share (1/n) of the deadline.
const SPAN_SHARE: u64 = 16;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pending {
    follows_any: AtomicBool,
    tables: Mutex<BTreeMap<TableId, Followed>>,
}

#[derive(Debug)]
struct Followed {
    deadline_ms: u64,
    spans: VecDeque<Span>,
}

/// Retractions of one table that are close to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    first_commit: u64,
    last_commit: u64,
    /// Commit time of the first one.
    since_ms: u64,
}

/// The retractions of all tables that have waited longest, measured by their deadlines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Oldest {
    pub(super) table: TableId,
    /// When half of the deadline has passed.
    pub(super) half_ms: u64,
    /// The first commit among them.
    pub(super) commit: u64,
}

impl Pending {
    /// Follows exactly these tables, each with its deadline; gives those that are new.
    pub(super) fn follow(&self, deadlines: &BTreeMap<TableId, u64>) -> Vec<TableId> {
        let mut tables = self.tables.lock();
        tables.retain(|table, _| deadlines.contains_key(table));
        let mut new = Vec::new();
        for (table, deadline_ms) in deadlines {
            let followed = tables.entry(*table).or_insert_with(|| {
                new.push(*table);
                Followed { deadline_ms: *deadline_ms, spans: VecDeque::new() }
            });
            followed.deadline_ms = *deadline_ms;
        }
        self.follows_any.store(!tables.is_empty(), Ordering::Release);
        new
    }

    /// The table is not followed: the next [`Pending::follow`] finds it new.
    pub(super) fn forget(&self, table: TableId) {
        self.tables.lock().remove(&table);
    }

    /// A retraction was published. Says whether the table had none waiting.
    pub(super) fn note(&self, table: TableId, commit: u64, time_ms: u64) -> bool {
        if !self.follows_any.load(Ordering::Acquire) {
            return false;
        }
        let mut tables = self.tables.lock();
        let Some(Followed { deadline_ms, spans }) = tables.get_mut(&table) else { return false };
        let full = spans.len() >= SPANS_MAX;
        match spans.back_mut() {
            Some(last) if full || time_ms < last.since_ms + *deadline_ms / SPAN_SHARE => {
                last.first_commit = last.first_commit.min(commit);
                last.last_commit = last.last_commit.max(commit);
                false
            }
            _ => {
                let span = Span { first_commit: commit, last_commit: commit, since_ms: time_ms };
                spans.push_back(span);
                spans.len() == 1
            }
        }
    }

    /// Retractions of these commits were found, the oldest of this time.
    pub(super) fn found(&self, table: TableId, commits: (u64, u64), since_ms: u64) {
        if let Some(followed) = self.tables.lock().get_mut(&table) {
            let (first_commit, last_commit) = commits;
            followed.spans.push_front(Span { first_commit, last_commit, since_ms });
        }
    }

    /// What a table's retractions up to this commit took back has been erased.
    pub(super) fn erased(&self, table: TableId, through: u64) {
        if let Some(followed) = self.tables.lock().get_mut(&table) {
            followed.spans.retain(|span| span.last_commit > through);
            for span in &mut followed.spans {
                span.first_commit = span.first_commit.max(through + 1);
            }
        }
    }

    /// What should be erased first, of what was retracted up to this commit in tables other than
    /// these.
    pub(super) fn oldest(&self, through: u64, but: &BTreeSet<TableId>) -> Option<Oldest> {
        let tables = self.tables.lock();
        let tables = tables.iter().filter(|(table, _)| !but.contains(table));
        let all = tables.flat_map(|(table, followed)| {
            let half_ms = followed.deadline_ms / 2;
            followed.spans.iter().map(move |span| Oldest {
                table: *table,
                half_ms: span.since_ms.saturating_add(half_ms),
                commit: span.first_commit,
            })
        });
        let all = all.filter(|oldest| oldest.commit <= through);
        all.min_by_key(|oldest| (oldest.half_ms, oldest.commit))
    }

    /// Commit time of the oldest retraction that waits.
    pub(super) fn since_ms(&self) -> Option<u64> {
        let tables = self.tables.lock();
        let spans = tables.values().flat_map(|followed| &followed.spans);
        spans.map(|span| span.since_ms).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: TableId = TableId(16);
    const OTHER: TableId = TableId(17);

    fn oldest(pending: &Pending) -> Option<Oldest> {
        pending.oldest(u64::MAX, &BTreeSet::new())
    }

    fn following() -> Pending {
        let pending = Pending::default();
        assert!(!pending.note(TABLE, 1, 1), "nothing is followed yet");
        assert_eq!(pending.follow(&[(TABLE, 1600)].into()), [TABLE]);
        assert_eq!(pending.follow(&[(TABLE, 1600), (OTHER, 160)].into()), [OTHER]);
        pending
    }

    #[test]
    fn what_has_waited_longest_by_its_deadline_comes_first() {
        let pending = following();
        assert_eq!(oldest(&pending), None);
        assert!(pending.note(TABLE, 10, 1000));
        assert!(!pending.note(TABLE, 11, 1099), "the same span");
        assert!(!pending.note(TABLE, 12, 1100));
        assert_eq!(oldest(&pending), Some(Oldest { table: TABLE, half_ms: 1800, commit: 10 }));
        assert!(pending.note(OTHER, 13, 1500));
        assert_eq!(oldest(&pending), Some(Oldest { table: OTHER, half_ms: 1580, commit: 13 }));
        assert_eq!(
            pending.oldest(12, &BTreeSet::new()),
            Some(Oldest { table: TABLE, half_ms: 1800, commit: 10 }),
            "of the older"
        );
        assert_eq!(pending.oldest(9, &BTreeSet::new()), None);
        let but_other = pending.oldest(u64::MAX, &BTreeSet::from([OTHER]));
        assert_eq!(but_other.map(|oldest| oldest.table), Some(TABLE));
        assert_eq!(pending.since_ms(), Some(1000));
        pending.found(TABLE, (2, 4), 100);
        assert_eq!(oldest(&pending), Some(Oldest { table: TABLE, half_ms: 900, commit: 2 }));
    }

    #[test]
    fn what_was_erased_waits_no_more() {
        let pending = following();
        for (commit, time_ms) in [(10, 1000), (11, 1050), (12, 1200)] {
            pending.note(TABLE, commit, time_ms);
        }
        pending.erased(TABLE, 10);
        assert_eq!(oldest(&pending), Some(Oldest { table: TABLE, half_ms: 1800, commit: 11 }));
        pending.erased(TABLE, 11);
        assert_eq!(oldest(&pending), Some(Oldest { table: TABLE, half_ms: 2000, commit: 12 }));
        pending.erased(TABLE, 12);
        assert_eq!(oldest(&pending), None);
        pending.follow(&[(OTHER, 160)].into());
        assert!(!pending.note(TABLE, 13, 1300), "the option was taken away");
        assert_eq!(pending.follow(&[(TABLE, 160)].into()), [TABLE]);
    }

    #[test]
    fn spans_are_bounded() {
        let pending = following();
        (0..1000).for_each(|n| assert_eq!(pending.note(TABLE, n + 1, n * 1000), n == 0));
        assert_eq!(pending.tables.lock()[&TABLE].spans.len(), SPANS_MAX);
        pending.erased(TABLE, 999);
        assert_eq!(oldest(&pending).map(|oldest| oldest.commit), Some(1000));
    }
}
