//! Survivors against the naive evaluation: for every snapshot the same answer.

use crate::batch::KeyedOperation::{self, Add, Delete, Max, Put};
use crate::compaction::keep::{Keeper, fold};
use crate::entry::{KeyedVersion, Payload};
use proptest::prelude::*;

fn version(commit: u64, index: u32, operation: KeyedOperation, value: &[u8]) -> KeyedVersion {
    KeyedVersion {
        key: b"key".as_slice().into(),
        commit,
        index,
        time_ms: 1000 + commit,
        operation,
        value: Payload::from_vec(value.to_vec()),
    }
}

fn counter(commit: u64, operation: KeyedOperation, value: i64) -> KeyedVersion {
    version(commit, 0, operation, &value.to_le_bytes())
}

fn keep(versions: &[KeyedVersion], snapshots: &[u64], bottom: bool) -> Vec<KeyedVersion> {
    let mut keeper = Keeper::new(snapshots, None);
    for version in versions {
        keeper.push(version.clone());
    }
    keeper.finish(bottom)
}

/// The documented meaning of each operation, one at a time, oldest first.
fn naive(versions: &[KeyedVersion], snapshot: u64) -> Option<Vec<u8>> {
    let number = |bytes: &[u8]| <[u8; 8]>::try_from(bytes).ok().map(i64::from_le_bytes);
    let mut value: Option<Vec<u8>> = None;
    for version in versions.iter().rev().filter(|version| version.commit <= snapshot) {
        let before = value.as_deref().and_then(number);
        let operand = number(&version.value);
        value = match version.operation {
            Put => Some(version.value.to_vec()),
            Delete => None,
            Add => {
                let sum = before.unwrap_or(0).wrapping_add(operand.unwrap_or(0));
                Some(sum.to_le_bytes().to_vec())
            }
            Max => match (before, operand) {
                (Some(before), Some(operand)) => Some(before.max(operand).to_le_bytes().to_vec()),
                (None, Some(operand)) => Some(operand.to_le_bytes().to_vec()),
                (_, None) => value,
            },
            KeyedOperation::Mark => unreachable!("tested where marks are"),
        };
    }
    value
}

fn visible(versions: &[KeyedVersion], snapshot: u64) -> Option<Vec<u8>> {
    let versions = versions.iter().filter(|version| version.commit <= snapshot);
    fold(versions).map(|value| value.to_vec())
}

fn describe(versions: &[KeyedVersion]) -> Vec<String> {
    let text = |version: &KeyedVersion| {
        let number = <[u8; 8]>::try_from(&*version.value).map_or(0, i64::from_le_bytes);
        format!("{:?} {} @{}", version.operation, number, version.commit)
    };
    versions.iter().map(text).collect()
}

#[test]
fn the_drawing_of_the_header_holds() {
    let versions = [
        counter(8, Add, 80),
        counter(7, Add, 70),
        counter(6, Max, 3),
        counter(5, Add, 5),
        version(4, 0, Delete, b""),
        counter(3, Add, 3),
        counter(2, Add, 2),
        counter(1, Put, 1),
    ];
    let survivors = keep(&versions, &[3, 6], false);
    assert_eq!(describe(&survivors), ["Add 150 @8", "Put 5 @6", "Put 6 @3"]);
}

#[test]
fn deletes_go_at_the_bottom_only_where_they_hide_nothing() {
    let versions = [version(9, 0, Delete, b""), counter(5, Put, 5), version(2, 0, Delete, b"")];
    assert_eq!(describe(&keep(&versions, &[], false)), ["Delete 0 @9"]);
    assert_eq!(describe(&keep(&versions, &[], true)), [""; 0]);
    assert_eq!(describe(&keep(&versions, &[5], true)), ["Delete 0 @9", "Put 5 @5"]);
    assert_eq!(describe(&keep(&versions, &[3], true)), [""; 0]);
}

