//! What readers see no more, and the gaps that tell of it: marks, retention, times to live.

use super::{append, commit, refused, seqs, target, timelines};
use std::time::Duration;
use tidelog::backend::{Backend, BackendSnapshot, Batch, BatchMessage, MarkChange, ScanRequest};
use tidelog::{Direction, ErrorKind, Gap, GapReason, Payload, TableId, TableOptions};
use tidelog_engine::{Item, Sequence};

/// What a scan with gaps meets, both ways, in pages of two: seqs of entries, and gaps.
fn items(now: &dyn BackendSnapshot, table: TableId, from: u64, to: u64) -> Vec<(u64, Option<Gap>)> {
    let read = |direction| {
        let (mut start, end) = match direction {
            Direction::Forward => (from, to),
            Direction::Backward => (to, from),
        };
        let mut found = Vec::new();
        loop {
            let request =
                ScanRequest { from: start, to: end, direction, limit: 2, byte_limit: 1 << 20 };
            let page = now.scan_items(table, b"a", &request).unwrap();
            found.extend(page.items.into_iter().map(|item| match item {
                Item::Entry(entry) => (entry.seq, None),
                Item::Gap(gap) => (gap.from, Some(gap)),
            }));
            let Some(next) = page.next else { return found };
            start = next;
        }
    };
    let forward = read(Direction::Forward);
    let mut backward = read(Direction::Backward);
    backward.reverse();
    assert_eq!(forward, backward);
    forward
}

fn gap(from: u64, to: u64, reason: GapReason) -> (u64, Option<Gap>) {
    (from, Some(Gap { from, to, reason }))
}

pub(super) fn marks(backend: &dyn Backend) {
    let table = timelines(backend);
    let mark = |change| Batch::mark(table, b"a", change);
    for _ in 0..10 {
        commit(backend, append(table, "a", b"x")).unwrap();
    }
    let before = backend.snapshot().unwrap();
    assert_eq!(items(&*before, table, 9, 99), [(9, None), (10, None)]);
    commit(backend, mark(MarkChange::TrimBefore(3))).unwrap();
    commit(backend, mark(MarkChange::TrimBefore(2))).unwrap();
    commit(backend, mark(MarkChange::DeleteRange(5, 6))).unwrap();
    commit(backend, mark(MarkChange::DeleteRange(10, u64::MAX))).unwrap();
    // In one batch each mark has its place.
    let mut batch = append(table, "a", b"x");
    batch.join(mark(MarkChange::DeleteRange(11, 12)));
    batch.join(append(table, "a", b"x"));
    assert_eq!(commit(backend, batch).unwrap().seqs, [11, 12]);
    let now = backend.snapshot().unwrap();
    assert_eq!(seqs(&*now, table, "a", 0, u64::MAX), [3, 4, 7, 8, 9, 12]);
    assert_eq!(now.len(table, b"a").unwrap(), 6);
    assert_eq!(now.latest_seq(table, b"a").unwrap(), 12);
    assert!(now.get(table, b"a", 5).unwrap().is_none());
    use GapReason::{Deleted, Trimmed};
    let all = [
        gap(1, 2, Trimmed),
        (3, None),
        (4, None),
        gap(5, 6, Deleted),
        (7, None),
        (8, None),
        (9, None),
        gap(10, 11, Deleted),
        (12, None),
    ];
    assert_eq!(items(&*now, table, 0, u64::MAX), all);
    assert_eq!(items(&*now, table, 6, 8), [gap(6, 6, Deleted), (7, None), (8, None)]);
    commit(backend, mark(MarkChange::DeleteAll)).unwrap();
    commit(backend, mark(MarkChange::TrimBefore(u64::MAX))).unwrap();
    let cleared = backend.snapshot().unwrap();
    assert_eq!(items(&*cleared, table, 0, u64::MAX), [gap(1, 12, Deleted)]);
    assert!(cleared.latest(table, b"a").unwrap().is_none());
    assert_eq!(commit(backend, append(table, "a", b"x")).unwrap().seqs, [13]);
    assert_eq!(seqs(&*backend.snapshot().unwrap(), table, "a", 0, u64::MAX), [13]);
    assert_eq!(seqs(&*before, table, "a", 0, u64::MAX), (1..=10).collect::<Vec<u64>>());
    assert_eq!(seqs(&*now, table, "a", 0, u64::MAX).len(), 6, "snapshots show their moment");
    commit(backend, Batch::mark(table, b"none", MarkChange::DeleteAll)).unwrap();
    let listed = backend.snapshot().unwrap().timelines(table, b"", None, 9).unwrap();
    assert_eq!(listed.len(), 1, "a mark makes no timeline");
}

