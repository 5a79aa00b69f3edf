//! The worker that syncs the log for `Interval` commits.

use super::Store;
use crate::batch::WriteBatch;
use crate::engine::workers::{SyncWorker, Task};
use crate::options::{Durability, TableOptions};
use crate::runtime::Progress;
use std::sync::mpsc;
use std::time::Duration;

/// The worker also renewed the clock's mark, by a root, and so waited now and then for whoever had
/// the root: for the sync of a cold file on a slow disk, say. What was to be synced within
/// milliseconds was not, and a loss of power took seconds of it.
#[test]
fn the_log_is_synced_in_time_whoever_has_the_root() {
    let store = Store::by_hand();
    let core = store.core();
    let expires = TableOptions::timeline().ttl(Duration::from_secs(3600));
    let table = store.engine.create_table("message", expires).unwrap();
    let commit = |durability| {
        let mut batch = WriteBatch::new();
        batch.append(table, b"t", b"x", None).unwrap();
        core.commit(batch, durability).unwrap();
    };
    // From here on the superblock says that there are such commits, and its mark grows old.
    commit(Durability::Buffered);
    store.clock.advance(Duration::from_secs(40));
    commit(Durability::Interval(Duration::from_millis(10)));
    store.clock.advance(Duration::from_millis(20));
    assert!(core.log.unsynced_bytes() > 0);
    let (sender, receiver) = mpsc::channel();
    std::thread::scope(|scope| {
        let root = core.root.lock();
        scope.spawn(move || sender.send(SyncWorker.step(core)));
        let stepped = receiver.recv_timeout(Duration::from_secs(5));
        drop(root);
        assert_eq!(stepped, Ok(Progress::Busy));
    });
    assert_eq!(core.log.unsynced_bytes(), 0);
}
