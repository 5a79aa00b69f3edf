//! An open segment: finds a record by its reference.
//!
//! ```text
//! map    the record in the map itself; its checksum is verified unless it was lately
//! read   cache, or pread (one read where the record is short), verify, cache
//! ```
//!
//! # Invariants
//! 1. A record that is handed out has been verified since it came from the disk. Which records of
//!    maps have been is kept in a table of fixed size, so many segments cost no more memory.
//! 2. Lengths are bounded by the bytes that the manifest gives the segment.
//! 3. Every payload that lies in the map keeps the guard of the extent alive.
//! 4. Nothing but the record is needed to read it: a damaged footer, or a damaged neighbour, harms
//!    nobody else.

use super::Reference;
use super::format::{self, FOOTER_SIZE, RECORD_HEADER, RECORD_UNIT, RecordHead};
use crate::cache::{Keep, Source};
use crate::entry::{OriginRef, Payload};
use crate::error::{Error, Result};
use crate::file::disk::read_exact_at;
use crate::file::{Disk, ExtentGuard, Region};
use crate::limits::{BLOCK_SIZE, PAGE_SIZE};
use crate::options::ReadMode;
use crate::planted::Planted;
use crate::version::SegmentMeta;
use std::any::Any;
use std::io;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// The name that errors give a record.
pub(super) const RECORD: &str = "segment record";
/// What is read at first, when the length of a record is not known yet.
const FIRST_READ: usize = 4096;
/// A record beyond this is asked for as a whole at each look: page by page it would take long.
const LONG: usize = 64 * 1024;

/// One segment of the store.
pub(crate) struct Segment {
    meta: SegmentMeta,
    /// What its records are named by in the cache: its number, or, where the segment was replaced
    /// since the store was opened, a number of SSTables and segments that nobody else has.
    cached_as: u64,
    pub(super) source: Source,
    guard: Option<Arc<dyn Any + Send + Sync>>,
    /// The map, where maps are wanted and had.
    map: OnceLock<Option<Region>>,
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segment").field("meta", &self.meta).finish_non_exhaustive()
    }
}

/// A verified record.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    region: Region,
    start: usize,
    pub(super) head: RecordHead,
    place: u64,
}

impl Record {
    /// Whether the payload was erased.
    pub(crate) fn is_erased(&self) -> bool {
        self.head.is_erased()
    }

    /// The payload; nothing is copied. It is empty where it was erased.
    pub(crate) fn payload(&self) -> Payload {
        Payload::in_region(self.region.clone(), self.payload_range())
    }

    /// The bytes of the payload, where they lie.
    pub(crate) fn payload_bytes(&self) -> &[u8] {
        &self.region[self.payload_range()]
    }

    fn payload_range(&self) -> Range<usize> {
        let mut range = self.head.payload_range();
        if self.is_erased() {
            range.end = range.start;
        }
        self.start + range.start..self.start + range.end
    }

    /// Event time and origin.
    pub(crate) fn shared(&self) -> Result<(Option<i64>, Option<OriginRef<'_>>)> {
        format::decode_shared(self.head, self.bytes())
            .map_err(|error| Error::corruption(RECORD, self.place, error.to_string()))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.region[self.start..self.start + self.head.length()]
    }
}

impl Segment {
    /// The segment that the manifest describes. Reads nothing yet. `guard` is kept as long as the
    /// segment, or mapped bytes that it gave out.
    pub(crate) fn new(
        meta: SegmentMeta,
        source: Source,
        guard: Option<Arc<dyn Any + Send + Sync>>,
    ) -> Segment {
        let cached_as = meta.number;
        Segment { meta, cached_as, source, guard, map: OnceLock::new() }
    }

    /// The same segment where it was copied to. The bytes of its records may be others, so that it
    /// shares nothing in the cache with those who still read it where it was: it is named by
    /// `cached_as` there, a number of SSTables and segments that is used for nothing else.
    pub(crate) fn replacement(
        &self,
        meta: SegmentMeta,
        cached_as: u64,
        guard: Option<Arc<dyn Any + Send + Sync>>,
    ) -> Segment {
        debug_assert_eq!(meta.number, self.meta.number, "it is the same segment");
        Segment { meta, cached_as, source: self.source.clone(), guard, map: OnceLock::new() }
    }

