//! A growable byte buffer whose start is aligned for direct writes, without unsafe code: it
//! allocates one alignment more than asked for and begins at the first aligned byte.

use crate::limits::DIRECT_ALIGNMENT_MAX;

/// Bytes that start at a multiple of [`DIRECT_ALIGNMENT_MAX`] in memory.
#[derive(Debug, Default)]
pub struct AlignedBuffer {
    storage: Vec<u8>,
    start: usize,
}

impl AlignedBuffer {
    pub(crate) fn with_capacity(capacity: usize) -> AlignedBuffer {
        let mut storage: Vec<u8> = Vec::with_capacity(capacity + DIRECT_ALIGNMENT_MAX);
        let start = storage.as_ptr().align_offset(DIRECT_ALIGNMENT_MAX);
        storage.resize(start, 0);
        AlignedBuffer { storage, start }
    }

    pub(crate) fn len(&self) -> usize {
        self.storage.len() - self.start
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.storage[self.start..]
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        let start = self.start;
        &mut self.storage[start..]
    }

    pub(crate) fn clear(&mut self) {
        self.storage.truncate(self.start);
    }

    /// Appends `bytes`; moves to a new aligned place when the room is used up.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        self.storage.extend_from_slice(bytes);
    }

    /// Appends zeros up to a multiple of `unit`.
    pub(crate) fn pad_to(&mut self, unit: usize) {
        self.pad_with_zeros(self.len().next_multiple_of(unit));
    }

    /// Cuts off what lies behind the first `length` bytes.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.storage.truncate(self.start + length);
    }

    /// Appends zeros up to `length` bytes, which it has at most.
    pub(crate) fn pad_with_zeros(&mut self, length: usize) {
        self.reserve(length - self.len());
        let end = self.start + length;
        self.storage.resize(end, 0);
    }

    fn reserve(&mut self, more: usize) {
        if self.storage.capacity() - self.storage.len() >= more {
            return;
        }
        let capacity = (self.len() + more).max(self.len() * 2);
        let mut moved = AlignedBuffer::with_capacity(capacity);
        moved.storage.extend_from_slice(self.as_slice());
        *self = moved;
    }
}