pub(super) fn retention(backend: &dyn Backend) {
    let options = TableOptions::timeline().keep_last(3);
    let table = backend.create_table("kept", &options).unwrap();
    let mark = |change| Batch::mark(table, b"a", change);
    for _ in 0..10 {
        commit(backend, append(table, "a", b"x")).unwrap();
    }
    let shown = || seqs(&*backend.snapshot().unwrap(), table, "a", 0, u64::MAX);
    assert_eq!(shown(), [8, 9, 10]);
    let now = backend.snapshot().unwrap();
    assert_eq!(items(&*now, table, 0, 8), [gap(1, 7, GapReason::Trimmed), (8, None)]);
    commit(backend, mark(MarkChange::DeleteRange(9, 9))).unwrap();
    assert_eq!(shown(), [8, 10], "deleted entries count");
    commit(backend, mark(MarkChange::KeepLast(Some(1)))).unwrap();
    assert_eq!(shown(), [10]);
    commit(backend, mark(MarkChange::KeepLast(None))).unwrap();
    commit(backend, append(table, "a", b"x")).unwrap();
    assert_eq!(shown(), [10, 11]);
    for wrong in [
        MarkChange::KeepLast(Some(0)),
        MarkChange::TimeToLive(Some(Duration::ZERO)),
        MarkChange::DeleteRange(4, 3),
    ] {
        assert_eq!(refused(backend, mark(wrong)), ErrorKind::InvalidUse);
    }
    commit(backend, mark(MarkChange::TimeToLive(Some(Duration::from_secs(9999))))).unwrap();
    assert_eq!(shown(), [10, 11]);
    let given = TableOptions { sequence: Sequence::Given, ..TableOptions::timeline() };
    let refusal = backend.create_table("given", &given.clone().keep_last(3)).unwrap_err();
    assert_eq!(refusal.kind(), ErrorKind::InvalidUse);
    let given = backend.create_table("given", &given).unwrap();
    let wrong = Batch::mark(given, b"a", MarkChange::KeepLast(Some(3)));
    assert_eq!(refused(backend, wrong), ErrorKind::InvalidUse);
}

/// Entries with a time to live of their own go one by one, wherever they stand.
pub(super) fn own_ttl(backend: &dyn Backend) {
    let table = timelines(backend);
    let send = |ttl: Option<Duration>, keys: &[&str]| {
        commit(
            backend,
            Batch::of(BatchMessage {
                payload: Payload::from_vec(b"text".to_vec()),
                event_ms: None,
                ttl,
                origin: None,
                first_is_origin: keys.len() > 1,
                targets: keys.iter().map(|key| target(table, key)).collect(),
            }),
        )
    };
    let (hour, moment) = (Duration::from_secs(3600), Duration::from_millis(1));
    for ttl in [None, Some(moment), Some(hour), Some(moment)] {
        send(ttl, &["a", "b"]).unwrap();
    }
    let held = backend.snapshot().unwrap();
    std::thread::sleep(Duration::from_millis(20));
    let now = backend.snapshot().unwrap();
    for snapshot in [&*now, &*held] {
        for key in ["a", "b"] {
            assert_eq!(seqs(snapshot, table, key, 0, u64::MAX), [1, 3]);
            assert_eq!(snapshot.len(table, key.as_bytes()).unwrap(), 2);
            assert_eq!(snapshot.latest_seq(table, key.as_bytes()).unwrap(), 4);
            let latest = snapshot.latest(table, key.as_bytes()).unwrap().unwrap();
            assert_eq!((latest.seq, latest.ttl_ms), (3, Some(3_600_000)));
            assert!(snapshot.get(table, key.as_bytes(), 2).unwrap().is_none());
        }
    }
    let told = items(&*now, table, 1, u64::MAX);
    let expired = |seq| gap(seq, seq, GapReason::Expired);
    assert_eq!(told, [(1, None), expired(2), (3, None), expired(4)]);
    for bad in [Duration::ZERO, Duration::from_micros(999), Duration::MAX] {
        assert_eq!(send(Some(bad), &["a"]).unwrap_err().kind(), ErrorKind::InvalidUse);
    }
    assert_eq!(send(None, &["a"]).unwrap().seqs, [5]);
}
