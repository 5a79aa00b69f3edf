//! A data block of a keyed table: versions in order, and where each begins.
//!
//! ```text
//! offset  size  field      notes
//!      0     …  versions   items of them: key rising, then commit falling, then index falling
//!      …   4·n  starts     offset of each version in the content
//!
//! version
//!      0     8  commit
//!      8     8  time            milliseconds since 1970
//!     16     4  index           of the record in its batch
//!     20     2  key length      1 to 1,040
//!     22     1  operation       1 put, 2 delete, 3 add, 4 max
//!     23     1  reserved        zero, checked
//!     24     4  value length
//!     28     …  key, value
//! ```
//!
//! A content is valid if and only if: (1) it holds `items` starts behind the versions, the first is
//! 0, they rise, and the last version ends where the starts begin; (2) each version decodes to
//! exactly its bytes; (3) versions are in the order above, all different.

use super::format::{STORED_KEY_LENGTH_MAX, length32};
use super::timeline_block::START_SIZE;
use crate::batch::KeyedOperation;
use crate::codec::{DecodeError, Decoder, Encode};
use crate::entry::KeyedVersion;
use std::cmp::{Ordering, Reverse};
use std::ops::Range;

/// Bytes of a version before its key.
pub(super) const VERSION_HEADER: usize = 28;

type Result<T> = std::result::Result<T, DecodeError>;

/// A version in the bytes of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct VersionView<'a> {
    pub(super) key: &'a [u8],
    pub(super) commit: u64,
    pub(super) index: u32,
    pub(super) time_ms: u64,
    pub(super) operation: KeyedOperation,
    pub(super) value: &'a [u8],
}

impl VersionView<'_> {
    /// Compares with another place in the order of versions.
    pub(super) fn order(&self, key: &[u8], commit: u64, index: u32) -> Ordering {
        (self.key, Reverse(self.commit), Reverse(self.index)).cmp(&(
            key,
            Reverse(commit),
            Reverse(index),
        ))
    }
}

/// Bytes that a version takes, its start included.
pub(super) fn version_size(version: &KeyedVersion) -> usize {
    VERSION_HEADER + version.key.len() + version.value.len() + START_SIZE
}

/// Appends a version whose lengths have been checked.
pub(super) fn encode_version(version: &KeyedVersion, out: &mut Vec<u8>) {
    out.put_u64(version.commit);
    out.put_u64(version.time_ms);
    out.put_u32(version.index);
    out.put_u16(u16::try_from(version.key.len()).expect("the builder checks key lengths"));
    out.put_u8(version.operation as u8);
    out.put_u8(0);
    out.put_u32(length32(version.value.len()));
    out.put(&version.key);
    out.put(&version.value);
}

/// The content of a block, seen as versions.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyedBlock<'a> {
    content: &'a [u8],
    count: usize,
    starts: usize,
}

impl<'a> KeyedBlock<'a> {
    pub(super) fn parse(content: &'a [u8], items: usize) -> Result<KeyedBlock<'a>> {
        let error = DecodeError { what: "versions of a block", offset: 0 };
        let table = items.checked_mul(START_SIZE).ok_or(error)?;
        let starts = content.len().checked_sub(table).ok_or(error)?;
        let block = KeyedBlock { content, count: items, starts };
        if items == 0 || block.start(0) != 0 {
            return Err(error);
        }
        Ok(block)
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Version `index`, and where its value lies in the content.
    pub(super) fn version(&self, index: usize) -> Result<(VersionView<'a>, Range<usize>)> {
        let start = self.start(index);
        let end = if index + 1 < self.count { self.start(index + 1) } else { self.starts };
        let bytes = if end <= self.starts { self.content.get(start..end) } else { None };
        let bytes = bytes.ok_or(DecodeError { what: "start of a version", offset: self.starts })?;
        let version = decode_version(bytes)?;
        Ok((version, end - version.value.len()..end))
    }

    /// The number of versions at the front for which `before` holds.
    pub(super) fn partition(&self, before: impl Fn(&VersionView<'a>) -> bool) -> Result<usize> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if before(&self.version(middle)?.0) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    fn start(&self, index: usize) -> usize {
        let at = self.starts + index * START_SIZE;
        let bytes = self.content[at..].first_chunk::<START_SIZE>();
        u32::from_le_bytes(*bytes.expect("parse counted the starts")) as usize
    }
}

fn decode_version(bytes: &[u8]) -> Result<VersionView<'_>> {
    let mut decoder = Decoder::new(bytes);
    let commit = decoder.u64("commit of a version")?;
    let time_ms = decoder.u64("time of a version")?;
    let index = decoder.u32("index of a version")?;
    let key_length = usize::from(decoder.u16("key length")?);
    let operation = KeyedOperation::from_byte(decoder.u8("operation")?);
    let operation = operation.ok_or(decoder.error("operation"))?;
    decoder.zeros(1, "reserved byte of a version")?;
    let value_length = decoder.u32("value length")? as usize;
    if key_length == 0 || key_length > STORED_KEY_LENGTH_MAX {
        return Err(decoder.error("key length"));
    }
    let key = decoder.take(key_length, "key of a version")?;
    let value = decoder.take(value_length, "value of a version")?;
    if !decoder.is_empty() {
        return Err(decoder.error("length of a version"));
    }
    Ok(VersionView { key, commit, index, time_ms, operation, value })
}
