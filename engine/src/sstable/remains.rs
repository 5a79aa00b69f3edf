//! What is left of a damaged SSTable: every block that still verifies, found without its parents.
//!
//! ```text
//! | block | block | ######### | block | zeros | page page #### page |
//!   its header     nothing verifies: each byte is asked whether a block begins there
//!   says how long  (number and own offset stand in the header, the checksum decides)
//! ```
//! Every block names its SSTable and its own offset, and its checksum is seeded with both and with
//! the file. So neither footer nor index is needed to find the blocks, and the pages of the
//! directory say what should be in those that are gone.
//!
//! # Invariants
//! 1. Nothing is given out that did not verify: block, fragment and version.
//! 2. Blocks are given in the order of the file, which is that of the keys.
//! 3. Memory is a window, a block, sixteen bytes for each block, and the directory's entries, of
//!    which a page has no more than its bytes can hold. No length of the file is believed before
//!    its checksum holds, and time is bounded by the file, whatever length the manifest gives the
//!    SSTable, and whatever lengths headers say that do not verify.
//! 4. What cannot be read counts as damaged, and is named with the rest.

use super::block::{Block, Identity, verify};
use super::directory::{self, Bases, RunLocation};
use super::format::{BlockHeader, BlockKind, Codec, HEADER_SIZE, RAW_LENGTH_MAX};
use super::fragment::FragmentView;
use super::keyed_block::KeyedBlock;
use super::keyed_cursor;
use super::reader::Sstable;
use super::scan::{self, OwnedFragment};
use super::timeline_block::TimelineBlock;
use super::zstd::{self, Digest};
use crate::cache::Source;
use crate::codec::DecodeError;
use crate::entry::KeyedVersion;
use crate::error::{Error, Result};
use crate::file::Region;
use crate::file::disk::read_readable_at;
use crate::limits::PAGE_SIZE;
use crate::version::{SstableMeta, TableKind};
use std::collections::BTreeMap;
use std::ops::Range;

/// Bytes that are looked at together.
const WINDOW_BYTES: usize = 1024 * 1024;
/// Where a header names its SSTable and its own offset.
const NAMED_AT: usize = 24;
/// Headers that do not verify may have read so many times the bytes of the SSTable in vain, and
/// once more those that were passed. One that would take more is passed over.
const VAIN_SHARE: u64 = 4;
/// What the shortest of them counts as: a read of a few bytes is a read.
const VAIN_BYTES_MIN: usize = 512;

/// See the module.
#[derive(Debug)]
pub(crate) struct Remains {
    source: Source,
    meta: SstableMeta,
    /// Offset and length of each data block that verifies.
    blocks: Vec<(u64, u32)>,
    dictionary: Option<Digest>,
    /// What the readable pages of the directory say, by key.
    runs: BTreeMap<Box<[u8]>, RunLocation>,
    /// Where nothing verifies, in the SSTable.
    damaged: Vec<Range<u64>>,
    /// Where the data end, if the footer can be read.
    data_end: Option<u64>,
}

impl Sstable {
    /// Looks for every block that still verifies.
    ///
    /// # Errors
    /// `Unsupported` where blocks may be compressed in a way that this build does not know.
    pub(crate) fn remains(&self) -> Result<Remains> {
        let mut remains = Remains {
            source: self.source().clone(),
            meta: self.meta().clone(),
            blocks: Vec::new(),
            dictionary: None,
            runs: BTreeMap::new(),
            damaged: Vec::new(),
            data_end: self.fetcher().ok().map(|fetcher| fetcher.footer.data.end()),
        };
        remains.scan()?;
        Ok(remains)
    }
}

impl Remains {
    /// Data blocks that verify.
    pub(crate) fn block_count(&self) -> usize {
        self.blocks.len()
    }

    /// Where a data block lies in the SSTable.
    pub(crate) fn place(&self, index: usize) -> Range<u64> {
        let (offset, length) = self.blocks[index];
        offset..offset + u64::from(length)
    }

    /// Where nothing verifies, in the SSTable.
    pub(crate) fn damaged(&self) -> &[Range<u64>] {
        &self.damaged
    }

    /// What the readable pages of the directory of a timeline table say, by key.
    pub(crate) fn take_runs(&mut self) -> BTreeMap<Box<[u8]>, RunLocation> {
        std::mem::take(&mut self.runs)
    }

