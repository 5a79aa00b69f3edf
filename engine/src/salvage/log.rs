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
use super::findings::Findings;
use super::next_ids::Known;
use super::report::Loss;
use super::segments::SegmentHealth;
use super::target::Target;
use crate::batch::decode_placed;
use crate::codec::round_up;
use crate::error::{Error, Result};
use crate::file::Identity;
use crate::file::superblock::{Superblock, WalHead};
use crate::limits::{TARGET_BYTES_MIN, UNSYNCED_ENTRIES_MAX};
use crate::sync::Arc;
use crate::version::Catalog;
use crate::wal::{self, Ending, GroupInfo, LogPlace, WalPosition, Writer};

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
            Ok(Ending::Torn(trace)) => {
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
            return Ok(log);
        }
        let lap = place.ring.length;
        let from = if whole_lap { head.lsn.saturating_sub(lap) } else { head.lsn };
        let to = end.unwrap_or_else(|| head.lsn.saturating_add(lap));
        let checksum = log.take_remains(from..to, whole_lap, findings)?;
        if end.is_none() {
            let synced = log.groups.iter().map(|group| group.synced_lsn).max().unwrap_or(0);
            log.judge_end(checksum, synced.max(superblock.synced_lsn), findings)?;
        }
        Ok(log)
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
            let last = last_commit(&group);
            let behind = end.is_none_or(|end| group.lsn >= end);
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
        let ending = self.list(WalPosition { lsn, previous }, synced)?.ending;
        match ending {
            Ok(Ending::Clean) => {}
            Ok(Ending::Torn(trace)) => self.note_torn(trace.to_string(), findings),
            Ok(Ending::Damaged(_)) | Err(_) => {
                let to = synced.max(lsn + 1);
                self.lose(lsn..to, self.last_commit() + 1, None, findings);
            }
        }
        Ok(())
    }

    /// An unfinished end may be the last synced group, damaged: ids in it may have been seen.
    fn note_torn(&mut self, trace: String, findings: &mut Findings) {
        let entries = self.place.group_bytes_max / TARGET_BYTES_MIN as u64;
        self.jumps += 1 + entries / UNSYNCED_ENTRIES_MAX;
        findings.jump_times(self.jumps);
        findings.report.torn_tail = Some(trace);
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
        findings.jump_times(self.jumps);
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
    pub(super) fn contents(&self) -> Result<Contents> {
        let mut contents = Contents::default();
        for group in &self.groups {
            for (_, body) in self.bodies(group)? {
                for op in decode_placed(&body).map_while(std::result::Result::ok) {
                    contents.note(&op.1);
                }
            }
        }
        Ok(contents)
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
        let mut taken = Bodies::new(catalog, health, known, findings, self.has_losses);
        let mut pending: Vec<(u64, u64, Vec<Vec<u8>>)> = Vec::new();
        let mut bytes = 0;
        for group in &self.groups {
            let mut bodies = Vec::new();
            let mut first = None;
            for (commit, body) in self.bodies(group)? {
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

fn last_commit(group: &GroupInfo) -> u64 {
    group.first_commit.saturating_add(u64::from(group.frame_count)).saturating_sub(1)
}
