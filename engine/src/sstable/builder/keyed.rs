//! The part of the builder that takes versions of a keyed table.

use super::{Builder, Last, Output, check_key, check_payload};
use crate::entry::KeyedVersion;
use crate::error::Result;
use crate::sstable::block_writer::FirstEntry;
use crate::sstable::keyed_block::{encode_version, version_size};
use crate::version::TableKind;

impl<O: Output> Builder<O> {
    /// Adds a version: keys rise, versions of a key come newest first.
    pub(crate) fn add_version(&mut self, version: &KeyedVersion) -> Result<()> {
        self.check_use(TableKind::Keyed)?;
        check_key(&version.key)?;
        check_payload(&version.value)?;
        let new_key = match &self.last {
            Last::Version { key, commit, index } => {
                let older = (*commit, *index) > (version.commit, version.index);
                if **key > *version.key || (**key == *version.key && !older) {
                    return Err(self.disorder("versions are not in order"));
                }
                **key != *version.key
            }
            _ => true,
        };
        let size = version_size(version);
        if !self.block.is_empty() && self.block.size() + size > self.block_target {
            self.flush_block()?;
        }
        if new_key {
            self.directory.push_keyed(&version.key, self.writer.block_count());
            if self.properties.keys == 0 {
                self.properties.first = (version.key.clone(), 0);
            }
            self.properties.keys += 1;
        }
        self.block.begin_item(FirstEntry::default());
        encode_version(version, &mut self.block.content);
        self.properties.include(
            1,
            version.value.len() as u64,
            (version.commit, version.commit),
            (version.time_ms, version.time_ms),
        );
        let mut key = match std::mem::replace(&mut self.last, Last::Nothing) {
            Last::Version { key, .. } => key,
            _ => Vec::new(),
        };
        key.clear();
        key.extend_from_slice(&version.key);
        self.last = Last::Version { key, commit: version.commit, index: version.index };
        Ok(())
    }
}
