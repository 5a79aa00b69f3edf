//! An SSTable being written anew, under the number that it had.
//!
//! The number stays, since level 0 is ordered by it; and no block of the damaged one is in the new
//! file, so nothing can be taken for what it is not. Table, shard and level stay, too: key ranges
//! only shrink.

use super::target::{Appender, Target};
use crate::entry::KeyedVersion;
use crate::error::Result;
use crate::file::FileId;
use crate::limits::{COLD_BLOCK_BYTES, DATA_BLOCK_BYTES};
use crate::sstable::{Builder, BuilderOptions, EntryRef, FragmentView};
use crate::version::{SstableMeta, TableRecord, Tier};

/// See the module.
pub(super) struct Rebuild {
    builder: Builder<Appender>,
}

impl Rebuild {
    pub(super) fn of(
        meta: &SstableMeta,
        record: &TableRecord,
        file: FileId,
        target: &Target,
    ) -> Rebuild {
        let (compression, block_bytes) = match meta.shard.tier {
            Tier::Hot => (record.options.compression, DATA_BLOCK_BYTES),
            Tier::Cold => (record.options.compression.of_cold(), COLD_BLOCK_BYTES),
        };
        let options = BuilderOptions {
            file,
            number: meta.number,
            table: meta.table,
            kind: meta.kind,
            compression,
            block_bytes,
        };
        Rebuild { builder: Builder::new(target.appender(), options) }
    }

    pub(super) fn append_fragment(&mut self, fragment: &FragmentView<'_>) -> Result<()> {
        self.builder.append_fragment(fragment)
    }

    pub(super) fn append(&mut self, key: &[u8], entry: &EntryRef<'_>) -> Result<()> {
        self.builder.append(key, entry)
    }

    pub(super) fn add_version(&mut self, version: &KeyedVersion) -> Result<()> {
        self.builder.add_version(version)
    }

    /// Writes the rest; `None` where there is nothing in it.
    pub(super) fn finish(
        self,
        old: &SstableMeta,
        target: &mut Target,
    ) -> Result<Option<SstableMeta>> {
        if self.builder.entries() == 0 {
            return Ok(None);
        }
        let (appender, built) = self.builder.finish()?;
        let extent = target.place(appender)?;
        let of = (old.table, old.kind);
        Ok(Some(SstableMeta { shard: old.shard, ..built.into_meta(old.number, of, extent) }))
    }
}
