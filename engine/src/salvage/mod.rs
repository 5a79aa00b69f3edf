//! Recovers what is not damaged from a store that cannot be opened, or not be read, into a new one.
//!
//! ```text
//! old file, only read                               new file, written front to back
//!   superblock ─ newest valid copy  ─────────────►  superblock, last
//!   manifest   ─ up to the first damage ─────────►  manifest: one base
//!   log        ─ every group that verifies ──────►  log, under a new salt
//!   segments   ─ whole: copied; else records ────►  at their places, or behind
//!   SSTables   ─ whole: copied; else blocks ─────►  at their places, or built anew behind
//!        └──────── what is missing ──────────────►  Report
//! ```
//!
//! | module | what |
//! |---|---|
//! | `root` | superblock and catalog, as far as they can be read |
//! | `log`, `bodies` | the groups that are left, and the commits that are not; their bodies |
//! | `segments` | which payload records can be read |
//! | `extents` | what lies over something else is not looked at |
//! | `timelines`, `keyed` | one damaged SSTable, block by block |
//! | `keys` | between which keys a damaged stretch lies |
//! | `sstables`, `rebuild` | all SSTables: which are copied; one being written anew |
//! | `store` | the last part: log, segments, manifest, superblock |
//! | `next_ids` | next sequence ids of timelines that lost their newest entries |
//! | `target` | the new file |
//! | `rooted` | the new file under the root that it does not have yet |
//! | `findings`, `report` | what was lost, and where the damage is |
//!
//! # Invariants
//! 1. The old files are never written.
//! 2. What is in the new store was verified by its checksum in the old one, and the new store is
//!    verified as a whole before it gets its root: what ends with an error is no store.
//! 3. What is not in the new store is named, or counted between two keys, in the report.
//! 4. No sequence id that was seen is given again: see `next_ids`.
//!
//! # Concurrency
//! None. Beside a live writer what is read may be replaced: that is an error, not a loss.

mod bodies;
mod extents;
mod findings;
mod keyed;
mod keys;
mod log;
mod next_ids;
mod rebuild;
mod report;
mod root;
mod rooted;
mod segments;
mod sstables;
mod store;
mod target;
mod timelines;

pub use report::{DamagedPlace, Loss, Report, TableReport, TimelineName, TornTail};

use crate::cache::Source;
use crate::check::group_bytes_max;
use crate::error::{ColdFileProblem, Error, Result};
use crate::file::cold::{self, AbsentDisk};
use crate::file::superblock::{self, Superblock, WalHead};
use crate::file::{Disk, OpenMode, OsDisk};
use crate::segment::Segment;
use crate::sync::Arc;
use crate::wal::LogPlace;
use bodies::Contents;
use extents::Extents;
use findings::Findings;
use log::Log;
use root::Root;
use segments::SegmentHealth;
use sstables::Sstables;
use std::collections::BTreeSet;
use std::path::Path;
use store::NewStore;
use target::Target;

/// Large payloads that the log names may be read in vain: so many bytes, and twice those of the
/// file.
const LARGE_IN_VAIN_BYTES: u64 = 1024 * 1024 * 1024;

/// A damaged store, and what may be read beside it.
///
/// The old store is not locked: it should have no writer. It may be a copy that was made with one.
pub struct Salvage {
    disk: Arc<dyn Disk>,
    cold: Option<Arc<dyn Disk>>,
    without_cold: bool,
}

impl Salvage {
    /// The store at `path`, to be read.
    ///
    /// # Errors
    /// `NotFound` or `Io`.
    pub fn open(path: impl AsRef<Path>) -> Result<Salvage> {
        Ok(Salvage::over(Arc::new(OsDisk::open(path.as_ref(), OpenMode::ReadOnly)?)))
    }

    /// A store behind another disk.
    pub fn over(disk: Arc<dyn Disk>) -> Salvage {
        Salvage { disk, cold: None, without_cold: false }
    }

    /// The same, with the cold file at `path`.
    ///
    /// # Errors
    /// `NotFound` or `Io`.
    pub fn with_cold_file(self, path: impl AsRef<Path>) -> Result<Salvage> {
        Ok(self.with_cold(Arc::new(OsDisk::open(path.as_ref(), OpenMode::ReadOnly)?)))
    }

    /// The same, with the cold file behind another disk.
    #[must_use]
    pub fn with_cold(mut self, disk: Arc<dyn Disk>) -> Salvage {
        self.cold = Some(disk);
        self
    }

    /// The same, and what lies in a cold file that was not given counts as lost.
    #[must_use]
    pub fn without_cold_file(mut self) -> Salvage {
        self.without_cold = true;
        self
    }

    /// Writes what is left to a new store at `path`, which has no file yet, and says what is lost.
    /// What was cold lies in the one file then, still in the cold tier.
    ///
    /// # Errors
    /// As [`Salvage::run`]. A target that was begun is no store, and may be deleted.
    pub fn run_to(&self, path: impl AsRef<Path>) -> Result<Report> {
        self.run_into(|| Ok(Arc::new(OsDisk::open(path.as_ref(), OpenMode::CreateReadWrite)?)))
    }

    /// The same, to an empty file behind another disk. Damage of the old store is no error but part
    /// of the report.
    ///
    /// # Errors
    /// - `Corruption` where no copy of the superblock is left: nothing can be verified without the
    ///   file's id.
    /// - `Unsupported` for what another version or build wrote.
    /// - `ColdFile` where the store has a cold file, and it was neither given nor given up.
    /// - `AlreadyExists` where the target is not empty; `Locked` where it has a writer; `NoSpace`;
    ///   `TooLarge` where the log does not fit on a disk of larger blocks.
    /// - `SnapshotTooOld` where a writer has replaced what was being read.
    /// - `Io` where the target cannot be written. What cannot be read of the old store is damage.
    pub fn run(&self, target: Arc<dyn Disk>) -> Result<Report> {
        self.run_into(|| Ok(target))
    }

