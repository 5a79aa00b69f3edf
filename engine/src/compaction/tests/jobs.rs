//! Flushes and compactions over the simulated disk, against the model.

use super::store::{FEED, META, Store};
use crate::compaction::{CompactionJob, FlushJob};
use crate::error::ErrorKind;
use crate::limits::FRAGMENT_UNCUT_BYTES;
use crate::options::ReadMode;
use crate::version::{HasMeta, Shard, TableKind};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;

const SSTABLE_BYTES: u64 = 64 * 1024;

#[test]
fn an_empty_memtable_flushes_to_nothing() {
    let mut store = Store::new(1, ReadMode::Read, SSTABLE_BYTES);
    store.flush().unwrap();
    assert_eq!(store.version.iter().count(), 0);
    store.check();
}

#[test]
fn a_long_timeline_is_cut_over_sstables_and_moves_down() {
    let mut store = Store::new(7, ReadMode::Map, SSTABLE_BYTES);
    for _ in 0..4 {
        store.write_long(300_000);
        store.flush().unwrap();
        store.check();
        store.settle().unwrap();
        store.check();
    }
    let count = store.version.iter().filter(|(table, ..)| *table == FEED).count();
    assert!((15..40).contains(&count), "{count} SSTables hold 1.2 MB");
    // Nothing of a timeline that only grows is written twice, but for the ends of flushes.
    assert!(store.next_number() < 80, "{} SSTables were begun", store.next_number());
}

#[test]
fn a_flush_ends_in_many_steps() {
    let mut store = Store::new(3, ReadMode::Read, 16 << 20);
    store.write_long(5 << 20);
    let mut job = store.flush_job();
    let mut steps = 1;
    while job.step().unwrap().is_none() {
        steps += 1;
    }
    assert!(steps >= 6, "5 MB in {steps} steps");
}

/// The fragments of a block's size in the live SSTables of one table: timeline, first seq, entries,
/// and the last bytes. What stands before the entries tells of their place in the run.
fn large_fragments(store: &Store) -> BTreeSet<(Vec<u8>, u64, usize, Vec<u8>)> {
    let sstables = store.version.iter().filter(|(table, ..)| *table == FEED);
    let mut large = BTreeSet::new();
    for (_, _, sstable) in sstables {
        let mut fragments = sstable.fragments(None).unwrap();
        while let Some(fragment) = fragments.next().unwrap() {
            let view = fragment.view();
            if view.bytes().len() >= FRAGMENT_UNCUT_BYTES {
                let last = view.bytes()[view.bytes().len() - 1000..].to_vec();
                large.insert((view.key().to_vec(), view.seq(0).unwrap(), view.count(), last));
            }
        }
    }
    large
}

#[test]
fn large_fragments_are_copied_as_they_are() {
    let mut store = Store::new(11, ReadMode::Read, 4 << 20);
    for _ in 0..4 {
        (0..60).for_each(|_| store.write());
        store.write_long(100_000);
        store.flush().unwrap();
    }
    let before = large_fragments(&store);
    let numbers = |store: &Store| -> BTreeSet<u64> {
        let sstables = store.version.iter().filter(|(table, ..)| *table == FEED);
        sstables.map(|(_, _, sstable)| sstable.meta().number).collect()
    };
    let inputs = numbers(&store);
    assert!(before.len() >= 12, "{} fragments fill blocks", before.len());
    store.settle().unwrap();
    assert!(numbers(&store).is_disjoint(&inputs), "all of them were written anew");
    assert!(large_fragments(&store).is_superset(&before), "not one was taken apart");
}

#[test]
fn a_dropped_or_refused_outcome_gives_its_space_back() {
    let mut store = Store::new(5, ReadMode::Read, SSTABLE_BYTES);
    store.write_long(400_000);
    (0..50).for_each(|_| store.write());
    let mut job = store.flush_job();
    let output = loop {
        if let Some(output) = job.step().unwrap() {
            break output;
        }
    };
    assert!(output.sstables.len() > 4);
    assert!(!output.segments.is_empty(), "the fan-outs share payloads");
    store.context.discard(output.sstables, output.segments);
    store.check_space();
    let mut job = store.flush_job();
    for _ in 0..2 {
        assert!(job.step().unwrap().is_none());
    }
    drop(job);
    store.check_space();
    store.flush().unwrap();
    store.check();
}

