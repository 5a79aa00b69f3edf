//! What every backend must do: one suite, run over each of them.
//!
//! - here: the suite, what its tests share, and tables that come and go with their backend
//! - `writes`: what commits do, all of them or none, and which ids they give
//! - `reads`: what snapshots, scans, values and lists of timelines show
//! - `hidden`: what readers see no more: marks, retention, times to live

mod hidden;
mod reads;
mod writes;

use std::sync::Arc;
use std::time::Duration;
use tidelog::backend::{
    Backend, BackendSnapshot, Batch, Committed, KeyedWrite, ScanRequest, Target,
};
use tidelog::{Direction, Durability, ErrorKind, Payload, Result, TableId, TableOptions};
use tidelog_engine::{KeyedOperation, Sequence};

/// Runs the whole suite over new, empty backends.
fn suite(new: &dyn Fn() -> Arc<dyn Backend>) {
    let tests: [fn(&dyn Backend); 21] = [
        tables,
        altered_tables,
        writes::dense_ids,
        writes::given_ids,
        writes::atomic_batches,
        writes::conditions,
        writes::fan_out,
        writes::amendments,
        reads::snapshots,
        reads::scans,
        reads::pages_end_by_bytes,
        reads::keyed_tables,
        reads::listing,
        writes::limits,
        writes::large_payloads,
        writes::order_of_calls,
        hidden::marks,
        hidden::retention,
        hidden::own_ttl,
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
    for wrong in [
        TableOptions::timeline().ttl(Duration::ZERO),
        TableOptions::timeline().cold_after(Duration::ZERO),
        TableOptions::keyed().born_cold(),
        TableOptions::keyed().erase_after(Duration::from_secs(3600)),
    ] {
        let refusal = backend.create_table("wrong", &wrong).unwrap_err();
        assert_eq!(refusal.kind(), ErrorKind::InvalidUse);
    }
    assert_eq!(refused(backend, append(TableId(9999), "a", b"x")), ErrorKind::NotFound);
    assert_eq!(refused(backend, append(other, "a", b"x")), ErrorKind::InvalidUse);
    let put = keyed(KeyedOperation::Put, id, "a", b"x");
    assert_eq!(refused(backend, put), ErrorKind::InvalidUse);
}

fn altered_tables(backend: &dyn Backend) {
    let moment = TableOptions::timeline().ttl(Duration::from_millis(1));
    let table = backend.create_table("t", &moment).unwrap();
    let shown = || seqs(&*backend.snapshot().unwrap(), table, "a", 0, u64::MAX);
    commit(backend, append(table, "a", b"x")).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    let hour = TableOptions::timeline().ttl(Duration::from_secs(3600));
    backend.alter_table(table, &hour).unwrap();
    assert_eq!(backend.table("t").unwrap().unwrap().options, hour);
    assert!(shown().is_empty(), "what has expired stays expired");
    for _ in 0..3 {
        commit(backend, append(table, "a", b"x")).unwrap();
    }
    assert_eq!(shown(), [2, 3, 4]);
    let kept = TableOptions::timeline().keep_last(2);
    backend.alter_table(table, &kept).unwrap();
    assert_eq!(shown(), [3, 4]);
    let given = TableOptions { sequence: Sequence::Given, ..TableOptions::timeline() };
    for wrong in [given, TableOptions::keyed(), TableOptions::timeline().keep_last(0)] {
        let refusal = backend.alter_table(table, &wrong).unwrap_err();
        assert_eq!(refusal.kind(), ErrorKind::InvalidUse);
    }
    let refusal = backend.alter_table(TableId(9999), &kept).unwrap_err();
    assert_eq!(refusal.kind(), ErrorKind::NotFound);
    assert_eq!(backend.table("t").unwrap().unwrap().options, kept);
    backend.alter_table(table, &TableOptions::timeline()).unwrap();
    let last = *shown().last().unwrap();
    assert_eq!((last, shown().contains(&1)), (4, false));
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

fn closing(backend: &dyn Backend) {
    let table = timelines(backend);
    commit(backend, append(table, "a", b"x")).unwrap();
    backend.sync().unwrap();
    backend.close().unwrap();
    backend.close().unwrap();
    let late = commit(backend, append(table, "a", b"x")).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Closed);
}
