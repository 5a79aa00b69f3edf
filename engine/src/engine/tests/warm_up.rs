//! What flushes bring into memory. The rest of it: `compaction/tests/warm_up.rs`.

use super::{Store, append, numbers};
use crate::compaction::WarmUp;
use crate::entry::TableId;
use crate::options::{Options, TableOptions};
use crate::sstable::Sstable;
use crate::sync::Arc;
use std::time::Duration;

const PAYLOAD: usize = 16 * 1024;
const KEYS: [&[u8]; 3] = [b"a", b"b", b"c"];

/// A store with one table, in memtables and SSTables of some megabytes.
struct Chat {
    store: Store,
    table: TableId,
}

impl Chat {
    fn new() -> Chat {
        let options = Options {
            ring_bytes: 32 << 20,
            memtable_bytes: 4 << 20,
            sstable_bytes: 8 << 20,
            memory_budget: 64 << 20,
            ..super::options()
        };
        let store = Store::new(options);
        let table = store.engine.create_table("message", TableOptions::timeline()).unwrap();
        Chat { store, table }
    }

    fn write(&self, messages: usize) {
        for key in KEYS.iter().cycle().take(messages) {
            append(self.store.core(), self.table, key, &[7; PAYLOAD]);
        }
    }

    /// Readers read all there is: from here on they are at work.
    fn read(&self) {
        assert!(KEYS.iter().all(|key| !self.store.seqs(self.table, key).is_empty()));
        let version = Arc::clone(&self.store.core().views.current().version);
        assert!(WarmUp::is_due_above(&version, self.table), "they have read the top");
    }

    /// Fills a memtable, and lets the worker flush it: nobody waits.
    fn flush_in_peace(&self) {
        let engine = &self.store.engine;
        let flushes = engine.stats().flushes;
        while engine.stats().pending.flush_bytes == 0 {
            self.write(KEYS.len());
        }
        for _ in 0..1000 {
            self.store.scheduler.run_until_idle(10_000);
            if engine.stats().flushes > flushes {
                return;
            }
            self.store.clock.advance(Duration::from_millis(1));
        }
        panic!("the flush does not end");
    }

    /// Bytes of the SSTables that `flush` writes, and how many of them were brought in.
    fn written_by(&self, flush: impl FnOnce()) -> (u64, u64) {
        let core = self.store.core();
        let before = numbers(core, self.table);
        flush();
        let view = core.views.current();
        let is_new = |sstable: &&Arc<Sstable>| !before.contains(&sstable.meta().number);
        let new: Vec<&Arc<Sstable>> = view.sstables_of(self.table).filter(is_new).collect();
        let bytes: u64 = new.iter().map(|sstable| sstable.meta().bytes).sum();
        assert!(bytes > 0, "it has written something");
        (bytes, new.iter().map(|sstable| sstable.asked_bytes()).sum())
    }
}

/// The first reader behind a flush waited for a whole piece of what it had written. So the worker
/// brings that in, where readers are at work; but not while a user, or the closing, waits for it.
#[test]
fn a_flush_brings_in_what_it_writes_for_readers_and_has_nobody_wait_for_that() {
    let chat = Chat::new();
    let engine = &chat.store.engine;
    chat.flush_in_peace();
    let (_, brought_in) = chat.written_by(|| chat.flush_in_peace());
    assert_eq!(brought_in, 0, "nobody reads");
    chat.read();
    let (bytes, brought_in) = chat.written_by(|| chat.flush_in_peace());
    assert_eq!(brought_in, bytes);
    chat.write(20);
    chat.read();
    let (_, brought_in) = chat.written_by(|| engine.flush().unwrap());
    assert_eq!(brought_in, 0, "a user waits");
    chat.write(20);
    chat.read();
    let (_, brought_in) = chat.written_by(|| engine.close().unwrap());
    assert_eq!(brought_in, 0, "the closing waits");
}
