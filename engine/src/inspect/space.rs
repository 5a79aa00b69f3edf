//! Who owns which bytes of the file.

use super::{Inspector, LogPayload};
use crate::error::Result;
use crate::file::Extent;
use crate::file::superblock::Superblock;
use crate::limits::RING_OFFSET;
use crate::version::Catalog;

/// A run of the file and its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpaceRun {
    /// Where.
    pub extent: Extent,
    /// Whose.
    pub kind: SpaceKind,
}

/// The owner of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SpaceKind {
    /// The superblock zone.
    Superblock,
    /// The WAL ring.
    Ring,
    /// The manifest.
    Manifest,
    /// The SSTable of this number.
    Sstable(u64),
    /// The payload segment of this number.
    Segment(u64),
    /// Nobody.
    Free,
}

impl Inspector {
    /// The whole file, run by run, in order of place. What neither manifest nor log refers to is
    /// free: nothing can leak.
    ///
    /// # Errors
    /// Where root or manifest cannot be read.
    pub fn space(&self) -> Result<Vec<SpaceRun>> {
        let superblock = self.superblock_or_best_copy()?;
        let catalog = self.catalog(&superblock)?;
        let named = self.log_of(&superblock).map(|log| log.payloads).unwrap_or_default();
        Ok(with_free(owned(&superblock, &catalog, &named), self.length()?))
    }
}

/// The runs that somebody owns, in order of place; they may meet in a damaged file.
/// `named`: by the log.
pub(super) fn owned(
    superblock: &Superblock,
    catalog: &Catalog,
    named: &[LogPayload],
) -> Vec<SpaceRun> {
    let zone = Extent { offset: 0, length: RING_OFFSET };
    let mut runs = vec![
        SpaceRun { extent: zone, kind: SpaceKind::Superblock },
        SpaceRun { extent: superblock.ring, kind: SpaceKind::Ring },
        SpaceRun { extent: superblock.manifest.extent, kind: SpaceKind::Manifest },
    ];
    runs.extend(sstables(catalog, false));
    let named = named.iter().map(|payload| &payload.segment);
    runs.extend(
        catalog
            .segments
            .iter()
            .chain(named)
            .map(|meta| SpaceRun { extent: meta.extent, kind: SpaceKind::Segment(meta.number) }),
    );
    runs.sort_by_key(|run| (run.extent, run.kind));
    runs
}

/// The same of the cold file.
pub(super) fn owned_of_cold(catalog: &Catalog) -> Vec<SpaceRun> {
    let mut runs: Vec<SpaceRun> = sstables(catalog, true).collect();
    runs.sort_by_key(|run| (run.extent, run.kind));
    runs
}

fn sstables(catalog: &Catalog, cold: bool) -> impl Iterator<Item = SpaceRun> {
    let metas = catalog.version.iter().map(|(_, _, meta)| meta);
    metas
        .filter(move |meta| catalog.is_in_cold_file(meta) == cold)
        .map(|meta| SpaceRun { extent: meta.extent, kind: SpaceKind::Sstable(meta.number) })
}

/// Fills the gaps between runs in order of place.
fn with_free(owned: Vec<SpaceRun>, length: u64) -> Vec<SpaceRun> {
    let mut runs = Vec::with_capacity(owned.len() + 1);
    let mut end = 0;
    let free = |from: u64, to: u64| SpaceRun {
        extent: Extent { offset: from, length: to - from },
        kind: SpaceKind::Free,
    };
    for run in owned {
        if run.extent.offset > end {
            runs.push(free(end, run.extent.offset));
        }
        end = end.max(run.extent.offset.saturating_add(run.extent.length));
        runs.push(run);
    }
    if length > end {
        runs.push(free(end, length));
    }
    runs
}

/// Where runs overlap or leave the file, in words, with the offset.
pub(super) fn faults(owned: &[SpaceRun], length: u64) -> Vec<(u64, String)> {
    let mut found = Vec::new();
    let mut last: Option<(SpaceRun, u64)> = None;
    for run in owned {
        let Some(end) = run.extent.offset.checked_add(run.extent.length) else {
            found.push((run.extent.offset, format!("{:?} has no end", run.kind)));
            continue;
        };
        if end > length {
            let what = format!("{:?} ends at {end}, the file at {length}", run.kind);
            found.push((run.extent.offset, what));
        }
        if let Some((other, reached)) = last.filter(|(_, reached)| run.extent.offset < *reached) {
            let what = format!("{:?} and {:?} overlap up to {reached}", other.kind, run.kind);
            found.push((run.extent.offset, what));
        }
        if last.is_none_or(|(_, reached)| end > reached) {
            last = Some((*run, end));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(offset: u64, length: u64, number: u64) -> SpaceRun {
        SpaceRun { extent: Extent { offset, length }, kind: SpaceKind::Sstable(number) }
    }

    #[test]
    fn gaps_are_free() {
        let runs = with_free(vec![run(4096, 4096, 1), run(16384, 4096, 2)], 32768);
        let free: Vec<(u64, u64)> = runs
            .iter()
            .filter(|run| run.kind == SpaceKind::Free)
            .map(|run| (run.extent.offset, run.extent.length))
            .collect();
        assert_eq!(free, [(0, 4096), (8192, 8192), (20480, 12288)]);
    }

    #[test]
    fn overlaps_and_runs_outside_the_file_are_found() {
        assert!(faults(&[run(0, 8192, 1), run(8192, 4096, 2)], 12288).is_empty());
        assert_eq!(faults(&[run(0, 8192, 1), run(4096, 4096, 2)], 12288).len(), 1);
        assert_eq!(
            faults(&[run(0, 16384, 1), run(4096, 4096, 2), run(8192, 4096, 3)], 16384).len(),
            2
        );
        assert_eq!(faults(&[run(8192, 8192, 1)], 12288).len(), 1);
        assert_eq!(faults(&[run(8192, u64::MAX, 1)], 12288).len(), 1);
    }
}
