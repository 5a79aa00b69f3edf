//! What a memtable takes: bytes for an entry and a run, payloads that lie there once, and memory
//! that another one has used before.

use super::{Leader, TABLE};
use crate::batch::WriteBatch;
use crate::entry::Entry;
use crate::memory::Pool;
use crate::memtable::{Memtable, RunHint};
use std::ops::Bound;
use std::sync::Arc;

#[test]
fn a_fan_out_holds_its_payload_once() {
    let mut leader = Leader::new(1, 0);
    let keys: Vec<Vec<u8>> = (0..1000u32).map(|n| format!("user-{n}").into_bytes()).collect();
    let mut batch = WriteBatch::new();
    let targets = [(TABLE, &b"room"[..])].into_iter();
    let targets = targets.chain(keys.iter().map(|key| (TABLE, &key[..])));
    batch.fan_out(targets, &[7; 100_000], Some(-4), None, true).unwrap();
    leader.commit(batch, 1, 9);
    let memtable = &leader.memtable;
    assert_eq!(memtable.entries(), 1001);
    let index = memtable.bytes() - memtable.frames.bytes();
    assert!(index < 1001 * 220, "{index} bytes beside the one frame");
    assert!(memtable.frames.bytes() < 2 * 130_000, "{}", memtable.frames.bytes());
    let entry = memtable.run(TABLE, b"user-999").unwrap().entry(0).unwrap();
    assert_eq!((entry.seq, entry.commit, entry.time_ms, entry.event_ms), (1, 1, 9, Some(-4)));
    let origin = entry.origin.unwrap();
    assert_eq!((origin.table, &*origin.key, origin.seq), (TABLE, &b"room"[..], 1));
    assert_eq!(&*entry.payload, [7; 100_000]);
    assert_eq!(memtable.run(TABLE, b"room").unwrap().entry(0).unwrap().origin, None);
}

#[test]
fn entries_cost_what_they_should() {
    let mut leader = Leader::new(1, 0);
    for commit in 1..=20_000 {
        leader.append(b"one long timeline", b"", commit, 0);
    }
    let index = leader.memtable.arena.used() * 8;
    assert!(index < 20_000 * 26, "{index} bytes of arena for 20,000 entries of one run");
    let mut leader = Leader::new(1, 0);
    for commit in 1..=20_000u64 {
        leader.append(&commit.to_le_bytes(), b"", commit, 0);
    }
    let index = leader.memtable.arena.used() * 8;
    assert!(index < 20_000 * 122, "{index} bytes of arena for 20,000 runs of one entry");
}

#[test]
fn short_payloads_keep_no_slab_and_long_ones_are_shared() {
    let pool = Arc::new(Pool::new(64 << 20));
    let memtable = Arc::new(Memtable::in_pool(1, 0, &pool));
    let payloads = [vec![1; 100], vec![2; 20_000], vec![3; 2 << 20]];
    for (commit, payload) in (1..).zip(&payloads) {
        let mut batch = WriteBatch::new().with_large_from(usize::MAX);
        batch.append(TABLE, b"k", payload, None).unwrap();
        batch.assign(0, commit);
        let Ok(appends) = batch.into_appends() else { panic!("nothing but a message") };
        memtable.append(appends, &[commit], commit, 0, [RunHint::new()].iter()).unwrap();
    }
    let held = memtable.bytes();
    assert!((2_100_000..3_500_000).contains(&held), "{held} bytes");
    let run = memtable.run(TABLE, b"k").unwrap();
    let entries: Vec<Entry> = (0..3).map(|index| run.entry(index).unwrap()).collect();
    drop((run, memtable));
    for (entry, payload) in entries.iter().zip(&payloads) {
        assert!(*entry.payload == **payload);
    }
    let [short, long, _] = &entries[..] else { panic!("three entries") };
    assert!(!pool.trim_unused(), "the long payload holds the only slab");
    assert!(*short.payload == *payloads[0] && *long.payload == *payloads[1]);
}

#[test]
fn a_memtable_on_used_memory_is_as_empty_as_any() {
    let pool = Arc::new(Pool::new(64 << 20));
    for round in 1..4u64 {
        let mut filled = Leader::new(round * 1000, 0);
        filled.memtable = Arc::new(Memtable::in_pool(round * 1000, 0, &pool));
        for number in 0..40_000u64 {
            let key = (number % 30_000 * round).to_be_bytes();
            filled.append(&key, &round.to_le_bytes(), round * 1000 + number, 0);
        }
        assert_eq!(filled.memtable.entries(), 40_000);
        let runs = filled.memtable.runs_sorted(TABLE, Bound::Unbounded);
        assert_eq!(runs.len(), 30_000);
        for run in runs {
            let number = u64::from_be_bytes(run.key().try_into().unwrap()) / round;
            assert_eq!(run.count(), if number < 10_000 { 2 } else { 1 });
            assert_eq!(*run.entry(run.count() - 1).unwrap().payload, round.to_le_bytes());
        }
        assert!(filled.memtable.run(TABLE, &(30_001 * round).to_be_bytes()).is_none());
    }
}
