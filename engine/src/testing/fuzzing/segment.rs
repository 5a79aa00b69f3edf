//! Payload segments over a simulated disk.

use super::put_checksum;
use crate::cache::{BlockCache, Source};
use crate::codec::{checksum, checksum_seeded};
use crate::entry::{Origin, OriginRef, TableId};
use crate::error::{Corruption, Result};
use crate::file::{Extent, ExtentWriter, FileId};
use crate::limits::BLOCK_SIZE;
use crate::options::ReadMode;
use crate::segment::{
    FOOTER_SIZE, LargePayload, RecordRef, Reference, Segment, SegmentCopy, SegmentWriter,
    record_size,
};
use crate::testing::{SimDisk, SimOptions};
use crate::version::SegmentMeta;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The file id of fuzzed segments and SSTables.
pub(super) const FILE: FileId = FileId([11; 16]);
/// The number of a fuzzed segment.
const NUMBER: u64 = 9;
const TABLE: TableId = TableId(16);
/// Where the extent of a fuzzed segment begins.
const OFFSET: u64 = 3 * BLOCK_SIZE;
/// Bytes of the cache that a fuzzed structure is read through.
const CACHE_BYTES: usize = 1 << 20;
/// Records begin at multiples of it.
const UNIT: usize = 16;
/// Bytes of a record that are always there.
const HEADER: usize = 12;

/// What a record holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Time given by the caller.
    pub event_ms: Option<i64>,
    /// Where the entries were fanned out from.
    pub origin: Option<Origin>,
    /// The caller's bytes.
    pub payload: Vec<u8>,
}

/// A segment on a disk of its own.
#[derive(Debug, Clone)]
pub struct Written {
    disk: SimDisk,
    meta: SegmentMeta,
}

/// An open segment.
pub struct Open(Arc<Segment>);

/// What a verification says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// What is wrong.
    pub damage: Vec<Corruption>,
    /// Which of the records that were asked about were found.
    pub found: Vec<bool>,
    /// Whether all records were found.
    pub whole: bool,
    /// How many of them were erased.
    pub erased: u64,
}

impl Record {
    fn borrowed(&self) -> RecordRef<'_> {
        RecordRef {
            event_ms: self.event_ms,
            origin: self.origin.as_ref().map(Origin::as_ref),
            payload: &self.payload,
        }
    }
}

impl Written {
    /// Writes records. Gives where each begins in the segment.
    ///
    /// # Errors
    /// None that this disk has.
    pub fn write(records: &[Record]) -> Result<(Written, Vec<u64>)> {
        let extent = Extent { offset: OFFSET, length: extent_bytes(records) };
        let disk = blank(extent.end());
        let (meta, references) = write(&disk, extent, records)?;
        let offsets = references.into_iter().map(Reference::offset).collect();
        Ok((Written { disk, meta }, offsets))
    }

    /// Writes a payload into a segment of its own, as a commit does with a large one.
    ///
    /// # Errors
    /// None that this disk has.
    pub fn large(payload: &[u8]) -> Result<Written> {
        let length = LargePayload::segment_bytes(payload.len()).next_multiple_of(BLOCK_SIZE);
        let extent = Extent { offset: OFFSET, length };
        let disk = blank(extent.end());
        let output = ExtentWriter::unpaced(Arc::new(disk.clone()), extent);
        let large = LargePayload::write(output, extent, (FILE, NUMBER, TABLE), payload)?;
        Ok(Written { disk, meta: large.meta() })
    }

    /// What the manifest would say of it.
    pub fn meta(&self) -> &SegmentMeta {
        &self.meta
    }

    /// Its bytes, footer included.
    pub fn bytes(&self) -> Vec<u8> {
        let start = usize::try_from(self.meta.extent.offset).expect("a small file");
        let length = usize::try_from(self.meta.bytes).expect("a small file");
        self.disk.bytes()[start..start + length].to_vec()
    }

