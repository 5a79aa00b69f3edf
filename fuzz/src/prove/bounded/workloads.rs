//! The workload of each number: all of no operation, of one, of two and so on, in one order, so
//! that a number means the same in every run.

use super::operations::{OPERATIONS, Operation};

/// Most operations of a workload.
pub(super) const LENGTH_MAX: u32 = 3;
const KINDS: u64 = OPERATIONS.len() as u64;

/// How many workloads there are.
pub(super) fn count() -> u64 {
    (0..=LENGTH_MAX).map(|length| KINDS.pow(length)).sum()
}

/// The workload of a number below [`count`].
pub(super) fn get(number: u64) -> Option<Vec<Operation>> {
    let mut left = number;
    for length in 0..=LENGTH_MAX {
        let of_length = KINDS.pow(length);
        if left < of_length {
            return Some((0..length).rev().map(|place| operation(left, place)).collect());
        }
        left -= of_length;
    }
    None
}

/// The operation at a place, counted from the last one, of the workloads of one length.
fn operation(number: u64, place: u32) -> Operation {
    let kind = number / KINDS.pow(place) % KINDS;
    OPERATIONS[usize::try_from(kind).expect("it is below the count of kinds")]
}
