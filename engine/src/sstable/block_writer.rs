//! Writes sealed blocks and pages one behind the other, and remembers the data blocks for the
//! index.
//!
//! Where zstd is asked for, the first data blocks wait in memory until there are enough of them to
//! tell whether a dictionary pays (`packing.rs`); then they are written, and all others at once.
//!
//! # Invariants
//! 1. `offset` bytes have been given to the output, no more, no less.
//! 2. After a failed write nothing more is written: `broken`. What lies in the output is then of no
//!    use, and `check` refuses everything further.
//! 3. `offset_bound` is never less than what `offset` will be when nothing waits any more.

use super::block::{Identity, Unsealed, seal};
use super::builder::BuilderOptions;
use super::footer::Section;
use super::format::{BlockKind, Codec, HEADER_SIZE, PAGE_CONTENT, length32};
use super::index::{INDEX_ENTRIES_PER_PAGE, IndexEntry};
use super::packing::Packing;
use crate::codec::round_up;
use crate::error::{Error, Result};
use crate::limits::{DICTIONARY_BYTES, DICTIONARY_SAMPLE_BYTES, PAGE_SIZE};
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

/// A data block that is to be written.
#[derive(Debug)]
struct Waiting {
    kind: BlockKind,
    items: usize,
    raw: Vec<u8>,
    first: FirstEntry,
}

/// Data blocks that wait for the decision about a dictionary.
#[derive(Debug, Default)]
struct Sample {
    blocks: Vec<Waiting>,
    bytes: usize,
}

#[derive(Debug)]
pub(super) struct BlockWriter<O> {
    output: O,
    identity: Identity,
    compression: Compression,
    /// `None` once the decision is made.
    sample: Option<Sample>,
    sample_bytes: usize,
    dictionary_bytes: usize,
    packing: Packing,
    packed: Vec<u8>,
    offset: u64,
    index: Vec<IndexEntry>,
    header: Vec<u8>,
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
            sample: matches!(options.compression, Compression::Zstd { .. }).then(Sample::default),
            sample_bytes: DICTIONARY_SAMPLE_BYTES,
            dictionary_bytes: DICTIONARY_BYTES,
            packing: Packing::new(options.compression),
            packed: Vec::new(),
            offset: 0,
            index: Vec::new(),
            header: Vec::new(),
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

    /// With a decision about the dictionary after so many bytes, for one of at most so many.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn set_sample(&mut self, sample_bytes: usize, dictionary_bytes: usize) {
        self.sample_bytes = sample_bytes;
        self.dictionary_bytes = dictionary_bytes;
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes held for the index, and in blocks that wait for the dictionary.
    pub(super) fn memory(&self) -> usize {
        let waiting = self.sample.as_ref().map_or(0, |sample| sample.bytes);
        self.index.capacity() * size_of::<IndexEntry>() + waiting
    }

    /// Where the data blocks so far will end at most.
    pub(super) fn offset_bound(&self) -> u64 {
        let waiting = self
            .sample
            .as_ref()
            .map_or(0, |sample| sample.bytes + sample.blocks.len() * HEADER_SIZE);
        self.offset + waiting as u64
    }

    /// Most bytes that the dictionary will take.
    pub(super) fn dictionary_bound(&self) -> u64 {
        let bytes = match (&self.sample, self.packing.dictionary()) {
            (Some(_), _) => self.dictionary_bytes,
            (None, Some(dictionary)) => dictionary.len(),
            (None, None) => return 0,
        };
        round_up((HEADER_SIZE + bytes) as u64, PAGE_SIZE as u64)
    }

    /// Data blocks taken: also the number of the next one.
    pub(super) fn block_count(&self) -> u32 {
        let waiting = self.sample.as_ref().map_or(0, |sample| sample.blocks.len());
        length32(self.index.len() + waiting)
    }

    /// Takes a data block, which is compressed if the table wants it and it helps.
    pub(super) fn write_data(
        &mut self,
        kind: BlockKind,
        items: usize,
        raw: &[u8],
        first: FirstEntry,
    ) -> Result<()> {
        self.check()?;
        let Some(sample) = &mut self.sample else {
            return self.write_packed(kind, items, raw, first);
        };
        sample.bytes += raw.len();
        sample.blocks.push(Waiting { kind, items, raw: raw.to_vec(), first });
        if sample.bytes >= self.sample_bytes { self.decide() } else { Ok(()) }
    }

    /// Decides about a dictionary by the blocks that wait, and writes them.
    fn decide(&mut self) -> Result<()> {
        let Some(sample) = self.sample.take() else { return Ok(()) };
        let raw: Vec<&[u8]> = sample.blocks.iter().map(|block| &*block.raw).collect();
        self.packing = Packing::trained(self.compression, &raw, self.dictionary_bytes);
        sample.blocks.iter().try_for_each(|block| {
            self.write_packed(block.kind, block.items, &block.raw, block.first)
        })
    }

    fn write_packed(
        &mut self,
        kind: BlockKind,
        items: usize,
        raw: &[u8],
        first: FirstEntry,
    ) -> Result<()> {
        let mut packed = std::mem::take(&mut self.packed);
        let codec = self.packing.pack(raw, &mut packed);
        let stored = if codec == Codec::None { raw } else { &packed };
        let (items, raw_length, offset) = (length32(items), raw.len(), self.offset);
        let written =
            self.write_block(&Unsealed { kind, flags: 0, items, codec, stored, raw_length });
        self.packed = packed;
        let checksum = written?;
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

    /// Ends the data.
    pub(super) fn end_data(&mut self) -> Result<Section> {
        self.decide()?;
        self.end_section()
    }

    /// Writes the dictionary, if there is one, and ends its section.
    pub(super) fn write_dictionary(&mut self) -> Result<Section> {
        if let Some(dictionary) = self.packing.dictionary().map(<[u8]>::to_vec) {
            self.write_block(&Unsealed {
                kind: BlockKind::Dictionary,
                flags: 0,
                items: 1,
                codec: Codec::None,
                stored: &dictionary,
                raw_length: dictionary.len(),
            })?;
        }
        self.end_section()
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
        let mut header = std::mem::take(&mut self.header);
        header.clear();
        let checksum = seal(self.identity, self.offset, block, &mut header);
        let written = self.put(&header);
        self.header = header;
        written?;
        self.put(block.stored)?;
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
