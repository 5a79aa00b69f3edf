//! What is left of a damaged SSTable of a keyed table.
//!
//! A version that is lost may have been the newest of its key: then the key shows an older one.
//! That cannot be told from the versions that are left, so the report names the keys between which
//! it may be.

use super::findings::Findings;
use super::keys::KeyBounds;
use super::rebuild::Rebuild;
use super::target::Target;
use crate::error::{Error, Result};
use crate::file::FileId;
use crate::sstable::Sstable;
use crate::version::{SstableMeta, TableRecord};

/// Writes the versions that are left to the target. `None` where there are none.
pub(super) fn salvage(
    sstable: &Sstable,
    record: &TableRecord,
    file: FileId,
    target: &mut Target,
    findings: &mut Findings,
) -> Result<Option<SstableMeta>> {
    let meta = sstable.meta();
    let remains = sstable.remains()?;
    let mut rebuild = Rebuild::of(meta, record, file, target);
    let mut bounds = KeyBounds::default();
    remains.damaged().iter().for_each(|place| bounds.damaged(place));
    let mut met = 0u64;
    for index in 0..remains.block_count() {
        let place = remains.place(index);
        let versions = match remains.versions(index) {
            Ok(versions) => versions,
            Err(error) => {
                findings.absorb("SSTable keyed block", meta.extent.offset, error)?;
                bounds.damaged(&place);
                continue;
            }
        };
        if let (Some(first), Some(last)) = (versions.first(), versions.last()) {
            bounds.readable(place.clone(), &first.key, &last.key);
        }
        for version in &versions {
            match expect_in_range(meta, &version.key).and_then(|()| rebuild.add_version(version)) {
                Ok(()) => met += 1,
                // Nobody wrote it like that.
                Err(error @ Error::Corruption(_)) => {
                    findings.absorb("SSTable keyed block", meta.extent.offset, error)?;
                    bounds.damaged(&place);
                }
                Err(error) => return Err(error),
            }
        }
    }
    let lost = meta.entries.saturating_sub(met);
    if lost > 0 {
        findings.lose_versions(meta, bounds.around(meta), lost);
    }
    rebuild.finish(meta, target)
}

/// Refuses what lies outside of what the manifest says: in the new store it would lie over another
/// SSTable of the level.
fn expect_in_range(meta: &SstableMeta, key: &[u8]) -> Result<()> {
    if (&*meta.first.0..=&*meta.last.0).contains(&key) {
        return Ok(());
    }
    let detail = "a key lies outside of the range that the manifest says";
    Err(Error::corruption("SSTable keyed block", meta.extent.offset, detail))
}
