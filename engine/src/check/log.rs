//! The log of a live file: the groups from its head on, while others are written behind them.
//!
//! ```text
//! head ── durable groups ── groups that are being written ── what earlier laps have left
//!   └──────► read and verified      │
//!                                   └ may look like an end of log, or like damage: looked at again
//! ```
//! 1. A group that was read well is never read again: a second look goes on behind it.
//! 2. Where no group is and one should be, the head is looked up. It has moved beyond: what was
//!    there is in SSTables now, and the log goes on at the new head. It has not: the same place is
//!    read again. What was being written is there then, since the bytes that say so came later.
//! 3. A check ends a lap behind the head that it began with: what lies there was written since.

use super::manifest::read_superblock;
use super::{LiveFile, damage_of};
use crate::error::{Corruption, Error, Result};
use crate::file::superblock::Superblock;
use crate::limits;
use crate::options::Options;
use crate::wal::{self, FRAME_HEADER_SIZE, Group, WalPosition};

/// Looks at one place before what is wrong with it is believed.
const LOOKS: u32 = 3;

/// What was found of the log.
#[derive(Debug, Default)]
pub(crate) struct CheckedLog {
    pub(crate) damage: Option<Corruption>,
    /// An unfinished end that two looks have found the same.
    pub(crate) torn_tail: Option<Corruption>,
    /// How often the head had moved beyond what was to be read.
    pub(crate) skipped: u64,
    /// Bytes of the groups that were read.
    pub(crate) bytes: u64,
}

/// How one walk along the log ended.
enum Walked {
    End(Option<Corruption>),
    Wrong(Corruption),
}

/// Takes a group of the log that a root names. Its error is damage of the group.
pub(crate) type TakeGroup<'a> = &'a mut dyn FnMut(&Superblock, Group<'_>) -> Result<()>;

/// Reads the log that `root` names. Where a writer begins a new log meanwhile, `each` is given the
/// groups of that, from its head on.
///
/// # Errors
/// What is no damage: the disk, the build, or the pace.
pub(crate) fn check_log(
    file: &LiveFile,
    root: &Superblock,
    each: TakeGroup<'_>,
) -> Result<CheckedLog> {
    let mut root = root.clone();
    let mut at = head(&root);
    let mut goal = at.lsn.saturating_add(root.ring.length);
    let mut found = CheckedLog::default();
    let (mut looks, mut last) = (0, None);
    loop {
        let before = at.lsn;
        let walked = walk(file, &root, &mut at, goal, each)?;
        found.bytes += at.lsn - before;
        looks = if at.lsn > before { 1 } else { looks + 1 };
        match walked {
            Walked::End(None) => return Ok(found),
            // Two looks at one place, and both saw the same.
            Walked::End(Some(cut)) if looks > 1 && last.as_ref() == Some(&cut) => {
                found.torn_tail = Some(cut);
                return Ok(found);
            }
            Walked::End(Some(_)) if looks >= LOOKS => return Ok(found),
            Walked::Wrong(damage) if looks >= LOOKS => {
                found.damage = Some(damage);
                return Ok(found);
            }
            Walked::End(Some(seen)) | Walked::Wrong(seen) => last = Some(seen),
        }
        file.rest()?;
        // A damaged root is reported by whoever looks at the roots; the log is read as it was.
        let Ok(now) = read_superblock(file)? else { continue };
        let anew = now.wal.salt != root.wal.salt || now.ring != root.ring;
        if anew || now.wal.lsn > at.lsn {
            (at, looks, last) = (head(&now), 0, None);
            found.skipped += 1;
            if anew {
                goal = at.lsn.saturating_add(now.ring.length);
            }
        }
        root = now;
    }
}

/// One walk from `at` on, which it moves.
fn walk(
    file: &LiveFile,
    root: &Superblock,
    at: &mut WalPosition,
    goal: u64,
    each: TakeGroup<'_>,
) -> Result<Walked> {
    if at.lsn >= goal {
        return Ok(Walked::End(None));
    }
    let start = *at;
    let mut passed = false;
    let mut next = |group: Group<'_>| {
        passed = group.lsn >= goal;
        if passed {
            return Err(Error::Closed { what: "a lap of the log was read" });
        }
        let position = group.position;
        each(root, group)?;
        *at = position;
        Ok(())
    };
    let walked = wal::replay(
        &file.disk,
        root.file,
        root.ring,
        start,
        root.wal.salt,
        root.synced_lsn,
        group_bytes_max(root),
        &mut next,
    );
    file.pace().check()?;
    match walked {
        Ok(end) => Ok(Walked::End(end.cut)),
        Err(_) if passed => Ok(Walked::End(None)),
        Err(error) => damage_of(error).map(Walked::Wrong),
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