    /// The fragments of a data block of a timeline table, each of them verified.
    ///
    /// # Errors
    /// `Corruption` where the block cannot be decompressed, or holds nonsense; `Unsupported`.
    pub(crate) fn fragments(&self, index: usize) -> Result<Vec<OwnedFragment>> {
        let block = self.block(index)?;
        let fragments = || {
            let count = TimelineBlock::parse(block.content(), block.items())?.count();
            let mut fragments = Vec::new();
            for place in 0..count {
                let fragment = scan::owned(&block, place)?;
                let view: FragmentView<'_> = fragment.view();
                view.verify()?;
                fragments.push(fragment);
            }
            Ok(fragments)
        };
        fragments().map_err(|error: DecodeError| block.damage(&error))
    }

    /// The versions of a data block of a keyed table.
    ///
    /// # Errors
    /// As [`Remains::fragments`].
    pub(crate) fn versions(&self, index: usize) -> Result<Vec<KeyedVersion>> {
        let block = self.block(index)?;
        let versions = || {
            let count = KeyedBlock::parse(block.content(), block.items())?.count();
            let mut versions = Vec::new();
            for place in 0..count {
                versions.push(keyed_cursor::owned(&block, place)?);
            }
            Ok(versions)
        };
        versions().map_err(|error: DecodeError| block.damage(&error))
    }

    fn identity(&self) -> Identity {
        Identity { file: self.source.file, number: self.meta.number }
    }

    fn data_kind(&self) -> BlockKind {
        match self.meta.kind {
            TableKind::Timeline => BlockKind::TimelineData,
            TableKind::Keyed => BlockKind::KeyedData,
        }
    }

    /// Goes over the extent once.
    fn scan(&mut self) -> Result<()> {
        let mut window = Window::new(&self.source, &self.meta);
        // A file that does not tell its length cannot be read either.
        let length = self.source.disk.length().unwrap_or(0);
        let readable = length.saturating_sub(self.meta.extent.offset).min(self.meta.bytes);
        let (mut offset, mut vain) = (0, Vain { bytes: 0, length: readable });
        // Where the last block ended, and whether anything but zeros lies behind it.
        let (mut end, mut written) = (0, false);
        while offset < readable {
            let Some((header, bytes)) = self.block_at(&mut window, offset, &mut vain) else {
                written |= window.byte(offset) != 0;
                offset += 1;
                continue;
            };
            self.note_damage(end..offset, written);
            self.take(&header, &bytes)?;
            offset += bytes.len() as u64;
            (end, written) = (offset, false);
        }
        self.note_damage(end..self.meta.bytes, written);
        Ok(())
    }

    /// Between blocks nothing but zeros up to the next page is as it should be, but not where the
    /// data go on.
    fn note_damage(&mut self, stretch: Range<u64>, written: bool) {
        let page = PAGE_SIZE as u64;
        let padding = !written
            && self.data_end.is_none_or(|end| stretch.start >= end)
            && stretch.end.is_multiple_of(page)
            && stretch.end - stretch.start < page
            && stretch.end < self.meta.bytes;
        if !stretch.is_empty() && !padding {
            self.damaged.push(stretch);
        }
    }

    /// The verified block that begins at `offset`. What is read and does not verify is counted: a
    /// header by itself may say a length that can be, and one at every few bytes would have the
    /// SSTable read as often.
    fn block_at(
        &self,
        window: &mut Window,
        offset: u64,
        vain: &mut Vain,
    ) -> Option<(BlockHeader, Vec<u8>)> {
        let fields = window.header(offset)?;
        let named = fields[NAMED_AT..NAMED_AT + 8] == self.meta.number.to_le_bytes()
            && fields[NAMED_AT + 8..NAMED_AT + 16] == offset.to_le_bytes();
        let kind = BlockKind::from_byte(fields[4]).filter(|_| named)?;
        let stored = u32::from_le_bytes(*fields[8..].first_chunk()?) as usize;
        let room = usize::try_from(self.meta.bytes - offset).unwrap_or(usize::MAX);
        let length = HEADER_SIZE.checked_add(stored)?;
        if stored > RAW_LENGTH_MAX || length > room || !vain.has_room(offset, length) {
            return None;
        }
        let mut bytes = vec![0; length];
        let place = self.meta.extent.offset.checked_add(offset)?;
        read_readable_at(&*self.source.disk, place, &mut bytes);
        match verify(self.identity(), offset, kind, None, &bytes) {
            Ok(header) => Some((header, bytes)),
            Err(_) => {
                vain.bytes += Vain::cost(length);
                None
            }
        }
    }

