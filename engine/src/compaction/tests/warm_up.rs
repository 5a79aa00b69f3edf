//! Outputs that are brought into memory.

use super::store::{FEED, Store};
use crate::compaction::warm_up::WarmUp;
use crate::options::ReadMode;
use crate::sstable::{Allowance, Sstable};
use std::collections::BTreeSet;
use std::sync::Arc;

const SSTABLE_BYTES: u64 = 64 * 1024;
const ALLOWED: u64 = 64 << 20;

/// A store in which a compaction is due, and which may read around what is touched.
fn store(mode: ReadMode) -> (Store, Arc<Allowance>) {
    let mut store = Store::new(5, mode, SSTABLE_BYTES);
    let allowance = Arc::new(Allowance::of(usize::try_from(ALLOWED / 2).unwrap()));
    store.context.source.around = Arc::clone(&allowance);
    for _ in 0..3 {
        (0..200).for_each(|_| store.write());
        store.flush().unwrap();
    }
    (store, allowance)
}

/// They were cold, however warm the inputs had been: tens of microseconds a read.
#[test]
fn outputs_are_brought_in_where_readers_have_warmed_up_the_inputs() {
    let (mut store, allowance) = store(ReadMode::Map);
    store.check();
    assert!(allowance.left() < ALLOWED, "readers have touched the inputs");
    let inputs: BTreeSet<u64> = store.version.iter().map(|(.., s)| s.meta().number).collect();
    // Jobs that only move come first.
    let outputs = loop {
        let job = store.compaction(&BTreeSet::new()).expect("a merge is due");
        store.run(job).unwrap();
        let is_output = |sstable: &Sstable| !inputs.contains(&sstable.meta().number);
        let live = store.version.iter().map(|(.., sstable)| Arc::clone(sstable));
        let outputs: Vec<_> = live.filter(|sstable| is_output(sstable)).collect();
        if !outputs.is_empty() {
            break outputs;
        }
    };
    assert!(outputs.iter().all(|sstable| sstable.asked_bytes() == sstable.meta().bytes));
    drop(outputs);
    store.check();
    store.version = Default::default();
    assert_eq!(allowance.left(), ALLOWED);
}

/// A job reads its inputs, too: their index through the map, their blocks past it.
#[test]
fn a_job_is_no_reader() {
    let (mut store, allowance) = store(ReadMode::Map);
    let inputs: Vec<_> = store.version.iter().map(|(.., s)| Arc::clone(s)).collect();
    let feed = inputs.iter().filter(|sstable| sstable.meta().table == FEED);
    for sstable in feed.clone() {
        let mut fragments = sstable.fragments(None).unwrap();
        while fragments.next().unwrap().is_some() {}
    }
    assert!(!WarmUp::is_due(feed.clone()));
    assert_eq!(allowance.left(), ALLOWED);
    store.check();
    assert!(WarmUp::is_due(feed));
    drop(inputs);
    store.settle().unwrap();
}

/// The live SSTables with numbers from `number` on.
fn sstables_since(store: &Store, number: u64) -> Vec<Arc<Sstable>> {
    let live = store.version.iter().map(|(.., sstable)| sstable);
    live.filter(|sstable| sstable.meta().number >= number).cloned().collect()
}

fn write_and_flush(store: &mut Store, hurry: bool) -> Vec<Arc<Sstable>> {
    let live = store.version.iter().map(|(.., sstable)| sstable.meta().number);
    let next = live.max().map_or(0, |newest| newest + 1);
    (0..200).for_each(|_| store.write());
    let mut job = store.flush_job();
    if hurry {
        job.hurry();
    }
    store.run_flush(job).unwrap();
    sstables_since(store, next)
}

/// The first reader behind a flush waited for a whole piece of what it had written: 30 ms of a
/// disk that is written to.
#[test]
fn what_a_flush_writes_is_brought_in_where_readers_have_warmed_up_the_top() {
    let (mut store, allowance) = store(ReadMode::Map);
    let cold = write_and_flush(&mut store, false);
    assert!(cold.iter().all(|sstable| sstable.asked_bytes() == 0), "nobody reads");
    assert_eq!(allowance.left(), ALLOWED);
    drop(cold);
    store.check();
    let warm = write_and_flush(&mut store, false);
    let tables: BTreeSet<_> = warm.iter().map(|sstable| sstable.meta().table).collect();
    assert!(tables.contains(&FEED));
    for sstable in &warm {
        let expected =
            if sstable.meta().table.is_engine_owned() { 0 } else { sstable.meta().bytes };
        assert_eq!(sstable.asked_bytes(), expected, "{:?}", sstable.meta().table);
        assert_eq!(sstable.touched_bytes(), 0, "bringing in is not reading");
    }
    drop(warm);
    store.check();
    store.version = Default::default();
    assert_eq!(allowance.left(), ALLOWED);
}

#[test]
fn a_flush_that_others_wait_for_brings_nothing_in() {
    let (mut store, _) = store(ReadMode::Map);
    store.check();
    let outputs = write_and_flush(&mut store, true);
    assert!(!outputs.is_empty());
    assert!(outputs.iter().all(|sstable| sstable.asked_bytes() == 0));
}

#[test]
fn a_flush_that_is_dropped_while_it_brings_in_gives_all_back() {
    let (mut store, allowance) = store(ReadMode::Map);
    store.check();
    let left = allowance.left();
    (0..200).for_each(|_| store.write());
    let mut steps = 0;
    let mut job = store.flush_job();
    while allowance.left() == left {
        assert!(job.step().unwrap().is_none(), "it brings in");
        steps += 1;
        assert!(steps < 1000, "it comes to an end");
    }
    drop(job);
    assert_eq!(allowance.left(), left);
    store.check_space();
    store.flush().unwrap();
    store.check();
}

#[test]
fn what_is_not_mapped_is_not_brought_in() {
    let (mut store, allowance) = store(ReadMode::Read);
    store.check();
    assert!(store.settle().unwrap() > 0);
    assert_eq!(allowance.left(), ALLOWED);
}

#[test]
fn a_job_that_is_dropped_while_it_brings_in_gives_all_back() {
    let (mut store, _) = store(ReadMode::Map);
    store.check();
    for steps in 1.. {
        assert!(steps < 1000, "it comes to an end");
        let mut job = store.compaction(&BTreeSet::new()).unwrap();
        if let Some(output) = (0..steps).find_map(|_| job.step().unwrap()) {
            store.publish(output);
            break;
        }
        drop(job);
        store.check_space();
    }
    store.check();
}
