//! What is read: cursors both ways, runs in order, groups for a flush, and whole prefixes beside a
//! writer.

use super::{KEYED, Leader, TABLE};
use crate::batch::WriteBatch;
use crate::entry::{Direction, TableId};
use crate::memtable::{Gatherer, Memtable, Run};
use crate::sync::{AtomicU64, Ordering};
use crate::version::TableKind;
use std::ops::Bound;
use std::sync::Arc;

#[test]
fn cursors_walk_both_ways_over_chunks() {
    let mut leader = Leader::new(1, 0);
    let count = 5000u64;
    for commit in 1..=count {
        leader.append(b"k", &commit.to_le_bytes(), commit, commit / 3);
    }
    let run = leader.memtable.run(TABLE, b"k").unwrap();
    let seqs = |from, direction| run.cursor(from, direction).map(|entry| entry.unwrap().seq);
    for from in [0, 1, 2, 5, 6, 13, 14, 1021, 1022, 4998, 4999] {
        assert!(seqs(from, Direction::Forward).eq(from as u64 + 1..=count), "from {from}");
        assert!(seqs(from, Direction::Backward).eq((1..=from as u64 + 1).rev()), "from {from}");
    }
    assert_eq!(seqs(5000, Direction::Forward).count(), 0);
    assert_eq!(seqs(5000, Direction::Backward).count(), 0);
    for index in (0..5000).step_by(7) {
        let seq = index as u64 + 1;
        assert_eq!(run.count_at(seq), index + 1);
        assert_eq!(run.lower_bound(seq, 5000), index);
        assert_eq!(run.time_ms(run.rank_time(seq / 3, 5000)), seq / 3);
        assert_eq!((run.seq(index), run.commit(index)), (seq, seq));
    }
}

#[test]
fn runs_are_sorted_and_start_where_told() {
    let mut leader = Leader::new(1, 0);
    for (commit, key) in (1..).zip([&b"b"[..], b"ab", b"c", b"a", b"b"]) {
        leader.append(key, b"", commit, 0);
    }
    let mut batch = WriteBatch::new();
    batch.append(TableId(3), b"b", b"", None).unwrap();
    batch.put(KEYED, b"k", b"v").unwrap();
    leader.commit(batch, 9, 0);
    let keys = |from| {
        let runs = leader.memtable.runs_sorted(TABLE, from);
        runs.iter().map(|run| String::from_utf8_lossy(run.key()).into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(keys(Bound::Unbounded), ["a", "ab", "b", "c"]);
    assert_eq!(keys(Bound::Included(b"ab")), ["ab", "b", "c"]);
    assert_eq!(keys(Bound::Excluded(b"ab")), ["b", "c"]);
    let timeline = TableKind::Timeline;
    let expected = vec![(TableId(3), timeline), (TABLE, timeline), (KEYED, TableKind::Keyed)];
    assert_eq!(leader.memtable.tables(), expected);
    assert_eq!(leader.memtable.run(TABLE, b"b").unwrap().count_at(4), 1);
    assert_eq!(leader.memtable.commits(), Some((1, 9)));
}

/// One writer, three readers: whoever sees entry n sees all below it, and each is whole.
#[test]
fn readers_see_whole_prefixes() {
    const TIMELINES: u64 = 37;
    const COMMITS: u64 = 40_000;
    let memtable = Arc::new(Memtable::new(1, 0));
    let published = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for reader in 0..3u64 {
            let (memtable, published) = (&memtable, &published);
            scope.spawn(move || {
                let mut round = reader;
                loop {
                    let snapshot = published.load(Ordering::Acquire);
                    round += 1;
                    let timeline = (round * 7 + reader) % TIMELINES;
                    // Commit c goes to timeline c % TIMELINES, as entry c / TIMELINES.
                    let expected = (1..=snapshot).filter(|c| c % TIMELINES == timeline);
                    let expected: Vec<u64> = expected.collect();
                    let found = match memtable.run(TABLE, &timeline.to_le_bytes()) {
                        None => Vec::new(),
                        Some(run) => match run.count_at(snapshot) {
                            0 => Vec::new(),
                            visible => {
                                let entries = run.cursor(visible - 1, Direction::Backward);
                                entries.map(Result::unwrap).collect()
                            }
                        },
                    };
                    assert_eq!(found.len(), expected.len(), "snapshot {snapshot}");
                    for (entry, commit) in found.iter().zip(expected.iter().rev()) {
                        assert_eq!(
                            (entry.commit, &*entry.payload),
                            (*commit, &commit.to_le_bytes()[..])
                        );
                    }
                    let listed = memtable.versions(KEYED, &timeline.to_le_bytes(), snapshot);
                    let newest = expected.last().map(|commit| commit.to_le_bytes().to_vec());
                    assert_eq!(listed.first().map(|version| version.value.to_vec()), newest);
                    if snapshot == COMMITS {
                        break;
                    }
                }
            });
        }
        for commit in 1..=COMMITS {
            let key = (commit % TIMELINES).to_le_bytes();
            let mut batch = WriteBatch::new();
            batch.append(TABLE, &key, &commit.to_le_bytes(), None).unwrap();
            batch.assign(0, commit);
            batch.put(KEYED, &key, &commit.to_le_bytes()).unwrap();
            memtable.apply(Arc::new(batch.into_body()), commit, 0).unwrap();
            published.store(commit, Ordering::Release);
        }
    });
}

