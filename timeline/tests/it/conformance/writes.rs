//! What commits do, all of them or none: ids, conditions, copies, amendments, limits.

use super::{append, commit, keyed, refused, seqs, target, timelines};
use tidelog::backend::{
    Amendment, Backend, BackendSnapshot, Batch, BatchMessage, ScanRequest, Target,
};
use tidelog::{Direction, Durability, ErrorKind, Payload, TableId, TableOptions};
use tidelog_engine::{KeyedOperation, Precondition, Sequence};

pub(super) fn dense_ids(backend: &dyn Backend) {
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

pub(super) fn given_ids(backend: &dyn Backend) {
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

pub(super) fn atomic_batches(backend: &dyn Backend) {
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

pub(super) fn conditions(backend: &dyn Backend) {
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

pub(super) fn fan_out(backend: &dyn Backend) {
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

pub(super) fn amendments(backend: &dyn Backend) {
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

pub(super) fn limits(backend: &dyn Backend) {
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
pub(super) fn large_payloads(backend: &dyn Backend) {
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

pub(super) fn order_of_calls(backend: &dyn Backend) {
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
