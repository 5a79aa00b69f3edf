//! Brings the outputs of a compaction into memory before they take the place of what was there.
//!
//! Outputs are written past the page cache. Where readers have warmed up the inputs, each of them
//! would find its next block on the disk again: reads of tens of microseconds, a hundred times as
//! long as others, until all of it is back. So the worker that compacts reads it back, in large
//! pieces, while the inputs still serve.
//!
//! # Invariants
//! 1. It is advice: what cannot be brought in is left to those who read it.
//! 2. Where readers have touched little of the inputs, nothing is brought in.

use super::output::PendingOutputs;
use crate::limits::WARM_INPUT_SHARE;
use crate::sstable::Sstable;
use std::sync::Arc;

/// Outputs on their way into memory.
#[derive(Debug)]
pub(super) struct WarmUp {
    outputs: PendingOutputs,
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

    /// Of these outputs, which take over what is allowed to their inputs.
    pub(super) fn new<'a>(
        outputs: PendingOutputs,
        inputs: impl Iterator<Item = &'a Arc<Sstable>>,
    ) -> WarmUp {
        inputs.for_each(|input| input.give_back_share());
        WarmUp { outputs, next: (0, 0) }
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

    pub(super) fn into_outputs(self) -> PendingOutputs {
        self.outputs
    }
}
