//! Large payloads of a commit: written by the committing thread, before the commit is queued.
//!
//! ```text
//! committing thread   extent ─► record, footer ─► sync ─► push
//! leader                                                 the frame names the extent ─► memtable
//! flush                                                  the manifest names it
//! ```
//! 1. An extent of exactly the size, and in it a segment of one record. It is not held back by the
//!    pacer: a caller waits for it.
//! 2. One sync, whatever the durability: what the log names is on the disk before the log names it.
//!    So a group that recovery finds never names bytes that are lost.
//! 3. Until a group is about to name it, the extent is given back with the request: refused
//!    commits, stores that are closed, futures that nobody leads any more.
//!
//! A crash before the log names the extent leaks nothing: what neither manifest nor log names is
//! free.
//!
//! # Concurrency
//! Any number of committing threads; the leader takes over what they have stored.

use crate::batch::WriteBatch;
use crate::engine::Core;
use crate::entry::TableId;
use crate::error::Result;
use crate::file::{ExtentGuard, ExtentWriter};
use crate::segment::{LargePayload, Segment};
use crate::sync::Arc;

/// Segments that no log names yet. Dropped, they give their extents back.
#[derive(Default)]
pub(crate) struct StoredPayloads {
    segments: Vec<Arc<Segment>>,
}

impl StoredPayloads {
    /// Writes the large payloads of a batch, durably, and says in its body where they lie.
    ///
    /// # Errors
    /// `NoSpace` or `Io`: nothing has changed. A failed sync poisons the store.
    pub(crate) fn store(&mut self, core: &Core, batch: &mut WriteBatch) -> Result<()> {
        if batch.large_count() == 0 {
            return Ok(());
        }
        for index in 0..batch.large_count() {
            let stored = self.store_one(core, batch, index);
            // Growing the file syncs it, and so speaks for the log.
            stored.inspect_err(|error| {
                core.free_released(error);
                core.after_failure();
            })?;
        }
        let synced = core.log.sync_beside(&*core.disk, "syncing large payloads");
        synced.map(|_| ()).map_err(|error| core.poison_log(&error))
    }

    fn store_one(&mut self, core: &Core, batch: &mut WriteBatch, index: usize) -> Result<()> {
        let payload = batch.large_payload(index);
        let bytes = LargePayload::segment_bytes(payload.len());
        let reservation = core.allocator.reserve(bytes, "a large payload")?;
        let number = core.output.segment_number()?;
        let extent = reservation.extent();
        let writer = ExtentWriter::unpaced(Arc::clone(&core.disk), extent);
        let place = (core.file, number, home(core, batch, index));
        let large = LargePayload::write(writer, extent, place, &payload)?;
        let kept = reservation.commit(bytes);
        debug_assert_eq!(large.meta().extent, kept, "the extent has exactly the size");
        self.segments.push(open(core, &large));
        batch.place_large(index, &large);
        Ok(())
    }

    /// A group that names them is about to be written: from now on they are the memtable's, or, if
    /// it is open whether the log has the group, nobody's until the store is opened again.
    pub(crate) fn take(&mut self) -> Vec<Arc<Segment>> {
        std::mem::take(&mut self.segments)
    }
}

impl Drop for StoredPayloads {
    fn drop(&mut self) {
        for segment in self.take() {
            segment.forfeit();
        }
    }
}

/// The segment of a large payload whose extent is reserved.
pub(crate) fn open(core: &Core, large: &LargePayload) -> Arc<Segment> {
    let meta = large.meta();
    // A reader beside a writer holds nothing back.
    let guard = (!core.options.read_only).then(|| {
        let guard = ExtentGuard::new(meta.extent, Arc::clone(&core.allocator));
        Arc::new(guard) as Arc<_>
    });
    Arc::new(Segment::new(meta, core.output.source.clone(), guard))
}

/// The table among the targets that keeps longest; of several the first.
fn home(core: &Core, batch: &WriteBatch, index: usize) -> TableId {
    let view = core.views.current();
    let mut longest: Option<(u64, TableId)> = None;
    for table in batch.large_tables(index) {
        if longest.is_some_and(|(_, known)| known == table) {
            continue;
        }
        let record = view.tables.get(&table);
        let kept = record.map_or(0, |record| record.options.ttl_ms.unwrap_or(u64::MAX));
        if longest.is_none_or(|(most, _)| kept > most) {
            longest = Some((kept, table));
        }
    }
    longest.map(|(_, table)| table).expect("a message has a target")
}
