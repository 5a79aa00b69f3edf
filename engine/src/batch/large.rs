//! Large payloads of a batch: they are not in its body, which holds where they lie once they are
//! written to extents of their own.

use super::{WriteBatch, offset32};
use crate::codec::Encode;
use crate::entry::TableId;
use crate::limits;
use crate::segment::LargePayload;
use std::ops::Range;
use std::sync::Arc;

/// A payload that is not in the body.
#[derive(Debug, Clone)]
pub(super) struct Large {
    /// Offset in the body of where it lies.
    offset: u32,
    payload: Arc<Vec<u8>>,
    /// Indexes of the targets of its message.
    targets: Range<usize>,
}

impl Large {
    /// It lies elsewhere in the body now.
    pub(super) fn move_to(&mut self, moved: impl Fn(u32) -> u32) {
        self.offset = moved(self.offset);
    }
}

impl WriteBatch {
    /// The same with payloads of `bytes` and more taken for large, so that tests meet them often.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn with_large_from(mut self, bytes: usize) -> WriteBatch {
        self.large_from = Some(bytes);
        self
    }

    pub(super) fn is_large(&self, payload: &[u8]) -> bool {
        payload.len() >= self.large_from.unwrap_or(limits::LARGE_PAYLOAD_BYTES)
    }

    /// Takes the payload of a message, whose targets come next.
    pub(super) fn put_large(&mut self, payload: &[u8], targets: usize) {
        self.mixed = true;
        let first = self.targets.len();
        let length = u32::try_from(payload.len()).expect("payload lengths are checked");
        self.large.push(Large {
            offset: offset32(self.body.len()),
            payload: Arc::new(payload.to_vec()),
            targets: first..first + targets,
        });
        self.body.put(&LargePayload::unplaced(length).encode());
    }

    /// Payloads that need an extent of their own.
    pub(crate) fn large_count(&self) -> usize {
        self.large.len()
    }

    /// Payload `index` of these.
    pub(crate) fn large_payload(&self, index: usize) -> Arc<Vec<u8>> {
        Arc::clone(&self.large[index].payload)
    }

    /// The tables that payload `index` of these goes to, one a target.
    pub(crate) fn large_tables(&self, index: usize) -> impl Iterator<Item = TableId> {
        self.large[index].targets.clone().map(|target| self.target(target).table)
    }

    /// Payload `index` of these lies there.
    pub(crate) fn place_large(&mut self, index: usize, place: &LargePayload) {
        let offset = self.large[index].offset as usize;
        let bytes = place.encode();
        self.body[offset..offset + bytes.len()].copy_from_slice(&bytes);
    }

    /// The bytes of large payloads are needed no more.
    pub(crate) fn forget_large(&mut self) {
        self.large.clear();
    }
}
