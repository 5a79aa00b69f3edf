//! The log as it lies in the ring.

use super::Inspector;
use crate::batch::{Op, decode};
use crate::check::group_bytes_max;
use crate::codec::DecodeError;
use crate::error::{Error, Result};
use crate::file::superblock::Superblock;
use crate::version::SegmentMeta;
use crate::wal::{self, Ending, Group, WalPosition};

/// The groups from the head on.
#[derive(Debug, Clone)]
pub struct LogReport {
    /// Logical position of the head.
    pub head_lsn: u64,
    /// Logical position behind the last group.
    pub end_lsn: u64,
    /// Bytes of the ring.
    pub ring_bytes: u64,
    /// The highest position known to be on the disk.
    pub synced_lsn: u64,
    /// The groups, oldest first.
    pub groups: Vec<LogGroup>,
    /// Payloads that the groups name instead of holding them, in the order of their commits; up to
    /// the first damage.
    pub payloads: Vec<LogPayload>,
    /// Why there are no more.
    pub ending: LogEnding,
}

/// A large payload: it lies in a segment of its own, which the manifest names from the flush on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPayload {
    /// The commit that wrote it.
    pub commit: u64,
    /// Entries of that commit that have it.
    pub entries: u64,
    /// Its segment, as the manifest will have it.
    pub segment: SegmentMeta,
}

/// One group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogGroup {
    /// Its logical position, and that of the next group.
    pub lsn: (u64, u64),
    /// Its offset in the file.
    pub offset: u64,
    /// First and last commit number.
    pub commits: (u64, u64),
    /// Commit time, in milliseconds since 1970.
    pub time_ms: u64,
    /// What was known to be on the disk when it was written.
    pub synced_lsn: u64,
}

/// How a log ends.
#[derive(Debug, Clone)]
pub enum LogEnding {
    /// No trace of anything behind the last group.
    Clean,
    /// An unfinished group, which an opening cuts off.
    Torn(String),
    /// Synced data is damaged: an opening refuses.
    Damaged(String),
    /// The ring could not be read to its end.
    Unreadable(Error),
}

/// What the frames of the log hold, counted while each record is decoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LogContents {
    pub(super) groups: u64,
    pub(super) commits: u64,
    pub(super) entries: u64,
    pub(super) keyed: u64,
    pub(super) amendments: u64,
    pub(super) payloads: Vec<LogPayload>,
    /// The last commit.
    commit: u64,
    /// That of the log.
    salt: u64,
}

impl Inspector {
    /// The log.
    ///
    /// # Errors
    /// Where there is no root to find it by, or the root's ring cannot be.
    pub fn log(&self) -> Result<LogReport> {
        self.log_of(&self.superblock_or_best_copy()?)
    }

    pub(super) fn log_of(&self, superblock: &Superblock) -> Result<LogReport> {
        let listing = wal::scan_groups(
            &*self.disk,
            superblock.file,
            superblock.ring,
            head(superblock),
            superblock.wal.salt,
            superblock.synced_lsn,
            group_bytes_max(superblock),
        )?;
        let groups = listing.groups.iter().map(|group| LogGroup {
            lsn: (group.lsn, group.end),
            offset: group.offset,
            commits: (
                group.first_commit,
                (group.first_commit + u64::from(group.frame_count)).saturating_sub(1),
            ),
            time_ms: group.time_ms,
            synced_lsn: group.synced_lsn,
        });
        Ok(LogReport {
            head_lsn: superblock.wal.lsn,
            end_lsn: listing.end.lsn,
            ring_bytes: superblock.ring.length,
            synced_lsn: listing.synced_lsn,
            groups: groups.collect(),
            payloads: self.read_log(superblock).0.payloads,
            ending: match listing.ending {
                Ok(Ending::Clean) => LogEnding::Clean,
                Ok(Ending::Torn(trace) | Ending::Gap(trace)) => LogEnding::Torn(trace.to_string()),
                Ok(Ending::Damaged(corruption)) => LogEnding::Damaged(corruption.to_string()),
                Err(error) => LogEnding::Unreadable(error),
            },
        })
    }

    /// Replays the log as an opening does, as far as it can be read, decoding every record of every
    /// frame.
    fn read_log(&self, superblock: &Superblock) -> (LogContents, Result<()>) {
        let mut contents = LogContents::new(superblock);
        let mut each = |group: Group<'_>| contents.take(superblock, group);
        let read = wal::replay(
            &*self.disk,
            superblock.file,
            superblock.ring,
            head(superblock),
            superblock.wal.salt,
            superblock.synced_lsn,
            group_bytes_max(superblock),
            &mut each,
        );
        (contents, read.map(|_| ()))
    }
}

impl LogContents {
    /// Those of the log of this root, of which nothing was read yet.
    pub(super) fn new(superblock: &Superblock) -> LogContents {
        let (commit, salt) = (superblock.commit, superblock.wal.salt);
        LogContents { commit, salt, ..LogContents::default() }
    }

    /// Counts what is in a group. What makes no sense is damage.
    pub(super) fn take(&mut self, superblock: &Superblock, group: Group<'_>) -> Result<()> {
        if self.salt != superblock.wal.salt {
            // Somebody has opened the store, and begun a log that holds the same and more.
            *self = LogContents::new(superblock);
        }
        let place = superblock.ring.offset + group.lsn % superblock.ring.length;
        if group.first_commit <= self.commit {
            let detail = format!("commit {} behind commit {}", group.first_commit, self.commit);
            return Err(Error::corruption("WAL", place, detail));
        }
        self.commit = group.first_commit - 1;
        self.groups += 1;
        for (_, body) in group.frames {
            self.commit += 1;
            self.commits += 1;
            self.count(self.commit, body)
                .map_err(|error| Error::corruption("WAL", place, error.to_string()))?;
        }
        Ok(())
    }

    fn count(&mut self, commit: u64, body: &[u8]) -> std::result::Result<(), DecodeError> {
        for operation in decode(body) {
            match operation? {
                Op::Message(message) => {
                    let entries = message.target_count as u64;
                    self.entries += entries;
                    let payload = message.large.map(|large| LogPayload {
                        commit,
                        entries,
                        segment: large.meta(),
                    });
                    self.payloads.extend(payload);
                }
                Op::Keyed { .. } | Op::Mark { .. } => self.keyed += 1,
                Op::Amend { .. } => self.amendments += 1,
            }
        }
        Ok(())
    }
}

fn head(superblock: &Superblock) -> WalPosition {
    WalPosition { lsn: superblock.wal.lsn, previous: superblock.wal.previous }
}
