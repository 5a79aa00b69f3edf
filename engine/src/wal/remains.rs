//! What is left of a damaged log: every group that verifies by itself, wherever it lies in the
//! ring.
//!
//! ```text
//! head ─► group group ######## group group ─► end
//!                       lost    header and body verify by file, salt and lsn: taken
//! ```
//! Header and body are seeded with file, salt and lsn, and a place of one log is written at most
//! once. So a group that verifies is what a commit wrote, whatever became of those before it; what
//! is not known without them is only whether any are missing, and the lsns tell that.
//!
//! # Invariants
//! 1. Only groups of this log, of which header, body and frames verify, are given out.
//! 2. Memory is a window, the largest group, and a line for each group, whatever the bytes say.
//! 3. Time is that of reading the ring twice, what may be unsynced and two of the largest groups:
//!    groups of one log lie over each other only where a power loss took some of what was unsynced
//!    and left groups of the lap before, so what headers say together is no more than that.

use super::format::{
    FRAME_BATCH, FrameFault, Frames, GROUP_STEP, HEADER_SIZE, Header, HeaderFault, LogId,
    group_checksum, unsupported,
};
use super::listing::GroupInfo;
use super::ring::Ring;
use crate::error::{Error, Result};
use crate::file::disk::read_readable_at;
use crate::file::{Disk, Extent, FileId};
use crate::limits::RING_UNSYNCED_SHARE;
use std::ops::Range;

/// Bytes of the ring that are looked at together.
const WINDOW_BYTES: usize = 512 * 1024;

/// Which log of which file.
#[derive(Clone, Copy)]
pub(crate) struct LogPlace<'a> {
    /// The file's bytes.
    pub(crate) disk: &'a dyn Disk,
    /// Its id.
    pub(crate) file: FileId,
    /// The ring.
    pub(crate) ring: Extent,
    /// Salt of the opening that wrote the log.
    pub(crate) salt: u64,
    /// The size of the largest group that any writer of this ring may write.
    pub(crate) group_bytes_max: u64,
}

/// Groups by themselves.
#[derive(Debug, Default)]
pub(crate) struct RemainingGroups {
    /// Those that verify, by lsn; each with the checksum of its header.
    pub(crate) whole: Vec<(GroupInfo, u32)>,
    /// Those of which the header alone verifies, by lsn.
    pub(crate) broken: Vec<GroupInfo>,
}

/// All groups of the log whose lsn lies in `lsns`.
///
/// # Errors
/// `Corruption` where there can be no such ring; `Unsupported` for what a later version wrote.
pub(crate) fn remaining_groups(log: &LogPlace<'_>, lsns: Range<u64>) -> Result<RemainingGroups> {
    let ring = Ring::new(log.ring)?;
    let found = RemainingGroups::default();
    let mut search = Search { log, ring, lsns, found, body_bytes: 0 };
    let mut window = vec![0; WINDOW_BYTES];
    let mut start = 0;
    while start < ring.length() {
        let left = usize::try_from(ring.length() - start).unwrap_or(usize::MAX);
        let bytes = &mut window[..left.min(WINDOW_BYTES)];
        read_readable_at(log.disk, log.ring.offset + start, bytes);
        let step = usize::try_from(GROUP_STEP).expect("a step is 512 bytes");
        for (place, sector) in (start..).step_by(step).zip(bytes.chunks_exact(step)) {
            let header: &[u8; HEADER_SIZE] = sector.first_chunk().expect("shorter than a step");
            search.look_at(place, header)?;
        }
        start += bytes.len() as u64;
    }
    let mut found = search.found;
    found.whole.sort_by_key(|(group, _)| group.lsn);
    found.broken.sort_by_key(|group| group.lsn);
    Ok(found)
}

