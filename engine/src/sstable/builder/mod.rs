//! Builds an SSTable front to back: data blocks are written as they fill; the index and the
//! directory's entries (about 64 bytes and the key for each timeline) are kept until the end, and
//! with zstd the first 4 MiB of blocks until it is known whether a dictionary pays.
//!
//! How entries become blocks, for a timeline table:
//! 1. Entries of one timeline gather in a fragment (`fragment_writer.rs`).
//! 2. Does the block with this fragment and the next entry exceed the target? A fragment below
//!    [`FRAGMENT_UNCUT_BYTES`] moves to the next block as a whole; a larger one ends here, and a
//!    new one begins in the next block. An entry that fits in no block gets a block of its own
//!    size.
//! 3. The next timeline ends the fragment, not the block.
//!
//! Compaction appends whole fragments: a large one is copied as bytes, small ones are joined.
//!
//! # Invariants
//! 1. Keys rise; inside a timeline seqs rise, commits and times do not fall; versions of a key come
//!    newest first. Anything else is refused as corruption, and nothing of that entry is taken in.
//! 2. The blocks of a run behind its first begin with a fragment of it.
//! 3. The segments are exactly those that an entry taken in refers to.
//! 4. `bound_with` is never less than what `finish` would write.
//!
//! # Concurrency
//! None: one owner.

mod bound;
mod keyed;
mod segments;
mod timeline;

use super::block_writer::{BlockWriter, FirstEntry, Output};
use super::directory::{Bases, RunLocation};
use super::directory_writer::DirectoryWriter;
use super::footer::Footer;
use super::format::{BlockKind, STORED_KEY_LENGTH_MAX, length32};
use super::fragment_writer::FragmentWriter;
use super::properties::Properties;
use super::timeline_block::START_SIZE;
use crate::codec::Encode;
use crate::entry::TableId;
use crate::error::{Error, Result};
use crate::file::{Extent, FileId};
use crate::limits::{FRAGMENT_UNCUT_BYTES, PAGE_SIZE, PAYLOAD_LENGTH_MAX};
use crate::options::Compression;
use crate::own_ttl::OwnTtl;
use crate::version::{SstableMeta, TableKind};
use segments::SegmentNumbers;
use std::sync::Arc;

/// Whose SSTable it becomes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BuilderOptions {
    /// The store's file.
    pub(crate) file: FileId,
    /// The SSTable's number, never used before.
    pub(crate) number: u64,
    /// The table whose data it holds.
    pub(crate) table: TableId,
    /// What the table holds.
    pub(crate) kind: TableKind,
    /// Compression of data blocks.
    pub(crate) compression: Compression,
    /// Bytes of a data block before compression, about.
    pub(crate) block_bytes: usize,
}

/// What the manifest needs to know of a finished SSTable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Built {
    /// Bytes written, a multiple of 4 KiB.
    pub(crate) bytes: u64,
    /// Checksum of the footer.
    pub(crate) footer_checksum: u32,
    /// Entries or versions.
    pub(crate) entries: u64,
    /// Timelines or keys.
    pub(crate) keys: u64,
    /// Payload or value bytes.
    pub(crate) payload_bytes: u64,
    /// Smallest key and its first seq.
    pub(crate) first: (Box<[u8]>, u64),
    /// Largest key and its last seq.
    pub(crate) last: (Box<[u8]>, u64),
    /// Smallest and largest commit number.
    pub(crate) commits: (u64, u64),
    /// Smallest and largest commit time.
    pub(crate) times_ms: (u64, u64),
    /// Smallest commit of an entry with an origin; 0 where there is none.
    pub(crate) oldest_origin: u64,
    /// When entries expire that have a time to live of their own.
    pub(crate) own_ttl: OwnTtl,
    /// Numbers of the segments that the entries refer to, rising.
    pub(crate) segments: Arc<[u64]>,
}

impl Built {
    /// What the manifest holds of it: SSTable `number` of a table, in an extent. Its shard is the
    /// default one: which it is, is not for an SSTable to know.
    pub(crate) fn into_meta(
        self,
        number: u64,
        (table, kind): (TableId, TableKind),
        extent: Extent,
    ) -> SstableMeta {
        SstableMeta {
            number,
            table,
            kind,
            shard: Default::default(),
            extent,
            bytes: self.bytes,
            footer_checksum: self.footer_checksum,
            entries: self.entries,
            keys: self.keys,
            payload_bytes: self.payload_bytes,
            first: self.first,
            last: self.last,
            commits: self.commits,
            times_ms: self.times_ms,
            oldest_origin: self.oldest_origin,
            own_ttl: self.own_ttl,
            segments: self.segments,
        }
    }
}

/// The block being filled: items, and where each begins.
#[derive(Debug, Default)]
struct PendingBlock {
    content: Vec<u8>,
    starts: Vec<u32>,
    first: FirstEntry,
}

impl PendingBlock {
    fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Bytes of the content, starts included.
    fn size(&self) -> usize {
        self.content.len() + self.starts.len() * START_SIZE
    }

    fn begin_item(&mut self, first: FirstEntry) {
        if self.is_empty() {
            self.first = first;
        }
        self.starts.push(length32(self.content.len()));
    }
}

/// What the order of the input is checked against: the last thing taken in.
#[derive(Debug)]
enum Last {
    Nothing,
    /// The run being written. Its blocks are known from its first fragment on.
    Run {
        key: Vec<u8>,
        run: RunLocation,
    },
    Version {
        key: Vec<u8>,
        commit: u64,
        index: u32,
    },
}

