//! Replay: every group from the head to the end of the log, in order, to a callback.
//!
//! 1. At position P the header must be valid, follow the group before, and lie inside one lap.
//! 2. The body is read, bounded by the header that verified, and its checksum and frames checked.
//! 3. The group is handed on; P moves behind its padding.
//! 4. Where step 1 or 2 finds no group, the log ends: `ending.rs` tells a torn tail from damage.
//!
//! # Invariants
//! 1. Nothing of a group is handed on before all of it verified.
//! 2. Memory is one group (at most `group_bytes_max`) or the read-ahead, whatever the bytes say.
//! 3. A failed read is an error, never an end of log. So is what no torn write can leave behind: an
//!    intact header that breaks the chain, or a group that verifies and makes no sense.
//!
//! # Concurrency
//! None: nobody may write this ring meanwhile. A reader beside a live writer reads the superblock
//! again when replay reports damage, and tries again if the head has moved.

use super::WalPosition;
use super::ending::{Ending, judge};
use super::format::{
    FrameFault, Frames, GROUP_STEP, HEADER_SIZE, Header, HeaderFault, LogId, group_checksum,
    unsupported,
};
use super::ring::Ring;
use super::window::Window;
use crate::error::{Corruption, Error, Result};
use crate::file::{Disk, Extent, FileId};
use crate::planted::Planted;

/// One group of the log, all of it verified.
#[derive(Debug, Clone)]
pub(crate) struct Group<'a> {
    /// Where it starts.
    pub(crate) lsn: u64,
    /// Where the next one starts.
    pub(crate) end: u64,
    /// Behind it: where the next one starts, and what it must follow.
    pub(crate) position: WalPosition,
    /// Commit number of the first frame; the others count on.
    pub(crate) first_commit: u64,
    /// Commit time of all its frames.
    pub(crate) time_ms: u64,
    /// Everything before it was on the disk when the group was written.
    pub(crate) synced_lsn: u64,
    /// Kind and body of each frame.
    pub(crate) frames: Frames<'a>,
    /// Number of frames.
    pub(crate) frame_count: u32,
}

/// Where and how the log ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReplayEnd {
    /// Behind the last group.
    pub(crate) end: WalPosition,
    /// The highest position known to be synced; at most `end.lsn`.
    pub(crate) synced_lsn: u64,
    /// Groups replayed.
    pub(crate) groups: u64,
    /// What was found of an unfinished group at or behind the end: `None` where there is no trace
    /// of one.
    pub(crate) cut: Option<Corruption>,
    /// Whether a group behind the end is whole: see [`Ending::Gap`].
    pub(crate) gap: bool,
}

