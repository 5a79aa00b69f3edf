//! What every backend must do: one suite, run over each of them.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;
use tidelog::backend::{
    Amendment, Backend, BackendSnapshot, Batch, BatchMessage, Committed, KeyedWrite, MarkChange,
    ScanRequest, Target,
};
use tidelog::{
    Direction, Durability, ErrorKind, Gap, GapReason, Payload, Result, TableId, TableOptions,
};
use tidelog_engine::{Item, KeyedOperation, Precondition, Sequence};

/// Runs the whole suite over new, empty backends.
fn suite(new: &dyn Fn() -> Arc<dyn Backend>) {
    let tests: [fn(&dyn Backend); 20] = [
        tables,
        dense_ids,
        given_ids,
        atomic_batches,
        conditions,
        fan_out,
        amendments,
        snapshots,
        scans,
        pages_end_by_bytes,
        keyed_tables,
        listing,
        limits,
        large_payloads,
        order_of_calls,
        marks,
        retention,
        own_ttl,
        dropped_tables,
        closing,
    ];
    for test in tests {
        test(&*new());
    }
}

#[test]
fn memory() {
    suite(&|| Arc::new(tidelog::MemoryBackend::new()));
}

#[test]
fn embedded() {
    let folder = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    suite(&|| {
        count.set(count.get() + 1);
        let path = folder.path().join(format!("{}.tide", count.get()));
        let options = tidelog::Options { ring_bytes: 8 << 20, ..tidelog::Options::default() };
        Arc::new(tidelog::EmbeddedBackend::open(path, options).unwrap())
    });
}

fn target(table: TableId, key: &str) -> Target {
    Target { table, key: key.as_bytes().into(), seq: None }
}

fn append(table: TableId, key: &str, payload: &[u8]) -> Batch {
    Batch::append(target(table, key), Payload::from_vec(payload.to_vec()), None)
}

fn keyed(operation: KeyedOperation, table: TableId, key: &str, value: &[u8]) -> Batch {
    let write = KeyedWrite { operation, table, key: key.as_bytes().into(), value: value.to_vec() };
    Batch { keyed: vec![write], ..Batch::default() }
}

fn commit(backend: &dyn Backend, batch: Batch) -> Result<Committed> {
    backend.commit(batch, Durability::Buffered)
}

fn refused(backend: &dyn Backend, batch: Batch) -> ErrorKind {
    let before = backend.snapshot().unwrap().commit();
    let kind = commit(backend, batch).unwrap_err().kind();
    assert_eq!(backend.snapshot().unwrap().commit(), before, "a refused batch commits nothing");
    kind
}

fn timelines(backend: &dyn Backend) -> TableId {
    backend.create_table("timelines", &TableOptions::timeline()).unwrap()
}

fn tables(backend: &dyn Backend) {
    assert!(backend.tables().unwrap().is_empty());
    let id = timelines(backend);
    let again = backend.create_table("timelines", &TableOptions::timeline()).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    let other = backend.create_table("keyed", &TableOptions::keyed()).unwrap();
    assert_ne!(id, other);
    let found = backend.table("timelines").unwrap().unwrap();
    assert_eq!((found.id, found.options), (id, TableOptions::timeline()));
    assert!(backend.table("none").unwrap().is_none());
    let names: Vec<String> = backend.tables().unwrap().into_iter().map(|t| t.name).collect();
    assert_eq!(names, ["keyed", "timelines"]);
    assert_eq!(refused(backend, append(TableId(9999), "a", b"x")), ErrorKind::NotFound);
    assert_eq!(refused(backend, append(other, "a", b"x")), ErrorKind::InvalidUse);
    let put = keyed(KeyedOperation::Put, id, "a", b"x");
    assert_eq!(refused(backend, put), ErrorKind::InvalidUse);
}

