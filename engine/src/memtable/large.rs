//! Large payloads of a memtable: its frames name them, and their segments are open here, so that
//! readers find the bytes and nobody else is given the extents.
//!
//! # Invariants
//! 1. A segment is here before the frame that names it.
//!
//! # Concurrency
//! One writer adds; nothing is ever removed. Any number of readers, without locks.

use super::Memtable;
use super::frames::Frame;
use crate::batch::Content;
use crate::entry::Payload;
use crate::error::Result;
use crate::segment::{LargePayload, Segment};
use crate::sync::{AtomicUsize, Ordering};
use crossbeam_skiplist::SkipMap;
use std::ops::Bound;
use std::sync::{Arc, OnceLock};

/// Estimate of what an open segment costs: itself, its guard, its map, its node.
const SEGMENT_OVERHEAD: usize = size_of::<Segment>() + 256;

/// See the module.
pub(super) struct LargeSegments {
    /// Most memtables have none: it is made by the first.
    by_number: OnceLock<Box<SkipMap<u64, Arc<Segment>>>>,
    count: AtomicUsize,
}

impl LargeSegments {
    pub(super) fn new() -> LargeSegments {
        LargeSegments { by_number: OnceLock::new(), count: AtomicUsize::new(0) }
    }

    pub(super) fn get(&self, number: u64) -> Option<Arc<Segment>> {
        self.by_number.get()?.get(&number).map(|found| Arc::clone(found.value()))
    }

    pub(super) fn bytes(&self) -> usize {
        self.count.load(Ordering::Relaxed) * SEGMENT_OVERHEAD
    }
}

impl Memtable {
    /// Takes the segment of a large payload, before the body that names it is applied. Writer only.
    pub(crate) fn hold(&self, segment: Arc<Segment>) {
        let by_number = self.large.by_number.get_or_init(Box::default);
        by_number.insert(segment.meta().number, segment);
        self.large.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a message may have a large payload.
    pub(super) fn has_large(&self) -> bool {
        self.large.by_number.get().is_some()
    }

    /// The segments of its large payloads, by number.
    pub(crate) fn large_segments(&self) -> Vec<Arc<Segment>> {
        let by_number = self.large.by_number.get().into_iter().flat_map(|found| found.iter());
        by_number.map(|found| Arc::clone(found.value())).collect()
    }

    /// Of these the one of the lowest number from `from` on.
    pub(crate) fn large_segment_from(&self, from: u64) -> Option<Arc<Segment>> {
        let found = self.large.by_number.get()?.lower_bound(Bound::Included(&from))?;
        Some(Arc::clone(found.value()))
    }

    /// Whether the segment of the payload is open here.
    pub(super) fn holds(&self, large: &LargePayload) -> bool {
        self.large.get(large.number).is_some_and(|segment| large.is_of(&segment))
    }

    /// The payload of a message; nothing is copied where the file is mapped.
    pub(super) fn payload(&self, frame: &Frame, content: Content) -> Result<Payload> {
        match content {
            Content::Inline(range) => Ok(frame.payload(range)),
            Content::Large(large) => {
                let segment = self.large.get(large.number);
                let segment = segment.expect("it was there when the body was applied");
                Ok(segment.record(large.reference())?.payload())
            }
        }
    }
}
