//! Where the structures of a golden store lie, and what holds the checksum of which: so that bytes
//! that were changed can be given their checksums from the leaves to the root.
//!
//! ```text
//! blocks, records ─► footers of SSTables and segments ─► manifest ─► superblock copies
//!                                     └────────────────► log groups, each of which names the last
//! ```

use super::stores::index;
use crate::golden::store::Machine;
use crate::golden::units::inspector;
use std::ops::Range;
use tidelog_engine::inspect::Inspector;
use tidelog_engine::limits::{BLOCK_SIZE, SUPERBLOCK_COPIES, SUPERBLOCK_STRIDE};
use tidelog_engine::testing::fuzzing::{cold, manifest, segment, sstable, superblock, wal};
use tidelog_engine::{FileId, Result, SegmentMeta, SstableMeta, Tier};

/// Where a superblock copy holds the checksum of the manifest's last record.
const MANIFEST_CHECKSUM: usize = 128;
/// Where a group holds the header checksum of the one before.
const PREVIOUS: usize = 64;

/// See the module.
pub(super) struct Layout {
    file: FileId,
    salt: u64,
    /// The end of the ring.
    ring_end: usize,
    /// Logical position and place of each group, oldest first.
    groups: Vec<(u64, usize)>,
    /// The used part of the manifest.
    manifest: Range<usize>,
    structures: Vec<Structure>,
    /// The newest header of the cold file.
    cold_header: Range<usize>,
}

/// An SSTable or a segment.
struct Structure {
    file: usize,
    bytes: Range<usize>,
    number: u64,
    parts: Parts,
    footer_checksum: u32,
    /// What the manifest, or the log, has in front of the footer's checksum, and how many bytes lie
    /// between.
    named_by: Vec<(Vec<u8>, usize)>,
}

/// The parts that have checksums of their own.
enum Parts {
    /// Blocks and pages of an SSTable.
    Blocks(Vec<sstable::Unit>),
    /// Places of the records of a segment.
    Records(Vec<u64>),
}

impl Layout {
    /// That of an undamaged store.
    ///
    /// # Errors
    /// Those of the inspector.
    pub(super) fn of(machine: &Machine, files: &[Vec<u8>; 2]) -> Result<Layout> {
        let inspector = inspector(machine);
        let root = inspector.root()?;
        let log = inspector.log()?;
        let mut groups = Vec::new();
        for group in &log.groups {
            groups.push((group.lsn.0, place(group.offset)));
        }
        let mut structures = Vec::new();
        for report in inspector.sstables()? {
            structures.push(Structure::of_sstable(&inspector, &report.meta)?);
        }
        let of_log = log.payloads.iter().map(|payload| payload.segment.clone());
        for meta in inspector.segments()?.into_iter().chain(of_log) {
            structures.push(Structure::of_segment(&meta, &files[0]));
        }
        let manifest = root.manifest.offset..root.manifest.offset + root.manifest_length;
        let generation = root.cold_file.map_or(0, |(_, generation)| generation);
        let header = generation % 2 * BLOCK_SIZE;
        Ok(Layout {
            file: root.file,
            salt: root.salt,
            ring_end: place(root.ring.end()),
            groups,
            manifest: index(&manifest),
            structures,
            cold_header: index(&(header..header + BLOCK_SIZE)),
        })
    }

    /// Gives everything the checksums that it has.
    pub(super) fn repair(&self, files: &mut [Vec<u8>; 2]) {
        for structure in &self.structures {
            let bytes = &mut files[structure.file][structure.bytes.clone()];
            let sum = structure.repair(bytes, self.file);
            if sum != structure.footer_checksum {
                self.name(structure, sum, &mut files[0]);
            }
        }
        let [main, cold_file] = files;
        self.repair_log(main);
        let extent = self.manifest.start as u64;
        let sum = manifest::repair(&mut main[self.manifest.clone()], self.file, extent);
        for copy in 0..SUPERBLOCK_COPIES {
            let start = place(copy as u64 * SUPERBLOCK_STRIDE);
            let bytes = &mut main[start..start + place(BLOCK_SIZE)];
            put(bytes, MANIFEST_CHECKSUM, sum);
            superblock::repair(bytes);
        }
        cold::repair(&mut cold_file[self.cold_header.clone()]);
    }