    /// The segment of the same meta with other bytes.
    #[must_use]
    pub fn with_bytes(&self, bytes: &[u8]) -> Written {
        let disk = self.disk.copied();
        disk.set_bytes(self.meta.extent.offset, bytes);
        Written { disk, meta: self.meta.clone() }
    }

    /// The segment with other bytes, whose checksums are repaired, for a manifest that knows the
    /// new footer. `offsets`: where its records begin.
    #[must_use]
    pub fn repaired(&self, bytes: &mut [u8], offsets: &[u64]) -> Written {
        let footer_checksum = repair(bytes, FILE, NUMBER, offsets);
        let mut written = self.with_bytes(bytes);
        written.meta.footer_checksum = footer_checksum;
        written
    }

    /// The same bytes for a manifest that says otherwise: at most as many bytes as the extent has,
    /// which is what a manifest may say.
    #[must_use]
    pub fn claiming(&self, bytes: u64, records: u64, payload_bytes: u64) -> Written {
        let bytes = bytes.clamp(1, self.meta.extent.length);
        let meta = SegmentMeta { bytes, records, payload_bytes, ..self.meta.clone() };
        Written { disk: self.disk.clone(), meta }
    }

    /// Opens it as a store would.
    pub fn open(&self, mapped: bool) -> Open {
        Open(Arc::new(open(&self.disk, &self.meta, mapped)))
    }
}

impl Open {
    /// The record at a multiple of 16, and whether it was erased.
    ///
    /// # Errors
    /// What the segment says.
    pub fn record(&self, offset: u64) -> Result<(Record, bool)> {
        let record = self.0.record(reference(offset))?;
        let (event_ms, origin) = record.shared()?;
        let origin = origin.map(OriginRef::to_origin);
        let payload = record.payload().to_vec();
        Ok((Record { event_ms, origin, payload }, record.is_erased()))
    }

    /// Where the record behind the one at `offset`, a multiple of 16, begins; none behind the last.
    ///
    /// # Errors
    /// What the segment says.
    pub fn behind(&self, offset: u64) -> Result<Option<u64>> {
        Ok(self.0.record_at(offset)?.map(|(_, next)| next))
    }

    /// Verifies it, and looks for records that begin at some places.
    pub fn verify(&self, offsets: &[u64]) -> Verified {
        let (damage, places) = self.0.verify_all();
        let found = offsets.iter().map(|offset| places.contains(reference(*offset))).collect();
        Verified { damage, found, whole: places.whole, erased: places.erased }
    }

    /// What holds the byte at a place, in words.
    ///
    /// # Errors
    /// What the segment says.
    pub fn describe(&self, offset: u64) -> Result<String> {
        self.0.describe(offset)
    }

    /// Copies it to another disk, and erases some records on the way.
    ///
    /// # Errors
    /// What the copy says.
    pub fn copy(&self, erase: &BTreeSet<u64>) -> Result<Written> {
        let extent = self.0.meta().extent;
        let disk = blank(extent.end());
        let output = ExtentWriter::unpaced(Arc::new(disk.clone()), extent);
        let mut copy = SegmentCopy::new(Arc::clone(&self.0), output, erase.clone());
        while !copy.step()? {}
        let meta = copy.finish(extent)?;
        Ok(Written { disk, meta })
    }

    /// Writes it anew with some records, and no others, as a salvage does.
    ///
    /// # Errors
    /// What the segment says.
    pub fn remains(&self, needed: &BTreeSet<u64>) -> Result<Written> {
        let mut bytes: Vec<u8> = Vec::new();
        let mut take = |piece: &[u8]| -> Result<()> {
            bytes.extend_from_slice(piece);
            Ok(())
        };
        let meta = self.0.write_remains(needed, &mut take)?;
        let disk = blank(meta.extent.end());
        disk.set_bytes(meta.extent.offset, &bytes);
        Ok(Written { disk, meta })
    }
}

