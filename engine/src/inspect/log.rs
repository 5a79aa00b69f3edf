//! The log as it lies in the ring.

use super::Inspector;
use crate::batch::{Op, decode};
use crate::codec::DecodeError;
use crate::error::{Error, Result};
use crate::file::superblock::Superblock;
use crate::limits;
use crate::options::Options;
use crate::version::SegmentMeta;
use crate::wal::{self, Ending, FRAME_HEADER_SIZE, Group, WalPosition};

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
                Ok(Ending::Torn(trace)) => LogEnding::Torn(trace.to_string()),
                Ok(Ending::Damaged(corruption)) => LogEnding::Damaged(corruption.to_string()),
                Err(error) => LogEnding::Unreadable(error),
            },
        })
    }

    /// Replays the log as an opening does, decoding every record of every frame.
    pub(super) fn check_log(&self, superblock: &Superblock) -> Result<LogContents> {
        let (contents, read) = self.read_log(superblock);
        read.map(|()| contents)
    }

    /// The same, as far as the log can be read.
    fn read_log(&self, superblock: &Superblock) -> (LogContents, Result<()>) {
        let mut contents = LogContents::default();
        let mut commit = superblock.commit;
        let mut each = |group: Group<'_>| {
            let place = superblock.ring.offset + group.lsn % superblock.ring.length;
            if group.first_commit <= commit {
                let detail = format!("commit {} behind commit {commit}", group.first_commit);
                return Err(Error::corruption("WAL", place, detail));
            }
            commit = group.first_commit - 1;
            contents.groups += 1;
            for (_, body) in group.frames {
                commit += 1;
                contents.commits += 1;
                contents
                    .count(commit, body)
                    .map_err(|error| Error::corruption("WAL", place, error.to_string()))?;
            }
            Ok(())
        };
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

/// The largest group that a writer of this ring may write, as the engine reckons it.
pub(crate) fn group_bytes_max(superblock: &Superblock) -> u64 {
    let options = Options { ring_bytes: superblock.ring.length, ..Options::default() };
    let batch = options.batch_bytes_max() as u64;
    let frames = limits::GROUP_BATCHES_MAX as u64 * FRAME_HEADER_SIZE as u64;
    (batch + frames + 2 * limits::BLOCK_SIZE).min(superblock.ring.length)
}
