//! The block index: data block number → where it lies and with what its first fragment begins.
//!
//! ```text
//! offset  size  field        notes
//!      0     8  offset       of the block in the SSTable
//!      8     4  length       header included
//!     12     4  checksum     that the block carries
//!     16     8  first seq    of its first fragment    (the last four are 0 in a keyed table)
//!     24     8  base index   of its first fragment
//!     32     8  base commit  of its first fragment
//!     40     8  base time    of its first fragment
//! ```
//!
//! Entry of block n: page n / 84, slot n % 84; what is left of a page is zero. Blocks follow each
//! other without a hole, the first at offset 0.
//!
//! The blocks of a run behind its first begin with a fragment of it, so a search by seq, commit,
//! time or position goes by these values and touches one data block.

use super::format::{HEADER_SIZE, PAGE_CONTENT, RAW_LENGTH_MAX};
use crate::codec::{DecodeError, Decoder, Encode};

/// Bytes of one entry.
pub(super) const INDEX_ENTRY: usize = 48;
/// Entries in a page.
pub(super) const INDEX_ENTRIES_PER_PAGE: usize = PAGE_CONTENT / INDEX_ENTRY;

const _: () = assert!(INDEX_ENTRIES_PER_PAGE == 84);

/// What the index says of one data block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IndexEntry {
    pub(super) offset: u64,
    pub(super) length: u32,
    pub(super) checksum: u32,
    pub(super) first_seq: u64,
    pub(super) base_index: u64,
    pub(super) base_commit: u64,
    pub(super) base_time: u64,
}

impl IndexEntry {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(self.offset);
        out.put_u32(self.length);
        out.put_u32(self.checksum);
        out.put_u64(self.first_seq);
        out.put_u64(self.base_index);
        out.put_u64(self.base_commit);
        out.put_u64(self.base_time);
    }

    /// Entry `slot` of a page whose content this is; the block must lie inside the `data` section.
    pub(super) fn decode(
        content: &[u8],
        slot: usize,
        data: u64,
    ) -> Result<IndexEntry, DecodeError> {
        let error = DecodeError { what: "index slot", offset: slot * INDEX_ENTRY };
        let fields = content.get(slot * INDEX_ENTRY..).and_then(<[u8]>::first_chunk);
        let fields: &[u8; INDEX_ENTRY] = fields.ok_or(error)?;
        let mut decoder = Decoder::new(fields);
        let entry = IndexEntry {
            offset: decoder.u64("block offset")?,
            length: decoder.u32("block length")?,
            checksum: decoder.u32("block checksum")?,
            first_seq: decoder.u64("first seq of a block")?,
            base_index: decoder.u64("base index of a block")?,
            base_commit: decoder.u64("base commit of a block")?,
            base_time: decoder.u64("base time of a block")?,
        };
        let length = entry.length as usize;
        let end = entry.offset.checked_add(u64::from(entry.length));
        let bounded = length > HEADER_SIZE && length <= HEADER_SIZE + RAW_LENGTH_MAX;
        if !bounded || end.is_none_or(|end| end > data) {
            return Err(decoder.error("place of a block"));
        }
        Ok(entry)
    }
}