#[test]
fn groups_give_what_cursors_give() {
    let mut leader = Leader::new(1, 0);
    // One long run, many short ones, and some in between.
    for commit in 1..=3_000u64 {
        let key = match commit % 3 {
            0 => b"long".to_vec(),
            1 => format!("middle {}", commit % 7).into_bytes(),
            _ => format!("short {}", commit % 200).into_bytes(),
        };
        leader.append(&key, &commit.to_le_bytes(), commit, commit / 2);
    }
    let runs = leader.memtable.runs_sorted(TABLE, Bound::Unbounded);
    assert!(runs.is_sorted_by(|one, other| one.key() < other.key()));
    for (from, until) in [(0, u64::MAX), (0, 300), (700, 1_100), (1_499, 1_600), (9_000, 9_001)] {
        let bounds = |run: &Run| {
            let count = run.count();
            run.rank_time(from, count)..run.rank_time(until, count)
        };
        let mut gatherer = Gatherer::default();
        let (mut found, mut ended, mut looked_at) = (Vec::new(), Vec::new(), 0);
        while let Some(runs_done) = gatherer.gather(&runs, bounds) {
            looked_at += runs_done;
            for part in gatherer.parts() {
                assert!(!part.entries.is_empty());
                for placed in &gatherer.entries()[part.entries.clone()] {
                    let payload = runs[part.run].plain(placed.place).unwrap().to_vec();
                    found.push((part.run, placed.seq, placed.commit, placed.time_ms, payload));
                }
                ended.extend(part.ends.then_some(part.run));
            }
        }
        let mut expected = Vec::new();
        let mut with_entries = Vec::new();
        for (index, run) in runs.iter().enumerate() {
            let bounds = bounds(run);
            let cursor = run.cursor(bounds.start, Direction::Forward).take(bounds.len());
            with_entries.extend((!bounds.is_empty()).then_some(index));
            expected.extend(cursor.map(Result::unwrap).map(|entry| {
                (index, entry.seq, entry.commit, entry.time_ms, entry.payload.to_vec())
            }));
        }
        assert_eq!(looked_at, runs.len());
        assert_eq!(ended, with_entries);
        assert_eq!(found, expected, "{from} to {until}");
    }
}

#[test]
fn a_message_is_plain_if_it_has_a_payload_alone() {
    let mut leader = Leader::new(1, 0);
    for (index, length) in [0, 1, 127, 128, 300, 16_383, 16_384, 70_000].into_iter().enumerate() {
        leader.append(b"plain", &vec![7; length], index as u64 + 1, 0);
        let run = leader.memtable.run(TABLE, b"plain").unwrap();
        let placed = run.newest().unwrap();
        assert_eq!(run.plain(placed.place).map(<[u8]>::len), Some(length));
    }
    let mut batch = WriteBatch::new();
    batch.append(TABLE, b"event", b"text", Some(5)).unwrap();
    leader.commit(batch, 20, 0);
    let run = leader.memtable.run(TABLE, b"event").unwrap();
    assert_eq!(run.plain(run.newest().unwrap().place), None);
    assert!(!leader.memtable.has_shared());
    let mut batch = WriteBatch::new();
    batch.fan_out([(TABLE, &b"a"[..]), (TABLE, b"b")], b"text", None, None, true).unwrap();
    leader.commit(batch, 21, 0);
    let run = leader.memtable.run(TABLE, b"b").unwrap();
    assert_eq!(run.plain(run.newest().unwrap().place), None);
    assert!(leader.memtable.has_shared());
}