    /// The same. `target` is opened once it is known that there is something to salvage: a file
    /// that is no store leaves no other behind.
    fn run_into(&self, target: impl FnOnce() -> Result<Arc<dyn Disk>>) -> Result<Report> {
        let mut findings = Findings::default();
        let mut root = Root::read(&*self.disk, &mut findings)?;
        let cold = self.cold_disk(&root.superblock, &mut findings)?;
        let target = target()?;
        let place = log_place(&*self.disk, &root.superblock);
        let scope = (root.commit, !root.whole);
        let log = Log::read(place, &root.superblock, scope, &mut findings)?;
        let contents = log.contents();
        root.create_unknown_tables(&contents, &mut findings);
        let (mut health, places) = self.segments(&root, &contents, &mut findings);
        let mut target =
            Target::begin(target, root.superblock.ring, self.kept_end(&root, &health)?)?;
        health.copy_whole(&mut target, &mut findings)?;
        let disks = (Arc::clone(&self.disk), cold);
        let outcome = (&mut target, &mut findings);
        let metas = Sstables::new(&root, disks, &mut health, places, outcome).salvage_all()?;
        let store = NewStore::new(&root, metas, &health, (target, findings));
        store.finish(&log, &mut health, &|| self.check_unchanged(&root))
    }

    /// Where cold SSTables are read.
    fn cold_disk(&self, superblock: &Superblock, findings: &mut Findings) -> Result<Arc<dyn Disk>> {
        let Some(root) = &superblock.cold else {
            return Ok(Arc::clone(&self.disk));
        };
        let absent = || cold::problem(ColdFileProblem::NotGiven, "the store has one, name it");
        match &self.cold {
            Some(disk) => {
                // Its blocks say themselves whether they are the right ones.
                if let Err(error) = cold::check(&**disk, superblock.file, root, &[], false) {
                    findings.damaged("cold file", 0, error.to_string());
                }
                Ok(Arc::clone(disk))
            }
            None if self.without_cold => Ok(Arc::new(AbsentDisk::new(absent()))),
            None => Err(absent()),
        }
    }

    /// The segments that manifest and log name, and where those of the manifest lie.
    fn segments(
        &self,
        root: &Root,
        contents: &Contents,
        findings: &mut Findings,
    ) -> (SegmentHealth, Extents) {
        let source = Source::uncached(Arc::clone(&self.disk), root.superblock.file);
        let (mut health, mut places) = (SegmentHealth::default(), Extents::default());
        for meta in root.catalog.segments.iter() {
            if places.take(meta.extent, meta.bytes) {
                let segment = Segment::new(meta.clone(), source.clone(), None);
                health.add(segment, false, findings);
            } else {
                let detail = format!("segment {} lies over another one", meta.number);
                findings.damaged("manifest", meta.extent.offset, detail);
            }
        }
        self.large_segments(root, contents, (&source, &mut health), findings);
        (health, places)
    }

    /// Those that the log names, the newest first. An older log names some whose place was given to
    /// others since; and a hostile one names any number: so not all of them are read.
    fn large_segments(
        &self,
        root: &Root,
        contents: &Contents,
        (source, health): (&Source, &mut SegmentHealth),
        findings: &mut Findings,
    ) {
        let length = self.disk.length().unwrap_or(0);
        let mut left = length.saturating_mul(2).saturating_add(LARGE_IN_VAIN_BYTES);
        let mut seen = BTreeSet::new();
        for large in contents.large.iter().rev() {
            // Two of one number cannot be; what the manifest says was there first.
            if root.catalog.is_number_used(large.number) || !seen.insert(large.number) {
                continue;
            }
            let meta = large.meta();
            let (offset, bytes) = (meta.extent.offset, meta.bytes);
            if health.is_written_over(&meta) || bytes > left {
                let detail = format!("segment {} lies over others", meta.number);
                findings.damaged("large payload", offset, detail);
            } else if !health.add(Segment::new(meta, source.clone(), None), true, findings) {
                left -= bytes;
            }
        }
    }

    /// The end of what may keep its place.
    fn kept_end(&self, root: &Root, health: &SegmentHealth) -> Result<u64> {
        let length =
            self.disk.length().map_err(|error| Error::io("read the file's length", 0, error))?;
        let metas = root.catalog.version.iter().map(|(_, _, meta)| meta);
        let hot = metas.filter(|meta| !root.catalog.is_in_cold_file(meta));
        let end = hot.map(|meta| meta.extent.end()).max().unwrap_or(0);
        Ok(end.min(length).max(health.end(length)))
    }

    /// Whether the root is still the one that was read.
    fn check_unchanged(&self, root: &Root) -> Result<()> {
        let now = superblock::read(&*self.disk);
        match now {
            Ok(now) if root.by_quorum && now.sequence != root.superblock.sequence => {
                Err(Error::SnapshotTooOld { what: "what was being salvaged", offset: 0 })
            }
            _ => Ok(()),
        }
    }
}

fn log_place<'a>(disk: &'a dyn Disk, superblock: &Superblock) -> LogPlace<'a> {
    let Superblock { file, ring, wal: WalHead { salt, .. }, .. } = *superblock;
    LogPlace { disk, file, ring, salt, group_bytes_max: group_bytes_max(superblock) }
}
