//! Tests of the memtable, by what they ask of it; `Leader` fills it as commits do.
//!
//! - `bodies`: what is applied, by the leader and by recovery, and what is refused
//! - `reading`: runs, cursors and groups, also beside a writer
//! - `memory`: what entries and payloads cost, and on whose memory they lie
//! - `model`: any list of batches gives what a model of maps holds

mod bodies;
mod memory;
mod model;
mod reading;

use super::{KeyedRange, Memtable, Run, RunCursor, RunHint};
use crate::batch::WriteBatch;
use crate::entry::TableId;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

const TABLE: TableId = TableId(16);
const KEYED: TableId = TableId(17);

/// Commits batches as the leader does: assigns dense seqs, then applies.
struct Leader {
    memtable: Arc<Memtable>,
    seqs: BTreeMap<(u32, Vec<u8>), u64>,
    hints: BTreeMap<(u32, Vec<u8>), RunHint>,
}

impl Leader {
    fn new(base_commit: u64, base_time_ms: u64) -> Leader {
        let memtable = Arc::new(Memtable::new(base_commit, base_time_ms));
        Leader { memtable, seqs: BTreeMap::new(), hints: BTreeMap::new() }
    }

    fn commit(&mut self, mut batch: WriteBatch, commit: u64, time_ms: u64) {
        let mut assigned = Vec::new();
        let mut keys = Vec::new();
        for index in 0..batch.append_count() {
            let target = batch.target(index);
            let key = (target.table.0, target.key.to_vec());
            let seq = self.seqs.entry(key.clone()).or_default();
            *seq += 1;
            assigned.push(*seq);
            batch.assign(index, *seq);
            self.hints.entry(key.clone()).or_insert_with(RunHint::new);
            keys.push(key);
        }
        assert!(self.memtable.fits(commit, time_ms, batch.byte_count(), batch.append_count()));
        let hints = keys.iter().map(|key| &self.hints[key]);
        match batch.into_appends() {
            Ok(appends) => self.memtable.append(appends, &assigned, commit, time_ms, hints),
            Err(body) => self.memtable.apply_hinted(body, commit, time_ms, hints),
        }
        .unwrap();
    }

    fn append(&mut self, key: &[u8], payload: &[u8], commit: u64, time_ms: u64) {
        let mut batch = WriteBatch::new();
        batch.append(TABLE, key, payload, None).unwrap();
        self.commit(batch, commit, time_ms);
    }
}

#[test]
fn an_empty_memtable_holds_nothing() {
    let memtable = Arc::new(Memtable::new(5, 1000));
    assert!(memtable.is_empty());
    assert_eq!((memtable.entries(), memtable.commits()), (0, None));
    assert!(memtable.run(TABLE, b"k").is_none());
    assert!(memtable.run(TABLE, &[0; 70_000]).is_none());
    assert!(memtable.tables().is_empty());
    assert!(memtable.runs_sorted(TABLE, Bound::Unbounded).is_empty());
    assert!(memtable.versions(KEYED, b"k", u64::MAX).is_empty());
    assert!(memtable.keyed_range(KEYED, Bound::Unbounded).next().is_none());
    assert!(memtable.bytes() < 16 * 1024, "{} bytes when empty", memtable.bytes());
}

#[test]
fn handles_can_go_to_other_threads() {
    fn sendable<T: Send + Sync>() {}
    sendable::<Memtable>();
    sendable::<Run>();
    sendable::<RunCursor>();
    sendable::<KeyedRange>();
}
