//! Reads the manifest that a superblock names: all of it, or an error.
//!
//! One record is in memory at a time, and no record is longer than 1 MiB: a hostile length costs
//! nothing.

use super::format::{self, EDIT_BYTES_MAX, Header, KIND_BASE, KIND_EDITS, RECORD_BYTES_MAX};
use crate::codec::{DecodeError, round_up};
use crate::error::{Error, Result};
use crate::file::disk::{self, Disk};
use crate::file::{Extent, FileId, ManifestRef};
use crate::limits::BLOCK_SIZE;
use crate::planted::Planted;
use crate::version::{Catalog, Edit};

/// One record, for the tools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecordInfo {
    /// Where it begins in the file.
    pub(crate) offset: u64,
    /// Bytes that it takes, padding included.
    pub(crate) bytes: u64,
    /// Its number.
    pub(crate) number: u64,
    /// Whether it begins a new catalog.
    pub(crate) base: bool,
    /// Its checksum.
    pub(crate) checksum: u32,
    /// What it says.
    pub(crate) edits: Vec<Edit>,
}

impl RecordInfo {
    /// Whether the change that it is of ends with it for certain. A change goes on in the next
    /// record only where an edit had no room any more; a base ends with its counters.
    fn ends_a_change(&self) -> bool {
        let has_room = self.bytes <= (RECORD_BYTES_MAX - EDIT_BYTES_MAX) as u64;
        has_room || matches!(self.edits.last(), Some(Edit::Counters { .. }))
    }
}

/// The catalog that the manifest makes.
pub(crate) fn replay(disk: &dyn Disk, file: FileId, reference: &ManifestRef) -> Result<Catalog> {
    replay_numbered(disk, file, reference).map(|(catalog, _)| catalog)
}

/// The catalog, and the number of the last record.
pub(super) fn replay_numbered(
    disk: &dyn Disk,
    file: FileId,
    reference: &ManifestRef,
) -> Result<(Catalog, u64)> {
    let mut catalog = Catalog::new();
    let mut reader = Reader::new(disk, file, reference)?;
    while let Some(record) = reader.next()? {
        for edit in &record.edits {
            let corrupt = |detail| Error::corruption("manifest", record.offset, detail);
            catalog.apply(edit).map_err(corrupt)?;
        }
    }
    if let Some(number) = catalog.segments.unused().next() {
        let detail = format!("segment {number} is live, and no SSTable needs it");
        return Err(Error::corruption("manifest", reference.extent.offset, detail));
    }
    Ok((catalog, reader.number))
}

/// What the front of a damaged manifest makes.
pub(crate) struct Prefix {
    /// The catalog behind the last record that can be read and applied.
    pub(crate) catalog: Catalog,
    /// What ended the reading; `None` where all of the manifest could be read.
    pub(crate) damage: Option<Error>,
    /// Bytes behind the last record that counts, which may be as many records as blocks.
    pub(crate) unread: u64,
    /// The greatest commit of any SSTable that was added so far. A flush writes all commits up to
    /// its last one, so the log is needed behind that alone.
    pub(crate) flushed: u64,
    /// The same up to the last change that was read as a whole: one change may take several
    /// records, and what those behind the damage added may be of any commit behind this one.
    pub(crate) certain: u64,
}

/// The catalog that the manifest makes up to the first damage. A base that is the first record ever
/// is that of a new store, so it need not be readable itself.
pub(crate) fn replay_prefix(disk: &dyn Disk, file: FileId, reference: &ManifestRef) -> Prefix {
    let left = within_file(disk, reference);
    let (mut records, mut damage) = records_until_damage(disk, file, &left);
    let mut base = 0;
    if records.is_empty()
        && let Ok(mut reader) = Reader::behind_first_base(disk, file, &left)
    {
        let (behind, ended) = reader.rest();
        if !behind.is_empty() {
            (records, base) = (behind, BLOCK_SIZE);
            damage = damage.or(ended);
        }
    }
    let mut catalog = Catalog::new();
    let (mut read, mut flushed, mut certain) = (base, 0, 0);
    for (index, record) in records.iter().enumerate() {
        let applied = record.edits.iter().try_for_each(|edit| catalog.apply(edit));
        if let Err(detail) = applied {
            damage = damage.or(Some(Error::corruption("manifest", record.offset, detail)));
            // Half of the record was applied. A copy before each record would take the square of
            // their number.
            catalog = catalog_of(&records[..index]);
            break;
        }
        flushed = record.edits.iter().filter_map(commit_of).fold(flushed, u64::max);
        if record.ends_a_change() {
            certain = flushed;
        }
        read += record.bytes;
    }
    // Those of a change of which the rest cannot be read.
    let unused: Vec<u64> = catalog.segments.unused().collect();
    for number in unused {
        let removed = catalog.apply(&Edit::SegmentRemoved { number });
        debug_assert!(removed.is_ok(), "an unused segment can be removed");
    }
    Prefix { catalog, damage, unread: reference.length.saturating_sub(read), flushed, certain }
}