/// Builds one SSTable.
#[derive(Debug)]
pub(crate) struct Builder<O> {
    options: BuilderOptions,
    writer: BlockWriter<O>,
    block: PendingBlock,
    fragment: FragmentWriter,
    head: Vec<u8>,
    last: Last,
    directory: DirectoryWriter,
    properties: Properties,
    segments: SegmentNumbers,
    block_target: usize,
}

impl<O: Output> Builder<O> {
    /// An empty SSTable that will be written to `output`.
    pub(crate) fn new(output: O, options: BuilderOptions) -> Builder<O> {
        Builder {
            options,
            writer: BlockWriter::new(output, &options),
            block: PendingBlock::default(),
            fragment: FragmentWriter::default(),
            head: Vec::new(),
            last: Last::Nothing,
            directory: DirectoryWriter::new(options.file),
            properties: Properties::default(),
            segments: SegmentNumbers::default(),
            block_target: options.block_bytes,
        }
    }

    /// With the decision about a dictionary of at most so many bytes after so many bytes of data.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub(crate) fn sample(mut self, sample_bytes: usize, dictionary_bytes: usize) -> Builder<O> {
        self.writer.set_sample(sample_bytes, dictionary_bytes);
        self
    }

    /// Bytes held for what is written at the end: directory and index. Blocks come and go.
    pub(crate) fn memory(&self) -> usize {
        self.directory.memory() + self.writer.memory()
    }

    /// Entries or versions so far.
    pub(crate) fn entries(&self) -> u64 {
        self.properties.entries
    }

    /// Segments that the entries so far refer to.
    pub(crate) fn segments(&self) -> usize {
        self.segments.count()
    }

    /// Writes the rest. Gives the output back.
    pub(crate) fn finish(mut self) -> Result<(O, Built)> {
        self.writer.check()?;
        if self.properties.entries == 0 {
            return Err(Error::invalid("an SSTable without entries"));
        }
        self.close_run();
        self.flush_block()?;
        if let Last::Version { key, .. } = &self.last {
            self.properties.last = (key.as_slice().into(), 0);
        }
        let writer = &mut self.writer;
        let data = writer.end_data()?;
        writer.write_index()?;
        let index = writer.end_section()?;
        let bases =
            Bases { commit: self.properties.commits.0, time_ms: self.properties.times_ms.0 };
        self.directory.write_directory(writer, bases)?;
        let directory = writer.end_section()?;
        self.directory.write_filter(writer)?;
        let filter = writer.end_section()?;
        let mut content = Vec::new();
        self.properties.encode(&mut content);
        writer.write_page(BlockKind::Properties, 0, 1, &mut content)?;
        let properties = writer.end_section()?;
        let dictionary = writer.write_dictionary()?;
        let bytes = writer.offset() + PAGE_SIZE as u64;
        let BuilderOptions { table, kind, .. } = self.options;
        let footer =
            Footer { kind, table, bytes, data, index, directory, filter, properties, dictionary };
        content.clear();
        footer.encode(&mut content);
        let footer_checksum = writer.write_page(BlockKind::Footer, 0, 1, &mut content)?;
        debug_assert_eq!(writer.offset(), bytes);
        let Properties {
            entries,
            keys,
            payload_bytes,
            commits,
            times_ms,
            oldest_origin,
            own_ttl,
            first,
            last,
        } = self.properties;
        let built = Built {
            bytes,
            footer_checksum,
            entries,
            keys,
            payload_bytes,
            first,
            last,
            commits,
            times_ms,
            oldest_origin,
            own_ttl,
            segments: self.segments.into_sorted(),
        };
        Ok((self.writer.into_output(), built))
    }

    fn check_use(&self, kind: TableKind) -> Result<()> {
        self.writer.check()?;
        if self.options.kind != kind {
            return Err(Error::invalid("the SSTable is of the other kind"));
        }
        Ok(())
    }

    fn disorder(&self, detail: &str) -> Error {
        Error::corruption("the input of an SSTable", self.writer.offset(), detail)
    }

    fn flush_block(&mut self) -> Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let kind = match self.options.kind {
            TableKind::Timeline => BlockKind::TimelineData,
            TableKind::Keyed => BlockKind::KeyedData,
        };
        let PendingBlock { content, starts, first } = &mut self.block;
        starts.iter().for_each(|start| content.put_u32(*start));
        self.writer.write_data(kind, starts.len(), content, *first)?;
        content.clear();
        starts.clear();
        Ok(())
    }

    fn uncut(&self) -> usize {
        FRAGMENT_UNCUT_BYTES.min(self.block_target / 4)
    }
}

fn check_key(key: &[u8]) -> Result<()> {
    let (value, limit) = (key.len() as u64, STORED_KEY_LENGTH_MAX as u64);
    if value == 0 {
        return Err(Error::invalid("an empty key"));
    }
    if value > limit {
        return Err(Error::TooLarge { what: "key length", value, limit });
    }
    Ok(())
}

fn check_payload(payload: &[u8]) -> Result<()> {
    let (value, limit) = (payload.len() as u64, PAYLOAD_LENGTH_MAX as u64);
    if value > limit {
        return Err(Error::TooLarge { what: "payload length", value, limit });
    }
    Ok(())
}