#[test]
fn operands_stay_operands_until_there_is_a_base() {
    let versions = [counter(4, Add, 1), counter(3, Max, 7), counter(2, Max, 9), counter(1, Add, 2)];
    let kept = keep(&versions, &[], false);
    assert_eq!(describe(&kept), ["Add 1 @4", "Max 9 @3", "Add 2 @1"].map(String::from));
    assert_eq!(describe(&keep(&versions, &[], true)), ["Put 10 @4"]);
}

#[test]
fn values_that_are_no_counters_follow_the_documented_rules() {
    let text = version(1, 0, Put, b"text");
    let sum = [counter(2, Add, 3), text.clone()];
    assert_eq!(describe(&keep(&sum, &[], false)), ["Put 3 @2"]);
    let largest = [counter(2, Max, -3), text.clone()];
    assert_eq!(describe(&keep(&largest, &[], false)), ["Put -3 @2"]);
    let nothing = [version(2, 0, Max, b"short"), text];
    assert_eq!(fold(&keep(&nothing, &[], false)).as_deref(), Some(b"text".as_slice()));
    assert_eq!(describe(&keep(&[version(2, 0, Max, b"short")], &[], true)), [""; 0]);
}

#[test]
fn counters_wrap() {
    let versions = [counter(2, Add, i64::MAX), counter(1, Add, i64::MAX)];
    assert_eq!(describe(&keep(&versions, &[], true)), ["Put -2 @2"]);
}

#[test]
fn what_is_expired_goes_with_everything_older() {
    let versions = [counter(9, Add, 1), counter(5, Put, 5), counter(2, Put, 2)];
    let mut keeper = Keeper::new(&[5], Some(1006));
    versions.iter().for_each(|version| keeper.push(version.clone()));
    assert_eq!(describe(&keeper.finish(false)), ["Put 1 @9"]);
}

fn operations() -> impl Strategy<Value = Vec<KeyedVersion>> {
    let value = prop_oneof![
        4 => (-5i64..5).prop_map(|value| value.to_le_bytes().to_vec()),
        1 => Just(b"text".to_vec()),
        1 => Just(Vec::new()),
    ];
    let operation = prop_oneof![2 => Just(Put), 1 => Just(Delete), 3 => Just(Add), 3 => Just(Max)];
    prop::collection::vec((operation, value, 0u64..3), 0..14).prop_map(|steps| {
        let (mut commit, mut index) = (1, 0);
        let mut versions = Vec::new();
        for (operation, value, gap) in steps {
            (commit, index) = if gap == 0 { (commit, index + 1) } else { (commit + gap, 0) };
            let value = if operation == Delete { Vec::new() } else { value };
            versions.push(version(commit, index, operation, &value));
        }
        versions.reverse();
        versions
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn every_snapshot_sees_what_the_naive_evaluation_sees(
        versions in operations(),
        mut snapshots in prop::collection::vec(0u64..30, 0..4),
        cut in 0usize..14,
        split in 0usize..14,
    ) {
        snapshots.sort_unstable();
        snapshots.dedup();
        let now = u64::MAX;
        // Some of the older versions lie below and are not part of the merge.
        let (merged, below) = versions.split_at(cut.min(versions.len()));
        // Of the merged ones, some go through an earlier merge (a flush) by themselves.
        let (newer, older) = merged.split_at(split.min(merged.len()));
        let mut input = keep(newer, &snapshots, false);
        input.extend(keep(older, &snapshots, false));
        let mut after = keep(&input, &snapshots, below.is_empty());
        prop_assert!(after.len() <= merged.len());
        prop_assert!(after.is_sorted_by(|a, b| (a.commit, a.index) > (b.commit, b.index)));
        after.extend_from_slice(below);
        for snapshot in snapshots.iter().copied().chain([now]) {
            let expected = naive(&versions, snapshot);
            prop_assert_eq!(visible(&versions, snapshot), expected.clone());
            prop_assert_eq!(visible(&after, snapshot), expected);
        }
    }
}
