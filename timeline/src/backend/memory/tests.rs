use super::*;
use crate::backend::{Amendment, KeyedWrite, MarkChange, Target};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tidelog_engine::{KeyedOperation, Payload};

fn append(table: TableId, key: &[u8]) -> Batch {
    let target = Target { table, key: key.into(), seq: None };
    Batch::append(target, Payload::from_vec(b"x".to_vec()), None)
}

fn put(table: TableId, key: &[u8], value: &[u8]) -> Batch {
    let operation = KeyedOperation::Put;
    let write = KeyedWrite { operation, table, key: key.into(), value: value.to_vec() };
    Batch { keyed: vec![write], ..Batch::default() }
}

#[test]
fn expired_entries_are_not_shown_and_the_seq_goes_on() {
    let clock = Arc::new(AtomicU64::new(1_000));
    let reading = Arc::clone(&clock);
    let backend = MemoryBackend::with_clock(move || reading.load(Ordering::Relaxed));
    let options = TableOptions::timeline().ttl(Duration::from_millis(100));
    let table = backend.create_table("t", &options).unwrap();
    backend.commit(append(table, b"a"), Durability::Sync).unwrap();
    let early = backend.snapshot().unwrap();
    clock.store(1_099, Ordering::Relaxed);
    assert_eq!(early.len(table, b"a").unwrap(), 1);
    clock.store(1_100, Ordering::Relaxed);
    let late = backend.snapshot().unwrap();
    assert_eq!(late.len(table, b"a").unwrap(), 0);
    assert_eq!(late.latest_seq(table, b"a").unwrap(), 1);
    assert!(early.get(table, b"a", 1).unwrap().is_none());
    drop((early, late));
    let committed = backend.commit(append(table, b"a"), Durability::Sync).unwrap();
    assert_eq!(committed.seqs, [2]);
    assert_eq!(backend.shared.state.read().timelines.values().next().unwrap().entries.len(), 1);
    clock.store(0, Ordering::Relaxed);
    assert_eq!(backend.commit(append(table, b"a"), Durability::Sync).unwrap().time_ms, 1_100);
}

#[test]
fn versions_are_kept_for_snapshots_only() {
    let backend = MemoryBackend::new();
    let table = backend.create_table("k", &TableOptions::keyed()).unwrap();
    let versions =
        || backend.shared.state.read().keyed.values().next().map_or(0, |versions| versions.len());
    let commit = |value: &[u8]| backend.commit(put(table, b"k", value), Durability::Sync).unwrap();
    commit(b"1");
    let first = backend.snapshot().unwrap();
    for value in [b"2", b"3", b"4"] {
        commit(value);
    }
    assert_eq!(first.value(table, b"k").unwrap().as_deref(), Some(&b"1"[..]));
    drop(first);
    let mut twice = put(table, b"k", b"5");
    twice.join(put(table, b"k", b"6"));
    backend.commit(twice, Durability::Sync).unwrap();
    assert_eq!(versions(), 1);
    let last = backend.snapshot().unwrap();
    assert_eq!(last.value(table, b"k").unwrap().as_deref(), Some(&b"6"[..]));
}

#[test]
fn what_was_retracted_is_shown_as_erased_after_the_deadline() {
    let clock = Arc::new(AtomicU64::new(1_000));
    let reading = Arc::clone(&clock);
    let backend = MemoryBackend::with_clock(move || reading.load(Ordering::Relaxed));
    let options = TableOptions::timeline().erase_after(Duration::from_secs(60));
    let short = TableOptions::timeline().erase_after(Duration::from_millis(59_999));
    assert_eq!(backend.create_table("s", &short).unwrap_err().kind(), ErrorKind::InvalidUse);
    let table = backend.create_table("t", &options).unwrap();
    backend.commit(append(table, b"a"), Durability::Sync).unwrap();
    let amend = |payload: Option<&[u8]>| {
        let payload = payload.map(|payload| Payload::from_vec(payload.to_vec()));
        let amendment = Amendment { table, key: b"a"[..].into(), seq: 1, payload };
        backend.commit(Batch::amend(amendment), Durability::Sync).unwrap();
    };
    amend(Some(b"y"));
    amend(None);
    amend(Some(b"z"));
    let shown = || {
        let versions = backend.snapshot().unwrap().versions(table, b"a", 1).unwrap();
        versions.iter().map(|it| (it.payload.to_vec(), it.erased)).collect::<Vec<_>>()
    };
    clock.store(60_999, Ordering::Relaxed);
    let texts = [&b"x"[..], b"y", b"", b"z"].map(|text| (text.to_vec(), false));
    assert_eq!(shown(), texts);
    clock.store(61_000, Ordering::Relaxed);
    let [_, _, retracted, newest] = texts;
    let gone = (Vec::new(), true);
    assert_eq!(shown(), [gone.clone(), gone, retracted, newest]);
}

/// Marks, and what was kept of entries that a trim or the end of a table took away, only grew.
#[test]
fn what_is_trimmed_or_dropped_leaves_nothing_behind() {
    let backend = MemoryBackend::new();
    let tables = ["message", "sync"].map(|name| {
        let table = backend.create_table(name, &TableOptions::timeline()).unwrap();
        Target { table, key: b"a"[..].into(), seq: None }
    });
    let [room, inbox] = &tables;
    let commit = |batch| backend.commit(batch, Durability::Sync).unwrap();
    let amend = |seq| {
        let payload = Some(Payload::from_vec(b"y".to_vec()));
        Batch::amend(Amendment { table: room.table, key: b"a"[..].into(), seq, payload })
    };
    let mut send = append(room.table, b"a");
    send.messages[0].targets.push(inbox.clone());
    send.messages[0].first_is_origin = true;
    for seq in 1..=100 {
        commit(send.clone());
        commit(amend(seq));
        for target in &tables {
            for change in [
                MarkChange::KeepLast(Some(9)),
                MarkChange::DeleteRange(seq, seq),
                MarkChange::TrimBefore(seq),
                MarkChange::TrimBefore(seq),
            ] {
                commit(Batch::mark(target.table, b"a", change));
            }
        }
    }
    for target in &tables {
        let state = backend.shared.state.read();
        let run = &state.timelines[&(target.table, target.key.clone())];
        assert_eq!((run.entries.len(), run.marks.len()), (1, 3));
        drop(state);
        commit(Batch::mark(target.table, b"a", MarkChange::DeleteAll));
        assert_eq!(backend.snapshot().unwrap().latest_seq(target.table, b"a").unwrap(), 100);
    }
    assert!(backend.shared.state.read().amendments.is_empty());
    commit(send);
    commit(amend(101));
    tables.iter().for_each(|target| backend.drop_table(target.table).unwrap());
    let state = backend.shared.state.read();
    assert!(state.amendments.is_empty() && state.timelines.is_empty());
}
