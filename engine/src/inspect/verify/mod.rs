//! Everything in the file against everything else.
//!
//! 1. Each superblock copy by itself; the root that they make.
//! 2. The log: every group, every frame, every record; the large payloads that it names.
//! 3. The manifest: every record; the catalog they make; the order and overlap of its levels.
//! 4. The map of the file: no two owners of one byte, none outside the file.
//! 5. Each payload segment: every record, its counts against its footer and the manifest.
//! 6. Each SSTable: every checksum, its order, its directory and filter against its data, its
//!    counts against the manifest, and each of its references against the records of the segments.
//! 7. Each timeline over all SSTables of its table: disjoint runs of sequence ids, newer SSTables
//!    with higher ones.
//! 8. Each mark: that it is one.
//! 9. Each amendment: that it is one.
//!
//! Goes on after each fault, so one call names them all.
//!
//! Beside a live writer structures are replaced while they are read. What seems damaged is looked
//! at again under the newest root (`check/`): what that names no more is gone, which is no fault,
//! and is counted in [`Counts::skipped`]; what it still names in the same place is damaged. What
//! was written since the pass began belongs to the next one. Where structures are compared with
//! each other (4, 7), a root that changed meanwhile leaves the comparison out, and counts it.

mod pass;
mod timelines;

use super::Inspector;
use crate::error::{Error, Result};
use crate::limits::CHECK_PACE_MIN;
use crate::runtime::{Clock, Scheduler};
use crate::sync::Arc;
use pass::Pass;

/// What [`Inspector::verify`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Everything that is wrong; empty where nothing is.
    pub faults: Vec<Fault>,
    /// What was looked at.
    pub counts: Counts,
    /// An unfinished end of the log, which is no fault: the next opening cuts it off.
    pub torn_tail: Option<String>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The damaged structure.
    pub what: &'static str,
    /// Its offset in the file.
    pub offset: u64,
    /// What was expected, and what was found.
    pub detail: String,
}

/// What was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Groups of the log.
    pub groups: u64,
    /// Commits in the log.
    pub commits: u64,
    /// Entries, keyed writes and amendments in the log.
    pub log_entries: u64,
    /// Tables, the engine's own left out.
    pub tables: u64,
    /// Live SSTables.
    pub sstables: u64,
    /// Bytes of SSTables read.
    pub sstable_bytes: u64,
    /// Live payload segments, those that the log names among them.
    pub segments: u64,
    /// Bytes of segments read.
    pub segment_bytes: u64,
    /// Payloads in segments.
    pub records: u64,
    /// Those of them that were erased.
    pub erased: u64,
    /// Entries and versions in SSTables.
    pub entries: u64,
    /// Timelines in SSTables, each counted once.
    pub timelines: u64,
    /// What a live writer has replaced before it was looked at, and comparisons that it kept from
    /// being made; 0 where nobody writes.
    pub skipped: u64,
    /// Bytes read.
    pub read_bytes: u64,
}

/// How a file is verified.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyOptions {
    /// Bytes to read a second, at least 65,536; 0, the default, is no limit.
    pub pace: u64,
}

impl VerifyOptions {
    /// These options with so many bytes a second.
    #[must_use]
    pub fn pace(mut self, pace: u64) -> VerifyOptions {
        self.pace = pace;
        self
    }

    fn validate(self) -> Result<()> {
        check_pace(self.pace)
    }
}

/// Refuses a pace at which nothing would ever be read.
///
/// # Errors
/// `InvalidUse` that names the pace and its limit.
pub(crate) fn check_pace(pace: u64) -> Result<()> {
    if pace == 0 || pace >= CHECK_PACE_MIN {
        return Ok(());
    }
    let what = format!("pace is {pace} bytes a second, it must be 0 or at least {CHECK_PACE_MIN}");
    Err(Error::invalid(what))
}

impl Inspector {
    /// Verifies the whole file, as fast as it can be read.
    ///
    /// # Errors
    /// As [`Inspector::verify_with`].
    pub fn verify(&self) -> Result<Report> {
        self.verify_with(VerifyOptions::default())
    }

    /// Verifies the whole file. Reads go past the page cache of the system where it can be told so.
    ///
    /// Others may write meanwhile: nothing of a sound file is called damaged, and what the file
    /// named from the beginning to the end of the pass is checked.
    ///
    /// # Errors
    /// `Io` where the file cannot be read; `Unsupported` for another version's file; `InvalidUse`
    /// for a pace below its limit. Damage is no error but part of the report.
    pub fn verify_with(&self, options: VerifyOptions) -> Result<Report> {
        options.validate()?;
        Pass::new(self, options).run()
    }

    /// The same, over another clock, and another way to wait.
    #[must_use]
    pub fn with_time(mut self, clock: Arc<dyn Clock>, scheduler: Arc<dyn Scheduler>) -> Inspector {
        self.time = (clock, scheduler);
        self
    }
}
