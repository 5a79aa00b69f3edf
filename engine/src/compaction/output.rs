//! Where flush and compaction write: SSTables of bounded size, one behind the other.
//!
//! 1. Before the first entry an extent of `sstable_bytes` is reserved, or a larger one where one
//!    entry needs it.
//! 2. Before each further entry the builder says how large the SSTable could become with it. More
//!    than the extent? The SSTable is finished: its used front is committed, the tail forfeited.
//! 3. A timeline may be cut over two SSTables. The versions of a key never are: readers take the
//!    first SSTable of a level in which a key is found as all there is.
//! 4. What was written belongs to [`PendingOutputs`] until the job hands it over. Until then every
//!    error, and a job that is dropped, gives all of it back.
//!
//! # Invariants
//! 1. SSTable numbers rise in the order of the keys, and inside a key in the order of the seqs:
//!    level 0 is ordered by number.
//! 2. An extent is reserved, pending, or handed over. Reserved and pending extents are in no root,
//!    and nobody reads them.
//! 3. Nothing is synced here: the caller syncs once, before the root that names the SSTables.

use crate::cache::Source;
use crate::entry::{KeyedVersion, TableId};
use crate::error::{Error, Result};
use crate::file::{Allocator, Disk, ExtentGuard, ExtentWriter, FileId, Pacer, Reservation};
use crate::limits::{
    BLOCK_SIZE, COLD_BLOCK_BYTES, DATA_BLOCK_BYTES, PAGE_SIZE, SEGMENT_NUMBER_MAX,
    SEGMENTS_PER_SSTABLE_MAX,
};
use crate::options::Compression;
use crate::segment::{Segment, Segments};
use crate::sstable::{
    Builder, BuilderOptions, EntryRef, FragmentView, Output, PlainEntry, Sstable,
};
use crate::sync::{AtomicU64, Ordering};
use crate::version::{Shard, SstableMeta, TableKind, Tier};
use std::sync::Arc;

/// The smallest extent reserved for an SSTable: the pages that every SSTable has, and a few blocks.
const EXTENT_BYTES_MIN: u64 = 16 * BLOCK_SIZE;
/// Most bytes that one more version of a key takes beside its key and its value: its own header,
/// and what a block of its own would cost.
const VERSION_OVERHEAD: usize = 256;

/// What every job of one store writes with.
#[derive(Clone)]
pub(crate) struct OutputContext {
    /// The store's file.
    pub(crate) disk: Arc<dyn Disk>,
    /// Its id.
    pub(crate) file: FileId,
    /// Gives out its extents.
    pub(crate) allocator: Arc<Allocator>,
    /// Limits the rate of background output.
    pub(crate) pacer: Arc<Pacer>,
    /// The number of the next SSTable or segment.
    pub(crate) next_number: Arc<AtomicU64>,
    /// Bytes after which a new SSTable begins.
    pub(crate) sstable_bytes: u64,
    /// How the finished SSTables are read.
    pub(crate) source: Source,
    /// What all sinks hold in memory.
    pub(crate) memory: Arc<OutputMemory>,
    /// The cold file, if there is one.
    pub(crate) cold: Option<ColdPlace>,
}

/// The file that cold SSTables are written to, where it is not the store's first.
#[derive(Clone)]
pub(crate) struct ColdPlace {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) allocator: Arc<Allocator>,
}

/// Bytes that SSTables being written hold in memory, over all jobs of a store.
#[derive(Debug, Default)]
pub(crate) struct OutputMemory(AtomicU64);

impl OutputMemory {
    pub(crate) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for OutputContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutputContext")
            .field("sstable_bytes", &self.sstable_bytes)
            .finish_non_exhaustive()
    }
}

impl OutputContext {
    /// Gives the extents of SSTables and segments back that no root ever named: the caller could
    /// not publish them, and has not tried to write a superblock that covers them.
    pub(crate) fn discard(&self, sstables: Vec<Arc<Sstable>>, segments: Vec<Arc<Segment>>) {
        drop(PendingOutputs { allocator: Arc::clone(&self.allocator), sstables, segments });
    }

    /// The number of a new segment.
    pub(crate) fn segment_number(&self) -> Result<u64> {
        let value = self.next_number.fetch_add(1, Ordering::Relaxed);
        let limit = SEGMENT_NUMBER_MAX;
        match value <= limit {
            true => Ok(value),
            false => Err(Error::TooLarge { what: "number of a payload segment", value, limit }),
        }
    }

    /// Where the SSTables of a tier go: the cold ones to the cold file, if there is one.
    pub(crate) fn of_tier(&self, tier: Tier) -> OutputContext {
        let mut context = self.clone();
        if let (Tier::Cold, Some(cold)) = (tier, &self.cold) {
            context.disk = Arc::clone(&cold.disk);
            context.allocator = Arc::clone(&cold.allocator);
            context.source.disk = Arc::clone(&cold.disk);
        }
        context
    }
}

