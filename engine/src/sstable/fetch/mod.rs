//! Brings blocks and pages of one SSTable into memory, verified: through a map of its extent, or
//! with `pread` into the block cache.
//!
//! ```text
//! map    uncompressed: verify on first touch (a bit a block), then hand out the map itself
//!        compressed:   cache, or verify on first touch, decompress, cache
//! read   cache, or pread, verify, decompress if need be, cache
//! ```
//!
//! # Invariants
//! 1. What is handed out has been verified since it came from the disk: in a map on its first
//!    touch, or at each where a scrub has found the SSTable damaged; otherwise at each read.
//! 2. Lengths come from a verified parent and lie inside the SSTable's bytes, as the manifest has
//!    them; nothing longer is read or allocated.
//! 3. Every region that lies in the map keeps the guard of the extent alive.
//!
//! # Concurrency
//! Any thread. The bits are set after the bytes were verified; to verify twice does no harm.

mod unpacked;

use super::block::{Block, BlockView, Identity, verify, zeroed};
use super::block_places::BlockPlaces;
use super::directory;
use super::evictions::Evictions;
use super::filter;
use super::footer::{Footer, Section};
use super::format::{BlockHeader, BlockKind, Codec, HEADER_SIZE};
use super::index::{INDEX_ENTRIES_PER_PAGE, IndexEntry};
use super::read_ahead::ReadAhead;
use super::read_around::{Piece, ReadAround};
use crate::cache::{Keep, Source};
use crate::codec::touch;
use crate::error::{Error, Result};
use crate::file::disk::read_exact_at;
use crate::file::{Disk, FileId, Region};
use crate::limits::PAGE_SIZE;
use crate::options::ReadMode;
use crate::sync::{AtomicBool, AtomicU64, Ordering};
use crate::version::SstableMeta;
use std::any::Any;
use std::io;
use std::sync::{Arc, OnceLock};

const PAGE: u64 = PAGE_SIZE as u64;

/// A block or page as its parent knows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Handle {
    pub(super) kind: BlockKind,
    pub(super) offset: u64,
    pub(super) length: usize,
    pub(super) checksum: Option<u32>,
    /// Its bit in the map of verified units.
    unit: u64,
}

/// Who touches a block: reads come back to its neighbours, passes never do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Touch {
    Read,
    Pass,
}

/// An SSTable's bytes, opened: the footer is verified.
#[derive(Debug)]
pub(super) struct Fetcher {
    source: Source,
    identity: Identity,
    extent_offset: u64,
    pub(super) footer: Footer,
    map: Option<Region>,
    verified: Box<[AtomicU64]>,
    /// No block counts as verified once it was.
    distrusted: AtomicBool,
    ahead: ReadAhead,
    evictions: Evictions,
    around: ReadAround,
    /// Where its blocks lie, once one was asked for in the map.
    places: OnceLock<BlockPlaces>,
}

impl Fetcher {
    /// Reads and verifies the footer, and maps the extent where maps are wanted and had.
    pub(super) fn open(
        meta: &SstableMeta,
        source: &Source,
        guard: Option<&Arc<dyn Any + Send + Sync>>,
    ) -> Result<Fetcher> {
        let footer = Fetcher::open_footer(meta, source)?;
        let map = match source.mode {
            ReadMode::Map => map(meta, source, guard)?,
            ReadMode::Read => None,
        };
        // What is read, not mapped, is verified at each read.
        let units = match map {
            Some(_) => footer.data.count + (meta.bytes / PAGE),
            None => 0,
        };
        let words = usize::try_from(units.div_ceil(64)).expect("fewer units than bytes in memory");
        let verified = (0..words).map(|_| AtomicU64::new(0)).collect();
        let identity = Identity { file: source.file, number: meta.number };
        let extent_offset = meta.extent.offset;
        Ok(Fetcher {
            source: source.clone(),
            identity,
            extent_offset,
            footer,
            map,
            verified,
            distrusted: AtomicBool::new(false),
            ahead: ReadAhead::default(),
            evictions: Evictions::default(),
            around: ReadAround::new(&source.around, extent_offset, meta.bytes),
            places: OnceLock::new(),
        })
    }

