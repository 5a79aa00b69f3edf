//! The checksums of an SSTable whose bytes were changed, by the layout that the documents give.

use crate::codec::{checksum, checksum_seeded};
use crate::file::FileId;
use crate::testing::fuzzing::put_checksum;

/// Bytes of a page.
const PAGE: usize = 4096;
/// Bytes of the header of a block or page.
const HEADER: usize = 40;
/// Bytes of an entry of the index, and where it holds the checksum of its block.
const INDEX_ENTRY: usize = 48;
const INDEX_CHECKSUM: usize = 12;
/// Where the footer describes its sections, how long each description is, and where it holds the
/// checksum.
const SECTIONS_START: usize = HEADER + 32;
const SECTION: usize = 32;
const SECTION_CHECKSUM: usize = 24;
/// The sections in their order, by the kinds of their blocks.
const SECTIONS: [&[&str]; 6] = [
    &["SSTable timeline block", "SSTable keyed block"],
    &["SSTable index page"],
    &["SSTable directory page"],
    &["SSTable filter page"],
    &["SSTable properties"],
    &["SSTable dictionary"],
];

/// A block or page of an undamaged SSTable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit {
    /// What it is.
    pub kind: &'static str,
    /// Where it begins in the SSTable.
    pub offset: u64,
    /// Bytes, header included.
    pub length: u64,
}

impl Unit {
    /// Where it lies in the bytes of the SSTable.
    ///
    /// # Panics
    /// If those do not fit in memory.
    pub fn range(&self) -> std::ops::Range<usize> {
        let start = usize::try_from(self.offset).expect("a small SSTable");
        start..start + usize::try_from(self.length).expect("a small SSTable")
    }
}

/// Gives blocks, pages and sections the checksums that they have, from the data to the footer, and
/// returns that of the footer, which the manifest holds. `units`: those of the undamaged SSTable,
/// in order.
pub fn repair(bytes: &mut [u8], file: FileId, number: u64, units: &[Unit]) -> u32 {
    let is_index = |unit: &&Unit| SECTIONS[1].contains(&unit.kind);
    let index = units.iter().find(is_index).map_or(0, |unit| unit.range().start);
    let footer = units.last().map_or(0, |unit| unit.range().start);
    for (section, kinds) in SECTIONS.into_iter().enumerate() {
        let mut carried: Vec<u8> = Vec::new();
        let of_section = units.iter().filter(|unit| kinds.contains(&unit.kind));
        for (block, unit) in of_section.enumerate() {
            let sum = seal(&mut bytes[unit.range()], file, number, unit.offset);
            carried.extend_from_slice(&sum.to_le_bytes());
            if section == 0 {
                put_checksum(bytes, index + index_place(block) + INDEX_CHECKSUM, sum);
            }
        }
        let place = footer + SECTIONS_START + section * SECTION + SECTION_CHECKSUM;
        put_checksum(bytes, place, checksum(&carried));
    }
    seal(&mut bytes[footer..], file, number, footer as u64)
}

/// Where the index describes a data block, from its first page on.
fn index_place(block: usize) -> usize {
    let per_page = (PAGE - HEADER) / INDEX_ENTRY;
    block / per_page * PAGE + HEADER + block % per_page * INDEX_ENTRY
}

/// Gives a block that begins at `offset` of its SSTable the checksum that it has.
fn seal(block: &mut [u8], file: FileId, number: u64, offset: u64) -> u32 {
    let sum = checksum_seeded(file, number, offset, &block[4..]);
    put_checksum(block, 0, sum);
    sum
}
