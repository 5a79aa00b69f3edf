//! What is left of the log, and its way into the new store's.
//!
//! ```text
//! old ring   head ─► group group ######## group group ─► end
//!                      7..9   10    11?     12   13..15
//! new ring           group group          group group       commits 11..11 are lost, and named
//! ```
//! A group that verifies is what a commit wrote, also behind one that is lost: a batch depends on
//! nothing but itself, its sequence ids were given out and seen. Where the log merely ends with an
//! unfinished group, it is cut there, as every opening cuts it.
//!
//! # Invariants
//! 1. Groups keep their commits and times; of their bodies see `bodies`.
//! 2. Nothing is written but what an opening of the new store replays.

use super::bodies::{Bodies, Contents, Written};
use super::findings::{Cause, Findings};
use super::next_ids::Known;
use super::report::{Loss, TornTail};
use super::segments::SegmentHealth;
use super::target::Target;
use crate::batch::decode_placed;
use crate::codec::round_up;
use crate::error::{Error, Result};
use crate::file::Identity;
use crate::file::superblock::{Superblock, WalHead};
use crate::limits::{COUNTER_MAX, TARGET_BYTES_MIN, UNSYNCED_ENTRIES_MAX};
use crate::sync::Arc;
use crate::version::Catalog;
use crate::wal::{self, Ending, GroupInfo, LogPlace, WalPosition, WalState, Writer};

/// Bytes of groups that are written together.
const TOGETHER_BYTES: usize = 1024 * 1024;

/// The groups that are left.
pub(super) struct Log<'a> {
    place: LogPlace<'a>,
    head: WalPosition,
    groups: Vec<GroupInfo>,
    /// Commits up to here are in SSTables.
    base_commit: u64,
    /// Whether groups are missing.
    has_losses: bool,
    /// How often ids must jump for what may be in these.
    jumps: u64,
}

