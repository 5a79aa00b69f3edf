//! Brings the outputs of a flush or a compaction into memory before they take the place of what was
//! there.
//!
//! Outputs are written past the page cache. Where readers have warmed up the inputs, each of them
//! would find its next block on the disk again: reads of tens of microseconds, a hundred times as
//! long as others, until all of it is back. So the worker reads it back, in large pieces, while the
//! inputs still serve.
//!
//! Nobody counts who reads a memtable: that would cost every read. What its flush writes lies above
//! all there is of its table, and those who read there will read it, too. So it is brought in where
//! they have touched most of the top: the highest level that is not empty, in the newest window.
//!
//! # Invariants
//! 1. It is advice: what cannot be brought in is left to those who read it.
//! 2. Where readers have touched little of the inputs, or of the top, nothing is brought in.
//! 3. Nobody waits for it: a flush that others wait for ends without.

use crate::entry::TableId;
use crate::limits::{LEVEL_COUNT, WARM_INPUT_SHARE};
use crate::sstable::Sstable;
use crate::version::{Tier, Version};
use std::sync::Arc;

/// Outputs on their way into memory.
#[derive(Debug)]
pub(crate) struct WarmUp {
    outputs: Vec<Arc<Sstable>>,
    /// The next piece: of which output, and where.
    next: (usize, u64),
}

impl WarmUp {
    /// Whether readers have touched most of these inputs.
    pub(super) fn is_due<'a>(inputs: impl Iterator<Item = &'a Arc<Sstable>> + Clone) -> bool {
        let bytes: u64 = inputs.clone().map(|input| input.meta().bytes).sum();
        let touched: u64 = inputs.map(|input| input.touched_bytes()).sum();
        touched > 0 && touched.saturating_mul(WARM_INPUT_SHARE) >= bytes
    }

    /// Whether readers have touched most of the top of a table.
    pub(crate) fn is_due_above(version: &Version<Arc<Sstable>>, table: TableId) -> bool {
        let hot = version.shards(table).filter(|(shard, _)| shard.tier == Tier::Hot);
        let Some((_, newest)) = hot.max_by_key(|(shard, _)| shard.window) else {
            return false;
        };
        let mut levels = (0..LEVEL_COUNT).map(|level| newest.level(level));
        let top = levels.find(|sstables| !sstables.is_empty());
        top.is_some_and(|sstables| WarmUp::is_due(sstables.iter()))
    }

    /// Of these outputs.
    pub(super) fn new(outputs: Vec<Arc<Sstable>>) -> WarmUp {
        WarmUp { outputs, next: (0, 0) }
    }

    /// Of these outputs, which take over what is allowed to their inputs.
    pub(super) fn in_place_of<'a>(
        inputs: impl Iterator<Item = &'a Arc<Sstable>>,
        outputs: Vec<Arc<Sstable>>,
    ) -> WarmUp {
        inputs.for_each(|input| input.give_back_share());
        WarmUp::new(outputs)
    }

    /// Brings in a piece. Whether there are more.
    pub(super) fn step(&mut self) -> bool {
        let (index, place) = self.next;
        let Some(output) = self.outputs.get(index) else {
            return false;
        };
        self.next = match output.bring_in_piece(place) {
            Ok(Some(next)) => (index, next),
            Ok(None) | Err(_) => (index + 1, 0),
        };
        true
    }
}
