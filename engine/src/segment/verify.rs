//! Checks everything that a segment says of itself, straight from the disk.
//!
//! 1. The footer, against the manifest.
//! 2. Every record, front to back: checksum, fields, the zeros behind it.
//! 3. The counts and the checksum over all records, against the footer.
//!
//! A record is found by the length of the one before. Behind one that is damaged the next is looked
//! for at every place where one may begin: the seed of the checksum, which holds the place, keeps
//! bytes of payloads from being taken for one. What is between the two is lost; the records behind
//! are read well by their references all the same.

use super::format::{self, FOOTER_SIZE, Footer, RECORD_HEADER, RECORD_UNIT, RecordHead};
use super::{Reference, Segment};
use crate::error::{Corruption, Error, Result};
use crc32fast::Hasher;

/// So many times its bytes are read at most to find sound records behind damaged ones: of the
/// segment, up to `SEARCHED_BYTES`, and once more of what was passed.
const SEARCHED_SHARE: u64 = 4;
const SEARCHED_BYTES: u64 = 16 << 20;
/// Bytes that a read which fails counts as.
const FAILURE_BYTES: u64 = 4 << 20;
/// Damaged records of a segment that are named.
const DAMAGE_MAX: usize = 1000;

/// Where the records of a segment begin: what references must name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RecordPlaces {
    /// Offsets in units, rising; up to the first damage.
    units: Vec<u32>,
    /// Whether all records were found.
    pub(crate) whole: bool,
    /// How many of them were erased; 0 where not all were found.
    pub(crate) erased: u64,
}

impl RecordPlaces {
    /// The offsets of all records, rising.
    #[cfg(test)]
    pub(crate) fn offsets(&self) -> impl Iterator<Item = u64> {
        self.units.iter().map(|unit| u64::from(*unit) * RECORD_UNIT as u64)
    }

    /// Whether a record begins where the reference says.
    pub(crate) fn contains(&self, reference: Reference) -> bool {
        let unit = u32::try_from(reference.offset() / RECORD_UNIT as u64);
        unit.is_ok_and(|unit| self.units.binary_search(&unit).is_ok())
    }
}

/// What the footer says of all records together.
#[derive(Debug, Clone, Default)]
pub(super) struct Totals {
    pub(super) records: u64,
    pub(super) payload_bytes: u64,
    pub(super) erased: u64,
    /// Over their checksums.
    pub(super) checksum: Hasher,
}

impl Totals {
    /// One record more, which is verified.
    pub(super) fn add(&mut self, head: RecordHead, bytes: &[u8]) {
        self.records += 1;
        self.payload_bytes += head.payload_range().len() as u64;
        self.erased += u64::from(head.is_erased());
        self.checksum.update(&format::carried_checksum(bytes).to_le_bytes());
    }
}

impl Segment {
    /// Everything that is wrong with the segment, and where its records are.
    pub(crate) fn verify_all(&self) -> (Vec<Corruption>, RecordPlaces) {
        let mut damage = Vec::new();
        let mut places = RecordPlaces::default();
        let footer = self.footer();
        let (mut begin, mut searched) = (0, 0);
        let mut found = Totals::default();
        while let Err((offset, error)) = self.walk_on(begin, &mut found, &mut |_, offset, _| {
            let unit = u32::try_from(offset / RECORD_UNIT as u64);
            places.units.push(unit.expect("a segment has at most 2^24 units"));
        }) {
            damage.push(self.corruption(error));
            match self.next_record(offset, &mut searched) {
                Some(next) if damage.len() < DAMAGE_MAX => begin = next,
                Some(next) => {
                    let detail = format!("behind {DAMAGE_MAX} damaged places nothing is looked at");
                    damage.push(self.corruption(self.damage(next, detail)));
                    break;
                }
                None => break,
            }
        }
        if damage.is_empty() {
            places.whole = true;
            places.erased = found.erased;
            if let Ok(footer) = footer
                && let Err(error) = self.check_totals(&footer, &found)
            {
                damage.push(self.corruption(error));
            }
        }
        if let Err(error) = footer {
            damage.push(self.corruption(error));
        }
        (damage, places)
    }

    /// The record that holds the byte at `offset` of the segment, or the footer, in words.
    pub(crate) fn describe(&self, offset: u64) -> Result<String> {
        if offset >= self.data_length() {
            return Ok(format!("{:#?}\n", self.footer()?));
        }
        let mut text = None;
        let walked = self.walk(|head, start, bytes| {
            if (start..start + head.padded() as u64).contains(&offset) {
                let shared = format::decode_shared(head, bytes);
                let payload = &bytes[head.payload_range()];
                let shown = payload[..payload.len().min(48)].escape_ascii();
                let length = payload.len();
                let state = if head.is_erased() { "erased" } else { "bytes" };
                text = Some(format!(
                    "record at {start}: event time, origin {shared:?}, ({length} {state}) {shown}\n"
                ));
            }
        });
        match (text, walked) {
            (Some(text), _) => Ok(text),
            (None, Err(error)) => Err(error),
            (None, Ok(_)) => Err(self.damage(offset, "there is no record here")),
        }
    }

