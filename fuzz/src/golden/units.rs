//! Which bytes of the golden files are what, as the inspector tells it of the undamaged store.
//!
//! Every byte belongs to exactly one unit. A unit that is *used* is one of which `verify` must find
//! each damage. The others nobody reads: free space, the ring outside of the log, what pads a
//! group, what lies behind the used part of a manifest, between the superblock copies, and the
//! older header of the cold file.

use super::store::Machine;
use std::ops::Range;
use std::sync::Arc;
use tidelog_engine::inspect::{Inspector, SpaceKind};
use tidelog_engine::limits::{BLOCK_SIZE, RING_OFFSET};
use tidelog_engine::{Disk, Result, SstableMeta, Tier};

/// What becomes of damage in a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// It is found.
    Used,
    /// It is found, or the group is cut as a torn tail: the last of the log.
    LastGroup,
    /// Nobody reads it.
    Unused,
}

/// A piece of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) file: usize,
    pub(crate) bytes: Range<u64>,
    /// The structure that it is a part of.
    pub(crate) owner: Range<u64>,
    pub(crate) what: &'static str,
    pub(crate) usage: Use,
}

/// All units of both files, in order of file and place.
pub(crate) struct Units {
    units: Vec<Unit>,
}

/// Both files of a machine under inspection.
pub(crate) fn inspector(machine: &Machine) -> Inspector {
    let cold: Arc<dyn Disk> = Arc::new(machine.cold.reopen());
    Inspector::over(Arc::new(machine.main.reopen())).with_cold(cold)
}

impl Units {
    /// Those of an undamaged store.
    ///
    /// # Errors
    /// Those of the inspector.
    pub(crate) fn of(machine: &Machine) -> Result<Units> {
        let inspector = inspector(machine);
        let mut finder = Finder { machine, units: Vec::new() };
        for copy in inspector.superblocks() {
            let bytes = copy.offset..copy.offset + BLOCK_SIZE;
            finder.add(0, bytes, 0..RING_OFFSET, "superblock copy", Use::Used);
        }
        finder.log(&inspector)?;
        let manifest = inspector.root()?.manifest;
        for record in inspector.manifest()?.records {
            let bytes = record.offset..record.offset + record.bytes;
            let owner = manifest.offset..manifest.end();
            finder.add(0, bytes, owner, "manifest record", Use::Used);
        }
        for sstable in inspector.sstables()? {
            finder.sstable(&inspector, &sstable.meta)?;
        }
        let segments: Vec<_> = inspector.space()?;
        for run in segments {
            if let SpaceKind::Segment(_) = run.kind {
                finder.segment(&inspector, run.extent.offset..run.extent.end())?;
            }
        }
        // The other copy is that of the generation before; a crash may have left anything there.
        let generation = inspector.root()?.cold_file.map_or(0, |(_, generation)| generation);
        let header = generation % 2 * BLOCK_SIZE;
        finder.add(1, header..header + BLOCK_SIZE, 0..RING_OFFSET, "cold header", Use::Used);
        Ok(finder.fill())
    }

    /// Those that are used, and the last group.
    pub(crate) fn used(&self) -> impl Iterator<Item = &Unit> {
        self.units.iter().filter(|unit| unit.usage != Use::Unused)
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[Unit] {
        &self.units
    }

    /// Those that a range of a file touches.
    pub(crate) fn touched(&self, file: usize, bytes: &Range<u64>) -> impl Iterator<Item = &Unit> {
        let first =
            self.units.partition_point(|unit| (unit.file, unit.bytes.end) <= (file, bytes.start));
        let (file, end) = (file, bytes.end);
        self.units[first..]
            .iter()
            .take_while(move |unit| unit.file == file && unit.bytes.start < end)
    }
}

struct Finder<'a> {
    machine: &'a Machine,
    units: Vec<Unit>,
}

impl Finder<'_> {
    fn add(
        &mut self,
        file: usize,
        bytes: Range<u64>,
        owner: Range<u64>,
        what: &'static str,
        usage: Use,
    ) {
        self.units.push(Unit { file, bytes, owner, what, usage });
    }

    fn log(&mut self, inspector: &Inspector) -> Result<()> {
        let ring = inspector.root()?.ring;
        let groups = inspector.log()?.groups;
        for (index, group) in groups.iter().enumerate() {
            let mut length = [0; 4];
            self.machine.main.read_at(group.offset + 16, &mut length).expect("it was just read");
            let end = group.offset + u64::from(u32::from_le_bytes(length));
            assert!(end <= ring.end(), "the golden log does not wrap");
            let last = index + 1 == groups.len();
            let usage = if last { Use::LastGroup } else { Use::Used };
            self.add(0, group.offset..end, ring.offset..ring.end(), "log group", usage);
        }
        Ok(())
    }

    /// An SSTable: its blocks, and the zeros that pad them, which nobody but `verify` reads.
    fn sstable(&mut self, inspector: &Inspector, meta: &SstableMeta) -> Result<()> {
        let file = usize::from(meta.shard.tier == Tier::Cold);
        let owner = meta.extent.offset..meta.extent.end();
        let mut end = owner.start;
        let mut blocks = inspector.blocks(meta.number)?;
        blocks.sort_by_key(|block| block.offset);
        for block in blocks {
            if block.offset > end {
                self.add(file, end..block.offset, owner.clone(), "SSTable padding", Use::Used);
            }
            end = block.offset + block.length;
            self.add(file, block.offset..end, owner.clone(), block.kind, Use::Used);
        }
        assert_eq!(end, owner.start + meta.bytes, "an SSTable ends with its footer");
        Ok(())
    }

    /// A segment; what lies behind its used part is no part of it.
    fn segment(&mut self, inspector: &Inspector, extent: Range<u64>) -> Result<()> {
        let of_manifest = inspector.segments()?;
        let of_log = inspector.log()?.payloads;
        let of_log = of_log.iter().map(|payload| &payload.segment);
        let meta = of_manifest.iter().chain(of_log).find(|meta| meta.extent.offset == extent.start);
        let bytes = meta.expect("the map names what is there").bytes;
        let end = extent.start + bytes;
        self.add(0, extent.start..end, extent, "segment", Use::Used);
        Ok(())
    }

    /// Everything between is unused.
    fn fill(mut self) -> Units {
        self.units.sort_by_key(|unit| (unit.file, unit.bytes.start));
        let mut units = Vec::new();
        let files = [0, 1].map(|file| self.machine.disk(file).length().expect("it is there"));
        for (file, length) in files.into_iter().enumerate() {
            let mut end = 0;
            let gap = |from: u64, to: u64| Unit {
                file,
                bytes: from..to,
                owner: from..to,
                what: "unused",
                usage: Use::Unused,
            };
            for unit in self.units.iter().filter(|unit| unit.file == file) {
                assert!(unit.bytes.start >= end, "units overlap: {unit:?}");
                if unit.bytes.start > end {
                    units.push(gap(end, unit.bytes.start));
                }
                end = unit.bytes.end;
                units.push(unit.clone());
            }
            if length > end {
                units.push(gap(end, length));
            }
        }
        Units { units }
    }
}
