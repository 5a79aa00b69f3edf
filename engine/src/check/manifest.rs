//! Root and manifest of a live file, as one moment has them.

use super::{LiveFile, damage_of};
use crate::error::{Corruption, Result};
use crate::file::superblock::{self, Superblock};
use crate::manifest;
use crate::version::Catalog;

/// How often two copies of the superblock that agree are looked for.
const ROOT_LOOKS: u32 = 40;
/// How often the manifest is found damaged in one extent before that is believed, though roots
/// follow each other so fast that it may have been another one's in between.
const LOOKS: u32 = 5;
/// Roots later at the earliest, an extent that was freed may be the manifest's again: until then
/// one that is named twice was its all the time.
const ROOTS_TO_REUSE: u64 = 3;

/// A moment of the file.
pub(crate) struct Roots {
    pub(crate) superblock: Superblock,
    pub(crate) catalog: Catalog,
}

/// The newest root and what its manifest makes. What is damaged comes as the inner error.
///
/// # Errors
/// What is no damage: the disk, the build, or the pace.
pub(crate) fn read_roots(file: &LiveFile) -> Result<std::result::Result<Roots, Corruption>> {
    let mut suspect: Option<(Superblock, Corruption)> = None;
    let mut looks = 0;
    loop {
        let superblock = match read_superblock(file)? {
            Ok(superblock) => superblock,
            Err(corruption) => return Ok(Err(corruption)),
        };
        if let Some((before, corruption)) = suspect.take() {
            let same = before.manifest.extent == superblock.manifest.extent;
            looks = if same { looks + 1 } else { 0 };
            let roots = superblock.sequence.saturating_sub(before.sequence);
            if same && (roots < ROOTS_TO_REUSE || looks >= LOOKS) {
                return Ok(Err(corruption));
            }
        }
        let read = file
            .disk
            .hurried(|| manifest::replay(&file.disk, superblock.file, &superblock.manifest));
        file.pace().check()?;
        match read {
            Ok(catalog) => return Ok(Ok(Roots { superblock, catalog })),
            Err(error) => suspect = Some((superblock, damage_of(error)?)),
        }
        file.rest()?;
    }
}

/// The newest root alone.
///
/// # Errors
/// As [`read_roots`].
pub(crate) fn read_superblock(
    file: &LiveFile,
) -> Result<std::result::Result<Superblock, Corruption>> {
    let mut looks = 0;
    loop {
        let read = file.disk.hurried(|| superblock::read(&file.disk));
        file.pace().check()?;
        match read.map_err(damage_of) {
            Ok(superblock) => return Ok(Ok(superblock)),
            Err(Ok(corruption)) if looks >= ROOT_LOOKS => return Ok(Err(corruption)),
            Err(Ok(_)) => looks += 1,
            Err(Err(error)) => return Err(error),
        }
        file.rest()?;
    }
}
