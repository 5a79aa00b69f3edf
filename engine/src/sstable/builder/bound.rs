//! How large an SSTable can get: an upper bound that costs no encoding. The caller splits by it.

use super::{Builder, Last, Output};
use crate::codec::{VARINT_SIZE_MAX, round_up};
use crate::limits::PAGE_SIZE;
use crate::sstable::directory;
use crate::sstable::format::HEADER_SIZE;
use crate::sstable::fragment::{FRAGMENT_HEADER_MAX, FragmentView};
use crate::sstable::fragment_writer::ROW_SIZE_MAX;
use crate::sstable::index::INDEX_ENTRIES_PER_PAGE;
use crate::sstable::keyed_block::VERSION_HEADER;
use crate::sstable::timeline_block::START_SIZE;
use crate::version::TableKind;

/// Event time, own time to live, and the fixed part of an origin.
const ENTRY_HEAD_MAX: usize = 8 + VARINT_SIZE_MAX + 14;

impl<O: Output> Builder<O> {
    /// Most bytes that the SSTable would have if one entry were added, with a key and with payload,
    /// or value, and key of the origin of so many bytes together, and it were finished then.
    pub(crate) fn bound_with(&self, key_length: usize, entry_bytes: usize) -> u64 {
        let header = FRAGMENT_HEADER_MAX.max(VERSION_HEADER) + ROW_SIZE_MAX + ENTRY_HEAD_MAX;
        self.bound(key_length, header + START_SIZE + key_length + entry_bytes, 1)
    }

    /// The same for the entries of a fragment.
    pub(crate) fn bound_with_fragment(&self, fragment: &FragmentView<'_>) -> u64 {
        self.bound_with_run(fragment.key().len(), fragment.count(), fragment.bytes().len())
    }

    /// The same for entries of one run, of so many bytes together.
    pub(crate) fn bound_with_run(&self, key_length: usize, count: usize, bytes: usize) -> u64 {
        let widest = bytes + count * ROW_SIZE_MAX;
        // Joined column by column it may be cut; each piece has a frame of its own.
        let pieces = 2 + widest / self.uncut().max(1);
        let frame = FRAGMENT_HEADER_MAX + key_length + START_SIZE;
        self.bound(key_length, widest + pieces * frame, pieces)
    }

    fn bound(&self, key_length: usize, added: usize, pieces: usize) -> u64 {
        let fragment = match self.fragment.size() {
            0 => 0,
            // An entry that joins it may widen its columns, as far as a block reaches.
            size => size.max(self.fragment.widest_size().min(self.block_target)) + START_SIZE,
        };
        let blocks = 2 + pieces;
        let rest = self.block.size() + fragment + added + blocks * HEADER_SIZE;
        let data = round_up(self.writer.offset_bound() + rest as u64, PAGE_SIZE as u64);
        let block_count = u64::from(self.writer.block_count()) + blocks as u64;
        let index = block_count.div_ceil(INDEX_ENTRIES_PER_PAGE as u64);
        let entry_size = |length| match self.options.kind {
            TableKind::Timeline => directory::timeline_entry_size_max(length),
            TableKind::Keyed => directory::keyed_entry_size(),
        };
        let open = match &self.last {
            Last::Run { key, .. } => entry_size(key.len()),
            _ => 0,
        };
        let pages = index + self.directory.pages_with([open, entry_size(key_length)]) + 2;
        data + pages * PAGE_SIZE as u64 + self.writer.dictionary_bound()
    }
}