    /// Reads and verifies the footer alone.
    pub(super) fn open_footer(meta: &SstableMeta, source: &Source) -> Result<Footer> {
        let end = check_place(meta, source.disk.as_ref())?;
        let identity = Identity { file: source.file, number: meta.number };
        let offset = meta.bytes - PAGE;
        let mut page = vec![0; PAGE_SIZE];
        let place = end - PAGE;
        read_exact_at(source.disk.as_ref(), "read an SSTable footer", place, &mut page)?;
        let damage =
            |detail: String| Error::corruption(BlockKind::Footer.name(), end - PAGE, detail);
        verify(identity, offset, BlockKind::Footer, Some(meta.footer_checksum), &page)
            .map_err(damage)?;
        Footer::decode(&page[HEADER_SIZE..], meta).map_err(|error| damage(error.to_string()))
    }

    /// Bytes on the heap.
    pub(super) fn memory(&self) -> usize {
        let places = self.places.get().map_or(0, BlockPlaces::memory);
        size_of_val(&*self.verified) + self.around.memory() + places
    }

    pub(super) fn file(&self) -> FileId {
        self.identity.file
    }

    /// Whether a page that is touched is likely to cost a read.
    pub(super) fn reads(&self) -> bool {
        self.map.is_none()
    }

    /// The place in the file of a place in the SSTable.
    pub(super) fn file_offset(&self, offset: u64) -> u64 {
        self.extent_offset + offset
    }

    /// Page `page` of a section of pages.
    pub(super) fn page(&self, kind: BlockKind, section: &Section, page: u64) -> Result<Block> {
        self.fetch(&self.page_handle(kind, section, page))
    }