impl<'a> Log<'a> {
    /// Reads the log behind `base_commit`. `whole_lap`: what lies before the head counts as well.
    pub(super) fn read(
        place: LogPlace<'a>,
        superblock: &Superblock,
        (base_commit, whole_lap): (u64, bool),
        findings: &mut Findings,
    ) -> Result<Log<'a>> {
        let head = WalPosition { lsn: superblock.wal.lsn, previous: superblock.wal.previous };
        let mut log =
            Log { place, head, groups: Vec::new(), base_commit, has_losses: false, jumps: 0 };
        let listing = log.list(head, superblock.synced_lsn)?;
        let end = match listing.ending {
            Ok(Ending::Clean) => Some(listing.end.lsn),
            Ok(Ending::Torn(trace) | Ending::Gap(trace)) => {
                log.note_torn(trace.to_string(), findings);
                Some(listing.end.lsn)
            }
            Ok(Ending::Damaged(corruption)) => {
                findings.absorb("WAL", place.ring.offset, Error::Corruption(corruption))?;
                None
            }
            Err(error) => {
                findings.absorb("WAL", place.ring.offset, error)?;
                None
            }
        };
        if let (Some(_), false) = (end, whole_lap) {
            log.groups = listing.groups;
            log.refuse_impossible(findings);
        } else {
            let lap = place.ring.length;
            let from = if whole_lap { head.lsn.saturating_sub(lap) } else { head.lsn };
            let to = end.unwrap_or_else(|| head.lsn.saturating_add(lap));
            let checksum = log.take_remains(from..to, whole_lap, findings)?;
            if end.is_none() {
                let synced = log.groups.iter().map(|group| group.synced_lsn).max().unwrap_or(0);
                log.judge_end(checksum, synced.max(superblock.synced_lsn), findings)?;
            } else if listing.groups.last().is_some_and(|group| !is_possible(group)) {
                // Nothing comes behind it that would tell of the gap.
                let lsn = log.groups.last().map_or(head.lsn, |group| group.end);
                let lsn = lsn.min(listing.end.lsn);
                log.lose(lsn..listing.end.lsn, log.last_commit() + 1, None, findings);
            }
            log.leave_out_the_oldest(findings);
        }
        if let Some(tail) = &mut findings.report.torn_tail {
            tail.commit = log.last_commit() + 1;
        }
        Ok(log)
    }

    /// Groups whose checksums hold, and which no opening believes: nobody wrote them like that.
    fn refuse_impossible(&mut self, findings: &mut Findings) {
        for group in self.groups.extract_if(.., |group| !is_possible(group)).collect::<Vec<_>>() {
            note_impossible(&group, findings);
            let last = last_commit(&group);
            self.lose(group.lsn..group.end, group.first_commit, Some(last), findings);
        }
    }

    /// A ring that has been written all round holds more than one log may take of it.
    fn leave_out_the_oldest(&mut self, findings: &mut Findings) {
        let ring = self.place.ring;
        let room = WalState::room_of(ring.length);
        let count = beyond_room(&self.groups, room);
        let left_out: Vec<GroupInfo> = self.groups.drain(..count).collect();
        let (Some(oldest), Some(newest)) = (left_out.first(), left_out.last()) else { return };
        let first = oldest.first_commit.max(self.base_commit.saturating_add(1));
        let last = last_commit(newest);
        let detail = format!(
            "the {room} bytes that a log may take have no room for commits {first} to {last}"
        );
        findings.damaged("WAL", oldest.offset, detail);
        self.lose(oldest.lsn..newest.end, first, Some(last), findings);
    }

    fn list(&self, head: WalPosition, synced_lsn: u64) -> Result<wal::Listing> {
        let LogPlace { disk, file, ring, salt, group_bytes_max } = self.place;
        wal::scan_groups(disk, file, ring, head, salt, synced_lsn, group_bytes_max)
    }

    /// Takes every group that verifies by itself; names the commits of those that are missing.
    /// Gives the checksum of the last one.
    fn take_remains(
        &mut self,
        lsns: std::ops::Range<u64>,
        whole_lap: bool,
        findings: &mut Findings,
    ) -> Result<u32> {
        let mut end = if whole_lap { None } else { Some(self.head.lsn) };
        let mut commit = self.base_commit;
        let mut checksum = self.head.previous;
        for (group, of_header) in wal::remaining_groups(&self.place, lsns)?.whole {
            if !is_possible(&group) {
                // What it says must not decide about those behind it: it is a gap between groups.
                note_impossible(&group, findings);
                continue;
            }
            let last = last_commit(&group);
            let behind = end.is_none_or(|end| group.lsn >= end);
            if behind && group.first_commit <= commit && !self.groups.is_empty() {
                // Commits rise along a log, so one of the two is not what it says.
                let first = group.first_commit;
                let detail = format!("commits {first} to {last} stand behind commit {commit}");
                findings.damaged("WAL", group.offset, detail);
                self.lose(group.lsn..group.end, first, Some(last), findings);
                continue;
            }
            if last <= commit || !behind || (group.first_commit <= commit && end.is_some()) {
                continue;
            }
            if end.is_some_and(|end| end != group.lsn) {
                let from = end.unwrap_or(group.lsn);
                self.lose(from..group.lsn, commit + 1, Some(group.first_commit - 1), findings);
            }
            (end, commit, checksum) = (Some(group.end), last, of_header);
            self.groups.push(group);
        }
        Ok(checksum)
    }

    /// Whether anything is lost behind the last group that was found.
    fn judge_end(&mut self, previous: u32, synced: u64, findings: &mut Findings) -> Result<()> {
        let lsn = self.groups.last().map_or(self.head.lsn, |group| group.end);
        let listing = self.list(WalPosition { lsn, previous }, synced)?;
        if listing.groups.iter().any(|group| !is_possible(group)) {
            self.lose(lsn..listing.end.lsn, self.last_commit() + 1, None, findings);
            return Ok(());
        }
        match listing.ending {
            Ok(Ending::Clean) => {}
            Ok(Ending::Torn(trace) | Ending::Gap(trace)) => {
                self.note_torn(trace.to_string(), findings)
            }
            Ok(Ending::Damaged(_)) | Err(_) => {
                let to = synced.max(lsn + 1);
                self.lose(lsn..to, self.last_commit() + 1, None, findings);
            }
        }
        Ok(())
    }

    /// An unfinished end may be the last synced group, damaged: ids in it may have been seen.
    fn note_torn(&mut self, detail: String, findings: &mut Findings) {
        let entries = self.place.group_bytes_max / TARGET_BYTES_MIN as u64;
        self.jumps += 1 + entries / UNSYNCED_ENTRIES_MAX;
        findings.jump_times(Cause::Log, self.jumps);
        // Its commit is known once all groups are.
        findings.report.torn_tail = Some(TornTail { detail, commit: 0 });
    }

    fn lose(
        &mut self,
        lsns: std::ops::Range<u64>,
        first: u64,
        last: Option<u64>,
        findings: &mut Findings,
    ) {
        self.has_losses = true;
        let entries = (lsns.end - lsns.start) / TARGET_BYTES_MIN as u64;
        self.jumps += 1 + entries / UNSYNCED_ENTRIES_MAX;
        findings.jump_times(Cause::Log, self.jumps);
        if last.is_none_or(|last| last >= first) {
            let ring = self.place.ring;
            let offset = ring.offset + lsns.start % ring.length;
            findings.lose(Loss::Commits { first, last, offset });
        }
    }

    /// The last commit that is left, in the log or before it.
    pub(super) fn last_commit(&self) -> u64 {
        self.groups.last().map_or(self.base_commit, last_commit)
    }

    /// The file that the log lies in.
    pub(super) fn identity(&self) -> Identity {
        self.place.disk.identity()
    }

    /// What the bodies name, as far as they can be decoded.
    pub(super) fn contents(&self) -> Contents {
        let mut contents = Contents::default();
        for group in &self.groups {
            // What cannot be read any more is told when it is to be written.
            for (_, body) in self.bodies(group).into_iter().flatten() {
                for op in decode_placed(&body).map_while(std::result::Result::ok) {
                    contents.note(&op.1);
                }
            }
        }
        contents
    }

    /// The bodies of a group, with their commits, that are in no SSTable.
    fn bodies(&self, group: &GroupInfo) -> Result<impl Iterator<Item = (u64, Vec<u8>)>> {
        let bodies = wal::group_bodies(&self.place, group)?;
        let base = self.base_commit;
        Ok((group.first_commit..).zip(bodies).filter(move |(commit, _)| *commit > base))
    }

    /// Writes the groups to the new ring, and gives what its root says of them.
    pub(super) fn write(
        &self,
        catalog: &Catalog,
        (health, known): (&mut SegmentHealth, &Known),
        target: &Target,
        findings: &mut Findings,
    ) -> Result<(Written, WalHead, u64)> {
        let alignment = target.disk().geometry().alignment as u64;
        let start = WalPosition { lsn: round_up(self.head.lsn, alignment), ..self.head };
        // Mixed, so that no log of this file has it.
        let salt = self.place.salt.rotate_left(29) ^ 0x5a1a_6e5a_1a6e_5a1b;
        let LogPlace { file, ring, .. } = self.place;
        let disk = Arc::clone(target.disk());
        let mut writer = Writer::behind(disk, file, ring, salt, start, start.lsn);
        let scope = (self.base_commit, self.has_losses);
        let mut taken = Bodies::new(catalog, health, known, findings, scope);
        let mut pending: Vec<(u64, u64, Vec<Vec<u8>>)> = Vec::new();
        let mut bytes = 0;
        for group in &self.groups {
            let mut bodies = Vec::new();
            let mut first = None;
            let left = match self.bodies(group) {
                Ok(left) => left,
                // What was read well a moment ago cannot be read now.
                Err(error) => {
                    taken.lose_group(group, error)?;
                    continue;
                }
            };
            for (commit, body) in left {
                first.get_or_insert(commit);
                bodies.push(taken.take(group.offset, commit, &body)?);
            }
            let Some(first) = first else { continue };
            bytes += bodies.iter().map(Vec::len).sum::<usize>();
            pending.push((first, group.time_ms, bodies));
            if bytes >= TOGETHER_BYTES {
                flush(&mut writer, &mut pending)?;
                bytes = 0;
            }
        }
        flush(&mut writer, &mut pending)?;
        let head = WalHead { lsn: start.lsn, previous: start.previous, salt };
        Ok((taken.end(), head, writer.position().lsn))
    }
}

