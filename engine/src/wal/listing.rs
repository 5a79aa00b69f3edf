//! What a ring holds, for the tools: every valid group and how the log ends, whatever is wrong
//! with it.

use super::WalPosition;
use super::ending::{Ending, judge};
use super::format::LogId;
use super::reader::Walk;
use crate::error::{Error, Result};
use crate::file::{Disk, Extent, FileId};

/// A group, without its frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupInfo {
    /// Where it starts.
    pub(crate) lsn: u64,
    /// Where the next one starts.
    pub(crate) end: u64,
    /// Its offset in the file.
    pub(crate) offset: u64,
    /// Commit number of the first frame.
    pub(crate) first_commit: u64,
    /// Number of frames.
    pub(crate) frame_count: u32,
    /// Commit time of all frames.
    pub(crate) time_ms: u64,
    /// What was synced when it was written.
    pub(crate) synced_lsn: u64,
}

/// The groups of a ring, and the reason why there are no more.
#[derive(Debug)]
pub(crate) struct Listing {
    /// From the head on.
    pub(crate) groups: Vec<GroupInfo>,
    /// Behind the last of them.
    pub(crate) end: WalPosition,
    /// The highest position known to be synced, from the superblock and the groups.
    pub(crate) synced_lsn: u64,
    /// The verdict that replay would come to, or the error that kept the ring from being read.
    pub(crate) ending: Result<Ending>,
}

/// Lists the log that starts at `head`; the arguments are those of [`replay`](super::replay).
///
/// # Errors
/// [`Error::Corruption`] where ring or head cannot be. Everything else is part of the listing.
pub(crate) fn scan_groups(
    disk: &dyn Disk,
    file: FileId,
    ring: Extent,
    head: WalPosition,
    salt: u64,
    synced_lsn: u64,
    group_bytes_max: u64,
) -> Result<Listing> {
    let log = LogId { file, salt };
    let mut walk = Walk::new(disk, log, ring, head, synced_lsn, group_bytes_max)?;
    let mut groups = Vec::new();
    let stopped = collect(&mut walk, &mut groups);
    let ending = match stopped {
        Ok(()) => judge(&mut walk),
        Err(Error::Corruption(corruption)) => Ok(Ending::Damaged(corruption)),
        Err(error) => Err(error),
    };
    Ok(Listing { groups, end: walk.position, synced_lsn: walk.synced_lsn, ending })
}

fn collect(walk: &mut Walk<'_>, groups: &mut Vec<GroupInfo>) -> Result<()> {
    let ring = walk.ring;
    while let Some(group) = walk.next()? {
        groups.push(GroupInfo {
            lsn: group.lsn,
            end: group.end,
            offset: ring.place(group.lsn),
            first_commit: group.first_commit,
            frame_count: group.frame_count,
            time_ms: group.time_ms,
            synced_lsn: group.synced_lsn,
        });
    }
    Ok(())
}