fn dense_ids(backend: &dyn Backend) {
    let table = timelines(backend);
    let mut last = 0;
    for seq in 1..=20 {
        let committed = commit(backend, append(table, "a", &[seq])).unwrap();
        assert_eq!(committed.seqs, [u64::from(seq)]);
        assert!(committed.commit > last, "commit numbers grow");
        last = committed.commit;
    }
    assert_eq!(commit(backend, append(table, "b", b"x")).unwrap().seqs, [1]);
    let now = backend.snapshot().unwrap();
    assert_eq!(now.latest_seq(table, b"a").unwrap(), 20);
    assert_eq!(now.len(table, b"a").unwrap(), 20);
    let entry = now.get(table, b"a", 7).unwrap().unwrap();
    assert_eq!((entry.seq, &*entry.payload), (7, &[7u8][..]));
    assert!(now.get(table, b"a", 0).unwrap().is_none());
    assert!(now.get(table, b"a", 21).unwrap().is_none());
    assert_eq!(now.latest(table, b"a").unwrap().unwrap().seq, 20);
    assert!(now.latest(table, b"none").unwrap().is_none());
    assert_eq!(now.latest_seq(table, b"none").unwrap(), 0);
    assert_eq!(now.len(table, b"none").unwrap(), 0);
}

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