fn flush(writer: &mut Writer, pending: &mut Vec<(u64, u64, Vec<Vec<u8>>)>) -> Result<()> {
    let needed =
        |(_, _, bodies): &(u64, u64, Vec<Vec<u8>>)| writer.group_bytes(bodies.iter().map(Vec::len));
    let value: u64 = pending.iter().map(needed).sum();
    let limit = writer.state().free_bytes();
    if value > limit {
        // Groups take whole blocks of the disk: on one of larger blocks they may need more.
        return Err(Error::TooLarge { what: "the log on the target's blocks", value, limit });
    }
    writer.write_groups(pending.drain(..))?;
    Ok(())
}

/// How many of the oldest groups are left out, so that the others take no more than `room`.
fn beyond_room(groups: &[GroupInfo], room: u64) -> usize {
    let bytes = |group: &GroupInfo| group.end - group.lsn;
    let mut taken: u64 = groups.iter().map(bytes).sum();
    let too_many = |group: &&GroupInfo| {
        let is_beyond = taken > room;
        taken -= bytes(group);
        is_beyond
    };
    groups.iter().take_while(too_many).count()
}

fn note_impossible(group: &GroupInfo, findings: &mut Findings) {
    let (last, time_ms) = (last_commit(group), group.time_ms);
    let detail = format!("commit {last} at {time_ms} ms is above {COUNTER_MAX}");
    findings.damaged("WAL", group.offset, detail);
}