/// The bodies of a group that was found.
///
/// # Errors
/// `Corruption` where it does not verify any more.
pub(crate) fn group_bodies(log: &LogPlace<'_>, group: &GroupInfo) -> Result<Vec<Vec<u8>>> {
    let ring = Ring::new(log.ring)?;
    let gone = || Error::corruption("WAL", group.offset, "a group is not there any more");
    let mut bytes = vec![0; HEADER_SIZE];
    ring.read(log.disk, group.lsn, &mut bytes)?;
    let header: &[u8; HEADER_SIZE] = bytes.first_chunk().expect("as long as a header");
    let id = LogId { file: log.file, salt: log.salt };
    let header = Header::decode(header, &id, group.lsn).map_err(|_| gone())?;
    let body = read_body(log, &ring, &header).ok_or_else(gone)?;
    let frames = Frames::check(&body, header.frame_count).map_err(|_| gone())?;
    Ok(frames.filter(|(kind, _)| *kind == FRAME_BATCH).map(|(_, body)| body.to_vec()).collect())
}

/// One pass over the ring.
struct Search<'a> {
    log: &'a LogPlace<'a>,
    ring: Ring,
    lsns: Range<u64>,
    found: RemainingGroups,
    /// Bytes of the groups whose bodies were looked at.
    body_bytes: u64,
}

impl Search<'_> {
    /// Takes the group at a place of the ring, if there is one.
    fn look_at(&mut self, place: u64, bytes: &[u8; HEADER_SIZE]) -> Result<()> {
        let (log, ring) = (self.log, &self.ring);
        let lsn = u64::from_le_bytes(*bytes[24..].first_chunk().expect("inside the header"));
        if !self.lsns.contains(&lsn) || lsn % ring.length() != place {
            return Ok(());
        }
        let header = match Header::decode(bytes, &LogId { file: log.file, salt: log.salt }, lsn) {
            Ok(header) => header,
            Err(HeaderFault::Version(version)) => {
                return Err(unsupported("group version", u64::from(version), lsn));
            }
            Err(HeaderFault::Absent | HeaderFault::Checksum | HeaderFault::Malformed(_)) => {
                return Ok(());
            }
        };
        let longest = log.group_bytes_max.min(ring.length());
        // Each header by itself may say a length that can be, and all of them together one that
        // would have the ring read as often as it has steps.
        let beyond = longest.saturating_mul(2).saturating_add(ring.length() / RING_UNSYNCED_SHARE);
        let is_possible =
            header.padded_length() <= longest && self.body_bytes <= place.saturating_add(beyond);
        let end = lsn.checked_add(header.padded_length());
        let Some(end) = end.filter(|_| is_possible) else {
            return Ok(());
        };
        self.body_bytes += header.padded_length();
        let group = GroupInfo {
            lsn,
            end,
            offset: ring.place(lsn),
            first_commit: header.first_commit,
            frame_count: header.frame_count,
            time_ms: header.time_ms,
            synced_lsn: header.synced_lsn,
        };
        let Some(body) = read_body(log, ring, &header) else {
            self.found.broken.push(group);
            return Ok(());
        };
        match Frames::check(&body, header.frame_count) {
            Ok(_) => self.found.whole.push((group, group_checksum(bytes))),
            Err(FrameFault::Kind(kind)) => {
                return Err(unsupported("frame kind", u64::from(kind), lsn));
            }
            Err(FrameFault::Malformed(_)) => self.found.broken.push(group),
        }
        Ok(())
    }
}

/// The bytes behind a verified header, if they verify too. Their length was bounded.
fn read_body(log: &LogPlace<'_>, ring: &Ring, header: &Header) -> Option<Vec<u8>> {
    if header.padded_length() > log.group_bytes_max.min(ring.length()) {
        return None;
    }
    let mut bytes = vec![0; header.length as usize];
    ring.read(log.disk, header.lsn, &mut bytes).ok()?;
    let body = bytes.split_off(HEADER_SIZE);
    let id = LogId { file: log.file, salt: log.salt };
    header.body_holds(&id, &body).then_some(body)
}