/// The catalog that these records make, all of which can be applied.
fn catalog_of(records: &[RecordInfo]) -> Catalog {
    let mut catalog = Catalog::new();
    for edit in records.iter().flat_map(|record| &record.edits) {
        catalog.apply(edit).expect("the same edits were applied a moment ago");
    }
    catalog
}

/// The last commit of the SSTable that an edit adds.
fn commit_of(edit: &Edit) -> Option<u64> {
    match edit {
        Edit::SstableAdded { meta, .. } => Some(meta.commits.1),
        _ => None,
    }
}

/// What a file that was cut short still has of its manifest.
fn within_file(disk: &dyn Disk, reference: &ManifestRef) -> ManifestRef {
    let ManifestRef { extent, length, .. } = *reference;
    let file_length = disk.length().unwrap_or(0);
    let there = file_length.saturating_sub(extent.offset) / BLOCK_SIZE * BLOCK_SIZE;
    let extent = Extent { length: extent.length.min(there), ..extent };
    ManifestRef { extent, length: length.min(there), ..*reference }
}

/// Every record, decoded.
#[cfg(test)]
pub(super) fn records(
    disk: &dyn Disk,
    file: FileId,
    reference: &ManifestRef,
) -> Result<Vec<RecordInfo>> {
    match records_until_damage(disk, file, reference) {
        (found, None) => Ok(found),
        (_, Some(error)) => Err(error),
    }
}

/// Every record up to the first damage, and that damage.
pub(crate) fn records_until_damage(
    disk: &dyn Disk,
    file: FileId,
    reference: &ManifestRef,
) -> (Vec<RecordInfo>, Option<Error>) {
    match Reader::new(disk, file, reference) {
        Ok(mut reader) => reader.rest(),
        Err(error) => (Vec::new(), Some(error)),
    }
}

/// Goes over the records of the used part.
struct Reader<'a> {
    disk: &'a dyn Disk,
    file: FileId,
    reference: ManifestRef,
    /// Offset in the extent of the next record.
    position: u64,
    /// Checksum and number of the last one.
    checksum: u32,
    number: u64,
}

impl<'a> Reader<'a> {
    fn new(disk: &'a dyn Disk, file: FileId, reference: &ManifestRef) -> Result<Reader<'a>> {
        let ManifestRef { extent, length, .. } = *reference;
        let file_length =
            disk.length().map_err(|error| Error::io("read the file's length", 0, error))?;
        let possible = length > 0
            && length <= extent.length
            && length.is_multiple_of(BLOCK_SIZE)
            && extent.offset.is_multiple_of(BLOCK_SIZE)
            && extent.offset.checked_add(extent.length).is_some_and(|end| end <= file_length);
        if !possible {
            let detail = format!(
                "{length} bytes at the front of {} cannot be in a file of {file_length}",
                extent.length
            );
            return Err(Error::corruption("manifest", extent.offset, detail));
        }
        Ok(Reader { disk, file, reference: *reference, position: 0, checksum: 0, number: 0 })
    }

    /// Behind a first record that cannot be read, but can only be the base of a new store: the
    /// record behind it has the number 2.
    fn behind_first_base(
        disk: &'a dyn Disk,
        file: FileId,
        reference: &ManifestRef,
    ) -> Result<Reader<'a>> {
        let mut reader = Reader::new(disk, file, reference)?;
        (reader.position, reader.number) = (BLOCK_SIZE, 1);
        if reader.position >= reference.length {
            return Err(reader.corrupt("there is one record alone".to_owned()));
        }
        let (header, _) = format::decode_record(&reader.read_record()?)
            .map_err(|error| reader.corrupt(error.to_string()))?;
        // The checksum of the base is what the record behind it says; that one is verified.
        reader.checksum = header.previous;
        Ok(reader)
    }