/// Whether an opening believes the numbers of a group.
fn is_possible(group: &GroupInfo) -> bool {
    last_commit(group) <= COUNTER_MAX && group.time_ms <= COUNTER_MAX
}

/// The commit of the last frame of a group.
pub(super) fn last_commit(group: &GroupInfo) -> u64 {
    group.first_commit.saturating_add(u64::from(group.frame_count)).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::{Extent, FileId};
    use crate::testing::{SimDisk, SimOptions};

    #[test]
    fn the_oldest_groups_are_left_out_until_the_others_have_room() {
        let group = |lsn, end| GroupInfo {
            lsn,
            end,
            offset: lsn,
            first_commit: lsn,
            frame_count: 1,
            time_ms: 0,
            synced_lsn: 0,
        };
        let groups = [group(0, 512), group(512, 2048), group(2048, 2560), group(4096, 4608)];
        for (room, left_out) in [(9000, 0), (3072, 0), (3071, 1), (2560, 1), (2559, 2), (100, 4)] {
            assert_eq!(beyond_room(&groups, room), left_out, "{room}");
        }
        assert_eq!(beyond_room(&[], 0), 0);
    }

    const RING: Extent = Extent { offset: 4096, length: 262_144 };

    /// What is taken of a log with one group for each of these first commits, of two commits each,
    /// whose second group is damaged; and which commits are said to be lost.
    fn taken(commits: &[u64]) -> (Vec<u64>, Vec<(u64, Option<u64>)>) {
        let disk = SimDisk::from_bytes(SimOptions::default(), &vec![0; 4096 + 262_144]);
        let (file, salt, head) = (FileId([7; 16]), 5, WalPosition::default());
        let mut writer = Writer::new(Arc::new(disk.clone()), file, RING, salt, head);
        for commit in commits {
            writer.write_group(*commit, 1, [[3u8; 9], [4; 9]], true).unwrap();
        }
        disk.flip_bit(RING.offset + 512 + 100, 3);
        let place = LogPlace { disk: &disk, file, ring: RING, salt, group_bytes_max: 65_536 };
        let (groups, base_commit) = (Vec::new(), 0);
        let mut log = Log { place, head, groups, base_commit, has_losses: false, jumps: 0 };
        let mut findings = Findings::default();
        let last = log.take_remains(0..RING.length, false, &mut findings).unwrap();
        log.judge_end(last, 0, &mut findings).unwrap();
        let lost = findings.report.lost.iter().map(|loss| match loss {
            Loss::Commits { first, last, .. } => (*first, *last),
            other => panic!("{other:?}"),
        });
        (log.groups.iter().map(|group| group.first_commit).collect(), lost.collect())
    }

    /// Groups whose checksums hold, and whose commits cannot be: one of them hid all that came
    /// behind it, and nobody was told.
    #[test]
    fn what_a_group_says_of_commits_hides_no_other() {
        assert_eq!(taken(&[1, 3, 5, 7]), (vec![1, 5, 7], vec![(3, Some(4))]));
        let impossible = COUNTER_MAX + 5;
        assert_eq!(
            taken(&[1, 3, 5, impossible, 9, 11]),
            (vec![1, 5, 9, 11], vec![(3, Some(4)), (7, Some(8))])
        );
        assert_eq!(taken(&[1, 3, 5, impossible]), (vec![1, 5], vec![(3, Some(4)), (7, None)]));
        let (groups, lost) = taken(&[1, 3, 50, 5, 7, 52]);
        assert_eq!(groups, [1, 50, 52]);
        assert_eq!(lost, [(3, Some(49)), (5, Some(6)), (7, Some(8))]);
    }

    #[test]
    fn a_group_that_no_opening_believes_is_not_taken() {
        let group = |first_commit, frame_count, time_ms| GroupInfo {
            lsn: 0,
            end: 512,
            offset: 0,
            first_commit,
            frame_count,
            time_ms,
            synced_lsn: 0,
        };
        assert!(is_possible(&group(COUNTER_MAX, 1, COUNTER_MAX)));
        assert!(!is_possible(&group(COUNTER_MAX, 2, 0)));
        assert!(!is_possible(&group(1, 1, COUNTER_MAX + 1)));
    }
}