    /// Looks at page `page` of a section, where it lies: nothing is shared that need not be.
    pub(super) fn look<T>(
        &self,
        kind: BlockKind,
        section: &Section,
        page: u64,
        look: impl FnOnce(&BlockView<'_>) -> Result<T>,
    ) -> Result<T> {
        self.look_at_page(&self.page_handle(kind, section, page), Touch::Read, look)
    }

    fn look_at_page<T>(
        &self,
        handle: &Handle,
        touch: Touch,
        look: impl FnOnce(&BlockView<'_>) -> Result<T>,
    ) -> Result<T> {
        let Some(map) = &self.map else {
            return look(&self.fetch_read(handle)?.view());
        };
        let (header, start) = self.verified_in_map(map, handle, touch)?;
        let content = &map[start + HEADER_SIZE..start + PAGE_SIZE];
        look(&BlockView { content, header, file_offset: self.file_offset(handle.offset) })
    }

    pub(super) fn page_handle(&self, kind: BlockKind, section: &Section, page: u64) -> Handle {
        assert!(page < section.count, "the page lies in its section");
        let offset = section.offset + page * PAGE;
        let unit = self.footer.data.count + offset / PAGE;
        Handle { kind, offset, length: PAGE_SIZE, checksum: None, unit }
    }

    /// What the index says of data block `block`.
    pub(super) fn index_entry(&self, block: u32) -> Result<IndexEntry> {
        self.index_entry_by(block, Touch::Read)
    }

    /// The same, for a pass over all blocks.
    pub(super) fn index_entry_of_pass(&self, block: u32) -> Result<IndexEntry> {
        self.index_entry_by(block, Touch::Pass)
    }

    fn index_entry_by(&self, block: u32, touch: Touch) -> Result<IndexEntry> {
        let per_page = INDEX_ENTRIES_PER_PAGE as u64;
        let number = u64::from(block);
        assert!(number < self.footer.data.count, "the block lies in the SSTable");
        let slot = usize::try_from(number % per_page).expect("less than the entries of a page");
        let (section, page) = (&self.footer.index, number / per_page);
        let handle = self.page_handle(BlockKind::Index, section, page);
        if let Some(content) = self.verified_page(&handle)
            && let Ok(entry) = IndexEntry::decode(content, slot, self.footer.data.length)
        {
            return Ok(entry);
        }
        self.look_at_page(&handle, touch, |page| {
            IndexEntry::decode(page.content, slot, self.footer.data.length)
                .map_err(|error| page.damage(&error))
        })
    }

    /// The content of a page of the map that was verified before. Its header is not touched: what
    /// is not known without it is checked by whoever reads the content.
    fn verified_page(&self, handle: &Handle) -> Option<&[u8]> {
        let map = self.map.as_ref().filter(|_| self.is_verified(handle))?;
        let start = usize::try_from(handle.offset).ok()?;
        map.get(start + HEADER_SIZE..start + handle.length)
    }

    /// Whether a block was verified in the map.
    fn is_verified(&self, handle: &Handle) -> bool {
        self.verified_bit(handle).is_some_and(|(word, bit)| word.load(Ordering::Acquire) & bit != 0)
    }

    /// Asks memory for what a lookup of a hash will read of its page of the directory, where that
    /// was verified before: header, tag, start and entry, by about where they are.
    pub(super) fn touch_directory(&self, hash: u64, keys: u64) {
        let section = &self.footer.directory;
        let handle = self.page_handle(BlockKind::Directory, section, hash % section.count);
        if let Some(content) = self.verified_page(&handle) {
            let mean = usize::try_from(keys / section.count).unwrap_or_default();
            touch(content, directory::places_of(hash, mean));
        }
    }

    /// Asks memory for the line of the filter of a hash, where its page was verified before.
    pub(super) fn touch_filter(&self, hash: u64) {
        let section = &self.footer.filter;
        let page = filter::page_of(hash, section.count);
        let handle = self.page_handle(BlockKind::Filter, section, page);
        if let Some(content) = self.verified_page(&handle) {
            touch(content, [filter::line_of(hash)]);
        }
    }

    /// The bit of a block in the map.
    fn verified_bit(&self, handle: &Handle) -> Option<(&AtomicU64, u64)> {
        let word = usize::try_from(handle.unit / 64).ok()?;
        Some((self.verified.get(word)?, 1u64 << (handle.unit % 64)))
    }

    pub(super) fn data_handle(&self, block: u32, entry: &IndexEntry) -> Handle {
        Handle {
            kind: self.data_kind(),
            offset: entry.offset,
            length: entry.length as usize,
            checksum: Some(entry.checksum),
            unit: u64::from(block),
        }
    }

    /// Data block `block`.
    pub(super) fn data_block(&self, block: u32) -> Result<Block> {
        self.fetch(&self.data_place(block)?)
    }

    /// Where data block `block` lies. Once it was verified in the map, nobody asks for more. The
    /// first reads do with the page of the index that they need.
    fn data_place(&self, block: u32) -> Result<Handle> {
        if self.map.is_some()
            && !self.around.is_alone()
            && let Some(place) = self.places().get(block)
        {
            let handle = Handle {
                kind: self.data_kind(),
                offset: u64::from(place.start),
                length: (place.end - place.start) as usize,
                checksum: None,
                unit: u64::from(block),
            };
            if self.is_verified(&handle) {
                return Ok(handle);
            }
        }
        Ok(self.data_handle(block, &self.index_entry(block)?))
    }

    /// Where the data blocks lie. Of two that read that at once one is kept: nobody waits for
    /// somebody's reads.
    fn places(&self) -> &BlockPlaces {
        if let Some(places) = self.places.get() {
            return places;
        }
        let places = self.read_places();
        self.places.get_or_init(|| places)
    }

    /// What is there of the index.
    #[cold]
    fn read_places(&self) -> BlockPlaces {
        let count = u32::try_from(self.footer.data.count).expect("the footer bounds it");
        BlockPlaces::of((0..count).map(|block| self.index_entry(block).ok()))
    }

    /// Looks at data block `block`, where it lies.
    pub(super) fn look_at_data<T>(
        &self,
        block: u32,
        look: impl FnOnce(&BlockView<'_>) -> Result<T>,
    ) -> Result<T> {
        let handle = self.data_place(block)?;
        if let Some(map) = &self.map {
            let (header, start) = self.verified_in_map(map, &handle, Touch::Read)?;
            if header.codec == Codec::None {
                let content = &map[start + HEADER_SIZE..start + handle.length];
                let file_offset = self.file_offset(handle.offset);
                return look(&BlockView { content, header, file_offset });
            }
        }
        look(&self.fetch(&handle)?.view())
    }

    pub(super) fn data_kind(&self) -> BlockKind {
        match self.footer.kind {
            crate::version::TableKind::Timeline => BlockKind::TimelineData,
            crate::version::TableKind::Keyed => BlockKind::KeyedData,
        }
    }

    /// A block through map or cache.
    pub(super) fn fetch(&self, handle: &Handle) -> Result<Block> {
        let Some(map) = &self.map else {
            return self.fetch_read(handle);
        };
        let (header, start) = self.verified_in_map(map, handle, Touch::Read)?;
        if header.codec == Codec::None {
            return Ok(Block::new(map.clone(), start, header, self.file_offset(handle.offset)));
        }
        let key = (self.identity.number, handle.offset);
        if let Some(region) = self.source.cache.get(key) {
            return self.cached(region, handle);
        }
        let block = self.decompressed(&header, &map[start..start + handle.length], handle)?;
        self.source.cache.insert(key, block.region().clone(), Keep::Data);
        Ok(block)
    }

    /// A block of the map, decompressed where need be, that leaves no trace in the cache; nothing
    /// where there is no map.
    pub(super) fn fetch_mapped(&self, handle: &Handle) -> Option<Result<Block>> {
        let map = self.map.as_ref()?;
        Some(self.verified_in_map(map, handle, Touch::Pass).and_then(|(header, start)| {
            match header.codec {
                Codec::None => {
                    Ok(Block::new(map.clone(), start, header, self.file_offset(handle.offset)))
                }
                _ => self.decompressed(&header, &map[start..start + handle.length], handle),
            }
        }))
    }

    /// Tells the system that a block of the map is read now, and what follows may be.
    pub(super) fn will_need(&self, handle: &Handle, ahead: &ReadAhead) {
        let Some(map) = &self.map else {
            return;
        };
        let touched = handle.offset..handle.offset + handle.length as u64;
        let data_end = self.footer.data.offset + self.footer.data.length;
        let end = if touched.end <= data_end { data_end } else { map.len() as u64 };
        if let Some(wanted) = ahead.touch(touched, end)
            // A page alone is read by touching it.
            && wanted.end - wanted.start > PAGE
        {
            let place = |offset| usize::try_from(offset).expect("a map fits in memory");
            map.will_need(place(wanted.start)..place(wanted.end));
        }
    }

    /// A block in a piece of the file that was read as a whole: always verified.
    pub(super) fn open_piece(
        &self,
        piece: &Region,
        start: usize,
        handle: &Handle,
    ) -> Result<Block> {
        let bytes = &piece[start..start + handle.length];
        let header = self.verify(handle, bytes)?;
        if header.codec == Codec::None {
            let file_offset = self.file_offset(handle.offset);
            return Ok(Block::new(piece.clone(), start, header, file_offset));
        }
        self.decompressed(&header, bytes, handle)
    }

    /// Bytes of the SSTable, straight from the disk. The range lies inside it.
    pub(super) fn read(&self, offset: u64, length: usize) -> Result<Region> {
        let mut buffer = zeroed(length);
        let target = Arc::get_mut(&mut buffer).expect("nobody else has the new buffer yet");
        let place = self.file_offset(offset);
        read_exact_at(self.source.disk.as_ref(), "read an SSTable block", place, target)?;
        Ok(Region::from_memory(buffer))
    }

    /// A block straight from the disk, past map and cache.
    pub(super) fn fetch_fresh(&self, handle: &Handle) -> Result<Block> {
        let piece = self.read(handle.offset, handle.length)?;
        self.open_piece(&piece, 0, handle)
    }

    /// Keeps a page that was read fresh, for the lookups of whoever verifies.
    pub(super) fn keep(&self, handle: &Handle, block: &Block) {
        let key = (self.identity.number, handle.offset);
        self.source.cache.insert(key, block.region().clone(), Keep::Lookup);
    }

    /// Blocks of the map are verified at each touch from now on: the device gave other bytes, and
    /// what memory still has the system may take back, and read again, at any time.
    pub(super) fn distrust(&self) {
        self.distrusted.store(true, Ordering::Release);
        self.verified.iter().for_each(|word| word.store(0, Ordering::Release));
    }

    fn fetch_read(&self, handle: &Handle) -> Result<Block> {
        let key = (self.identity.number, handle.offset);
        if let Some(region) = self.source.cache.get(key) {
            return self.cached(region, handle);
        }
        let block = self.fetch_fresh(handle)?;
        let keep = match handle.kind {
            BlockKind::Filter | BlockKind::Index => Keep::Lookup,
            _ => Keep::Data,
        };
        self.source.cache.insert(key, block.region().clone(), keep);
        Ok(block)
    }

    /// A cached region is a header and raw content, verified before it was cached.
    fn cached(&self, region: Region, handle: &Handle) -> Result<Block> {
        let file_offset = self.file_offset(handle.offset);
        let header = BlockHeader::decode(&region).map_err(|error| {
            Error::corruption(handle.kind.name(), file_offset, error.to_string())
        })?;
        Ok(Block::new(region, 0, header, file_offset))
    }

    /// The header of a block in the map, verified now if it never was, and where it starts.
    fn verified_in_map(
        &self,
        map: &Region,
        handle: &Handle,
        touch: Touch,
    ) -> Result<(BlockHeader, usize)> {
        let start = usize::try_from(handle.offset).expect("a map fits in memory");
        let bytes = &map[start..start + handle.length];
        let (word, bit) = self.verified_bit(handle).expect("every block of a map has a bit");
        if word.load(Ordering::Acquire) & bit != 0 {
            if handle.length > PAGE_SIZE && self.is_gone(handle) {
                map.will_need(start..start + handle.length);
            }
            let header = BlockHeader::decode(bytes).map_err(|error| {
                let place = self.file_offset(handle.offset);
                Error::corruption(handle.kind.name(), place, error.to_string())
            })?;
            // The map may change on a failing disk; a length must stay inside all the same.
            if header.stored_length as usize == handle.length - HEADER_SIZE {
                return Ok((header, start));
            }
        }
        self.bring_in(map, handle, touch);
        let header = self.verify(handle, bytes)?;
        word.fetch_or(bit, Ordering::AcqRel);
        // Whoever sets a bit behind the clearing sees what was stored before that.
        if self.distrusted.load(Ordering::Acquire) {
            word.fetch_and(!bit, Ordering::AcqRel);
        }
        Ok((header, start))
    }

    /// Whether a block that was in memory has to be asked for.
    fn is_gone(&self, handle: &Handle) -> bool {
        let place = self.file_offset(handle.offset);
        self.evictions.before_read(|| self.source.disk.is_cached(place).ok().flatten())
    }

    /// Asks the system for a block that nobody has touched yet, and for what lies around it.
    #[cold]
    fn bring_in(&self, map: &Region, handle: &Handle, touch: Touch) {
        let piece = match touch {
            Touch::Read => self.around.touch(handle.offset),
            Touch::Pass => None,
        };
        match piece {
            Some(piece) => ask(map, piece),
            None => self.will_need(handle, &self.ahead),
        }
    }

    /// Brings in the piece of the map with the byte at `place`, and returns where the next begins;
    /// `None` at the end, and where there is no map.
    pub(super) fn bring_in_piece(&self, place: u64) -> Option<u64> {
        let map = self.map.as_ref()?;
        let (piece, next) = self.around.bring_in(place)?;
        if let Some(piece) = piece {
            ask(map, piece);
            // What was only advised is read when it is touched.
            touch(map, [usize::try_from(place).ok()?]);
        }
        Some(next)
    }

    /// What readers have touched, see [`ReadAround`].
    pub(super) fn around(&self) -> &ReadAround {
        &self.around
    }

    fn verify(&self, handle: &Handle, bytes: &[u8]) -> Result<BlockHeader> {
        verify(self.identity, handle.offset, handle.kind, handle.checksum, bytes).map_err(
            |detail| Error::corruption(handle.kind.name(), self.file_offset(handle.offset), detail),
        )
    }
}

fn ask(map: &Region, piece: Piece) {
    let place = |offset| usize::try_from(offset).expect("a map fits in memory");
    match piece {
        Piece::Whole(piece) => map.bring_in_huge(place(piece.start)..place(piece.end)),
        Piece::Edge(piece) => map.will_need(place(piece.start)..place(piece.end)),
    }
}

/// Checks the manifest's numbers against each other and the file; gives the file offset of the end.
fn check_place(meta: &SstableMeta, disk: &dyn Disk) -> Result<u64> {
    let damage = |detail: String| Error::corruption("SSTable extent", meta.extent.offset, detail);
    let bytes = meta.bytes;
    if bytes < 2 * PAGE || !bytes.is_multiple_of(PAGE) || bytes > meta.extent.length {
        return Err(damage(format!("{bytes} bytes in an extent of {}", meta.extent.length)));
    }
    let end = meta.extent.offset.checked_add(bytes);
    let end = end.ok_or_else(|| damage("the extent ends beyond every file".to_string()))?;
    let length = disk.length().map_err(|error| Error::io("read the file's length", 0, error))?;
    if end > length {
        return Err(damage(format!("it ends at {end}, the file at {length}")));
    }
    Ok(end)
}

fn map(
    meta: &SstableMeta,
    source: &Source,
    guard: Option<&Arc<dyn Any + Send + Sync>>,
) -> Result<Option<Region>> {
    match source.disk.map(meta.extent.offset, meta.bytes) {
        Ok(region) if region.len() as u64 == meta.bytes => Ok(Some(match guard {
            Some(guard) => region.with_guard(Arc::clone(guard)),
            None => region,
        })),
        Ok(region) => Err(Error::corruption(
            "SSTable map",
            meta.extent.offset,
            format!("{} bytes were mapped, expected {}", region.len(), meta.bytes),
        )),
        Err(error) if is_refusal(&error) => Ok(None),
        Err(error) => Err(Error::io("map an SSTable", meta.extent.offset, error)),
    }
}

/// No maps at all, or no more of them: reads do as well.
fn is_refusal(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::OutOfMemory)
}
