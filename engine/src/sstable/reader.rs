//! An open SSTable: find a timeline's run, rank inside it, walk it; look up versions of a key.
//!
//! A lookup, step by step:
//! 1. hash of the key → filter line (only where pages are read, not mapped) → directory page → run;
//! 2. rank or position → block: binary search over the index, for the blocks of the run behind its
//!    first begin with a fragment of it;
//! 3. block → fragment: binary search by (key, value);
//! 4. fragment → entry: binary search in a column, or k-th entry at once.
//!
//! # Invariants
//! 1. Nothing is read before the first use; what failed once is tried again the next time.
//! 2. Every number that comes out of a page is checked against the footer's before it is followed.
//!
//! # Concurrency
//! Any thread. Shared as `Arc<Sstable>`; cursors hold one.

use super::block::{Block, BlockView};
use super::cursor::EntryCursor;
use super::directory::{self, Bases, Found, RunLocation};
use super::fetch::Fetcher;
use super::filter;
use super::format::{BlockKind, FLAG_CONTINUED};
use super::fragment::FragmentView;
use super::hash::key_hash;
use super::index::IndexEntry;
use super::keyed_block::KeyedBlock;
use super::keyed_cursor::KeyedCursor;
use super::scan::FragmentCursor;
use super::timeline_block::{RunFragments, TimelineBlock};
use super::timeline_cursor::TimelineCursor;
use crate::cache::Source;
use crate::codec::DecodeError;
use crate::entry::{Direction, KeyedVersion};
use crate::error::{Error, Result};
use crate::file::{Disk, ExtentGuard};
use crate::segment::{Record, Reference, Segments};
use crate::sync::{AtomicU64, Ordering};
use crate::version::{SstableMeta, TableKind};
use std::any::Any;
use std::ops::{Bound, RangeInclusive};
use std::sync::{Arc, OnceLock};

/// By what entries of a run are counted: those below the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rank {
    /// Sequence id.
    Seq(u64),
    /// Commit number.
    Commit(u64),
    /// Commit time, in milliseconds since 1970.
    Time(u64),
}

impl Rank {
    fn value(self) -> u64 {
        match self {
            Rank::Seq(value) | Rank::Commit(value) | Rank::Time(value) => value,
        }
    }

    fn of_block(self, entry: &IndexEntry) -> u64 {
        match self {
            Rank::Seq(_) => entry.first_seq,
            Rank::Commit(_) => entry.base_commit,
            Rank::Time(_) => entry.base_time,
        }
    }

    fn of_entry(self, fragment: &FragmentView<'_>, k: usize) -> Result<u64, DecodeError> {
        match self {
            Rank::Seq(_) => fragment.seq(k),
            Rank::Commit(_) => fragment.commit(k),
            Rank::Time(_) => fragment.time_ms(k),
        }
    }

    /// The rank, where the directory alone gives it.
    fn by_run(self, run: &RunLocation) -> Option<u64> {
        let (oldest, newest) = match self {
            Rank::Seq(_) => (run.first_seq, run.last_seq),
            Rank::Commit(_) => (0, run.last_commit),
            Rank::Time(_) => run.times_ms,
        };
        let value = self.value();
        let dense = run.last_seq - run.first_seq == run.count - 1;
        match self {
            _ if value <= oldest => Some(0),
            _ if value > newest => Some(run.count),
            Rank::Seq(_) if dense => Some(value - run.first_seq),
            _ => None,
        }
    }
}

/// One SSTable of the store.
pub(crate) struct Sstable {
    meta: SstableMeta,
    source: Source,
    guard: Option<Arc<dyn Any + Send + Sync>>,
    segments: Segments,
    /// Shared with the same SSTable over other segments.
    opened: Arc<OnceLock<Fetcher>>,
    /// Reads that looked into it only after many others.
    charge: AtomicU64,
}

impl std::fmt::Debug for Sstable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sstable").field("meta", &self.meta).finish_non_exhaustive()
    }
}

impl Sstable {
    /// The SSTable that the manifest describes. Reads nothing yet. `guard` is kept as long as the
    /// SSTable, its cursors, or mapped bytes that they gave out.
    pub(crate) fn new(
        meta: SstableMeta,
        source: Source,
        guard: Option<Arc<dyn Any + Send + Sync>>,
    ) -> Sstable {
        let (segments, opened) = (Segments::default(), Arc::default());
        Sstable { meta, source, guard, segments, opened, charge: AtomicU64::new(0) }
    }

