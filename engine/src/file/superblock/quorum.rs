//! Which of four copies to believe: a pure function.
//!
//! 1. A copy counts when it verifies: magic, checksum, place.
//! 2. Two copies agree when they are equal but for the copy index.
//! 3. Of the states on which two copies agree, the highest sequence wins.
//! 4. Two such states of one sequence, or of two files, cannot come from crashes: refuse.
//!
//! Why two: one copy of a higher sequence is an update whose first half never became durable. To
//! take it would be possible, but a later crash could lose it again; to leave it is always right,
//! since `write` had not returned.

use super::format;
use crate::error::{Error, Result};
use crate::file::FileId;
use crate::limits::SUPERBLOCK_COPIES;
use crate::planted::Planted;
use std::io;

/// What lies in the place of a copy.
#[derive(Debug)]
pub(super) enum RawCopy {
    /// What was once written there.
    Verified(VerifiedCopy),
    /// Anything else.
    Damaged { magic: bool, reason: String },
    /// The disk could not say.
    Unreadable(Error),
}

/// Bytes of a copy whose checksum and place are right.
#[derive(Debug)]
pub(super) struct VerifiedCopy {
    copy: usize,
    sequence: u64,
    file: FileId,
    bytes: Vec<u8>,
}

impl VerifiedCopy {
    pub(super) fn copy(&self) -> usize {
        self.copy
    }

    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The part that is equal in all copies of one update.
    pub(super) fn covered(&self) -> &[u8] {
        &self.bytes[format::COVERED_OFFSET..]
    }
}

impl RawCopy {
    /// Looks at the bytes in the place of copy `copy`.
    pub(super) fn verify(copy: usize, bytes: Vec<u8>) -> RawCopy {
        match format::verify(&bytes, copy) {
            Ok(()) => {
                let (sequence, file) = format::decode_key(&bytes);
                RawCopy::Verified(VerifiedCopy { copy, sequence, file, bytes })
            }
            Err((magic, reason)) => RawCopy::Damaged { magic, reason },
        }
    }

    /// A copy that could not be read. That the file ends before it is damage, and no failure.
    pub(super) fn unread(error: Error) -> RawCopy {
        match &error {
            Error::Io { source, .. } if source.kind() == io::ErrorKind::UnexpectedEof => {
                RawCopy::Damaged { magic: false, reason: "the file ends before it".to_owned() }
            }
            _ => RawCopy::Unreadable(error),
        }
    }

    fn verified(&self) -> Option<&VerifiedCopy> {
        match self {
            RawCopy::Verified(copy) => Some(copy),
            RawCopy::Damaged { .. } | RawCopy::Unreadable(_) => None,
        }
    }
}

/// One copy of the state that the file is in.
pub(super) fn choose(copies: &[RawCopy; SUPERBLOCK_COPIES]) -> Result<&VerifiedCopy> {
    let verified: Vec<&VerifiedCopy> = copies.iter().filter_map(RawCopy::verified).collect();
    // One representative of each state that at least two copies hold.
    let agreed: Vec<&VerifiedCopy> = (0..verified.len())
        .filter(|at| {
            let equals = |other: &&&VerifiedCopy| other.covered() == verified[*at].covered();
            let before = verified[..*at].iter().filter(equals).count();
            let behind = verified[at + 1..].iter().filter(equals).count();
            before == 0 && (behind >= 1 || Planted::QuorumOfOne.is_on())
        })
        .map(|at| verified[at])
        .collect();
    let Some(best) = agreed.iter().copied().max_by_key(|copy| copy.sequence) else {
        return Err(explain_none(copies));
    };
    for other in agreed.iter().filter(|other| other.covered() != best.covered()) {
        if other.sequence == best.sequence || other.file != best.file {
            let detail = format!(
                "copies {} and {} hold different states of sequences {} and {}, and each agrees \
                 with another copy",
                best.copy, other.copy, best.sequence, other.sequence
            );
            return Err(Error::corruption("superblock", 0, detail));
        }
    }
    Ok(best)
}

/// Why no two copies agree.
fn explain_none(copies: &[RawCopy; SUPERBLOCK_COPIES]) -> Error {
    let unreadable = copies.iter().find_map(|copy| match copy {
        RawCopy::Unreadable(error) => Some(error.clone()),
        RawCopy::Verified(_) | RawCopy::Damaged { .. } => None,
    });
    if let Some(error) = unreadable {
        return error;
    }
    let known = |copy: &RawCopy| !matches!(copy, RawCopy::Damaged { magic: false, .. });
    if !copies.iter().any(known) {
        return Error::corruption("superblock", 0, "not a Tidelog store");
    }
    let states: Vec<String> = copies
        .iter()
        .enumerate()
        .map(|(index, copy)| match copy {
            RawCopy::Verified(held) => format!("copy {index}: sequence {}", held.sequence),
            RawCopy::Damaged { reason, .. } => format!("copy {index}: {reason}"),
            RawCopy::Unreadable(error) => format!("copy {index}: {error}"),
        })
        .collect();
    let detail = format!("no two copies agree: {}", states.join("; "));
    Error::corruption("superblock", 0, detail)
}