/// Replays the log that starts at `head`. `synced_lsn` is the superblock's, `group_bytes_max` the
/// size of the largest group that any writer of this ring may write.
///
/// # Errors
/// [`Error::Io`] where the ring cannot be read, [`Error::Corruption`] where synced data is damaged,
/// [`Error::Unsupported`] for what a later version wrote, or what `each` returns. Groups may have
/// been handed on before the error: the caller throws away what it made of them.
#[expect(clippy::too_many_arguments, reason = "the superblock's fields, one by one")]
pub(crate) fn replay(
    disk: &dyn Disk,
    file: FileId,
    ring: Extent,
    head: WalPosition,
    salt: u64,
    synced_lsn: u64,
    group_bytes_max: u64,
    each: &mut dyn FnMut(Group<'_>) -> Result<()>,
) -> Result<ReplayEnd> {
    let log = LogId { file, salt };
    let mut walk = Walk::new(disk, log, ring, head, synced_lsn, group_bytes_max)?;
    let mut groups = 0;
    while let Some(group) = walk.next()? {
        each(group)?;
        groups += 1;
    }
    let (cut, gap) = match judge(&mut walk)? {
        Ending::Clean => (None, false),
        Ending::Torn(trace) => (Some(trace), false),
        Ending::Gap(trace) => (Some(trace), true),
        Ending::Damaged(corruption) => return Err(Error::Corruption(corruption)),
    };
    Ok(ReplayEnd { end: walk.position, synced_lsn: walk.synced_lsn, groups, cut, gap })
}

/// Replays the groups from `head` to `end`, which a replay has found to be the end of the log.
///
/// # Errors
/// As of [`replay`]; and [`Error::Corruption`] where the groups that were there are not any more.
#[expect(clippy::too_many_arguments, reason = "the superblock's fields, one by one")]
pub(crate) fn replay_to(
    disk: &dyn Disk,
    file: FileId,
    ring: Extent,
    head: WalPosition,
    salt: u64,
    end: WalPosition,
    group_bytes_max: u64,
    each: &mut dyn FnMut(Group<'_>) -> Result<()>,
) -> Result<()> {
    let log = LogId { file, salt };
    let mut walk = Walk::new(disk, log, ring, head, 0, group_bytes_max)?;
    while walk.position.lsn < end.lsn {
        let Some(group) = walk.next()? else {
            let detail = "a group that was there before is not there any more".to_owned();
            return Err(walk.damage(detail));
        };
        each(group)?;
    }
    match walk.position == end {
        true => Ok(()),
        false => Err(walk.damage("the log ends elsewhere than before".to_owned())),
    }
}

/// What was found where the next group should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// No trace of a group of this log.
    Nothing,
    /// A header of this place whose checksum does not hold.
    Header,
    /// An intact header; the checksum of the frames does not hold.
    Body,
}

/// A walk along the log.
pub(super) struct Walk<'a> {
    pub(super) log: LogId,
    pub(super) ring: Ring,
    pub(super) window: Window<'a>,
    /// Behind the last valid group.
    pub(super) position: WalPosition,
    /// A full lap behind the head: no group can reach further.
    pub(super) limit: u64,
    /// The highest position known to be synced so far.
    pub(super) synced_lsn: u64,
    pub(super) group_bytes_max: u64,
    /// Why the walk stopped.
    pub(super) stop: Stop,
    next_commit: u64,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        disk: &'a dyn Disk,
        log: LogId,
        ring: Extent,
        head: WalPosition,
        synced_lsn: u64,
        group_bytes_max: u64,
    ) -> Result<Walk<'a>> {
        let ring = Ring::new(ring)?;
        let limit = head.lsn.checked_add(ring.length());
        let (Some(limit), true) = (limit, head.lsn.is_multiple_of(GROUP_STEP)) else {
            let detail = format!("the log cannot start at lsn {}", head.lsn);
            return Err(Error::corruption("WAL", ring.place(head.lsn), detail));
        };
        Ok(Walk {
            log,
            ring,
            window: Window::new(disk, ring, limit),
            position: head,
            limit,
            synced_lsn,
            group_bytes_max,
            stop: Stop::Nothing,
            next_commit: 0,
        })
    }

    /// The next group, or `None` at the end of the log.
    pub(super) fn next(&mut self) -> Result<Option<Group<'_>>> {
        let lsn = self.position.lsn;
        if lsn == self.limit {
            return Ok(None);
        }
        let header_bytes = match header_at(&mut self.window, lsn) {
            Err(_) if Planted::ReadErrorEndsLog.is_on() => return Ok(self.stop_at(Stop::Nothing)),
            header => header?,
        };
        let header = match Header::decode(&header_bytes, &self.log, lsn) {
            Ok(header) => header,
            Err(HeaderFault::Absent) => return Ok(self.stop_at(Stop::Nothing)),
            Err(HeaderFault::Checksum) => return Ok(self.stop_at(Stop::Header)),
            Err(HeaderFault::Malformed(error)) => return Err(self.damage(error.to_string())),
            Err(HeaderFault::Version(version)) => {
                return Err(unsupported("group version", u64::from(version), lsn));
            }
        };
        let end = self.check_place(&header)?;
        let length = usize::try_from(header.length).expect("at most the largest group");
        let body = &self.window.bytes(lsn, length)?[HEADER_SIZE..];
        if !header.body_holds(&self.log, body) && !Planted::BodyNotChecked.is_on() {
            self.stop = Stop::Body;
            return Ok(None);
        }
        let frames = Frames::check(body, header.frame_count).map_err(|fault| match fault {
            FrameFault::Malformed(error) => {
                Error::corruption("WAL", self.ring.place(lsn), error.to_string())
            }
            FrameFault::Kind(kind) => unsupported("frame kind", u64::from(kind), lsn),
        })?;
        self.position = WalPosition { lsn: end, previous: group_checksum(&header_bytes) };
        self.synced_lsn = self.synced_lsn.max(header.synced_lsn);
        self.next_commit = header.first_commit + u64::from(header.frame_count);
        Ok(Some(Group {
            lsn,
            end,
            position: self.position,
            first_commit: header.first_commit,
            time_ms: header.time_ms,
            synced_lsn: header.synced_lsn,
            frames,
            frame_count: header.frame_count,
        }))
    }

    /// Checks that an intact header belongs here, and returns where its group ends. A header that
    /// verifies and does not fit was not torn: a log is written once, front to back.
    fn check_place(&self, header: &Header) -> Result<u64> {
        if header.previous != self.position.previous && !Planted::ChainNotChecked.is_on() {
            return Err(self.damage(format!(
                "the group at lsn {} follows a group with checksum {:#010x}, \
                 the one before has {:#010x}",
                header.lsn, header.previous, self.position.previous
            )));
        }
        if header.first_commit < self.next_commit {
            return Err(self.damage(format!(
                "the group at lsn {} starts with commit {}, expected {} or more",
                header.lsn, header.first_commit, self.next_commit
            )));
        }
        let end = header.lsn.checked_add(header.padded_length());
        let Some(end) = end.filter(|end| *end <= self.limit) else {
            return Err(self.damage(format!("the group at lsn {} overlaps the head", header.lsn)));
        };
        // Not an end of log: cutting here would lose a group of a writer with other limits.
        if header.padded_length() > self.group_bytes_max {
            return Err(unsupported("a group of bytes", header.padded_length(), header.lsn));
        }
        Ok(end)
    }

    /// Damage at the current position.
    fn damage(&self, detail: String) -> Error {
        Error::corruption("WAL", self.ring.place(self.position.lsn), detail)
    }

    fn stop_at(&mut self, stop: Stop) -> Option<Group<'static>> {
        self.stop = stop;
        None
    }
}

/// A copy of the header's bytes at `lsn`.
pub(super) fn header_at(window: &mut Window<'_>, lsn: u64) -> Result<[u8; HEADER_SIZE]> {
    let bytes = window.bytes(lsn, HEADER_SIZE)?;
    Ok(bytes.try_into().expect("the window gives as many bytes as asked for"))
}