/// Finished SSTables and segments that no root names yet. Dropped, they give their extents back.
#[derive(Debug)]
pub(super) struct PendingOutputs {
    /// That of the first file, where segments lie. An SSTable knows its own.
    allocator: Arc<Allocator>,
    sstables: Vec<Arc<Sstable>>,
    segments: Vec<Arc<Segment>>,
}

impl PendingOutputs {
    pub(super) fn new(context: &OutputContext) -> PendingOutputs {
        let allocator = Arc::clone(&context.allocator);
        PendingOutputs { allocator, sstables: Vec::new(), segments: Vec::new() }
    }

    pub(super) fn extend(&mut self, sstables: Vec<Arc<Sstable>>) {
        self.sstables.extend(sstables);
    }

    /// All of them so far.
    pub(super) fn sstables(&self) -> &[Arc<Sstable>] {
        &self.sstables
    }

    /// Entries, or versions, of all of them.
    pub(super) fn entries(&self) -> u64 {
        self.sstables.iter().map(|sstable| sstable.meta().entries).sum()
    }

    pub(super) fn push_segment(&mut self, segment: Arc<Segment>) {
        self.segments.push(segment);
    }

    /// The segments so far, to be referred to.
    pub(super) fn segments(&self) -> Segments {
        Segments::new(self.segments.iter().cloned())
    }

    /// Hands the segments over, like the SSTables.
    pub(super) fn take_segments(&mut self) -> Vec<Arc<Segment>> {
        std::mem::take(&mut self.segments)
    }

    /// Hands the SSTables over: from now on their extents are the caller's.
    pub(super) fn take(&mut self) -> Vec<Arc<Sstable>> {
        std::mem::take(&mut self.sstables)
    }
}

impl Drop for PendingOutputs {
    fn drop(&mut self) {
        for sstable in self.take() {
            sstable.forfeit();
        }
        for segment in self.take_segments() {
            self.allocator.forfeit(segment.meta().extent);
        }
    }
}

impl Output for ExtentWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        ExtentWriter::write(self, bytes)
    }
}

impl Drop for SstableSink {
    fn drop(&mut self) {
        self.open = None;
        self.count_memory();
    }
}

/// The SSTable being written.
struct Open {
    number: u64,
    /// Dropped before the reservation: nothing is written to an extent that was given back.
    builder: Builder<ExtentWriter>,
    reservation: Reservation,
}

/// Takes the output of one job for one shard of a table, in order, and cuts it into SSTables.
pub(crate) struct SstableSink {
    context: OutputContext,
    table: TableId,
    kind: TableKind,
    shard: Shard,
    compression: Compression,
    block_bytes: usize,
    /// That entries may refer to.
    segments: Segments,
    open: Option<Open>,
    /// Bytes that the open SSTable has in `memory` of the context.
    counted: u64,
    done: PendingOutputs,
}

impl std::fmt::Debug for SstableSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SstableSink")
            .field("table", &self.table)
            .field("done", &self.done.sstables)
            .finish_non_exhaustive()
    }
}

impl SstableSink {
    pub(crate) fn new(
        context: &OutputContext,
        table: TableId,
        kind: TableKind,
        shard: Shard,
        compression: Compression,
    ) -> SstableSink {
        let done = PendingOutputs::new(context);
        let (compression, block_bytes) = match shard.tier {
            Tier::Hot => (compression, DATA_BLOCK_BYTES),
            Tier::Cold => (compression.of_cold(), COLD_BLOCK_BYTES),
        };
        let context = context.of_tier(shard.tier);
        SstableSink {
            context,
            table,
            kind,
            shard,
            compression,
            block_bytes,
            segments: Segments::default(),
            open: None,
            counted: 0,
            done,
        }
    }

    /// With the segments that its entries may refer to.
    #[must_use]
    pub(crate) fn with_segments(mut self, segments: Segments) -> SstableSink {
        self.segments = segments;
        self
    }

    /// Appends an entry: keys rise, seqs rise inside a key.
    pub(crate) fn append(&mut self, key: &[u8], entry: &EntryRef<'_>) -> Result<()> {
        let origin = entry.origin.map_or(0, |origin| origin.key.len());
        let reference = entry.shared.map_or(0, |_| size_of::<u64>());
        let bytes = entry.payload.len() + origin + reference;
        self.with_room(1, |builder| builder.bound_with(key.len(), bytes))?.append(key, entry)
    }

