//! The four superblock copies of a live file.

use super::LiveFile;
use crate::error::{Corruption, Result};
use crate::file::superblock::{CopyState, read_copies};
use crate::limits::{SUPERBLOCK_COPIES, SUPERBLOCK_STRIDE};

/// Looks in which the same wrong bytes must be found, so that nobody was writing them: a second.
const LOOKS: u32 = 20;
/// Looks after which copies that change all the time are left to the next check.
const LOOKS_MAX: u32 = 200;

/// What was found of the copies.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct CheckedCopies {
    pub(crate) damage: Vec<Corruption>,
    /// Copies that were being written at every look.
    pub(crate) skipped: u64,
}

/// One copy over the looks.
struct Suspect {
    copy: usize,
    /// What is wrong with it, which holds the checksums found: other bytes, other words.
    detail: String,
    stamp: u64,
    looks: u32,
}

/// Looks at each copy by itself.
///
/// # Errors
/// Those of the pace: the check is to end.
pub(crate) fn check_copies(file: &LiveFile) -> Result<CheckedCopies> {
    let mut found = CheckedCopies::default();
    let mut suspects = Vec::new();
    let mut seen = false;
    for _ in 0..LOOKS_MAX {
        let Some(states) = look(file)? else {
            file.rest()?;
            continue;
        };
        seen = true;
        suspects = go_on(suspects, states);
        let believed = suspects.extract_if(.., |suspect: &mut Suspect| suspect.looks >= LOOKS);
        found.damage.extend(believed.map(|Suspect { copy, detail, .. }| Corruption {
            what: "superblock copy",
            offset: copy as u64 * SUPERBLOCK_STRIDE,
            detail,
        }));
        let reported = |copy: usize| {
            let offset = copy as u64 * SUPERBLOCK_STRIDE;
            found.damage.iter().any(|damage| damage.offset == offset)
        };
        suspects.retain(|suspect| !reported(suspect.copy));
        if suspects.is_empty() {
            return Ok(found);
        }
        file.rest()?;
    }
    // Where the root was being written at every look, no copy was seen.
    let unseen = if seen { suspects.len() } else { SUPERBLOCK_COPIES };
    found.skipped = unseen as u64;
    Ok(found)
}

/// What is wrong with each copy; `None` where one may have been written meanwhile.
fn look(file: &LiveFile) -> Result<Option<(u64, [Option<String>; SUPERBLOCK_COPIES])>> {
    let Some(stamp) = file.stamp() else { return Ok(None) };
    let states = file.disk.hurried(|| read_copies(&file.disk));
    file.pace().check()?;
    let wrong = states.map(|state| match state {
        CopyState::Valid(_) => None,
        CopyState::Unsupported(detail) | CopyState::Damaged(detail) => Some(detail),
    });
    Ok((file.stamp() == Some(stamp)).then_some((stamp, wrong)))
}

/// Counts the looks in which the same was wrong with the same copy.
fn go_on(
    before: Vec<Suspect>,
    (stamp, wrong): (u64, [Option<String>; SUPERBLOCK_COPIES]),
) -> Vec<Suspect> {
    let wrong = wrong.into_iter().enumerate().filter_map(|(copy, why)| Some((copy, why?)));
    let suspect = |(copy, detail)| {
        let known = before.iter().find(|suspect| {
            (suspect.copy, &suspect.detail, suspect.stamp) == (copy, &detail, stamp)
        });
        Suspect { copy, looks: known.map_or(0, |suspect| suspect.looks) + 1, detail, stamp }
    };
    wrong.map(suspect).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::ReadPace;
    use crate::sync::{Arc, AtomicU64};
    use crate::testing::fuzzing::superblock::{FILE_LENGTH, write};
    use crate::testing::{SimClock, SimDisk, SimOptions, SimScheduler};

    fn live(disk: &SimDisk, writes: u64) -> LiveFile {
        let clock = SimClock::new(7);
        let scheduler = Arc::new(SimScheduler::new(1, clock.clone()));
        let pace = Arc::new(ReadPace::new(Arc::new(clock), scheduler, 0, Box::new(|| Ok(()))));
        LiveFile::new(Arc::new(disk.clone()), pace, Arc::new(AtomicU64::new(writes)))
    }

    #[test]
    fn copies_that_were_never_seen_are_counted() {
        let length = usize::try_from(FILE_LENGTH).unwrap();
        let disk = SimDisk::from_bytes(SimOptions::default(), &vec![0; length]);
        write(&disk, 5, 1).unwrap();
        let found = check_copies(&live(&disk, 2)).unwrap();
        assert_eq!(found, CheckedCopies::default());
        // Somebody writes the root all the time.
        let found = check_copies(&live(&disk, 3)).unwrap();
        assert_eq!(found, CheckedCopies { damage: Vec::new(), skipped: 4 });
        disk.flip_bit(16_384 + 100, 3);
        let found = check_copies(&live(&disk, 2)).unwrap();
        assert_eq!((found.damage.len(), found.skipped), (1, 0));
        assert_eq!(found.damage[0].offset, 16_384);
    }
}
