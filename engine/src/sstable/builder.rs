//! Builds an SSTable front to back: data blocks are written as they fill; the index and the
//! directory's entries (about 64 bytes and the key for each timeline) are kept until the end.
//!
//! How entries become blocks, for a timeline table:
//! 1. Entries of one timeline gather in a fragment (`fragment_writer.rs`).
//! 2. Does the block with this fragment and the next entry exceed the target? A fragment below
//!    [`FRAGMENT_UNCUT_BYTES`] moves to the next block as a whole; a larger one ends here, and a new
//!    one begins in the next block. An entry that fits in no block gets a block of its own size.
//! 3. The next timeline ends the fragment, not the block.
//!
//! Compaction appends whole fragments: a large one is copied as bytes, small ones are joined.
//!
//! # Invariants
//! 1. Keys rise; inside a timeline seqs rise, commits and times do not fall; versions of a key come
//!    newest first. Anything else is refused as corruption, and nothing of it is taken in.
//! 2. The blocks of a run behind its first begin with a fragment of it.
//! 3. `bound_with` is never less than what `finish` would write.
//!
//! # Concurrency
//! None: one owner.

use super::block_writer::{BlockWriter, FirstEntry, Output};
use super::directory;
use super::directory::RunLocation;
use super::directory_writer::DirectoryWriter;
use super::entry::{self, EntryRef};
use super::footer::Footer;
use super::format::{BlockKind, HEADER_SIZE, STORED_KEY_LENGTH_MAX, length32};
use super::fragment::{BASE_INDEX_OFFSET, FRAGMENT_HEADER, FragmentView};
use super::fragment_writer::{FragmentWriter, ROW_SIZE_MAX, Row};
use super::index::INDEX_ENTRIES_PER_PAGE;
use super::keyed_block::{VERSION_HEADER, encode_version, version_size};
use super::properties::Properties;
use super::timeline_block::START_SIZE;
use crate::codec::{DecodeError, Encode, round_up};
use crate::entry::{KeyedVersion, TableId};
use crate::error::{Error, Result};
use crate::file::FileId;
use crate::limits::{
    DATA_BLOCK_BYTES, FRAGMENT_UNCUT_BYTES, PAGE_SIZE, PAYLOAD_LENGTH_MAX, SEQ_MAX,
};
use crate::options::Compression;
use crate::version::TableKind;

