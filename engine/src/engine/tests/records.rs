//! What is written down of timelines before the last that tells of them goes.

use super::{Store, append, flush, until_idle};
use crate::batch::WriteBatch;
use crate::engine::Core;
use crate::engine::compact_worker::CompactWorker;
use crate::engine::expiry::ExpiryWorker;
use crate::entry::TableId;
use crate::options::TableOptions;
use crate::read::recorded_state;
use crate::sync::{Arc, Ordering};
use crate::version::Tier;
use std::time::Duration;

const KEY: &[u8] = b"room";

/// Puts an entry where the leader puts one of a group that is still being written: into the
/// memtable, above all that is published.
fn being_written(core: &Core, table: TableId, seq: u64) {
    let mut batch = WriteBatch::new();
    batch.append(table, KEY, b"not in the log yet", None).unwrap();
    batch.assign(0, seq);
    let commit = core.published.load(Ordering::Acquire) + 1;
    let memtable = Arc::clone(&core.views.current().active);
    memtable.apply(Arc::new(batch.into_body()), commit, core.clock.commit_now()).unwrap();
}

/// A group that nobody wants synced goes on being written while the memtable has it. Its entry
/// counted as what tells how far a timeline had come, so nothing was recorded when the SSTables of
/// that timeline went. Where the process ended before the write did, or the write failed, sequence
/// ids that readers had seen were given again. Where the SSTables had gone to the cold tier, new
/// entries then had the ids of old ones, and every read of the timeline ended with `Corruption`.
#[test]
fn an_entry_that_the_log_may_never_have_tells_nothing_of_its_timeline() {
    for moves in [false, true] {
        let store = Store::by_hand();
        let core = store.core();
        let (options, age) = (TableOptions::timeline(), Duration::from_secs(20));
        let options = if moves { options.cold_after(age) } else { options.ttl(age) };
        let table = store.engine.create_table("message", options).unwrap();
        for payload in [&b"recorded, since it is the first"[..], b"told by its SSTable alone"] {
            append(core, table, KEY, payload);
            flush(core);
        }
        store.clock.advance(Duration::from_secs(30));
        being_written(core, table, 3);
        match moves {
            true => until_idle(core, &mut CompactWorker::default()),
            false => until_idle(core, &mut ExpiryWorker::default()),
        }
        let view = core.views.current();
        let mut left = view.sstables_of(table).map(|sstable| sstable.meta().shard.tier);
        assert!(left.all(|tier| tier == Tier::Cold), "moves: {moves}");
        let record = recorded_state(&view, table, KEY, u64::MAX).unwrap();
        assert_eq!(record.map(|record| record.next_seq), Some(3), "moves: {moves}");
    }
}