fn marks(backend: &dyn Backend) {
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

fn retention(backend: &dyn Backend) {
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
fn own_ttl(backend: &dyn Backend) {
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

fn dropped_tables(backend: &dyn Backend) {
    let table = timelines(backend);
    commit(backend, append(table, "a", b"x")).unwrap();
    let before = backend.snapshot().unwrap();
    backend.drop_table(table).unwrap();
    assert_eq!(backend.drop_table(table).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(refused(backend, append(table, "a", b"x")), ErrorKind::NotFound);
    assert_eq!(before.get(table, b"a", 1).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(backend.tables().unwrap().is_empty());
    let again = timelines(backend);
    assert!(again > table, "ids are never used again");
    assert_eq!(commit(backend, append(again, "a", b"x")).unwrap().seqs, [1]);
}

fn given_ids(backend: &dyn Backend) {
    let options = TableOptions { sequence: Sequence::Given, ..TableOptions::timeline() };
    let table = backend.create_table("given", &options).unwrap();
    let at = |seq| {
        let target = Target { seq: Some(seq), ..target(table, "a") };
        Batch::append(target, Payload::from_vec(b"x".to_vec()), None)
    };
    assert_eq!(commit(backend, at(5)).unwrap().seqs, [5]);
    assert_eq!(commit(backend, at(900)).unwrap().seqs, [900]);
    for stale in [900, 899, 5, 1] {
        assert_eq!(refused(backend, at(stale)), ErrorKind::Conflict);
    }
    let now = backend.snapshot().unwrap();
    assert_eq!(now.latest_seq(table, b"a").unwrap(), 900);
    assert_eq!(now.len(table, b"a").unwrap(), 2);
    assert_eq!(seqs(&*now, table, "a", 6, u64::MAX), [900]);
    assert_eq!(refused(backend, append(table, "a", b"x")), ErrorKind::InvalidUse);
    let assigned = timelines(backend);
    let wrong = Target { seq: Some(1), ..target(assigned, "a") };
    let wrong = Batch::append(wrong, Payload::from_vec(vec![]), None);
    assert_eq!(refused(backend, wrong), ErrorKind::InvalidUse);
}

fn atomic_batches(backend: &dyn Backend) {
    let table = timelines(backend);
    let counters = backend.create_table("counters", &TableOptions::keyed()).unwrap();
    let mut batch = append(table, "a", b"1");
    batch.join(append(table, "b", b"2"));
    batch.join(append(table, "a", b"3"));
    batch.join(keyed(KeyedOperation::Put, counters, "k", b"v"));
    let committed = commit(backend, batch.clone()).unwrap();
    assert_eq!(committed.seqs, [1, 1, 2]);
    let now = backend.snapshot().unwrap();
    for (key, seq) in [("a", 1), ("b", 1), ("a", 2)] {
        let entry = now.get(table, key.as_bytes(), seq).unwrap().unwrap();
        assert_eq!((entry.commit, entry.time_ms), (committed.commit, committed.time_ms));
    }
    batch.join(append(TableId(9999), "a", b"4"));
    assert_eq!(refused(backend, batch), ErrorKind::NotFound);
    assert_eq!(backend.snapshot().unwrap().latest_seq(table, b"a").unwrap(), 2);
}

fn conditions(backend: &dyn Backend) {
    let table = timelines(backend);
    let keys = backend.create_table("keys", &TableOptions::keyed()).unwrap();
    let next = |seq| {
        let mut batch = append(table, "a", b"x");
        batch.preconditions.push(Precondition::NextSeq { table, key: b"a"[..].into(), seq });
        batch
    };
    assert_eq!(refused(backend, next(2)), ErrorKind::Conflict);
    commit(backend, next(1)).unwrap();
    assert_eq!(refused(backend, next(1)), ErrorKind::Conflict);
    commit(backend, next(2)).unwrap();
    let swap = |old: Option<&[u8]>, new: &[u8]| {
        let mut batch = keyed(KeyedOperation::Put, keys, "k", new);
        let value = old.map(<[u8]>::to_vec);
        batch.preconditions.push(Precondition::Value { table: keys, key: b"k"[..].into(), value });
        batch
    };
    assert_eq!(refused(backend, swap(Some(b"1"), b"2")), ErrorKind::Conflict);
    commit(backend, swap(None, b"1")).unwrap();
    assert_eq!(refused(backend, swap(None, b"2")), ErrorKind::Conflict);
    commit(backend, swap(Some(b"1"), b"2")).unwrap();
}

fn fan_out(backend: &dyn Backend) {
    let (history, inbox) =
        (timelines(backend), backend.create_table("inbox", &TableOptions::timeline()).unwrap());
    commit(backend, append(inbox, "bob", b"before")).unwrap();
    let batch = Batch::of(BatchMessage {
        payload: Payload::from_vec(b"hello".to_vec()),
        event_ms: Some(-5),
        ttl: None,
        origin: None,
        first_is_origin: true,
        targets: vec![target(history, "g"), target(inbox, "alice"), target(inbox, "bob")],
    });
    assert_eq!(commit(backend, batch).unwrap().seqs, [1, 1, 2]);
    let now = backend.snapshot().unwrap();
    let first = now.get(history, b"g", 1).unwrap().unwrap();
    assert_eq!((first.origin, first.event_ms), (None, Some(-5)));
    let copy = now.get(inbox, b"bob", 2).unwrap().unwrap();
    let origin = copy.origin.unwrap();
    assert_eq!((origin.table, &*origin.key, origin.seq), (history, &b"g"[..], 1));
    assert_eq!((&*copy.payload, copy.event_ms), (&b"hello"[..], Some(-5)));
}

fn amend(table: TableId, key: &str, seq: u64, payload: Option<&[u8]>) -> Batch {
    let payload = payload.map(|payload| Payload::from_vec(payload.to_vec()));
    Batch::amend(Amendment { table, key: key.as_bytes().into(), seq, payload })
}

/// Payloads newest first, `None` for what was retracted, by every way of reading.
fn shown(now: &dyn BackendSnapshot, table: TableId, key: &str) -> Vec<Option<Vec<u8>>> {
    let direction = Direction::Backward;
    let request = ScanRequest { from: u64::MAX, to: 0, direction, limit: 99, byte_limit: 1 << 20 };
    let page = now.scan(table, key.as_bytes(), &request).unwrap();
    for entry in &page.entries {
        assert_eq!(now.get(table, key.as_bytes(), entry.seq).unwrap().as_ref(), Some(entry));
        let versions = now.versions(table, key.as_bytes(), entry.seq).unwrap();
        assert_eq!((versions[0].revision, versions.last()), (None, Some(entry)));
    }
    assert_eq!(now.latest(table, key.as_bytes()).unwrap().as_ref(), page.entries.first());
    let payload = |entry: &tidelog_engine::Entry| {
        let retracted = entry.revision.is_some_and(|revision| revision.retracted);
        assert!(!retracted || entry.payload.is_empty());
        (!retracted).then(|| entry.payload.to_vec())
    };
    page.entries.iter().map(payload).collect()
}

fn amendments(backend: &dyn Backend) {
    let (history, inbox) =
        (timelines(backend), backend.create_table("inbox", &TableOptions::timeline()).unwrap());
    let send = |payload: &[u8]| {
        let batch = Batch::of(BatchMessage {
            payload: Payload::from_vec(payload.to_vec()),
            event_ms: None,
            ttl: None,
            origin: None,
            first_is_origin: true,
            targets: vec![target(history, "g"), target(inbox, "ann"), target(inbox, "bob")],
        });
        commit(backend, batch).unwrap();
    };
    send(b"one");
    send(b"two");
    let texts = |texts: &[&str]| -> Vec<Option<Vec<u8>>> {
        texts.iter().map(|text| (*text != "-").then(|| text.as_bytes().to_vec())).collect()
    };
    let before = backend.snapshot().unwrap();
    let committed = commit(backend, amend(history, "g", 1, Some(b"ONE"))).unwrap();
    assert!(committed.seqs.is_empty() && committed.commit > before.commit());
    commit(backend, amend(history, "g", 2, None)).unwrap();
    let now = backend.snapshot().unwrap();
    for (table, key) in [(history, "g"), (inbox, "ann"), (inbox, "bob")] {
        assert_eq!(shown(&*now, table, key), texts(&["-", "ONE"]));
        assert_eq!(shown(&*before, table, key), texts(&["two", "one"]));
    }
    let entry = now.get(inbox, b"ann", 1).unwrap().unwrap();
    let revision = entry.revision.unwrap();
    assert_eq!((revision.commit, revision.time_ms), (committed.commit, committed.time_ms));
    // A later one of the inbox's own entry, two in one batch, and a new one of the origin.
    commit(backend, amend(inbox, "ann", 2, Some(b"mine"))).unwrap();
    let mut twice = amend(history, "g", 1, None);
    twice.join(amend(history, "g", 1, Some(b"uno")));
    commit(backend, twice).unwrap();
    let now = backend.snapshot().unwrap();
    assert_eq!(shown(&*now, inbox, "ann"), texts(&["mine", "uno"]));
    assert_eq!(shown(&*now, inbox, "bob"), texts(&["-", "uno"]));
    assert_eq!(now.versions(inbox, b"bob", 1).unwrap().len(), 4);
    // What is fanned out later has the payload of then.
    let origin = tidelog_engine::Origin { table: history, key: b"g"[..].into(), seq: 1 };
    let late = BatchMessage {
        payload: Payload::from_vec(b"late".to_vec()),
        event_ms: None,
        ttl: None,
        origin: Some(origin),
        first_is_origin: false,
        targets: vec![target(inbox, "cid")],
    };
    commit(backend, Batch::of(late)).unwrap();
    assert_eq!(shown(&*backend.snapshot().unwrap(), inbox, "cid"), texts(&["late"]));
    // What was never written cannot be amended.
    assert_eq!(refused(backend, amend(history, "g", 3, None)), ErrorKind::NotFound);
    assert_eq!(refused(backend, amend(history, "none", 1, None)), ErrorKind::NotFound);
    assert_eq!(refused(backend, amend(TableId(9999), "g", 1, None)), ErrorKind::NotFound);
    assert_eq!(refused(backend, amend(history, "g", 0, None)), ErrorKind::TooLarge);
    assert_eq!(refused(backend, amend(history, "", 1, None)), ErrorKind::InvalidUse);
    let mut early = append(history, "g", b"three");
    early.join(amend(history, "g", 3, Some(b"too early")));
    assert_eq!(refused(backend, early), ErrorKind::NotFound);
    assert!(now.versions(history, b"g", 3).unwrap().is_empty());
}

fn snapshots(backend: &dyn Backend) {
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

/// The sequence ids of a scan, read in pages of three.
fn seqs(now: &dyn BackendSnapshot, table: TableId, key: &str, from: u64, to: u64) -> Vec<u64> {
    let direction = if from <= to { Direction::Forward } else { Direction::Backward };
    let mut request = ScanRequest { from, to, direction, limit: 3, byte_limit: 1 << 20 };
    let mut found = Vec::new();
    loop {
        let page = now.scan(table, key.as_bytes(), &request).unwrap();
        assert!(page.entries.len() <= 3);
        found.extend(page.entries.iter().map(|entry| entry.seq));
        match page.next {
            Some(next) => request.from = next,
            None => return found,
        }
    }
}

fn scans(backend: &dyn Backend) {
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

fn pages_end_by_bytes(backend: &dyn Backend) {
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
}

fn keyed_tables(backend: &dyn Backend) {
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

fn listing(backend: &dyn Backend) {
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

fn limits(backend: &dyn Backend) {
    let table = timelines(backend);
    assert_eq!(refused(backend, append(table, "", b"x")), ErrorKind::InvalidUse);
    assert_eq!(refused(backend, append(table, &"k".repeat(1025), b"x")), ErrorKind::TooLarge);
    let mut large = Batch::default();
    for _ in 0..=backend.batch_bytes_max() / (128 << 10) {
        large.join(append(table, "a", &vec![1; 128 << 10]));
    }
    assert_eq!(refused(backend, large), ErrorKind::TooLarge);
    assert_eq!(commit(backend, append(table, &"k".repeat(1024), b"")).unwrap().seqs, [1]);
}

/// The largest payload goes through whole, however small the log is, and to many timelines at once.
fn large_payloads(backend: &dyn Backend) {
    let table = timelines(backend);
    let payload: Vec<u8> = (0..16 << 20).map(|at: u32| (at % 251) as u8).collect();
    let too_long = [&payload[..], b"x"].concat();
    assert_eq!(refused(backend, append(table, "a", &too_long)), ErrorKind::TooLarge);
    let targets: Vec<Target> = (0..100).map(|n| target(table, &format!("inbox {n}"))).collect();
    let mut batch = Batch::of(BatchMessage {
        ttl: None,
        payload: Payload::from_vec(payload.clone()),
        event_ms: Some(-3),
        origin: None,
        first_is_origin: true,
        targets,
    });
    batch.join(append(table, "b", &payload[..1 << 20]));
    batch.join(append(table, "b", b"small"));
    commit(backend, batch).unwrap();
    let now = backend.snapshot().unwrap();
    for number in [0, 1, 99] {
        let entry = now.get(table, format!("inbox {number}").as_bytes(), 1).unwrap().unwrap();
        assert!(*entry.payload == payload[..] && entry.event_ms == Some(-3));
        assert_eq!(entry.origin.is_none(), number == 0);
    }
    let entry = now.get(table, b"b", 1).unwrap().unwrap();
    assert!(*entry.payload == payload[..1 << 20]);
    assert_eq!(&*now.get(table, b"b", 2).unwrap().unwrap().payload, b"small");
}

fn order_of_calls(backend: &dyn Backend) {
    let table = timelines(backend);
    let mut futures = Vec::new();
    for index in 0..50u8 {
        match index % 2 {
            0 => futures.push(backend.commit_async(append(table, "a", &[index]), Durability::Sync)),
            _ => drop(backend.commit_async(append(table, "a", &[index]), Durability::Buffered)),
        }
    }
    let last = commit(backend, append(table, "a", &[50])).unwrap();
    assert_eq!(last.seqs, [51], "a dropped future's write happens all the same");
    let now = backend.snapshot().unwrap();
    for index in 0..=50u8 {
        let entry = now.get(table, b"a", u64::from(index) + 1).unwrap().unwrap();
        assert_eq!(*entry.payload, [index]);
    }
}

fn closing(backend: &dyn Backend) {
    let table = timelines(backend);
    commit(backend, append(table, "a", b"x")).unwrap();
    backend.sync().unwrap();
    backend.close().unwrap();
    backend.close().unwrap();
    let late = commit(backend, append(table, "a", b"x")).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Closed);
}
