//! What is read: snapshots of one moment, scans in pages, keyed tables, lists of timelines.

use super::{append, commit, keyed, seqs, timelines};
use std::ops::Bound;
use tidelog::backend::{Backend, Batch, ITEM_BYTES, MarkChange, ScanRequest};
use tidelog::{Direction, TableOptions};
use tidelog_engine::KeyedOperation;

pub(super) fn snapshots(backend: &dyn Backend) {
    let table = timelines(backend);
    let keys = backend.create_table("keys", &TableOptions::keyed()).unwrap();
    commit(backend, append(table, "a", b"1")).unwrap();
    commit(backend, keyed(KeyedOperation::Put, keys, "k", b"1")).unwrap();
    let before = backend.snapshot().unwrap();
    for _ in 0..3 {
        commit(backend, append(table, "a", b"2")).unwrap();
        commit(backend, append(table, "b", b"2")).unwrap();
        commit(backend, keyed(KeyedOperation::Put, keys, "k", b"2")).unwrap();
        commit(backend, keyed(KeyedOperation::Delete, keys, "k", b"")).unwrap();
    }
    assert_eq!(before.latest_seq(table, b"a").unwrap(), 1);
    assert_eq!(before.len(table, b"a").unwrap(), 1);
    assert_eq!(before.latest(table, b"a").unwrap().unwrap().seq, 1);
    assert!(before.get(table, b"a", 2).unwrap().is_none());
    assert_eq!(seqs(&*before, table, "a", 0, u64::MAX), [1]);
    assert_eq!(before.value(keys, b"k").unwrap().as_deref(), Some(&b"1"[..]));
    let listed = before.timelines(table, b"", None, 10).unwrap();
    assert_eq!(listed.len(), 1, "a timeline begins with its first commit");
    assert_eq!(listed[0].latest_seq, 1);
    assert!(backend.snapshot().unwrap().value(keys, b"k").unwrap().is_none());
}

pub(super) fn scans(backend: &dyn Backend) {
    let table = timelines(backend);
    for _ in 0..10 {
        commit(backend, append(table, "a", b"x")).unwrap();
        commit(backend, append(table, "b", b"y")).unwrap();
    }
    let now = backend.snapshot().unwrap();
    let forward: Vec<u64> = (1..=10).collect();
    let backward: Vec<u64> = (1..=10).rev().collect();
    assert_eq!(seqs(&*now, table, "a", 0, u64::MAX), forward);
    assert_eq!(seqs(&*now, table, "a", u64::MAX, 0), backward);
    assert_eq!(seqs(&*now, table, "a", 3, 5), [3, 4, 5]);
    assert_eq!(seqs(&*now, table, "a", 5, 3), [5, 4, 3]);
    assert_eq!(seqs(&*now, table, "a", 4, 4), [4]);
    assert_eq!(seqs(&*now, table, "a", 10, u64::MAX), [10]);
    assert!(seqs(&*now, table, "a", 11, u64::MAX).is_empty());
    assert!(seqs(&*now, table, "none", 0, u64::MAX).is_empty());
}

pub(super) fn pages_end_by_bytes(backend: &dyn Backend) {
    let table = timelines(backend);
    for _ in 0..4 {
        commit(backend, append(table, "a", &[7; 1000])).unwrap();
    }
    let now = backend.snapshot().unwrap();
    let direction = Direction::Forward;
    let request = ScanRequest { from: 1, to: u64::MAX, direction, limit: 9, byte_limit: 1500 };
    let page = now.scan(table, b"a", &request).unwrap();
    assert_eq!((page.entries.len(), page.next), (2, Some(3)));
    let page = now.scan(table, b"a", &ScanRequest { byte_limit: 0, ..request }).unwrap();
    assert_eq!((page.entries.len(), page.next), (1, Some(2)));
    // Entries without a payload, and gaps, end a page too.
    for seq in 1..=20u64 {
        commit(backend, append(table, "empty", b"")).unwrap();
        commit(backend, append(table, "holes", b"")).unwrap();
        if seq.is_multiple_of(2) {
            let hole = MarkChange::DeleteRange(seq, seq);
            commit(backend, Batch::mark(table, b"holes", hole)).unwrap();
        }
    }
    let now = backend.snapshot().unwrap();
    let request = ScanRequest { limit: usize::MAX, byte_limit: 10 * ITEM_BYTES, ..request };
    let page = now.scan(table, b"empty", &request).unwrap();
    assert_eq!((page.entries.len(), page.next), (10, Some(11)));
    for key in [b"empty", b"holes"] {
        let page = now.scan_items(table, key, &request).unwrap();
        assert_eq!((page.items.len(), page.next), (10, Some(11)));
    }
}

pub(super) fn keyed_tables(backend: &dyn Backend) {
    let table = backend.create_table("keys", &TableOptions::keyed()).unwrap();
    for key in ["a", "b", "c", "d"] {
        commit(backend, keyed(KeyedOperation::Put, table, key, key.as_bytes())).unwrap();
    }
    commit(backend, keyed(KeyedOperation::Delete, table, "b", b"")).unwrap();
    for amount in [5i64, -7] {
        commit(backend, keyed(KeyedOperation::Add, table, "n", &amount.to_le_bytes())).unwrap();
        commit(backend, keyed(KeyedOperation::Max, table, "m", &amount.to_le_bytes())).unwrap();
    }
    let now = backend.snapshot().unwrap();
    let counter = |key: &[u8]| now.value(table, key).unwrap().map(|value| value.to_vec());
    assert_eq!(counter(b"n"), Some((-2i64).to_le_bytes().to_vec()));
    assert_eq!(counter(b"m"), Some(5i64.to_le_bytes().to_vec()));
    let names = |from, to, limit| {
        let found = now.values(table, from, to, limit).unwrap();
        found.into_iter().map(|(key, _)| String::from_utf8(key.into()).unwrap()).collect::<Vec<_>>()
    };
    let (all, a, c) = (Bound::Unbounded, &b"a"[..], &b"c"[..]);
    assert_eq!(names(all, all, 9), ["a", "c", "d", "m", "n"]);
    assert_eq!(names(all, all, 2), ["a", "c"]);
    assert_eq!(names(Bound::Excluded(a), Bound::Included(c), 9), ["c"]);
    assert_eq!(names(Bound::Included(a), Bound::Excluded(c), 9), ["a"]);
}

pub(super) fn listing(backend: &dyn Backend) {
    let table = timelines(backend);
    for key in ["b", "aa", "a", "ab", "c"] {
        commit(backend, append(table, key, b"x")).unwrap();
    }
    commit(backend, append(table, "ab", b"x")).unwrap();
    let now = backend.snapshot().unwrap();
    let list = |prefix: &[u8], after: Option<&[u8]>, limit| {
        let found = now.timelines(table, prefix, after, limit).unwrap();
        let found = found.into_iter();
        found.map(|t| (String::from_utf8(t.key.into()).unwrap(), t.latest_seq)).collect::<Vec<_>>()
    };
    let expected = [("a", 1), ("aa", 1), ("ab", 2), ("b", 1), ("c", 1)];
    let expected = expected.map(|(key, seq)| (key.to_string(), seq));
    assert_eq!(list(b"", None, 9), expected);
    assert_eq!(list(b"a", None, 9), expected[..3]);
    assert_eq!(list(b"a", Some(b"a"), 9), expected[1..3]);
    assert_eq!(list(b"a", Some(b"a"), 1), expected[1..2]);
    assert_eq!(list(b"", Some(b"c"), 9), []);
}