/// Where the records of an undamaged segment begin.
pub fn record_offsets(bytes: &[u8]) -> Vec<u64> {
    let data = bytes.len().saturating_sub(FOOTER_SIZE);
    let (mut offsets, mut place) = (Vec::new(), 0);
    while place < data {
        offsets.push(place as u64);
        place += record_length(&bytes[place..data]).next_multiple_of(UNIT);
    }
    offsets
}

/// Gives the records that begin at some places, and the footer, the checksums that they have, and
/// returns that of the footer, which the manifest holds.
pub fn repair(bytes: &mut [u8], file: FileId, number: u64, offsets: &[u64]) -> u32 {
    let Some(data) = bytes.len().checked_sub(FOOTER_SIZE) else {
        return 0;
    };
    let mut checksums: Vec<u8> = Vec::new();
    for offset in offsets {
        let place = usize::try_from(*offset).unwrap_or(usize::MAX);
        let Some(record) = bytes.get_mut(place..data).filter(|record| record.len() >= HEADER)
        else {
            continue;
        };
        let length = record_length(record).min(record.len());
        let sum = checksum_seeded(file, number, *offset, &record[4..length]);
        put_checksum(record, 0, sum);
        checksums.extend_from_slice(&sum.to_le_bytes());
    }
    put_checksum(bytes, data + 44, checksum(&checksums));
    let sum = checksum_seeded(file, number, data as u64, &bytes[data + 4..]);
    put_checksum(bytes, data, sum);
    sum
}

/// What the record at the front of some bytes says of its length, padding not counted; at least a
/// header.
fn record_length(bytes: &[u8]) -> usize {
    let Some(header) = bytes.first_chunk::<HEADER>() else {
        return HEADER;
    };
    let payload = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
    let event = if header[8] & 1 == 0 { 0 } else { 8 };
    let origin = if header[8] & 2 == 0 { 0 } else { 12 };
    let key = usize::from(u16::from_le_bytes([header[10], header[11]]));
    let payload = usize::try_from(payload).unwrap_or(usize::MAX);
    payload.saturating_add(HEADER + event + origin + key)
}

/// Bytes of the extent that records need.
pub(super) fn extent_bytes(records: &[Record]) -> u64 {
    let sizes = records.iter().map(|record| record_size(&record.borrowed()));
    let bytes = sizes.sum::<usize>() + FOOTER_SIZE;
    (bytes as u64).next_multiple_of(BLOCK_SIZE)
}

/// Writes records into a segment at the front of an extent.
pub(super) fn write(
    disk: &SimDisk,
    extent: Extent,
    records: &[Record],
) -> Result<(SegmentMeta, Vec<Reference>)> {
    let output = ExtentWriter::unpaced(Arc::new(disk.clone()), extent);
    let mut writer = SegmentWriter::new(output, FILE, NUMBER, TABLE);
    let mut references = Vec::new();
    for record in records {
        references.push(writer.append(&record.borrowed())?);
    }
    Ok((writer.finish(extent)?, references))
}

/// A segment as a store has it.
pub(super) fn open(disk: &SimDisk, meta: &SegmentMeta, mapped: bool) -> Segment {
    Segment::new(meta.clone(), source(disk, mapped), None)
}

/// Where fuzzed structures are read from.
pub(super) fn source(disk: &SimDisk, mapped: bool) -> Source {
    Source {
        disk: Arc::new(disk.clone()),
        file: FILE,
        mode: if mapped { ReadMode::Map } else { ReadMode::Read },
        cache: Arc::new(BlockCache::new(CACHE_BYTES)),
        around: Arc::default(),
        unpacking: Arc::default(),
    }
}

/// A file of so many bytes that nobody wrote.
pub(super) fn blank(length: u64) -> SimDisk {
    let length = usize::try_from(length).expect("a small file");
    SimDisk::from_bytes(SimOptions::default(), &vec![0xee; length])
}

/// The reference of this segment to a record.
fn reference(offset: u64) -> Reference {
    let unit = UNIT as u64;
    Reference::new(NUMBER, offset % (unit << 24) / unit * unit)
}