    /// Lets manifest and log know of a new footer, as far as they still name the structure.
    fn name(&self, structure: &Structure, sum: u32, main: &mut [u8]) {
        let mut places = vec![self.manifest.clone()];
        if let Some((_, first)) = self.groups.first() {
            places.push(*first..self.ring_end);
        }
        for (needle, gap) in &structure.named_by {
            for range in &places {
                let bytes = &mut main[range.clone()];
                for start in occurrences(bytes, needle) {
                    put(bytes, start + needle.len() + gap, sum);
                }
            }
        }
    }

    fn repair_log(&self, main: &mut [u8]) {
        let mut previous: Option<u32> = None;
        for (lsn, start) in &self.groups {
            let group = &mut main[*start..self.ring_end];
            if let Some(sum) = previous {
                put(group, PREVIOUS, sum);
            }
            wal::repair(group, self.file, self.salt, *lsn);
            previous = Some(u32::from_le_bytes([group[0], group[1], group[2], group[3]]));
        }
    }
}

impl Structure {
    fn of_sstable(inspector: &Inspector, meta: &SstableMeta) -> Result<Structure> {
        let extent = meta.extent;
        let mut units = Vec::new();
        for block in inspector.blocks(meta.number)? {
            let (kind, offset, length) = (block.kind, block.offset - extent.offset, block.length);
            units.push(sstable::Unit { kind, offset, length });
        }
        let needle = [meta.shard.window, extent.offset, extent.length, meta.bytes];
        Ok(Structure {
            file: usize::from(meta.shard.tier == Tier::Cold),
            bytes: index(&(extent.offset..extent.offset + meta.bytes)),
            number: meta.number,
            parts: Parts::Blocks(units),
            footer_checksum: meta.footer_checksum,
            named_by: vec![(words(&needle), 0)],
        })
    }

    fn of_segment(meta: &SegmentMeta, main: &[u8]) -> Structure {
        let extent = meta.extent;
        let bytes = index(&(extent.offset..extent.offset + meta.bytes));
        let offsets = segment::record_offsets(&main[bytes.clone()]);
        Structure {
            file: 0,
            bytes,
            number: meta.number,
            parts: Parts::Records(offsets),
            footer_checksum: meta.footer_checksum,
            named_by: vec![
                // Added, and replaced.
                (words(&[extent.offset, extent.length, meta.bytes]), 0),
                (words(&[meta.number, extent.offset, extent.length]), 0),
                // Named by a message: length and home table come before the checksum.
                (words(&[meta.number, extent.offset]), 8),
            ],
        }
    }

    /// Repairs its bytes, and gives the checksum of its footer.
    fn repair(&self, bytes: &mut [u8], file: FileId) -> u32 {
        match &self.parts {
            Parts::Blocks(units) => sstable::repair(bytes, file, self.number, units),
            Parts::Records(offsets) => segment::repair(bytes, file, self.number, offsets),
        }
    }
}

/// Numbers as they lie in the file.
fn words(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// Where a needle begins in some bytes.
fn occurrences(bytes: &[u8], needle: &[u8]) -> Vec<usize> {
    let windows = bytes.windows(needle.len()).enumerate();
    windows.filter(|(_, window)| *window == needle).map(|(start, _)| start).collect()
}

/// Replaces a checksum, if it is there.
fn put(bytes: &mut [u8], offset: usize, sum: u32) {
    if let Some(field) = bytes.get_mut(offset..offset + 4) {
        field.copy_from_slice(&sum.to_le_bytes());
    }
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).expect("a small file")
}