    /// With the open segments that its entries refer to, which it keeps as long as itself.
    #[must_use]
    pub(crate) fn with_segments(mut self, segments: Segments) -> Sstable {
        self.segments = segments;
        self
    }

    /// The same SSTable, whose segments lie elsewhere now. Both share what is open of it, and the
    /// guard of its extent.
    pub(crate) fn over(&self, segments: Segments) -> Sstable {
        Sstable {
            meta: self.meta.clone(),
            source: self.source.clone(),
            guard: self.guard.clone(),
            segments,
            opened: Arc::clone(&self.opened),
            charge: AtomicU64::new(self.charged()),
        }
    }

    /// The same SSTable for a check: from another source, and nothing that is open of it is shared
    /// but the guard of its extent, which keeps the bytes as they are.
    pub(crate) fn for_check(&self, source: Source) -> Sstable {
        Sstable::new(self.meta.clone(), source, self.guard.clone())
    }

    /// The disk that it lies on.
    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.source.disk
    }

    /// Each touch of a block verifies it from now on, whoever has read it before.
    pub(crate) fn distrust(&self) {
        // Where it cannot be opened, nobody reads it.
        if let Ok(fetcher) = self.fetcher() {
            fetcher.distrust();
        }
    }

    /// The segments that its entries refer to.
    pub(crate) fn segments(&self) -> &Segments {
        &self.segments
    }

    /// The record that an entry refers to.
    pub(crate) fn record(&self, reference: Reference) -> Result<Record> {
        match self.segments.get(reference.number()) {
            Some(segment) => segment.record(reference),
            None => {
                let detail = format!(
                    "an entry of SSTable {} refers to segment {}, which it does not list",
                    self.meta.number,
                    reference.number()
                );
                Err(Error::corruption("reference", self.meta.extent.offset, detail))
            }
        }
    }

    /// Counts a read that looked into it only after many others, and tells how many there were.
    pub(crate) fn charge(&self) -> u64 {
        self.charge.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Reads that were counted since it was opened.
    pub(crate) fn charged(&self) -> u64 {
        self.charge.load(Ordering::Relaxed)
    }

    /// Bytes about those that readers have touched, while the store was cold.
    pub(crate) fn touched_bytes(&self) -> u64 {
        self.opened.get().map_or(0, |fetcher| fetcher.around().touched_bytes())
    }

    /// Bytes that were brought in, or are to be when they are touched.
    #[cfg(test)]
    pub(crate) fn asked_bytes(&self) -> u64 {
        self.opened.get().map_or(0, |fetcher| fetcher.around().asked_bytes())
    }

    /// What is about to replace it may have its share of what is brought in.
    pub(crate) fn give_back_share(&self) {
        if let Some(fetcher) = self.opened.get() {
            fetcher.around().give_back();
        }
    }

    /// Brings a piece of it into memory that nobody has touched yet: that at `place`. Returns where
    /// the next one begins.
    pub(crate) fn bring_in_piece(&self, place: u64) -> Result<Option<u64>> {
        Ok(self.fetcher()?.bring_in_piece(place))
    }

    /// What the manifest knows of it.
    pub(crate) fn meta(&self) -> &SstableMeta {
        &self.meta
    }

    /// Bytes that it takes in memory, in the list of readers and in that of the manifest: what is
    /// known of it, and a bit for each block once it is open in a map.
    pub(crate) fn memory(&self) -> usize {
        let keys = self.meta.first.0.len() + self.meta.last.0.len();
        let open = self.opened.get().map_or(0, Fetcher::memory);
        size_of::<Sstable>() + size_of::<SstableMeta>() + 2 * keys + open
    }

    /// The manifest no longer lists it: its extent is free for reuse once nobody reads it and the
    /// roots up to `generation` are superseded.
    pub(crate) fn mark_obsolete(&self, generation: u64) {
        if let Some(guard) = self.extent_guard() {
            guard.mark_obsolete(generation);
        }
    }

    /// No root ever named it: its extent is free at once.
    pub(crate) fn forfeit(&self) {
        if let Some(guard) = self.extent_guard() {
            guard.forfeit();
        }
    }

    fn extent_guard(&self) -> Option<&ExtentGuard> {
        self.guard.as_ref().and_then(|guard| guard.downcast_ref::<ExtentGuard>())
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    /// The open SSTable. An error is not kept: the next call tries again.
    pub(super) fn fetcher(&self) -> Result<&Fetcher> {
        if let Some(fetcher) = self.opened.get() {
            return Ok(fetcher);
        }
        let fetcher = Fetcher::open(&self.meta, &self.source, self.guard.as_ref())?;
        Ok(self.opened.get_or_init(|| fetcher))
    }

    /// What it holds of the timeline `key`.
    pub(crate) fn find(&self, key: &[u8]) -> Result<Option<RunLocation>> {
        self.find_counting(key, &mut 0)
    }

    /// The same; counts the pages of the directory that were looked at in vain.
    pub(super) fn find_counting(&self, key: &[u8], vain: &mut u64) -> Result<Option<RunLocation>> {
        self.expect_kind(TableKind::Timeline)?;
        match self.may_contain(key)? {
            true => self.find_run(key, vain),
            false => Ok(None),
        }
    }

    /// The same without a look at the filter.
    pub(crate) fn find_run(&self, key: &[u8], vain: &mut u64) -> Result<Option<RunLocation>> {
        self.expect_kind(TableKind::Timeline)?;
        let fetcher = self.fetcher()?;
        let hash = key_hash(fetcher.file(), key);
        fetcher.touch_directory(hash, self.meta.keys);
        let blocks = fetcher.footer.data.count;
        self.search(hash, vain, |page| {
            let (content, items) = (page.content, page.items());
            let bases = Bases::of(&self.meta);
            let found = directory::search_timeline(content, items, bases, hash, key)
                .map_err(|error| page.damage(&error))?;
            if let Found::Here(run) = &found
                && (run.first_block > run.last_block || u64::from(run.last_block) >= blocks)
            {
                return Err(page.corruption("a run lies in blocks that are not there"));
            }
            Ok(found)
        })
    }

    /// The number of entries of the run whose value is less than that of `by`.
    pub(crate) fn rank(&self, key: &[u8], run: &RunLocation, by: Rank) -> Result<u64> {
        if let Some(rank) = by.by_run(run) {
            return Ok(rank);
        }
        let value = by.value();
        // The newest entries are asked for most.
        let newest = run.last_block;
        let number = self.run_block(run, newest, |entry| by.of_block(entry) < value)?;
        self.fetcher()?.look_at_data(number, |block| {
            let first = run.offset_in(number);
            let rank =
                rank_in_block(block, key, first, by).map_err(|error| block.damage(&error))?;
            match rank {
                Some(rank) if rank <= run.count => Ok(rank),
                _ => Err(block.corruption("the run that the directory names is not here")),
            }
        })
    }

    /// A cursor that begins with entry `start` of the run, counted from 0. Where `start` is behind
    /// the last entry, a forward cursor is at its end and a backward one begins with the last.
    pub(crate) fn cursor(run: &RunLocation, start: u64, direction: Direction) -> EntryCursor {
        EntryCursor::new(*run, start, direction)
    }

    /// The versions of `key` up to a commit, newest first, down to the first that needs no older.
    pub(crate) fn versions(
        self: &Arc<Self>,
        key: &[u8],
        commit_max: u64,
    ) -> Result<Vec<KeyedVersion>> {
        self.expect_kind(TableKind::Keyed)?;
        let mut versions = Vec::new();
        let Some(block) = self.find_key(key)? else {
            return Ok(versions);
        };
        let mut cursor = KeyedCursor::at_version(Arc::clone(self), block, key, commit_max)?;
        while let Some(version) = cursor.next_of(key)? {
            let base = version.operation.is_base();
            versions.push(version);
            if base {
                break;
            }
        }
        Ok(versions)
    }

    /// All versions of `key` up to a commit, newest first.
    pub(crate) fn all_versions(
        self: &Arc<Self>,
        key: &[u8],
        commit_max: u64,
    ) -> Result<Vec<KeyedVersion>> {
        self.expect_kind(TableKind::Keyed)?;
        let mut versions = Vec::new();
        let Some(block) = self.find_key(key)? else {
            return Ok(versions);
        };
        let mut cursor = KeyedCursor::at_version(Arc::clone(self), block, key, commit_max)?;
        while let Some(version) = cursor.next_of(key)? {
            versions.push(version);
        }
        Ok(versions)
    }

    /// All versions in order, from a key on. Blocks go through the cache.
    pub(crate) fn keyed_cursor(self: &Arc<Self>, from: Bound<&[u8]>) -> Result<KeyedCursor> {
        self.expect_kind(TableKind::Keyed)?;
        KeyedCursor::new(Arc::clone(self), from, false)
    }

    /// The same for one pass over everything, as compaction makes it: large reads past the cache.
    pub(crate) fn keyed_scan(self: &Arc<Self>, from: Bound<&[u8]>) -> Result<KeyedCursor> {
        self.expect_kind(TableKind::Keyed)?;
        KeyedCursor::new(Arc::clone(self), from, true)
    }

    /// All fragments in order, from a key on: large reads past the cache.
    pub(crate) fn fragments(self: &Arc<Self>, from_key: Option<&[u8]>) -> Result<FragmentCursor> {
        self.expect_kind(TableKind::Timeline)?;
        FragmentCursor::new(Arc::clone(self), from_key)
    }

    /// The timelines, by key.
    pub(crate) fn timelines(self: &Arc<Self>, from: Bound<&[u8]>) -> Result<TimelineCursor> {
        self.expect_kind(TableKind::Timeline)?;
        TimelineCursor::new(Arc::clone(self), from)
    }

    /// Whether the filter lets the key pass. Where pages are mapped the directory is as cheap, so
    /// the filter is asked only where they are read.
    pub(crate) fn may_contain(&self, key: &[u8]) -> Result<bool> {
        if key < &*self.meta.first.0 || key > &*self.meta.last.0 {
            return Ok(false);
        }
        let fetcher = self.fetcher()?;
        if fetcher.reads() { self.filter_contains(key) } else { Ok(true) }
    }

    /// Asks memory for what [`Sstable::filter_contains`] will read, where that was read before.
    pub(crate) fn touch_filter(&self, key: &[u8]) {
        if let Some(fetcher) = self.opened.get() {
            fetcher.touch_filter(key_hash(fetcher.file(), key));
        }
    }

    /// Whether the filter lets the key pass.
    pub(crate) fn filter_contains(&self, key: &[u8]) -> Result<bool> {
        let fetcher = self.fetcher()?;
        let section = &fetcher.footer.filter;
        let hash = key_hash(fetcher.file(), key);
        let page = filter::page_of(hash, section.count);
        fetcher.look(BlockKind::Filter, section, page, |page| {
            Ok(filter::may_contain(page.content, hash))
        })
    }

    /// The data block with the newest version of `key`.
    fn find_key(&self, key: &[u8]) -> Result<Option<u32>> {
        self.find_key_counting(key, &mut 0)
    }

    /// The same; counts the pages of the directory, and the blocks, that were looked at in vain.
    pub(super) fn find_key_counting(&self, key: &[u8], vain: &mut u64) -> Result<Option<u32>> {
        if !self.may_contain(key)? {
            return Ok(None);
        }
        let fetcher = self.fetcher()?;
        let hash = key_hash(fetcher.file(), key);
        let mut others = 0;
        let found = self.search(hash, vain, |page| {
            let blocks = directory::search_keyed(page.content, page.items(), hash)
                .map_err(|error| page.damage(&error))?;
            for number in blocks {
                if u64::from(number) >= fetcher.footer.data.count {
                    return Err(page.corruption("a key lies in a block that is not there"));
                }
                let block = fetcher.data_block(number)?;
                if holds_key(&block, key).map_err(|error| block.damage(&error))? {
                    return Ok(Found::Here(number));
                }
                others += 1;
            }
            Ok(Found::NotHere)
        });
        *vain += others;
        found
    }

    /// Searches the home page of a hash and those behind it, as long as pages are continued; counts
    /// those that do not have it.
    fn search<T>(
        &self,
        hash: u64,
        vain: &mut u64,
        mut search: impl FnMut(&BlockView<'_>) -> Result<Found<T>>,
    ) -> Result<Option<T>> {
        let fetcher = self.fetcher()?;
        let section = &fetcher.footer.directory;
        let home = hash % section.count;
        for step in 0..section.count {
            let number = (home + step) % section.count;
            let (found, flags) = fetcher.look(BlockKind::Directory, section, number, |page| {
                Ok((search(page)?, page.header.flags))
            })?;
            if let Found::Here(found) = found {
                return Ok(Some(found));
            }
            *vain += 1;
            if flags & FLAG_CONTINUED == 0 {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// The last block of the run whose first fragment lies `before`, looked for around a guess; the
    /// first block of the run where there is none. Touches index pages only.
    pub(super) fn run_block(
        &self,
        run: &RunLocation,
        guess: u32,
        before: impl Fn(&IndexEntry) -> bool,
    ) -> Result<u32> {
        let fetcher = self.fetcher()?;
        let is_before = |block: u32| Ok(before(&fetcher.index_entry(block)?));
        nearest(run.first_block..=run.last_block, guess, is_before)
    }

    /// The number of data blocks at the front for which `before` holds of their first key.
    pub(super) fn partition_blocks(&self, before: impl Fn(&[u8]) -> bool) -> Result<u32> {
        let fetcher = self.fetcher()?;
        let (mut low, mut high) = (0, self.block_count()?);
        while low < high {
            let middle = low + (high - low) / 2;
            let block = fetcher.data_block(middle)?;
            let holds = first_key(&block).map(&before).map_err(|error| block.damage(&error))?;
            if holds {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    pub(super) fn block_count(&self) -> Result<u32> {
        let count = self.fetcher()?.footer.data.count;
        Ok(u32::try_from(count).expect("the footer bounds the number of blocks"))
    }

    pub(super) fn expect_kind(&self, kind: TableKind) -> Result<()> {
        if self.meta.kind != kind {
            return Err(Error::invalid("the table is of the other kind"));
        }
        Ok(())
    }
}

/// The last block of a range that lies `before`, looked for around a guess; the first of the range
/// where there is none, which is not asked about.
fn nearest(
    blocks: RangeInclusive<u32>,
    guess: u32,
    is_before: impl Fn(u32) -> Result<bool>,
) -> Result<u32> {
    let (mut low, mut high) = (*blocks.start(), blocks.end().saturating_add(1));
    let (mut middle, mut step) = (guess, 1);
    while low + 1 < high {
        middle = middle.clamp(low + 1, high - 1);
        if is_before(middle)? {
            low = middle;
            middle = low.saturating_add(step);
        } else {
            high = middle;
            middle = high.saturating_sub(step);
        }
        // Twice as far at each step, then by halves once that is beyond.
        step = step.saturating_mul(2);
        if middle <= low || middle >= high {
            middle = low + (high - low) / 2;
        }
    }
    Ok(low)
}

fn first_key(block: &Block) -> Result<&[u8], DecodeError> {
    if block.header().kind == BlockKind::KeyedData {
        Ok(KeyedBlock::parse(block.content(), block.items())?.version(0)?.0.key)
    } else {
        Ok(TimelineBlock::parse(block.content(), block.items())?.head(0)?.key)
    }
}

fn holds_key(block: &Block, key: &[u8]) -> Result<bool, DecodeError> {
    let versions = KeyedBlock::parse(block.content(), block.items())?;
    let place = versions.partition(|version| version.key < key)?;
    Ok(place < versions.count() && versions.version(place)?.0.key == key)
}

/// Entries of the run below the value, counted from the run's beginning, when the last of them (or
/// the first of the run, where there is none) lies in this block. `first`: where the fragments of
/// the run begin.
fn rank_in_block(
    block: &BlockView<'_>,
    key: &[u8],
    first: usize,
    by: Rank,
) -> Result<Option<u64>, DecodeError> {
    let value = by.value();
    let mut fragments = RunFragments::new(block.content, block.items(), key, first)?;
    let mut last = None;
    while let Some((range, layout)) = fragments.next()? {
        let fragment = FragmentView::with_layout(layout, &block.content[range]);
        if by.of_entry(&fragment, 0)? >= value {
            // Where all are above it, that is the beginning of the run.
            last.get_or_insert(fragment.base_index());
            break;
        }
        let (mut low, mut high) = (1, fragment.count());
        while low < high {
            let middle = low + (high - low) / 2;
            if by.of_entry(&fragment, middle)? < value {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        last = Some(fragment.base_index() + low as u64);
        if low < fragment.count() {
            break;
        }
    }
    Ok(last)
}

impl crate::version::HasMeta for Sstable {
    fn meta(&self) -> &SstableMeta {
        &self.meta
    }
}