    /// The records from here on up to the first damage, and that damage.
    fn rest(&mut self) -> (Vec<RecordInfo>, Option<Error>) {
        let mut found = Vec::new();
        loop {
            match self.next() {
                Ok(Some(record)) => found.push(record),
                Ok(None) => return (found, None),
                Err(error) => return (found, Some(error)),
            }
        }
    }

    fn next(&mut self) -> Result<Option<RecordInfo>> {
        if self.position == self.reference.length {
            return self.check_end().map(|()| None);
        }
        let padded = self.read_record()?;
        let offset = self.reference.extent.offset + self.position;
        let stored = u32::from_le_bytes([padded[0], padded[1], padded[2], padded[3]]);
        let extent = self.reference.extent;
        let computed = format::record_checksum(self.file, extent, self.position, &padded);
        if stored != computed && !Planted::ManifestNotChecked.is_on() {
            return Err(self.corrupt(format!(
                "the record has checksum {stored:#010x}, its bytes {computed:#010x}"
            )));
        }
        let (header, edits) =
            format::decode_record(&padded).map_err(|error| self.corrupt(error.to_string()))?;
        self.check_chain(header)?;
        self.checksum = stored;
        self.number = header.number;
        self.position += padded.len() as u64;
        let (bytes, base) = (padded.len() as u64, header.kind == KIND_BASE);
        Ok(Some(RecordInfo { offset, bytes, number: header.number, base, checksum: stored, edits }))
    }

    /// The padded bytes of the record at the position, whose length lies inside the used part.
    fn read_record(&self) -> Result<Vec<u8>> {
        let offset = self.reference.extent.offset + self.position;
        let block = usize::try_from(BLOCK_SIZE).expect("a block is 4 KiB");
        let mut bytes = vec![0; block];
        disk::read_exact_at(self.disk, "read the manifest", offset, &mut bytes)?;
        let damaged = |error: DecodeError| self.corrupt(error.to_string());
        let length = format::decode_length(&bytes).map_err(damaged)?;
        let padded = round_up(length as u64, BLOCK_SIZE);
        if padded > self.reference.length - self.position {
            return Err(self.corrupt(format!("a record of {length} bytes leaves the used part")));
        }
        bytes.resize(usize::try_from(padded).expect("records are short"), 0);
        let rest = &mut bytes[block..];
        disk::read_exact_at(self.disk, "read the manifest", offset + BLOCK_SIZE, rest)?;
        Ok(bytes)
    }

    /// Rules (4) and (5) of the format.
    fn check_chain(&self, header: Header) -> Result<()> {
        let expected = if self.position == 0 { KIND_BASE } else { KIND_EDITS };
        if header.kind != expected {
            return Err(self.corrupt(format!("a record of kind {} is out of place", header.kind)));
        }
        if header.previous != self.checksum {
            return Err(self.corrupt(format!(
                "the record follows one of checksum {:#010x}, and stands behind {:#010x}",
                header.previous, self.checksum
            )));
        }
        // A base may have any number but 0: numbers go on from extent to extent.
        let follows = match self.position {
            0 => header.number > 0,
            _ => self.number.checked_add(1) == Some(header.number),
        };
        if !follows {
            return Err(self.corrupt(format!(
                "record {} stands behind record {}",
                header.number, self.number
            )));
        }
        Ok(())
    }

    /// Rule (8).
    fn check_end(&self) -> Result<()> {
        if self.checksum == self.reference.checksum {
            return Ok(());
        }
        Err(self.corrupt(format!(
            "the last record has checksum {:#010x}, the superblock says {:#010x}",
            self.checksum, self.reference.checksum
        )))
    }

    fn corrupt(&self, detail: String) -> Error {
        Error::corruption("manifest", self.reference.extent.offset + self.position, detail)
    }
}
