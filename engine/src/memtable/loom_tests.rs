//! Every interleaving of a small writer and a small reader over the memtable's own words and index.
//! Run with
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test -p tidelog-engine --lib --target-dir target/loom loom
//! ```

use super::arena::WordArena;
use super::index::RunIndex;
use super::layout::{
    ENTRY_WORDS, EntryWords, RUN_COUNT, RUN_FIRST_SEQ, RUN_TAIL, RUN_WORDS, append, create_run,
};
use super::*;
use loom::thread;

const TABLE: TableId = TableId(16);
/// Stack of a model's threads: 256 KiB.
const STACK_WORDS: usize = 32 * 1024;

fn entry(seq: u64) -> EntryWords {
    EntryWords { seq, stamp: seq + 100, place: seq + 200 }
}

/// Loads the entries of `run` as `run.rs` does: count, tail, then back over the chunks.
fn entries(arena: &WordArena, run: u32) -> Vec<EntryWords> {
    let header = arena.slice(run, RUN_WORDS);
    let count = header[RUN_COUNT].load(Ordering::Acquire);
    let mut end = unpack(count).1;
    let mut chunk = unpack(header[RUN_TAIL].load(Ordering::Acquire)).1;
    let mut found = Vec::new();
    while end > 0 {
        let (previous, base) = unpack(arena.word(chunk).load(Ordering::Relaxed));
        for index in (base..end).rev() {
            let place = chunk + 1 + (index - base) * 3;
            found.push(EntryWords::load(arena.slice(place, ENTRY_WORDS)));
        }
        end = end.min(base);
        chunk = previous;
    }
    found.reverse();
    found
}

/// Explores `check` on a thread with a stack of its own size, and makes sure that it was
/// explored: a model whose thread dies of a stack overflow ends as if all were well.
fn model(check: fn()) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    let finished = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counter = Arc::clone(&finished);
    builder.check(move || {
        let counter = Arc::clone(&counter);
        let checking = thread::Builder::new().stack_size(STACK_WORDS).spawn(move || {
            check();
            counter.fetch_add(1, Ordering::Relaxed);
        });
        checking.expect("loom spawns").join().expect("no panic");
    });
    let finished = finished.load(Ordering::Relaxed);
    assert!(finished > 1, "only {finished} executions");
}

fn spawn(work: impl FnOnce() + Send + 'static) -> thread::JoinHandle<()> {
    thread::Builder::new().stack_size(STACK_WORDS).spawn(work).expect("loom spawns")
}

/// A reader that sees n entries sees n whole ones, across the change of chunks that the third entry
/// brings.
///
/// Here and below the reader is the spawned thread: loom remembers one last access of an atomic,
/// and the writer's own load before its store would hide the reader's load from it.
#[test]
fn loom_a_published_count_covers_whole_entries() {
    model(|| {
        let arena = Arc::new(WordArena::new(&Arc::default()));
        let run = create_run(&arena, TABLE, 1, 0, 1, 0).expect("room");
        append(&arena, run, entry(1)).expect("room");
        append(&arena, run, entry(2)).expect("room");
        let read = Arc::clone(&arena);
        let reading = spawn(move || {
            let found = entries(&read, run);
            assert!((2..=4).contains(&found.len()));
            assert!(found.iter().copied().eq((1u64..).map(entry).take(found.len())));
        });
        append(&arena, run, entry(3)).expect("room");
        append(&arena, run, entry(4)).expect("room");
        reading.join().expect("no panic");
    });
}

/// A run that is found has its header and its first entry.
#[test]
fn loom_a_run_that_is_found_is_whole() {
    model(|| find_while_inserting(1));
}

/// The same across a growth of the index, for the first table has four slots: and a run that was
/// published before is found whichever table the reader probes.
#[test]
fn loom_a_growing_index_loses_no_run() {
    model(|| find_while_inserting(3));
}

fn find_while_inserting(before: u32) {
    let (arena, index) =
        (Arc::new(WordArena::new(&Arc::default())), Arc::new(RunIndex::new(&Arc::default())));
    for number in 1..=before {
        index.insert(number << 30, number);
    }
    let (arena_read, index_read) = (Arc::clone(&arena), Arc::clone(&index));
    let reading = spawn(move || {
        assert_eq!(index_read.find(before << 30, |_| true), Some(before));
        if let Some(run) = index_read.find(9, |_| true) {
            let header = arena_read.slice(run, RUN_WORDS);
            let first_seq = header[RUN_FIRST_SEQ].load(Ordering::Relaxed);
            assert_eq!((first_seq, entries(&arena_read, run)), (7, vec![entry(7)]));
        }
    });
    let run = create_run(&arena, TABLE, 1, 0, 7, 0).expect("room");
    append(&arena, run, entry(7)).expect("room");
    index.insert(9, run);
    reading.join().expect("no panic");
}