    /// The same segment for a check: from another source, and nothing that is open of it is shared
    /// but the guard of its extent, which keeps the bytes as they are.
    pub(crate) fn for_check(&self, source: Source) -> Segment {
        Segment::new(self.meta.clone(), source, self.guard.clone())
    }

    /// The disk that it lies on.
    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.source.disk
    }

    /// What the manifest knows of it.
    pub(crate) fn meta(&self) -> &SegmentMeta {
        &self.meta
    }

    /// The manifest no longer lists it: its extent is free for reuse once nobody reads it and the
    /// roots up to `generation` are superseded.
    pub(crate) fn mark_obsolete(&self, generation: u64) {
        if let Some(guard) = self.extent_guard() {
            guard.mark_obsolete(generation);
        }
    }

    /// Neither a root nor the log ever named it: its extent is free at once.
    pub(crate) fn forfeit(&self) {
        if let Some(guard) = self.extent_guard() {
            guard.forfeit();
        }
    }

    fn extent_guard(&self) -> Option<&ExtentGuard> {
        self.guard.as_ref().and_then(|guard| guard.downcast_ref::<ExtentGuard>())
    }

    /// The record that `reference` names, which must be one of this segment.
    ///
    /// # Errors
    /// `Corruption` that names the place, where there is no such record; `Io`.
    pub(crate) fn record(&self, reference: Reference) -> Result<Record> {
        assert_eq!(reference.number(), self.meta.number, "the reference is of this segment");
        let offset = reference.offset();
        let room = self.room_at(offset)?;
        match self.map()? {
            Some(map) => self.record_in_map(map, reference, room),
            None => self.record_by_read(reference, room),
        }
    }

    /// The record at `offset`, where one begins, and where the next one does; `None` at the end.
    ///
    /// # Errors
    /// As [`Segment::record`].
    pub(crate) fn record_at(&self, offset: u64) -> Result<Option<(Record, u64)>> {
        if offset >= self.data_length() {
            return Ok(None);
        }
        let record = self.record(Reference::new(self.meta.number, offset))?;
        let next = offset + record.head.padded() as u64;
        Ok(Some((record, next)))
    }

    /// Bytes of the segment before its footer.
    pub(super) fn data_length(&self) -> u64 {
        self.meta.bytes.saturating_sub(FOOTER_SIZE as u64)
    }

    /// The place in the file of a place in the segment.
    pub(super) fn file_offset(&self, offset: u64) -> u64 {
        self.meta.extent.offset.saturating_add(offset)
    }

    pub(super) fn damage(&self, offset: u64, detail: impl Into<String>) -> Error {
        let detail = format!("segment {}: {}", self.meta.number, detail.into());
        Error::corruption(RECORD, self.file_offset(offset), detail)
    }

    /// Bytes from `offset` to the footer, in which a record must fit.
    fn room_at(&self, offset: u64) -> Result<usize> {
        let room = self.data_length().checked_sub(offset);
        match room.and_then(|room| usize::try_from(room).ok()) {
            Some(room) if room >= RECORD_UNIT => Ok(room),
            _ => {
                let detail = format!("a reference to {offset} of {} bytes", self.data_length());
                Err(self.damage(offset, detail))
            }
        }
    }

    fn record_in_map(&self, map: &Region, reference: Reference, room: usize) -> Result<Record> {
        let offset = reference.offset();
        let start = usize::try_from(offset).expect("a map fits in memory");
        let bytes = &map[start..start + room];
        let head = self.head(offset, bytes)?;
        let verified = &self.source.cache;
        let name = Reference::new(self.cached_as, offset).bits();
        let is_verified = verified.is_verified(name);
        if head.length() > if is_verified { LONG } else { PAGE_SIZE } {
            map.will_need(start..start + head.length());
        }
        if !is_verified {
            self.verify(offset, &bytes[..head.length()])?;
            verified.mark_verified(name);
        }
        Ok(Record { region: map.clone(), start, head, place: self.file_offset(offset) })
    }

    fn record_by_read(&self, reference: Reference, room: usize) -> Result<Record> {
        let offset = reference.offset();
        let key = (self.cached_as, offset);
        let place = self.file_offset(offset);
        if let Some(region) = self.source.cache.get(key) {
            let head = self.head(offset, &region)?;
            return Ok(Record { region, start: 0, head, place });
        }
        let bytes = self.read_record(offset, room)?;
        let head = self.verify(offset, &bytes)?;
        let region = Region::from_memory(bytes.into());
        self.source.cache.insert(key, region.clone(), Keep::Data);
        Ok(Record { region, start: 0, head, place })
    }

    /// The bytes of a record, not verified yet.
    fn read_record(&self, offset: u64, room: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; room.min(FIRST_READ)];
        if self.read(offset, &mut bytes).is_err() {
            // What cannot be read may lie behind the record.
            bytes.truncate(RECORD_HEADER);
            self.read(offset, &mut bytes)?;
        }
        let length = self.head(offset, &bytes)?.length();
        let known = bytes.len().min(length);
        // The length is bounded by the segment, and the largest payload.
        bytes.resize(length, 0);
        if known < length {
            self.read(offset + known as u64, &mut bytes[known..])?;
        }
        Ok(bytes)
    }

    pub(super) fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<()> {
        let place = self.file_offset(offset);
        read_exact_at(self.source.disk.as_ref(), "read a segment", place, bytes)
    }

    /// What the record at `offset` says of its length; `bytes` reach from there to the footer, or
    /// are the record.
    fn head(&self, offset: u64, bytes: &[u8]) -> Result<RecordHead> {
        let room = self.data_length() - offset;
        let head = match bytes.len() >= RECORD_HEADER {
            true => RecordHead::decode(bytes).map_err(|error| error.to_string()),
            false => Err(format!("{} bytes cannot hold a record", bytes.len())),
        };
        match head {
            Ok(head) if head.length() as u64 <= room => Ok(head),
            Ok(head) => {
                Err(self.damage(offset, format!("{} bytes reach the footer", head.length())))
            }
            Err(detail) => Err(self.damage(offset, detail)),
        }
    }

    pub(super) fn verify(&self, offset: u64, bytes: &[u8]) -> Result<RecordHead> {
        if Planted::RecordNotChecked.is_on() {
            return self.head(offset, bytes);
        }
        format::verify_record(self.source.file, self.meta.number, offset, bytes)
            .map_err(|detail| self.damage(offset, detail))
    }

    /// Bytes `range` of the map must lie in the file: checked when it is made.
    fn map(&self) -> Result<Option<&Region>> {
        if let Some(map) = self.map.get() {
            return Ok(map.as_ref());
        }
        let map = match self.source.mode {
            ReadMode::Map => self.make_map()?,
            ReadMode::Read => None,
        };
        Ok(self.map.get_or_init(|| map).as_ref())
    }

    fn make_map(&self) -> Result<Option<Region>> {
        let Range { start, end } = self.checked_place()?;
        match self.source.disk.map(start, end - start) {
            Ok(region) if region.len() as u64 == end - start => Ok(Some(match &self.guard {
                Some(guard) => region.with_guard(Arc::clone(guard)),
                None => region,
            })),
            Ok(region) => {
                let detail = format!("{} bytes were mapped of {}", region.len(), end - start);
                Err(self.damage(0, detail))
            }
            // No maps at all, or no more of them: reads do as well.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::Unsupported | io::ErrorKind::OutOfMemory
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(Error::io("map a segment", start, error)),
        }
    }

    /// Where the segment lies in the file, its end rounded up to a block.
    pub(super) fn checked_place(&self) -> Result<Range<u64>> {
        let SegmentMeta { extent, bytes, .. } = self.meta;
        let whole = bytes.checked_next_multiple_of(BLOCK_SIZE);
        let end = whole.and_then(|whole| extent.offset.checked_add(whole));
        let length = self.source.disk.length();
        let length = length.map_err(|error| Error::io("read the file's length", 0, error))?;
        match end {
            Some(end) if end <= length && bytes <= extent.length => Ok(extent.offset..end),
            _ => Err(self.damage(0, format!("{bytes} bytes do not lie in a file of {length}"))),
        }
    }
}