    /// Keeps what a block says.
    fn take(&mut self, header: &BlockHeader, bytes: &[u8]) -> Result<()> {
        match header.kind {
            kind if kind == self.data_kind() => {
                let length = u32::try_from(bytes.len()).expect("a block is far below 4 GiB");
                self.blocks.push((header.offset, length));
            }
            BlockKind::Directory
                if self.meta.kind == TableKind::Timeline && bytes.len() == PAGE_SIZE =>
            {
                self.take_page(&bytes[HEADER_SIZE..], header.items as usize);
            }
            BlockKind::Dictionary => {
                if !zstd::AVAILABLE {
                    return Err(zstd::unsupported("a block compressed with zstd"));
                }
                self.dictionary = Digest::new(&bytes[HEADER_SIZE..]);
            }
            _ => {}
        }
        Ok(())
    }

    /// Keeps what a page of the directory says.
    fn take_page(&mut self, content: &[u8], items: usize) {
        let bases = Bases::of(&self.meta);
        let mut room = content.len();
        for slot in 0..items {
            let entry = directory::timeline_entry(content, items, bases, slot);
            let Ok((key, run)) = entry else { break };
            // Entries that lie over each other could name many times the bytes of the page.
            let taken = directory::timeline_entry_size(key, &run, bases);
            let Some(left) = room.checked_sub(taken) else { break };
            room = left;
            self.runs.insert(key.into(), run);
        }
    }

    /// Data block `index`, decompressed.
    fn block(&self, index: usize) -> Result<Block> {
        let Range { start, end } = self.place(index);
        let place = self.meta.extent.offset + start;
        let length = usize::try_from(end - start).expect("it was in memory before");
        let mut bytes = vec![0; length];
        read_readable_at(&*self.source.disk, place, &mut bytes);
        let kind = self.data_kind();
        let damage = |detail: String| Error::corruption(kind.name(), place, detail);
        let header = verify(self.identity(), start, kind, None, &bytes).map_err(damage)?;
        if header.codec == Codec::None {
            return Ok(Block::new(Region::from_memory(bytes.into()), 0, header, place));
        }
        if header.codec == Codec::ZstdDictionary && self.dictionary.is_none() && zstd::AVAILABLE {
            return Err(damage("the dictionary that it needs is damaged".to_owned()));
        }
        let unpacking = &self.source.unpacking;
        let digest = self.dictionary.as_ref().filter(|_| header.codec == Codec::ZstdDictionary);
        let raw = unpacking.decompress(&header, &bytes, digest)?.map_err(damage)?;
        Ok(Block::new(Region::from_memory(raw), 0, header, place))
    }
}

/// What was read in vain of an SSTable of which so many bytes can be read.
struct Vain {
    bytes: u64,
    length: u64,
}

impl Vain {
    /// Whether a header at `offset` may have so many bytes read.
    fn has_room(&self, offset: u64, bytes: usize) -> bool {
        let allowed = self.length.saturating_add(offset).saturating_mul(VAIN_SHARE);
        self.bytes.saturating_add(Vain::cost(bytes)) <= allowed
    }

    /// What bytes that do not verify count as.
    fn cost(bytes: usize) -> u64 {
        bytes.max(VAIN_BYTES_MIN) as u64
    }
}

/// A piece of the SSTable in memory; what cannot be read is zeros.
struct Window {
    source: Source,
    /// Where the SSTable begins in the file, and how long it is.
    base: u64,
    length: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    fn new(source: &Source, meta: &SstableMeta) -> Window {
        let (base, length) = (meta.extent.offset, meta.bytes);
        Window { source: source.clone(), base, length, start: 0, bytes: Vec::new() }
    }

    /// The bytes of a header at `offset`; none where there is no room for one.
    fn header(&mut self, offset: u64) -> Option<&[u8; HEADER_SIZE]> {
        if self.length - offset < HEADER_SIZE as u64 {
            return None;
        }
        if offset < self.start || offset + HEADER_SIZE as u64 > self.end() {
            self.fill(offset);
        }
        let at = usize::try_from(offset - self.start).ok()?;
        self.bytes.get(at..)?.first_chunk()
    }

    /// One byte; zero where there is none.
    fn byte(&mut self, offset: u64) -> u8 {
        if offset < self.start || offset >= self.end() {
            self.fill(offset);
        }
        let at = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        self.bytes.get(at).copied().unwrap_or(0)
    }

    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    fn fill(&mut self, offset: u64) {
        let left = usize::try_from(self.length - offset).unwrap_or(usize::MAX);
        self.start = offset;
        self.bytes.clear();
        self.bytes.resize(left.min(WINDOW_BYTES), 0);
        let place = self.base.saturating_add(offset);
        read_readable_at(&*self.source.disk, place, &mut self.bytes);
    }
}