    /// Appends entries of one run that are a payload and nothing more. `ends`: no entry of it comes
    /// behind them.
    pub(crate) fn append_plain(
        &mut self,
        key: &[u8],
        entries: &[PlainEntry<'_>],
        ends: bool,
    ) -> Result<()> {
        let bytes = entries.iter().map(|entry| entry.payload.len()).sum();
        let bound = |builder: &Builder<_>| builder.bound_with_run(key.len(), entries.len(), bytes);
        self.with_room(0, bound)?.append_plain(key, entries, ends)
    }

    /// Appends the entries of a fragment.
    pub(crate) fn append_fragment(&mut self, fragment: &FragmentView<'_>) -> Result<()> {
        let entries = fragment.count();
        let builder = self.with_room(entries, |builder| builder.bound_with_fragment(fragment))?;
        builder.append_fragment(fragment)
    }

    /// Adds all versions of one key, newest first: they are not cut over two SSTables.
    pub(crate) fn add_versions(&mut self, versions: &[KeyedVersion]) -> Result<()> {
        let Some(first) = versions.first() else {
            return Ok(());
        };
        let key_length = first.key.len();
        let values: usize = versions.iter().map(|version| version.value.len()).sum();
        let others = (versions.len() - 1) * (key_length + VERSION_OVERHEAD);
        // The index and the data may each need a page more.
        let pages = if others == 0 { 0 } else { 2 * PAGE_SIZE };
        let bytes = values + others + pages;
        let builder = self.with_room(0, |builder| builder.bound_with(key_length, bytes))?;
        versions.iter().try_for_each(|version| builder.add_version(version))
    }

    /// Finishes the last SSTable, and hands over all of them. There may be none.
    pub(crate) fn finish(mut self) -> Result<Vec<Arc<Sstable>>> {
        self.close()?;
        Ok(self.done.take())
    }

    /// The builder to write to, which has room for what `bound` tells the size with, and for
    /// `references` more to other segments than so far.
    fn with_room(
        &mut self,
        references: usize,
        bound: impl Fn(&Builder<ExtentWriter>) -> u64,
    ) -> Result<&mut Builder<ExtentWriter>> {
        let full = self.open.as_ref().is_some_and(|open| {
            let too_long = bound(&open.builder) > open.reservation.extent().length;
            let segments = open.builder.segments() + references;
            (too_long || segments > SEGMENTS_PER_SSTABLE_MAX) && open.builder.entries() > 0
        });
        if full {
            self.close()?;
        }
        if self.open.is_none() {
            let mut open = self.open_where_there_is_room()?;
            let needed = bound(&open.builder);
            if needed > open.reservation.extent().length {
                drop(open);
                open = self.open(needed)?;
            }
            self.open = Some(open);
        }
        self.count_memory();
        Ok(&mut self.open.as_mut().expect("opened just now").builder)
    }

    fn count_memory(&mut self) {
        let bytes = self.open.as_ref().map_or(0, |open| open.builder.memory() as u64);
        if bytes != self.counted {
            self.context.memory.0.fetch_add(bytes, Ordering::Relaxed);
            self.context.memory.0.fetch_sub(self.counted, Ordering::Relaxed);
            self.counted = bytes;
        }
    }

    /// An SSTable in an extent of the usual size, or of the largest that a nearly full disk gives.
    fn open_where_there_is_room(&self) -> Result<Open> {
        let mut bytes = self.context.sstable_bytes.max(EXTENT_BYTES_MIN);
        loop {
            match self.open(bytes) {
                Err(Error::NoSpace { .. }) if bytes > EXTENT_BYTES_MIN => {
                    bytes = (bytes / 2).max(EXTENT_BYTES_MIN);
                }
                other => return other,
            }
        }
    }

    fn open(&self, bytes: u64) -> Result<Open> {
        let context = &self.context;
        let reservation = context.allocator.reserve(bytes, "an SSTable")?;
        let number = context.next_number.fetch_add(1, Ordering::Relaxed);
        let writer = ExtentWriter::new(
            Arc::clone(&context.disk),
            reservation.extent(),
            Arc::clone(&context.pacer),
        )
        .overlapping();
        let options = BuilderOptions {
            file: context.file,
            number,
            table: self.table,
            kind: self.kind,
            compression: self.compression,
            block_bytes: self.block_bytes,
        };
        Ok(Open { number, builder: Builder::new(writer, options), reservation })
    }

    /// Finishes the SSTable being written, if there is one. On an error its extent is given back.
    fn close(&mut self) -> Result<()> {
        let Some(Open { number, builder, reservation }) = self.open.take() else {
            return Ok(());
        };
        let (writer, built) = builder.finish()?;
        let written = writer.finish()?;
        if written != built.bytes {
            let detail = format!("{written} bytes were written, {} were built", built.bytes);
            return Err(Error::corruption("SSTable output", reservation.extent().offset, detail));
        }
        let extent = reservation.commit(written);
        let meta = built.into_meta(number, (self.table, self.kind), extent);
        let meta = SstableMeta { shard: self.shard, ..meta };
        let segments = self.segments.select(&meta.segments).map_err(|missing| {
            let detail = format!("an entry refers to segment {missing}, which no input knows");
            Error::corruption("SSTable output", extent.offset, detail)
        });
        let guard = ExtentGuard::new(extent, Arc::clone(&self.context.allocator));
        let sstable = Sstable::new(meta, self.context.source.clone(), Some(Arc::new(guard)));
        match segments {
            Ok(segments) => {
                self.done.sstables.push(Arc::new(sstable.with_segments(segments)));
                Ok(())
            }
            Err(error) => {
                self.context.allocator.forfeit(extent);
                Err(error)
            }
        }
    }
}
