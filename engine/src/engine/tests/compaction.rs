//! The workers that compact, erase and drop, beside each other and beside users.

use super::{Store, append, commit, flush, numbers, options, until_idle};
use crate::batch::WriteBatch;
use crate::engine::Core;
use crate::engine::compact_worker::CompactWorker;
use crate::engine::erasure::EraseWorker;
use crate::engine::workers::Task;
use crate::options::TableOptions;
use crate::runtime::Progress;
use crate::sync::{Arc, AtomicU64, Ordering};
use crate::version::AMENDMENT_TABLE;
use std::collections::BTreeSet;
use std::time::Duration;

/// Who asked for a compaction in the moment in which a round ended was told that all was compacted
/// when nothing was: with a round that nobody had asked for, and, once that was mended, still with
/// one that was for the wish of somebody else.
#[test]
fn a_wish_for_a_compaction_is_heard_at_each_moment_of_a_round() {
    for asked in [false, true] {
        for look in 0.. {
            let store = Store::by_hand();
            let core = store.core();
            let table = store.engine.create_table("message", TableOptions::timeline()).unwrap();
            if asked {
                core.compact_all.make();
            }
            let wish = Arc::new(AtomicU64::new(0));
            let (beside, made) = (Arc::clone(core), Arc::clone(&wish));
            // As `Core::compact` begins, on a thread of its own.
            store.clock.at_look(look, move || {
                append(&beside, table, b"t", b"flushed since the worker looked");
                flush(&beside);
                made.store(beside.compact_all.make(), Ordering::Relaxed);
            });
            let mut worker = CompactWorker::default();
            worker.step(core);
            let wish = wish.load(Ordering::Relaxed);
            if wish == 0 {
                assert!(look > 4, "a round looks at the clock {look} times");
                break;
            }
            let mut steps = 0;
            while !core.compact_all.is_heard(wish) {
                worker.step(core);
                steps += 1;
                assert!(steps < 1000, "asked {asked}, look {look}: it is never heard");
            }
            let levels = store.engine.stats().levels;
            assert_eq!(levels.first(), Some(&0), "asked {asked}, look {look}: {levels:?}");
        }
    }
}

/// Steps until a job has claimed these, and once more, which is not the end of it.
fn until_at_work(core: &Arc<Core>, task: &mut impl Task, inputs: &BTreeSet<u64>) {
    for _ in 0..1000 {
        if core.claims.numbers() == *inputs {
            assert_eq!(task.step(core), Progress::Busy);
            assert_eq!(core.claims.numbers(), *inputs, "a step is a piece of it");
            return;
        }
        task.step(core);
    }
    panic!("no job begins with {inputs:?}");
}

/// A merge whose inputs had expired gave way to their drop, was picked again before that could
/// begin, and was asked again at the next tick: nothing was dropped until a merge came through.
/// Mended by a rest it was still so where somebody waited for compaction, and called the worker.
#[test]
fn a_merge_that_gives_way_to_expiry_leaves_it_the_time() {
    let store = Store::new(options());
    let core = store.core();
    let brief = TableOptions::timeline().ttl(Duration::from_secs(20));
    let table = store.engine.create_table("message", brief).unwrap();
    for _ in 0..4 {
        append(core, table, b"t", &[7; 200_000]);
        store.engine.flush().unwrap();
    }
    store.scheduler.run_until_idle(10_000);
    let inputs = numbers(core, table);
    assert_eq!(inputs.len(), 4);
    // The store's own worker rests, and is not called.
    let wish = core.compact_all.make();
    let mut compact = CompactWorker::default();
    until_at_work(core, &mut compact, &inputs);
    store.clock.advance(Duration::from_secs(30));
    store.scheduler.run_until_idle(10_000);
    assert_eq!(numbers(core, table), inputs, "what is claimed is asked for, and not dropped");
    let progress = compact.step(core);
    assert!(matches!(progress, Progress::Idle(Some(_))), "it would be picked again: {progress:?}");
    for _ in 0..100 {
        // As `Core::compact` has it do, and writers where level 0 is full.
        compact.step(core);
        assert!(core.claims.numbers().is_disjoint(&inputs), "it is picked again");
    }
    assert!(!core.compact_all.is_heard(wish), "what is to be dropped was part of the wish");
    // No time passes, so whoever asked must have been called.
    store.scheduler.run_until_idle(10_000);
    assert_eq!(numbers(core, table), BTreeSet::new());
    assert_eq!(store.engine.stats().dropped_sstables, 4);
}

