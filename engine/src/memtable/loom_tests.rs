//! Every interleaving of a small writer and a small reader over the real memtable. Run with
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test -p tidelog-engine --release --lib --target-dir target/loom loom
//! ```

use super::*;
use crate::batch::WriteBatch;
use crate::entry::Direction;
use loom::thread;

const TABLE: TableId = TableId(16);
/// Stack of a model's threads: 256 KiB.
const STACK_WORDS: usize = 32 * 1024;

fn body(key: &[u8], seq: u64) -> Arc<Vec<u8>> {
    let mut batch = WriteBatch::new();
    let payload = [u8::try_from(seq).expect("small"); 2];
    batch
        .append_at(TABLE, key, seq, &payload, None)
        .expect("within limits");
    Arc::new(batch.into_body())
}

/// Explores `check` on a thread with room for the memtable's constructor, and makes sure that it was
/// explored: a model whose thread dies of a stack overflow ends as if all were well.
fn model(check: fn()) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    let finished = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counter = Arc::clone(&finished);
    builder.check(move || {
        let counter = Arc::clone(&counter);
        let checking = thread::Builder::new()
            .stack_size(STACK_WORDS)
            .spawn(move || {
                check();
                counter.fetch_add(1, Ordering::Relaxed);
            });
        checking.expect("loom spawns").join().expect("no panic");
    });
    let finished = finished.load(Ordering::Relaxed);
    assert!(finished > 10, "only {finished} executions");
}

fn spawn(work: impl FnOnce() + 'static) -> thread::JoinHandle<()> {
    thread::Builder::new()
        .stack_size(STACK_WORDS)
        .spawn(work)
        .expect("loom spawns")
}

/// A reader that sees n entries sees n whole ones, across the change of chunks that the third entry
/// brings.
#[test]
fn loom_a_published_count_covers_whole_entries() {
    model(|| {
        let memtable = Arc::new(Memtable::new(1, 0));
        memtable.apply(body(b"k", 1), 1, 0).expect("fits");
        memtable.apply(body(b"k", 2), 2, 0).expect("fits");
        let writer = Arc::clone(&memtable);
        let writing = spawn(move || {
            writer.apply(body(b"k", 3), 3, 0).expect("fits");
            writer.apply(body(b"k", 4), 4, 0).expect("fits");
        });
        let run = memtable
            .run(TABLE, b"k")
            .expect("published before the thread began");
        let count = run.count_at(u64::MAX);
        assert!((2..=4).contains(&count));
        for (index, seq) in (0..count).zip(1..) {
            assert_eq!((run.seq(index), run.commit(index)), (seq, seq));
        }
        let newest: Vec<u64> = run
            .cursor(count - 1, Direction::Backward)
            .map(|e| e.seq)
            .collect();
        assert_eq!(newest.len(), count);
        writing.join().expect("no panic");
    });
}

/// A run that is found has its key and its first entry, across a growth of the index; and one that
/// was published before is found whichever table the reader probes.
#[test]
fn loom_a_run_that_is_found_is_whole() {
    model(|| {
        let memtable = Arc::new(Memtable::new(1, 0));
        for (key, commit) in [(b"a", 1), (b"b", 2), (b"c", 3)] {
            memtable.apply(body(key, 1), commit, 0).expect("fits");
        }
        let writer = Arc::clone(&memtable);
        let writing = spawn(move || {
            // The fourth run is one too many for the first table of four slots.
            writer.apply(body(b"d", 7), 4, 0).expect("fits");
        });
        assert!(memtable.run(TABLE, b"a").is_some());
        if let Some(run) = memtable.run(TABLE, b"d") {
            assert_eq!((run.key(), run.count_at(4), run.seq(0)), (&b"d"[..], 1, 7));
            assert_eq!(&*run.entry(0).payload, [7, 7]);
        }
        writing.join().expect("no panic");
        assert!(memtable.run(TABLE, b"d").is_some());
    });
}
