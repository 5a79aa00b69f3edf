//! The end of the log: an unfinished tail that may be cut, or damage inside data that was synced.
//!
//! At position E there is no valid group.
//! 1. E lies before a position known to be synced (the superblock's, or one that a replayed group
//!    names): bytes that were on the disk are not any more. Damage.
//! 2. A header of this log stands within the look-ahead behind E, and says that the log was synced
//!    beyond E: damage.
//! 3. Otherwise nothing at or behind E was ever acknowledged as durable, the last group alone
//!    excepted: a torn tail.
//!
//! Why the look-ahead suffices: the leader never leaves more than the unsynced share of the ring
//! unsynced, so the first group that starts further than that behind E names a position behind E,
//! and groups start at most one largest group apart.
//!
//! The exception of step 3: the last synced group, with nothing behind it, looks like an unsynced
//! one; so do several of which every header is damaged. A clean close, and any later group whose
//! header is intact, removes the doubt.

use super::format::{GROUP_STEP, Header};
use super::reader::{Stop, Walk, header_at};
use crate::error::{Corruption, Result};
use crate::limits::RING_UNSYNCED_SHARE;
use crate::planted::Planted;

/// How the log ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// No trace of anything behind the last group.
    Clean,
    /// An unfinished group: cut.
    Torn(Corruption),
    /// Groups that arrived without one before them: cut. The end of a process does not leave that,
    /// since a group is written when the one before it is: something that was written is lost.
    Gap(Corruption),
    /// Synced data is damaged: refuse.
    Damaged(Corruption),
}

/// Judges the position where `walk` has stopped.
pub(super) fn judge(walk: &mut Walk<'_>) -> Result<Ending> {
    let end = walk.position.lsn;
    let offset = walk.ring.place(end);
    let finding = |detail: String| Corruption { what: "WAL", offset, detail };
    if Planted::DamageIsTorn.is_on() {
        return Ok(Ending::Torn(finding("cut".to_owned())));
    }
    if end < walk.synced_lsn {
        return Ok(Ending::Damaged(finding(format!(
            "no valid group at lsn {end} ({}), but the log was synced up to lsn {}",
            describe(walk.stop),
            walk.synced_lsn
        ))));
    }
    Ok(match look_ahead(walk)? {
        Some(header) if header.synced_lsn > end => Ending::Damaged(finding(format!(
            "no valid group at lsn {end} ({}), but the group at lsn {} says that the log was \
             synced up to lsn {}",
            describe(walk.stop),
            header.lsn,
            header.synced_lsn
        ))),
        Some(header) => Ending::Gap(finding(format!(
            "cut at lsn {end} ({}), an unsynced group at lsn {} is given up",
            describe(walk.stop),
            header.lsn
        ))),
        None if walk.stop == Stop::Nothing => Ending::Clean,
        None => Ending::Torn(finding(format!("cut at lsn {end} ({})", describe(walk.stop)))),
    })
}

/// The first intact header behind the end that names a synced position behind the end, or else any
/// intact header behind the end.
fn look_ahead(walk: &mut Walk<'_>) -> Result<Option<Header>> {
    let end = walk.position.lsn;
    let unsynced_max = walk.ring.length() / RING_UNSYNCED_SHARE;
    let reach = walk.group_bytes_max.saturating_mul(2).saturating_add(unsynced_max);
    let last = end.saturating_add(reach).min(walk.limit.saturating_sub(GROUP_STEP));
    let mut found = None;
    let mut lsn = end.saturating_add(GROUP_STEP);
    while lsn <= last {
        let bytes = header_at(&mut walk.window, lsn)?;
        if let Ok(header) = Header::decode(&bytes, &walk.log, lsn) {
            if header.synced_lsn > end {
                return Ok(Some(header));
            }
            found = found.or(Some(header));
        }
        lsn += GROUP_STEP;
    }
    Ok(found)
}

fn describe(stop: Stop) -> &'static str {
    match stop {
        Stop::Nothing => "no group there",
        Stop::Header => "its header does not verify",
        Stop::Body => "its frames do not verify",
    }
}
