//! The second file, that of the cold tier.

use super::Inspector;
use crate::error::{ColdFileProblem, Error, Result};
use crate::file::cold::{self, AbsentDisk};
use crate::file::disk::Disk;
use crate::file::superblock::Superblock;
use crate::sync::Arc;
use crate::version::{Catalog, SstableMeta};

impl Inspector {
    /// Bytes of the cold file, if there is one and it was given.
    ///
    /// # Errors
    /// `Io`.
    pub fn cold_length(&self) -> Result<Option<u64>> {
        let length = self.cold.as_ref().map(|disk| disk.length());
        length.transpose().map_err(|error| Error::io("reading the length", 0, error))
    }

    /// The file that an SSTable lies in; one that fails with the reason where it was not given.
    pub(super) fn disk_of(&self, catalog: &Catalog, meta: &SstableMeta) -> Arc<dyn Disk> {
        match &self.cold {
            _ if !catalog.is_in_cold_file(meta) => Arc::clone(&self.disk),
            Some(cold) => Arc::clone(cold),
            None => Arc::new(AbsentDisk::new(not_given())),
        }
    }

    /// Whether the cold file, read through `disk`, is the one that the root speaks of.
    pub(super) fn check_cold(
        disk: Option<&dyn Disk>,
        superblock: &Superblock,
        catalog: &Catalog,
    ) -> Result<()> {
        let Some(root) = &superblock.cold else {
            return Ok(());
        };
        let cold = disk.ok_or_else(not_given)?;
        let metas = catalog.version.iter().map(|(_, _, meta)| meta);
        let live: Vec<_> =
            metas.filter(|meta| catalog.is_in_cold_file(meta)).map(|meta| meta.extent).collect();
        cold::check(cold, superblock.file, root, &live, false)
    }
}

fn not_given() -> Error {
    cold::problem(ColdFileProblem::NotGiven, "the store has one, name it to look into it")
}
