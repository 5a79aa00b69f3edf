//! Moves to the cold tier: which SSTables a piece takes, and that what is cold stays older than
//! what is hot, whatever else runs meanwhile.

use super::picker::{ENTRY_BYTES, Model, meta};
use crate::compaction::picker::{Job, PickerOptions};
use crate::compaction::tiering::pick_move;
use crate::entry::TableId;
use crate::options::TableOptions;
use crate::version::{Shard, SstableMeta, TableKind, Tier, Version};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::Duration;

const TABLE: TableId = TableId(16);

fn next_move(
    version: &Version<SstableMeta>,
    piece_bytes: u64,
    busy: &BTreeSet<u64>,
) -> Option<Job<SstableMeta>> {
    let options = TableOptions::timeline().cold_after(Duration::from_secs(1));
    pick_move(version, [(TABLE, &options)].into_iter(), u64::MAX, piece_bytes, busy)
}

/// SSTables of 100 bytes: level, number, and the first and last place.
type Given<'a> = &'a [(u8, u64, &'a str, u64, &'a str, u64)];

fn version(given: Given<'_>) -> Version<SstableMeta> {
    let metas = given.iter().map(|(level, number, first, from, last, to)| {
        let range = ((first.as_bytes().into(), *from), (last.as_bytes().into(), *to));
        (*level, meta(*number, 16, TableKind::Timeline, range, 100))
    });
    Version::default().apply(&[], metas.collect())
}

/// The inputs of all pieces, one piece behind the other, as nothing else happens.
fn pieces(given: Given<'_>, piece_bytes: u64, busy: &[u64]) -> Vec<Vec<u64>> {
    let (mut version, busy) = (version(given), busy.iter().copied().collect());
    let mut pieces = Vec::new();
    while let Some(job) = next_move(&version, piece_bytes, &busy) {
        assert!(job.leaves_tier() && job.output_level == 0 && job.shard.tier == Tier::Cold);
        let numbers: Vec<u64> = job.numbers().collect();
        version = version.apply(&numbers, Vec::new());
        pieces.push(numbers);
    }
    pieces
}

#[test]
fn a_window_goes_in_pieces_from_the_oldest_parts_on() {
    let levels: Given<'_> = &[
        (0, 8, "b", 90, "q", 99),
        (0, 9, "a", 90, "z", 99),
        (1, 5, "a", 50, "f", 59),
        (1, 6, "k", 50, "m", 59),
        (2, 1, "a", 1, "c", 9),
        (2, 2, "d", 1, "g", 9),
        (2, 3, "h", 1, "l", 9),
        (2, 4, "m", 1, "p", 9),
    ];
    let whole: &[&[u64]] = &[&[1, 2, 3, 4, 5, 6, 8, 9]];
    assert_eq!(pieces(levels, 800, &[]), whole, "no larger than a piece: all levels are merged");
    let three: &[&[u64]] = &[&[1, 2, 5], &[3, 4, 6], &[8, 9]];
    assert_eq!(pieces(levels, 300, &[]), three, "the upper goes when what it lies on has gone");
    let single: &[&[u64]] = &[&[1], &[2], &[5], &[3], &[4], &[6], &[8], &[9]];
    assert_eq!(pieces(levels, 1, &[]), single, "one SSTable at least");
    assert_eq!(pieces(levels, 800, &[3]), [[1, 2, 4, 5]], "what is busy keeps what is newer");
}

#[test]
fn a_timeline_over_neighbours_goes_from_its_oldest_part_on() {
    let levels: Given<'_> =
        &[(1, 3, "m", 1, "m", 50), (1, 4, "m", 51, "m", 99), (1, 5, "n", 1, "p", 9)];
    assert_eq!(pieces(levels, 100, &[]), [[3], [4], [5]]);
    assert_eq!(pieces(levels, 100, &[3]), [[5]], "the newer part waits for the older one");
    // Its older part lies deeper, in the same key, though at another place.
    let below: Given<'_> = &[(1, 7, "m", 51, "m", 99), (2, 6, "m", 1, "m", 50)];
    assert_eq!(pieces(below, 100, &[]), [[6], [7]]);
}

#[derive(Debug, Clone)]
enum Step {
    Flush([u64; 6]),
    Compact,
    Move,
    Finish(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let count = prop_oneof![3 => Just(0u64), 3 => 1u64..6, 1 => 6u64..40];
    let flush = prop::array::uniform6(count).prop_map(Step::Flush);
    let finish = (0usize..4).prop_map(Step::Finish);
    let step =
        prop_oneof![3 => flush, 2 => Just(Step::Compact), 2 => Just(Step::Move), 2 => finish];
    prop::collection::vec(step, 1..80)
}

/// Starts a piece; `false` where none can move.
fn start_move(model: &mut Model, piece_bytes: u64) -> bool {
    let busy = model.busy();
    let Some(job) = next_move(&model.version, piece_bytes, &busy) else {
        return false;
    };
    let bytes: u64 = job.inputs.iter().map(|(_, meta)| meta.bytes).sum();
    assert!(bytes <= piece_bytes || job.inputs.len() == 1, "{bytes} bytes in a piece");
    assert!(job.numbers().all(|number| !busy.contains(&number)));
    model.running.push(job);
    true
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Pieces, compactions of either tier and flushes into the window that moves, in any order and
    /// side by side.
    #[test]
    fn what_is_cold_is_older_than_what_is_hot(
        steps in steps(),
        level0_compact in 1usize..5,
        entries in 6u64..30,
        base in 1u64..6,
        piece in 1u64..6,
    ) {
        let sstable_bytes = entries * ENTRY_BYTES;
        let level_bytes_base = base * sstable_bytes;
        let mut model =
            Model::new(PickerOptions { level0_compact, level_bytes_base, ratio: 2, sstable_bytes });
        let piece_bytes = piece * sstable_bytes;
        for step in steps {
            match step {
                Step::Flush(counts) => model.flush(counts),
                Step::Compact => { model.start(); }
                Step::Move => { start_move(&mut model, piece_bytes); }
                Step::Finish(index) if !model.running.is_empty() => model.finish(index),
                Step::Finish(_) => {}
            }
            model.check();
        }
        while !model.running.is_empty() || start_move(&mut model, piece_bytes) {
            model.finish(0);
            model.check();
        }
        let hot = model.version.all_shards().filter(|(_, shard, _)| *shard == Shard::default());
        prop_assert_eq!(hot.count(), 0, "everything has become cold");
    }
}
