//! Writes sealed blocks and pages one behind the other, and remembers the data blocks for the
//! index.
//!
//! # Invariants
//! 1. `offset` bytes have been given to the output, no more, no less.
//! 2. After a failed write nothing more is written: `broken`. What lies in the output is then of no
//!    use, and `check` refuses everything further.

use super::block::{Identity, Unsealed, seal};
use super::builder::BuilderOptions;
use super::footer::Section;
use super::format::{BlockKind, Codec, PAGE_CONTENT, length32};
use super::index::{INDEX_ENTRIES_PER_PAGE, IndexEntry};
use crate::error::{Error, Result};
use crate::limits::PAGE_SIZE;
use crate::options::Compression;
use crc32fast::Hasher;

/// Where the bytes of an SSTable go, front to back.
pub(crate) trait Output {
    /// Takes all of `bytes`.
    ///
    /// # Errors
    /// As the disk gives them. The SSTable is then given up.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;
}

impl Output for Vec<u8> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.extend_from_slice(bytes);
        Ok(())
    }
}

/// What the index will say of a block's first fragment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FirstEntry {
    pub(super) seq: u64,
    pub(super) index: u64,
    pub(super) commit: u64,
    pub(super) time_ms: u64,
}

#[derive(Debug)]
pub(super) struct BlockWriter<O> {
    output: O,
    identity: Identity,
    compression: Compression,
    offset: u64,
    index: Vec<IndexEntry>,
    sealed: Vec<u8>,
    section: Section,
    section_hasher: Hasher,
    broken: bool,
}

impl<O: Output> BlockWriter<O> {
    pub(super) fn new(output: O, options: &BuilderOptions) -> BlockWriter<O> {
        BlockWriter {
            output,
            identity: Identity { file: options.file, number: options.number },
            compression: options.compression,
            offset: 0,
            index: Vec::new(),
            sealed: Vec::new(),
            section: Section::default(),
            section_hasher: Hasher::new(),
            broken: false,
        }
    }

    /// Fails after a failed write.
    pub(super) fn check(&self) -> Result<()> {
        if self.broken {
            return Err(Error::invalid("an SSTable builder is used after a failed write"));
        }
        Ok(())
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes held for the index.
    pub(super) fn memory(&self) -> usize {
        self.index.capacity() * size_of::<IndexEntry>()
    }

    /// Data blocks written: also the number of the next one.
    pub(super) fn block_count(&self) -> u32 {
        length32(self.index.len())
    }

    /// Writes a data block, compressed if the table wants it and it helps.
    pub(super) fn write_data(
        &mut self,
        kind: BlockKind,
        items: usize,
        raw: &[u8],
        first: FirstEntry,
    ) -> Result<()> {
        let compressed = match self.compression {
            Compression::None => None,
            Compression::Lz4 => Some(lz4_flex::block::compress(raw)),
        };
        let (codec, stored) = match &compressed {
            Some(smaller) if smaller.len() < raw.len() => (Codec::Lz4, &smaller[..]),
            _ => (Codec::None, raw),
        };
        let raw_length = raw.len();
        let items = length32(items);
        let offset = self.offset;
        let checksum =
            self.write_block(&Unsealed { kind, flags: 0, items, codec, stored, raw_length })?;
        self.index.push(IndexEntry {
            offset,
            length: u32::try_from(self.offset - offset).expect("a block is far below 4 GiB"),
            checksum,
            first_seq: first.seq,
            base_index: first.index,
            base_commit: first.commit,
            base_time: first.time_ms,
        });
        Ok(())
    }

    /// Writes a page whose content is filled up with zeros.
    pub(super) fn write_page(
        &mut self,
        kind: BlockKind,
        flags: u16,
        items: usize,
        content: &mut Vec<u8>,
    ) -> Result<u32> {
        assert!(content.len() <= PAGE_CONTENT, "the content of a page fits in it");
        content.resize(PAGE_CONTENT, 0);
        self.write_block(&Unsealed {
            kind,
            flags,
            items: length32(items),
            codec: Codec::None,
            stored: content,
            raw_length: PAGE_CONTENT,
        })
    }

    /// Writes the pages of the index.
    pub(super) fn write_index(&mut self) -> Result<()> {
        let mut content = Vec::with_capacity(PAGE_CONTENT);
        let index = std::mem::take(&mut self.index);
        for entries in index.chunks(INDEX_ENTRIES_PER_PAGE) {
            content.clear();
            entries.iter().for_each(|entry| entry.encode(&mut content));
            self.write_page(BlockKind::Index, 0, entries.len(), &mut content)?;
        }
        Ok(())
    }

    /// Ends the section that was begun by the end of the one before, and pads to a whole page.
    pub(super) fn end_section(&mut self) -> Result<Section> {
        let hasher = std::mem::take(&mut self.section_hasher);
        let mut section = std::mem::take(&mut self.section);
        section.length = self.offset - section.offset;
        section.checksum = hasher.finalize();
        let padding = self.offset.next_multiple_of(PAGE_SIZE as u64) - self.offset;
        let padding = usize::try_from(padding).expect("less than a page");
        self.put(&[0; PAGE_SIZE][..padding])?;
        self.section.offset = self.offset;
        Ok(section)
    }

    pub(super) fn into_output(self) -> O {
        self.output
    }

    fn write_block(&mut self, block: &Unsealed<'_>) -> Result<u32> {
        let mut sealed = std::mem::take(&mut self.sealed);
        sealed.clear();
        let checksum = seal(self.identity, self.offset, block, &mut sealed);
        let written = self.put(&sealed);
        self.sealed = sealed;
        written?;
        self.section.count += 1;
        self.section_hasher.update(&checksum.to_le_bytes());
        Ok(checksum)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.check()?;
        self.broken = true;
        self.output.write(bytes)?;
        self.broken = false;
        self.offset += bytes.len() as u64;
        Ok(())
    }
}
