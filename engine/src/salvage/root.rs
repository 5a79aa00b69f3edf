//! What a salvage stands on: the root, and the catalog that its manifest makes, as far as they can
//! be read.
//!
//! 1. The state that an opening would choose; where no two copies agree, the newest valid copy:
//!    everything that a copy refers to was on the disk before it was written.
//! 2. The catalog up to the first damage of the manifest. What was flushed behind that is in
//!    SSTables that nobody names; the ring may still hold it.

use super::bodies::Contents;
use super::findings::Findings;
use super::report::Loss;
use crate::error::{Error, Result};
use crate::file::disk::Disk;
use crate::file::superblock::{self, CopyState, Superblock};
use crate::limits::SUPERBLOCK_STRIDE;
use crate::manifest::{self, Prefix};
use crate::options::TableOptions;
use crate::version::{Catalog, Edit, TableKind, TableRecord};

/// See the module.
pub(super) struct Root {
    pub(super) superblock: Superblock,
    /// Whether an opening would choose it.
    pub(super) by_quorum: bool,
    pub(super) catalog: Catalog,
    /// What is in SSTables of the catalog reaches up to this commit.
    pub(super) commit: u64,
    /// Whether all of the manifest could be read.
    pub(super) whole: bool,
    /// Blocks of the manifest that could not be read: no more records can be in them.
    pub(super) unread: u64,
}

impl Root {
    /// Reads both.
    ///
    /// # Errors
    /// That of the opening where there is no valid copy at all; `Unsupported` for another version.
    pub(super) fn read(disk: &dyn Disk, findings: &mut Findings) -> Result<Root> {
        let (superblock, by_quorum) = choose(disk, findings)?;
        superblock.check_writable()?;
        let prefix = manifest::replay_prefix(disk, superblock.file, &superblock.manifest);
        let Prefix { catalog, damage, unread, flushed, certain } = prefix;
        let mut root = Root {
            commit: superblock.commit,
            superblock,
            by_quorum,
            catalog,
            whole: damage.is_none(),
            unread: unread / crate::limits::BLOCK_SIZE,
        };
        if let Some(error) = damage {
            root.commit = flushed.min(root.superblock.commit);
            let offset = match &error {
                Error::Corruption(corruption) => corruption.offset,
                _ => root.superblock.manifest.extent.offset,
            };
            findings.absorb("manifest", offset, error)?;
            findings.lose(Loss::Manifest { offset, commit: certain.min(root.commit) });
        }
        Ok(root)
    }

    /// Tables that the log writes to and that the readable part of the manifest does not know yet
    /// get a name and the usual options.
    pub(super) fn create_unknown_tables(&mut self, contents: &Contents, findings: &mut Findings) {
        let next_table = self.catalog.next_table;
        let unknown = contents.tables.iter().filter(|(id, _)| id.0 >= next_table);
        for (id, kind) in unknown {
            let options = match kind {
                TableKind::Timeline => TableOptions::timeline(),
                TableKind::Keyed => TableOptions::keyed(),
            };
            let name = format!("salvaged table {}", id.0);
            let created = Edit::TableCreated(TableRecord::new(*id, &name, options));
            let detail = match self.catalog.apply(&created) {
                Ok(()) => format!("table {} is called {name:?}, and has the usual options", id.0),
                Err(detail) => detail,
            };
            findings.damaged("manifest", self.superblock.manifest.extent.offset, detail);
        }
    }
}

fn choose(disk: &dyn Disk, findings: &mut Findings) -> Result<(Superblock, bool)> {
    let copies = superblock::read_copies(disk);
    let mut best: Option<Superblock> = None;
    for (copy, state) in (0u64..).zip(copies) {
        match state {
            CopyState::Valid(found) => {
                if let Err(detail) = found.check_counters() {
                    findings.damaged("superblock copy", copy * SUPERBLOCK_STRIDE, detail);
                } else if best.as_ref().is_none_or(|best| best.sequence < found.sequence) {
                    best = Some(*found);
                }
            }
            CopyState::Unsupported(detail) | CopyState::Damaged(detail) => {
                findings.damaged("superblock copy", copy * SUPERBLOCK_STRIDE, detail);
            }
        }
    }
    match superblock::read(disk) {
        Ok(superblock) => Ok((superblock, true)),
        Err(error @ Error::Unsupported { .. }) => Err(error),
        Err(error) => match best {
            Some(best) => {
                findings.absorb("superblock", 0, error)?;
                Ok((best, false))
            }
            None => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::fuzzing::superblock::{FILE_LENGTH, write};
    use crate::testing::{SimDisk, SimOptions};

    /// Whoever went on counting from there would meet the end of the numbers.
    #[test]
    fn a_copy_that_leaves_no_room_to_count_is_no_root() {
        let length = usize::try_from(FILE_LENGTH).unwrap();
        let disk = SimDisk::from_bytes(SimOptions::default(), &vec![0; length]);
        write(&disk, u64::MAX, 1).unwrap();
        let mut findings = Findings::default();
        let refused = Root::read(&disk, &mut findings).err().unwrap();
        assert!(refused.to_string().contains("sequence"), "{refused}");
        assert_eq!(findings.report.damage.len(), 4);
    }
}