/// The same of an erasure: it began the job anew at once, and was asked again at the next tick. One
/// that took longer than a tick never ended, and nothing was dropped.
#[test]
fn an_erasure_that_gives_way_to_expiry_leaves_it_the_time() {
    let store = Store::new(options());
    for name in ["tidelog-compact", "tidelog-erase"] {
        store.scheduler.dismiss(name);
    }
    let core = store.core();
    let brief = TableOptions::timeline().ttl(Duration::from_secs(40));
    let brief = brief.erase_after(Duration::from_secs(60));
    let table = store.engine.create_table("message", brief).unwrap();
    for _ in 0..4 {
        append(core, table, b"t", &[7; 200_000]);
        store.engine.flush().unwrap();
    }
    let mut batch = WriteBatch::new();
    batch.retract(table, b"t", 1).unwrap();
    commit(core, batch);
    store.engine.flush().unwrap();
    store.scheduler.run_until_idle(10_000);
    let inputs = numbers(core, table);
    assert_eq!(inputs.len(), 4);
    // Half of the deadline has passed.
    store.clock.advance(Duration::from_secs(31));
    let mut erase = EraseWorker::default();
    until_at_work(core, &mut erase, &inputs);
    store.clock.advance(Duration::from_secs(14));
    store.scheduler.run_until_idle(10_000);
    assert_eq!(numbers(core, table), inputs, "what is claimed is asked for, and not dropped");
    let progress = erase.step(core);
    assert!(matches!(progress, Progress::Idle(Some(_))), "it would begin again: {progress:?}");
    assert_eq!(core.claims.numbers(), BTreeSet::new());
    // No time passes, so whoever asked must have been called.
    store.scheduler.run_until_idle(10_000);
    assert_eq!(numbers(core, table), BTreeSet::new());
}

/// A store by hand with an SSTable of amendments that nobody can meet any more.
fn with_dead_amendments() -> (Store, BTreeSet<u64>) {
    let store = Store::by_hand();
    let core = store.core();
    let brief = TableOptions::timeline().ttl(Duration::from_secs(20));
    let table = store.engine.create_table("message", brief).unwrap();
    append(core, table, b"t", b"as it was");
    let mut batch = WriteBatch::new();
    batch.amend(table, b"t", 1, b"as it is").unwrap();
    commit(core, batch);
    flush(core);
    let amendments = numbers(core, AMENDMENT_TABLE);
    assert_eq!(amendments.len(), 1);
    store.clock.advance(Duration::from_secs(30));
    (store, amendments)
}

/// Amendments that nobody could meet any more were dropped whoever worked on them: the root of an
/// erasure that was writing them anew was impossible then, and its pass failed.
#[test]
fn amendments_are_not_dropped_while_somebody_works_on_them() {
    let (store, amendments) = with_dead_amendments();
    let core = store.core();
    let claim = core.claims.claim(amendments.clone()).expect("nobody works on them yet");
    let mut compact = CompactWorker::default();
    until_idle(core, &mut compact);
    assert_eq!(numbers(core, AMENDMENT_TABLE), amendments);
    drop(claim);
    until_idle(core, &mut compact);
    assert_eq!(numbers(core, AMENDMENT_TABLE), BTreeSet::new(), "they have expired");
}

/// And whoever had worked on them may be done by the time at which they are claimed: the root that
/// dropped what was gone was impossible, and the compaction failed.
#[test]
fn amendments_that_are_gone_by_the_time_of_the_claim_are_not_dropped_again() {
    let (store, seen) = with_dead_amendments();
    let core = store.core();
    assert!(core.drop_amendments(seen.clone()).unwrap());
    assert_eq!(numbers(core, AMENDMENT_TABLE), BTreeSet::new());
    assert!(!core.drop_amendments(seen).unwrap());
    assert_eq!(core.claims.numbers(), BTreeSet::new());
}
