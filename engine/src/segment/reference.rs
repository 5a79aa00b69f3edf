//! A reference: eight bytes that name one record of one segment.
//!
//! ```text
//! bits 24 to 63  number of the segment, at least 1
//! bits  0 to 23  offset of the record, in units of 16 bytes
//! ```

use super::format::RECORD_UNIT;
use crate::limits::{SEGMENT_BYTES_MAX, SEGMENT_NUMBER_MAX};

const UNIT_BITS: u32 = 24;

const _: () = assert!(SEGMENT_BYTES_MAX == (RECORD_UNIT as u64) << UNIT_BITS);
const _: () = assert!(SEGMENT_NUMBER_MAX == u64::MAX >> UNIT_BITS);

/// Where a shared payload lies. Never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Reference(u64);

impl Reference {
    /// The record at `offset`, a multiple of 16, of segment `number`.
    pub(crate) fn new(number: u64, offset: u64) -> Reference {
        assert!((1..=SEGMENT_NUMBER_MAX).contains(&number), "segment numbers have 40 bits");
        assert!(offset < SEGMENT_BYTES_MAX && offset.is_multiple_of(RECORD_UNIT as u64));
        Reference((number << UNIT_BITS) | (offset / RECORD_UNIT as u64))
    }

    /// The reference of these bits; none where they name no segment.
    pub(crate) fn from_bits(bits: u64) -> Option<Reference> {
        (bits >> UNIT_BITS != 0).then_some(Reference(bits))
    }

    /// As it is stored.
    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    /// The number of the segment.
    pub(crate) fn number(self) -> u64 {
        self.0 >> UNIT_BITS
    }

    /// Offset of the record in the segment.
    pub(crate) fn offset(self) -> u64 {
        (self.0 & ((1 << UNIT_BITS) - 1)) * RECORD_UNIT as u64
    }
}
