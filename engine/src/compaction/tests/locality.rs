//! Compactions that reads ask for: what they cost, that they help, and that they come to an end.

use super::picker::{ENTRY_BYTES, Model, meta};
use crate::compaction::locality::pick_scattered;
use crate::compaction::picker::{JobKind, PickerOptions};
use crate::limits::{LEVEL_COUNT, LOCALITY_BYTES_PER_READ, LOCALITY_READS_MIN, LOCALITY_RUNS};
use crate::version::{SstableMeta, TableKind, Version};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn version(bytes: u64) -> Version<SstableMeta> {
    let at = |level: u8, number, first: &str, last: &str| {
        let place = |key: &str| (key.as_bytes().into(), 10 * (9 - u64::from(level)));
        (level, meta(number, 16, TableKind::Timeline, (place(first), place(last)), bytes))
    };
    let metas = vec![
        at(0, 9, "m", "n"),
        at(0, 8, "a", "z"),
        at(1, 6, "k", "p"),
        at(2, 4, "a", "c"),
        at(2, 5, "d", "n"),
        at(3, 2, "l", "m"),
        at(4, 1, "a", "z"),
    ];
    Version::default().apply(&[], metas)
}

const OPTIONS: PickerOptions = PickerOptions {
    level0_compact: 8,
    level_bytes_base: 1 << 30,
    ratio: 10,
    sstable_bytes: LOCALITY_BYTES_PER_READ,
};

/// The numbers of the inputs.
fn picked(bytes: u64, charges: &[(u64, u64)], busy: &[u64]) -> Option<Vec<u64>> {
    let (charges, busy) = (charges.iter().copied().collect(), busy.iter().copied().collect());
    let job = pick_scattered(&version(bytes), &charges, &OPTIONS, &busy)?;
    assert_eq!(job.kind, JobKind::Merge);
    Some(job.numbers().collect())
}

#[test]
fn what_lies_over_the_most_charged_is_taken_down() {
    let few = LOCALITY_BYTES_PER_READ;
    let enough = LOCALITY_READS_MIN;
    assert_eq!(picked(few, &[], &[]), None);
    assert_eq!(picked(few, &[(1, enough - 1)], &[]), None, "seldom read");
    assert_eq!(picked(few, &[(2, enough)], &[]), Some(vec![2, 5]), "level 2, which meets level 3");
    assert_eq!(picked(few, &[(1, enough), (2, enough - 1)], &[]), Some(vec![1, 2]));
    assert_eq!(picked(few, &[(1, enough), (2, enough + 1)], &[]), Some(vec![2, 5]), "most of all");
    assert_eq!(
        picked(few, &[(4, enough)], &[]),
        Some(vec![6, 8, 9]),
        "nothing of level 1 is there"
    );
    assert_eq!(picked(few, &[(6, enough)], &[]), Some(vec![6, 8, 9]));
    assert_eq!(picked(few, &[(8, enough)], &[]), Some(vec![6, 8, 9]), "level 0: the oldest of it");
    assert_eq!(picked(few, &[(2, enough)], &[5]), None, "somebody works on it");
    assert_eq!(picked(few, &[(7, enough)], &[]), None, "it has gone");
}

#[test]
fn reads_pay_for_what_is_rewritten() {
    let bytes = LOCALITY_BYTES_PER_READ * 1000;
    assert_eq!(picked(bytes, &[(2, 1999)], &[]), None);
    assert_eq!(picked(bytes, &[(2, 2000)], &[]), Some(vec![2, 5]));
    assert_eq!(picked(bytes, &[(2, 1000), (5, 1000)], &[]), Some(vec![2, 5]), "together");
    assert_eq!(picked(bytes, &[(2, 1000), (9, 1000)], &[]), None, "another is not in the job");
}

#[derive(Debug, Clone)]
enum Step {
    Flush([u64; 6]),
    Compact,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let count = prop_oneof![3 => Just(0u64), 3 => 1u64..6, 1 => 6u64..40];
    let flush = prop::array::uniform6(count).prop_map(Step::Flush);
    prop::collection::vec(prop_oneof![2 => flush, 1 => Just(Step::Compact)], 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// However data lie, much reading ends in few runs, and then nothing more is rewritten.
    #[test]
    fn what_is_read_much_ends_in_few_runs(
        steps in steps(),
        level0_compact in 4usize..9,
        entries in 6u64..30,
        base in 1u64..4,
    ) {
        let sstable_bytes = entries * ENTRY_BYTES;
        let level_bytes_base = base * sstable_bytes;
        let options = PickerOptions { level0_compact, level_bytes_base, ratio: 2, sstable_bytes };
        let mut model = Model::new(options);
        for step in steps {
            match step {
                Step::Flush(counts) => model.flush(counts),
                Step::Compact => while model.start() { model.finish(0) },
            }
        }
        let mut jobs = 0;
        loop {
            let runs = (b'a'..=b'f').map(|key| model.runs(key));
            let behind: Vec<u64> = runs.flat_map(|runs| {
                runs.into_iter().skip(LOCALITY_RUNS).flatten()
            }).collect();
            let charges: BTreeMap<u64, u64> =
                behind.iter().map(|number| (*number, u64::from(u32::MAX))).collect();
            let job = pick_scattered(&model.version, &charges, &options, &BTreeSet::new());
            let Some(job) = job else {
                prop_assert!(behind.is_empty(), "{behind:?} are read and stay");
                break;
            };
            model.running.push(job);
            model.finish(0);
            model.check();
            jobs += 1;
            prop_assert!(jobs < 600 * LEVEL_COUNT, "it goes round in circles");
        }
    }
}