#[test]
fn a_table_that_the_catalog_does_not_know_is_damage() {
    let mut store = Store::new(5, ReadMode::Read, SSTABLE_BYTES);
    (0..20).for_each(|_| store.write());
    let mut tables = Store::tables();
    for table in &mut tables {
        if table.id == META {
            table.kind = TableKind::Timeline;
        }
    }
    let memtable = Arc::clone(&store.memtable);
    let mut job = FlushJob::new(store.context.clone(), memtable, tables, Vec::new());
    let error = loop {
        match job.step() {
            Ok(None) => {}
            Ok(Some(_)) => panic!("it was flushed"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Corruption);
    drop(job);
    store.check_space();
}

/// A damaged input fails the job and changes nothing: it is never silently shorter.
#[test]
fn damage_of_an_input_fails_the_job() {
    let mut store = Store::new(11, ReadMode::Read, SSTABLE_BYTES);
    for _ in 0..3 {
        (0..60).for_each(|_| store.write());
        store.flush().unwrap();
    }
    let picked = store.compaction(&BTreeSet::new()).expect("three in level 0 are due");
    let numbers: Vec<u64> = picked.numbers().collect();
    // It would keep the extents of its inputs from reuse.
    drop(picked);
    for number in numbers {
        let (_, sstable) = store.version.find(number).unwrap();
        let place = sstable.meta().extent.offset + 100;
        store.disk.flip_bit(place, 3);
        let mut job = store.compaction(&BTreeSet::new()).unwrap();
        let error = loop {
            match job.step() {
                Ok(None) => {}
                Ok(Some(_)) => panic!("SSTable {number} is damaged, and was merged"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::Corruption, "{error}");
        assert!(job.step().is_err(), "a failed job is over");
        drop(job);
        store.disk.flip_bit(place, 3);
        store.check_space();
    }
    store.settle().unwrap();
    store.check();
}

/// Steps two jobs in turn, with flushes between the steps.
fn interleave(store: &mut Store, mut jobs: Vec<CompactionJob>) {
    while !jobs.is_empty() {
        if store.random.chance(1, 4) {
            store.write();
            store.flush().unwrap();
        }
        let index = store.random.index(jobs.len());
        if let Some(output) = jobs[index].step().unwrap() {
            jobs.swap_remove(index);
            store.publish(output);
        }
    }
}

fn random_store(seed: u64, mode: ReadMode) -> Store {
    let mut store = Store::new(seed, mode, SSTABLE_BYTES);
    for _ in 0..60 {
        match store.random.below(12) {
            0..=6 => (0..8).for_each(|_| store.write()),
            7 => store.change_snapshots(),
            8 => store.write_long(50_000),
            9 | 10 => store.flush().unwrap(),
            _ => {
                let mut busy = BTreeSet::new();
                let mut jobs = Vec::new();
                for _ in 0..1 + store.random.below(2) {
                    let Some(job) = store.compaction(&busy) else {
                        break;
                    };
                    busy.extend(job.numbers());
                    jobs.push(job);
                }
                interleave(&mut store, jobs);
                store.check();
            }
        }
    }
    store
}

/// Runs with less and less room: every failure is `NoSpace` and gives everything back, and with
/// room again the work goes on.
fn squeeze(store: &mut Store) {
    let mut failures = 0;
    for _ in 0..12 {
        (0..20).for_each(|_| store.write());
        let room = store.random.below(200_000);
        store.disk.set_capacity(Some(store.disk.used_bytes() + room));
        let flushed = store.flush();
        let result = flushed.and_then(|()| store.settle());
        store.disk.set_capacity(None);
        if let Err(error) = result {
            assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
            failures += 1;
        }
        store.check_space();
    }
    assert!(failures > 0, "there was room enough");
    store.flush().unwrap();
    store.settle().unwrap();
    store.check();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn readers_see_the_same_through_all_flushes_and_jobs(
        seed in any::<u64>(),
        map in any::<bool>(),
    ) {
        let mode = if map { ReadMode::Map } else { ReadMode::Read };
        let mut store = random_store(seed, mode);
        store.check();
        store.flush().unwrap();
        store.settle().unwrap();
        store.check();
        let level0 = store.version.level(FEED, Shard::default(), 0);
        prop_assert!(level0.len() < store.options.level0_compact);
    }

    #[test]
    fn a_full_disk_loses_nothing_and_leaks_nothing(seed in any::<u64>()) {
        let mut store = Store::new(seed, ReadMode::Read, SSTABLE_BYTES);
        squeeze(&mut store);
    }
}
