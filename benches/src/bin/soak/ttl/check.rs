//! The oracle of a scan under a TTL: dense, right, nothing expired, nothing alive missing.

use super::reference::Reference;
use crate::payload;
use crate::report::Wrong;
use tidelog_engine::Entry;

/// Milliseconds that the store's clock and this program's may differ by: each cuts off fractions,
/// and each sees the machine's wall clock at other moments.
const SLACK_MS: u64 = 10;

/// What judges the scans of one run.
pub(crate) struct Oracle<'a> {
    pub(crate) reference: &'a Reference,
    pub(crate) wrong: &'a Wrong,
    pub(crate) payload: usize,
    pub(crate) seed: u64,
}

/// One scan from the newest entry back, and what was known around it.
pub(crate) struct Seen<'a> {
    pub(crate) timeline: u64,
    /// Newest first.
    pub(crate) entries: &'a [Entry],
    /// The most that were asked for.
    pub(crate) limit: usize,
    /// The highest seq that was acknowledged before the scan began.
    pub(crate) newest: u64,
    /// What was committed before this time had expired before the scan began.
    pub(crate) dead_before_ms: u64,
    /// What was committed at or after this time was alive until the scan had ended.
    pub(crate) alive_from_ms: u64,
    /// No seq up to this one may be there.
    pub(crate) gone: u64,
}

impl Oracle<'_> {
    /// Judges a scan.
    pub(crate) fn check(&self, seen: &Seen<'_>) {
        let Seen { timeline, entries, .. } = *seen;
        for pair in entries.windows(2) {
            if pair[1].seq + 1 != pair[0].seq {
                let (high, low) = (pair[0].seq, pair[1].seq);
                self.wrong.add(format_args!("timeline {timeline}: {low} comes behind {high}"));
            }
        }
        for entry in entries {
            self.check_entry(seen, entry);
        }
        let first = entries.first().map_or(0, |entry| entry.seq);
        if first < seen.newest && self.must_be_there(seen, seen.newest) {
            let newest = seen.newest;
            self.wrong.add(format_args!("timeline {timeline}: ends at {first}, not {newest}"));
        }
        let last = entries.last().map_or(0, |entry| entry.seq);
        if entries.len() < seen.limit && last > 1 && self.must_be_there(seen, last - 1) {
            let begun = self.reference.begun_ms(timeline, last - 1).unwrap_or(0);
            let left = begun.saturating_sub(seen.alive_from_ms);
            self.wrong.add(format_args!(
                "timeline {timeline}: begins at {last}, the one before had {left} ms to live"
            ));
        }
    }

    fn must_be_there(&self, seen: &Seen<'_>, seq: u64) -> bool {
        let begun = self.reference.begun_ms(seen.timeline, seq);
        seq > seen.gone && begun.is_some_and(|begun| begun >= seen.alive_from_ms + SLACK_MS)
    }

    fn check_entry(&self, seen: &Seen<'_>, entry: &Entry) {
        let (timeline, seq, time_ms) = (seen.timeline, entry.seq, entry.time_ms);
        let wrong = |what: &str| {
            self.wrong.add(format_args!("entry {seq} of timeline {timeline} at {time_ms} {what}"));
        };
        if !payload::is_right(&entry.payload, self.payload, self.seed, timeline, seq) {
            wrong("is not what was written");
        }
        let begun = self.reference.begun_ms(timeline, seq);
        if begun.is_none_or(|begun| time_ms + SLACK_MS < begun) {
            wrong("is from before it was committed");
        }
        let ended = self.reference.ended_ms(timeline, seq);
        if ended.is_some_and(|ended| time_ms > ended + SLACK_MS) {
            wrong("is from after it was committed");
        }
        if time_ms + SLACK_MS < seen.dead_before_ms {
            wrong(&format!("had expired: all before {} had", seen.dead_before_ms));
        }
        if seq <= seen.gone {
            wrong(&format!("came back: all up to {} had expired", seen.gone));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidelog_engine::Payload;

    const SEED: u64 = 5;

    /// Ten commits of one entry each to one timeline, at 1000, 1100, ...
    fn reference() -> Reference {
        let reference = Reference::new(1, 1, 10);
        for commit in 0..10 {
            reference.begin(commit, 1000 + commit * 100);
            reference.end(commit, 1001 + commit * 100);
        }
        reference
    }

    fn entry(seq: u64) -> Entry {
        let mut bytes = vec![0; 20];
        payload::fill(&mut bytes, SEED, 0, seq);
        let payload = Payload::from_vec(bytes);
        let time_ms = 900 + seq * 100;
        let (event_ms, ttl_ms, origin, revision) = (None, None, None, None);
        Entry {
            seq,
            commit: seq,
            time_ms,
            event_ms,
            ttl_ms,
            origin,
            payload,
            revision,
            erased: false,
        }
    }

    /// Entries 5 to 10 are alive at 1,900 with a TTL of 500.
    fn count(change: impl FnOnce(&mut Vec<Entry>), gone: u64) -> u64 {
        let (reference, wrong) = (reference(), Wrong::default());
        let oracle = Oracle { reference: &reference, wrong: &wrong, payload: 20, seed: SEED };
        let mut entries: Vec<Entry> = (5..=10).rev().map(entry).collect();
        change(&mut entries);
        oracle.check(&Seen {
            timeline: 0,
            entries: &entries,
            limit: 20,
            newest: 10,
            dead_before_ms: 1400,
            alive_from_ms: 1390,
            gone,
        });
        wrong.count()
    }

    #[test]
    fn every_kind_of_wrong_answer_is_seen() {
        assert_eq!(count(|_| {}, 4), 0);
        assert_eq!(count(|entries| drop(entries.remove(2)), 4), 1, "a hole");
        assert_eq!(count(|entries| drop(entries.remove(0)), 4), 1, "the newest is missing");
        assert_eq!(count(|entries| drop(entries.pop()), 4), 1, "the oldest is missing");
        assert_eq!(count(Vec::clear, 4), 1, "all are missing");
        assert_eq!(count(|entries| entries.push(entry(4)), 3), 1, "an expired one");
        assert_eq!(count(|_| {}, 5), 1, "one that came back");
        let swap = |entries: &mut Vec<Entry>| entries[1].payload = entries[2].payload.clone();
        assert_eq!(count(swap, 4), 1, "another one's payload");
        assert_eq!(count(|entries| entries[3].time_ms += 50, 4), 1, "another one's time");
        assert_eq!(count(|entries| entries.insert(0, entry(11)), 4), 1, "from the future");
    }
}