    /// Whether the footer, which is that of the manifest, says the same as the records.
    pub(super) fn check_totals(&self, footer: &Footer, found: &Totals) -> Result<()> {
        let said = (footer.records, footer.payload_bytes, footer.erased, footer.records_checksum);
        let checksum = found.checksum.clone().finalize();
        match said == (found.records, found.payload_bytes, found.erased, checksum) {
            true => Ok(()),
            false => Err(self.damage(
                self.data_length(),
                "its footer does not count or sum up the records that are there",
            )),
        }
    }

    /// The footer, verified against the manifest.
    pub(super) fn footer(&self) -> Result<Footer> {
        self.checked_place()?;
        let mut bytes = [0; FOOTER_SIZE];
        let offset = self.data_length();
        self.read(offset, &mut bytes)?;
        let meta = self.meta();
        let (file, expected) = (self.source.file, meta.footer_checksum);
        let footer = Footer::decode(file, meta.number, offset, expected, &bytes)
            .map_err(|detail| self.damage(offset, detail))?;
        let known = (footer.records, footer.payload_bytes, footer.table);
        if known != (meta.records, meta.payload_bytes, meta.table) {
            return Err(self.damage(offset, "its footer differs from the manifest"));
        }
        Ok(footer)
    }

    /// Calls `each` with every record; gives what the footer should say of them.
    fn walk(&self, mut each: impl FnMut(RecordHead, u64, &[u8])) -> Result<Totals> {
        let mut totals = Totals::default();
        match self.walk_on(0, &mut totals, &mut each) {
            Ok(()) => Ok(totals),
            Err((_, error)) => Err(error),
        }
    }

    /// Calls `each` with every record from the one at `offset` on, up to the first damage: then
    /// where that is comes with the error.
    fn walk_on(
        &self,
        mut offset: u64,
        totals: &mut Totals,
        each: &mut impl FnMut(RecordHead, u64, &[u8]),
    ) -> Result<(), (u64, Error)> {
        self.checked_place().map_err(|error| (self.data_length(), error))?;
        let mut bytes = Vec::new();
        while offset < self.data_length() {
            let head = self.padded_record(offset, &mut bytes).map_err(|error| (offset, error))?;
            totals.add(head, &bytes);
            each(head, offset, &bytes[..head.length()]);
            offset += head.padded() as u64;
        }
        Ok(())
    }

    /// Reads the record at `offset` with its padding, and verifies it.
    fn padded_record(&self, offset: u64, bytes: &mut Vec<u8>) -> Result<RecordHead> {
        let room = usize::try_from(self.data_length() - offset).unwrap_or(usize::MAX);
        bytes.clear();
        bytes.resize(room.min(RECORD_HEADER), 0);
        self.read(offset, bytes)?;
        let padded = self.whole_head(offset, bytes)?.padded();
        bytes.resize(padded, 0);
        self.read(offset, bytes)?;
        self.verify_padded(offset, bytes)
    }

    /// The next sound record behind a damaged one. `searched` counts the bytes that were read in
    /// vain so far: a record at every few bytes may say a length that can be, and all of them
    /// together the square of the segment's.
    fn next_record(&self, damaged: u64, searched: &mut u64) -> Option<u64> {
        let mut bytes = vec![0; RECORD_HEADER];
        // Where only the payload is damaged, the length is right.
        let head = self.read(damaged, &mut bytes).ok().and_then(|()| {
            let head = self.whole_head(damaged, &bytes).ok()?;
            Some(damaged + head.padded() as u64)
        });
        if head == Some(self.data_length()) {
            return None;
        }
        // It was read before it was found to be damaged.
        *searched += head.map_or(0, |end| end - damaged);
        let base = self.data_length().min(SEARCHED_BYTES);
        let units = (damaged + RECORD_UNIT as u64..self.data_length()).step_by(RECORD_UNIT);
        for offset in head.into_iter().chain(units) {
            if *searched > SEARCHED_SHARE * (base + offset) {
                return None;
            }
            *searched += match self.padded_record(offset, &mut bytes) {
                Ok(_) => return Some(offset),
                Err(Error::Corruption(_)) => bytes.len().max(RECORD_UNIT) as u64,
                // A disk that fails is not asked again and again.
                Err(_) => FAILURE_BYTES,
            };
        }
        None
    }

    /// The front of a record at `offset`, which with its padding fits before the footer. Not
    /// verified.
    pub(super) fn whole_head(&self, offset: u64, bytes: &[u8]) -> Result<RecordHead> {
        let head =
            RecordHead::decode(bytes).map_err(|error| self.damage(offset, error.to_string()))?;
        match head.padded() as u64 <= self.data_length() - offset {
            true => Ok(head),
            false => Err(self.damage(offset, format!("{} bytes reach the footer", head.padded()))),
        }
    }

    /// Verifies a record with its padding.
    pub(super) fn verify_padded(&self, offset: u64, bytes: &[u8]) -> Result<RecordHead> {
        let head = self.whole_head(offset, bytes)?;
        let (record, padding) = bytes.split_at(head.length());
        self.verify(offset, record)?;
        match padding.iter().all(|byte| *byte == 0) {
            true => Ok(head),
            false => Err(self.damage(offset, "the bytes behind the record are not zero")),
        }
    }

    fn corruption(&self, error: Error) -> Corruption {
        match error {
            Error::Corruption(corruption) => corruption,
            other => Corruption {
                what: super::reader::RECORD,
                offset: self.meta().extent.offset,
                detail: other.to_string(),
            },
        }
    }
}