/// Event time and the fixed part of an origin.
const ENTRY_HEAD_MAX: usize = 22;

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
            block_target: DATA_BLOCK_BYTES,
        }
    }

    /// With data blocks of about so many bytes.
    #[must_use]
    pub(crate) fn block_target(mut self, bytes: usize) -> Builder<O> {
        self.block_target = bytes;
        self
    }

    /// Entries or versions so far.
    pub(crate) fn entries(&self) -> u64 {
        self.properties.entries
    }

    /// Appends an entry: keys rise, seqs rise inside a key.
    pub(crate) fn append(&mut self, key: &[u8], entry: &EntryRef<'_>) -> Result<()> {
        if let Some(origin) = entry.origin {
            check_key(origin.key)?;
        }
        check_payload(entry.payload)?;
        let mut head = std::mem::take(&mut self.head);
        head.clear();
        entry.encode_head(&mut head);
        let pushed = self.push(
            key,
            &Row {
                seq: entry.seq,
                commit: entry.commit,
                time_ms: entry.time_ms,
                flags: entry.flags(),
                head: &head,
                tail: entry.payload,
                payload_length: entry.payload.len(),
            },
        );
        self.head = head;
        pushed
    }

    /// Appends the entries of a fragment of another SSTable. A large one is copied as it is.
    pub(crate) fn append_fragment(&mut self, fragment: &FragmentView<'_>) -> Result<()> {
        if fragment.bytes().len() >= self.uncut() {
            return self.copy_fragment(fragment);
        }
        for k in 0..fragment.count() {
            let bytes = fragment.entry_bytes(k).map_err(damaged)?;
            let flags = fragment.flags(k);
            let payload_length = entry::decode(flags, bytes).map_err(damaged)?.payload.len();
            let row = Row {
                seq: fragment.seq(k).map_err(damaged)?,
                commit: fragment.commit(k).map_err(damaged)?,
                time_ms: fragment.time_ms(k).map_err(damaged)?,
                flags,
                head: &[],
                tail: bytes,
                payload_length,
            };
            self.push(fragment.key(), &row)?;
        }
        Ok(())
    }

    /// Adds a version: keys rise, versions of a key come newest first.
    pub(crate) fn add_version(&mut self, version: &KeyedVersion) -> Result<()> {
        self.check_use(TableKind::Keyed)?;
        check_key(&version.key)?;
        check_payload(&version.value)?;
        let new_key = match &self.last {
            Last::Version { key, commit, index } => {
                let older = (*commit, *index) > (version.commit, version.index);
                if **key > *version.key || (**key == *version.key && !older) {
                    return Err(self.disorder("versions are not in order"));
                }
                **key != *version.key
            }
            _ => true,
        };
        let size = version_size(version);
        if !self.block.is_empty() && self.block.size() + size > self.block_target {
            self.flush_block()?;
        }
        if new_key {
            self.directory
                .push_keyed(&version.key, self.writer.block_count());
            if self.properties.keys == 0 {
                self.properties.first = (version.key.clone(), 0);
            }
            self.properties.keys += 1;
        }
        self.block.begin_item(FirstEntry::default());
        encode_version(version, &mut self.block.content);
        self.properties.include(
            1,
            version.value.len() as u64,
            (version.commit, version.commit),
            (version.time_ms, version.time_ms),
        );
        let mut key = match std::mem::replace(&mut self.last, Last::Nothing) {
            Last::Version { key, .. } => key,
            _ => Vec::new(),
        };
        key.clear();
        key.extend_from_slice(&version.key);
        self.last = Last::Version {
            key,
            commit: version.commit,
            index: version.index,
        };
        Ok(())
    }

    /// Most bytes that the SSTable would have if one entry were added, with a key and with payload,
    /// or value, and key of the origin of so many bytes together, and it were finished then.
    pub(crate) fn bound_with(&self, key_length: usize, entry_bytes: usize) -> u64 {
        let header = FRAGMENT_HEADER.max(VERSION_HEADER) + ROW_SIZE_MAX + ENTRY_HEAD_MAX;
        self.bound(
            key_length,
            header + START_SIZE + key_length + entry_bytes,
            1,
        )
    }

    /// The same for the entries of a fragment.
    pub(crate) fn bound_with_fragment(&self, fragment: &FragmentView<'_>) -> u64 {
        let key_length = fragment.key().len();
        let widest = fragment.bytes().len() + fragment.count() * ROW_SIZE_MAX;
        // Joined column by column it may be cut; each piece has a frame of its own.
        let pieces = 2 + widest / self.uncut().max(1);
        let frame = FRAGMENT_HEADER + key_length + START_SIZE;
        self.bound(key_length, widest + pieces * frame, pieces)
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
        let data = writer.end_section()?;
        writer.write_index()?;
        let index = writer.end_section()?;
        self.directory.write_directory(writer)?;
        let directory = writer.end_section()?;
        self.directory.write_filter(writer)?;
        let filter = writer.end_section()?;
        let mut content = Vec::new();
        self.properties.encode(&mut content);
        writer.write_page(BlockKind::Properties, 0, 1, &mut content)?;
        let properties = writer.end_section()?;
        let bytes = writer.offset() + PAGE_SIZE as u64;
        let BuilderOptions { table, kind, .. } = self.options;
        let footer = Footer {
            kind,
            table,
            bytes,
            data,
            index,
            directory,
            filter,
            properties,
        };
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
        };
        Ok((self.writer.into_output(), built))
    }

    fn push(&mut self, key: &[u8], row: &Row<'_>) -> Result<()> {
        self.check_order(key, 1, (row.seq, row.commit, row.time_ms))?;
        self.enter_run(key, row.seq, row.time_ms);
        self.make_room(row)?;
        if self.fragment.is_empty() {
            let base_index = self.run().1.count;
            self.fragment.start(key, base_index);
        }
        self.fragment.push(row);
        let (commits, times) = ((row.commit, row.commit), (row.time_ms, row.time_ms));
        self.count(1, row.payload_length as u64, row.seq, commits, times);
        Ok(())
    }

    fn copy_fragment(&mut self, fragment: &FragmentView<'_>) -> Result<()> {
        let last = fragment.count() - 1;
        let first_entry = FirstEntry {
            seq: fragment.first_seq(),
            index: 0,
            commit: fragment.commit(0).map_err(damaged)?,
            time_ms: fragment.time_ms(0).map_err(damaged)?,
        };
        let last_seq = fragment.seq(last).map_err(damaged)?;
        let commits = (first_entry.commit, fragment.commit(last).map_err(damaged)?);
        let times = (
            first_entry.time_ms,
            fragment.time_ms(last).map_err(damaged)?,
        );
        let count = fragment.count() as u64;
        let order = (first_entry.seq, first_entry.commit, first_entry.time_ms);
        self.check_order(fragment.key(), count, order)?;
        if (last_seq - first_entry.seq) < count - 1 || commits.0 > commits.1 || times.0 > times.1 {
            return Err(self.disorder("a fragment is not in order"));
        }
        self.enter_run(fragment.key(), first_entry.seq, first_entry.time_ms);
        self.close_fragment();
        let size = fragment.bytes().len() + START_SIZE;
        if !self.block.is_empty() && self.block.size() + size > self.block_target {
            self.flush_block()?;
        }
        let base_index = self.run().1.count;
        self.place(FirstEntry {
            index: base_index,
            ..first_entry
        });
        let start = self.block.content.len();
        self.block.content.put(fragment.bytes());
        let field = start + BASE_INDEX_OFFSET..start + BASE_INDEX_OFFSET + 8;
        self.block.content[field].copy_from_slice(&base_index.to_le_bytes());
        self.count(count, fragment.payload_length(), last_seq, commits, times);
        Ok(())
    }

    /// Refuses what does not come behind the last entry.
    fn check_order(
        &self,
        key: &[u8],
        count: u64,
        (seq, commit, time): (u64, u64, u64),
    ) -> Result<()> {
        self.check_use(TableKind::Timeline)?;
        check_key(key)?;
        if seq == 0 || seq > SEQ_MAX {
            return Err(Error::TooLarge {
                what: "sequence id",
                value: seq,
                limit: SEQ_MAX,
            });
        }
        let Last::Run { key: last, run } = &self.last else {
            return Ok(());
        };
        if **last != *key {
            return if **last < *key {
                Ok(())
            } else {
                Err(self.disorder("keys do not rise"))
            };
        }
        if run.last_seq >= seq || run.last_commit > commit || run.times_ms.1 > time {
            return Err(self.disorder("entries of a timeline are not in order"));
        }
        let limit = u64::from(u32::MAX);
        if run.count + count > limit {
            let value = run.count + count;
            return Err(Error::TooLarge {
                what: "entries of a timeline",
                value,
                limit,
            });
        }
        Ok(())
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

    /// Makes `key` the run being written.
    fn enter_run(&mut self, key: &[u8], first_seq: u64, time_ms: u64) {
        if matches!(&self.last, Last::Run { key: last, .. } if **last == *key) {
            return;
        }
        self.close_run();
        let mut kept = match std::mem::replace(&mut self.last, Last::Nothing) {
            Last::Run { key, .. } => key,
            _ => Vec::new(),
        };
        kept.clear();
        kept.extend_from_slice(key);
        let run = RunLocation {
            first_seq,
            last_seq: 0,
            count: 0,
            first_block: u32::MAX,
            last_block: u32::MAX,
            times_ms: (time_ms, time_ms),
            last_commit: 0,
        };
        self.last = Last::Run { key: kept, run };
        if self.properties.keys == 0 {
            self.properties.first = (key.into(), first_seq);
        }
        self.properties.keys += 1;
    }

    /// Ends the run being written, if there is one: its place goes to the directory.
    fn close_run(&mut self) {
        self.close_fragment();
        if let Last::Run { key, run } = &self.last {
            assert!(run.count > 0, "a run is entered with its first entry");
            self.directory.push_timeline(key, *run);
            self.properties.last = (key.as_slice().into(), run.last_seq);
        }
    }

    /// Cuts, so that the row fits into the block, or has one of its own size.
    fn make_room(&mut self, row: &Row<'_>) -> Result<()> {
        while self.block.size() + START_SIZE + self.size_with(row) > self.block_target {
            if !self.block.is_empty() && self.fragment.size() < self.uncut() {
                self.flush_block()?;
            } else if !self.fragment.is_empty() {
                self.close_fragment();
                self.flush_block()?;
            } else {
                break;
            }
        }
        Ok(())
    }

    fn size_with(&self, row: &Row<'_>) -> usize {
        if self.fragment.is_empty() {
            let row_size = ROW_SIZE_MAX + row.head.len() + row.tail.len();
            return FRAGMENT_HEADER + self.run().0.len() + row_size;
        }
        self.fragment.size_with(row)
    }

    /// Moves the fragment into the block.
    fn close_fragment(&mut self) {
        if self.fragment.is_empty() {
            return;
        }
        self.place(self.fragment.first());
        self.fragment.encode(&mut self.block.content);
    }

    /// Begins a fragment of the run in the block being filled.
    fn place(&mut self, first: FirstEntry) {
        let block = self.writer.block_count();
        self.block.begin_item(first);
        if let Last::Run { run, .. } = &mut self.last {
            run.first_block = run.first_block.min(block);
            run.last_block = block;
        }
    }

    fn count(
        &mut self,
        count: u64,
        payload_bytes: u64,
        last_seq: u64,
        commits: (u64, u64),
        times_ms: (u64, u64),
    ) {
        if let Last::Run { run, .. } = &mut self.last {
            run.count += count;
            run.last_seq = last_seq;
            run.last_commit = commits.1;
            run.times_ms.1 = times_ms.1;
        }
        self.properties
            .include(count, payload_bytes, commits, times_ms);
    }

    fn run(&self) -> (&[u8], &RunLocation) {
        match &self.last {
            Last::Run { key, run } => (key, run),
            _ => unreachable!("a run has been entered"),
        }
    }

    fn flush_block(&mut self) -> Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let kind = match self.options.kind {
            TableKind::Timeline => BlockKind::TimelineData,
            TableKind::Keyed => BlockKind::KeyedData,
        };
        let PendingBlock {
            content,
            starts,
            first,
        } = &mut self.block;
        starts.iter().for_each(|start| content.put_u32(*start));
        self.writer
            .write_data(kind, starts.len(), content, *first)?;
        content.clear();
        starts.clear();
        Ok(())
    }

    fn uncut(&self) -> usize {
        FRAGMENT_UNCUT_BYTES.min(self.block_target / 4)
    }

    fn bound(&self, key_length: usize, added: usize, pieces: usize) -> u64 {
        let fragment = match self.fragment.size() {
            0 => 0,
            // An entry that joins it may widen its columns, as far as a block reaches.
            size => size.max(self.fragment.widest_size().min(self.block_target)) + START_SIZE,
        };
        let blocks = 2 + pieces;
        let rest = self.block.size() + fragment + added + blocks * HEADER_SIZE;
        let data = round_up(self.writer.offset() + rest as u64, PAGE_SIZE as u64);
        let block_count = u64::from(self.writer.block_count()) + blocks as u64;
        let index = block_count.div_ceil(INDEX_ENTRIES_PER_PAGE as u64);
        let entry_size = |length| match self.options.kind {
            TableKind::Timeline => directory::timeline_entry_size(length),
            TableKind::Keyed => directory::keyed_entry_size(),
        };
        let open = match &self.last {
            Last::Run { key, .. } => entry_size(key.len()),
            _ => 0,
        };
        let pages = index + self.directory.pages_with([open, entry_size(key_length)]) + 2;
        data + pages * PAGE_SIZE as u64
    }
}

fn check_key(key: &[u8]) -> Result<()> {
    let (value, limit) = (key.len() as u64, STORED_KEY_LENGTH_MAX as u64);
    if value == 0 {
        return Err(Error::invalid("an empty key"));
    }
    if value > limit {
        return Err(Error::TooLarge {
            what: "key length",
            value,
            limit,
        });
    }
    Ok(())
}

fn check_payload(payload: &[u8]) -> Result<()> {
    let (value, limit) = (payload.len() as u64, PAYLOAD_LENGTH_MAX as u64);
    if value > limit {
        return Err(Error::TooLarge {
            what: "payload length",
            value,
            limit,
        });
    }
    Ok(())
}

fn damaged(error: DecodeError) -> Error {
    Error::corruption("a fragment to be copied", 0, error.to_string())
}
