use super::*;
use crate::error::ErrorKind;
use crate::testing::{
    AfterFailedSync, CrashPolicy, Fault, FaultEffect, FaultOperation, FaultTimes, SimDisk,
    SimOptions,
};
use proptest::prelude::*;

const BLOCK: u64 = BLOCK_SIZE;
const START: u64 = 16 * BLOCK;

fn extent(first: u64, blocks: u64) -> Extent {
    Extent { offset: START + first * BLOCK, length: blocks * BLOCK }
}

fn disk_of(blocks: u64) -> SimDisk {
    let disk = SimDisk::new(SimOptions::default());
    disk.allocate(0, START + blocks * BLOCK).unwrap();
    disk.sync().unwrap();
    disk
}

fn allocator(disk: &SimDisk, live: &[Extent]) -> Arc<Allocator> {
    let length = disk.length().unwrap();
    Arc::new(Allocator::new(Arc::new(disk.clone()), START, length, live).unwrap())
}

#[test]
fn first_fit_takes_the_lowest_run() {
    let disk = disk_of(20);
    let allocator = allocator(&disk, &[extent(2, 1), extent(6, 1)]);
    assert_eq!(allocator.free_runs(), [extent(0, 2), extent(3, 3), extent(7, 13)]);
    let three = allocator.reserve(3 * BLOCK - 7, "a test").unwrap();
    assert_eq!(three.extent(), extent(3, 3));
    let one = allocator.reserve(1, "a test").unwrap();
    assert_eq!(one.extent(), extent(0, 1));
    drop(three);
    assert_eq!(one.commit(1), extent(0, 1));
    assert_eq!(allocator.free_runs(), [extent(1, 1), extent(3, 3), extent(7, 13)]);
    assert_eq!(allocator.free_bytes(), 17 * BLOCK);
}

#[test]
fn a_commit_keeps_the_front_and_forfeits_the_tail() {
    let disk = disk_of(8);
    let allocator = allocator(&disk, &[]);
    let reservation = allocator.reserve(8 * BLOCK, "a test").unwrap();
    assert_eq!(reservation.commit(2 * BLOCK + 1), extent(0, 3));
    assert_eq!(allocator.free_runs(), [extent(3, 5)]);
    allocator.forfeit(extent(0, 3));
    assert_eq!(allocator.free_runs(), [extent(0, 8)]);
}

#[test]
fn live_extents_must_be_possible() {
    let disk = disk_of(8);
    let length = disk.length().unwrap();
    let hostile = [
        vec![extent(0, 2), extent(1, 2)],
        vec![extent(0, 2), extent(0, 2)],
        vec![extent(7, 2)],
        vec![extent(0, 0)],
        vec![Extent { offset: START - BLOCK, length: BLOCK }],
        vec![Extent { offset: START + 1, length: BLOCK }],
        vec![Extent { offset: START, length: u64::MAX - 4095 }],
    ];
    for live in hostile {
        let result = Allocator::new(Arc::new(disk.clone()), START, length, &live);
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Corruption, "{live:?}");
    }
}

#[test]
fn a_longer_file_is_durable_before_it_is_used() {
    let disk = disk_of(4);
    let allocator = allocator(&disk, &[extent(0, 3)]);
    let reservation = allocator.reserve(10 * BLOCK, "a test").unwrap();
    // The free block at the end is part of it.
    assert_eq!(reservation.extent(), extent(3, 10));
    assert_eq!(allocator.file_length(), START + 13 * BLOCK);
    let image = disk.crash_image(&CrashPolicy::DropAll);
    assert_eq!(image.length().unwrap(), allocator.file_length());
}

#[test]
fn the_file_grows_by_a_share_of_its_length() {
    let disk = disk_of(784);
    let allocator = allocator(&disk, &[extent(0, 784)]);
    let reservation = allocator.reserve(1, "a test").unwrap();
    assert_eq!(reservation.extent(), extent(784, 1));
    assert_eq!(allocator.file_length(), START + 884 * BLOCK);
}

#[test]
fn a_full_disk_is_named_and_writing_resumes() {
    let disk = disk_of(784);
    let allocator = allocator(&disk, &[extent(0, 780)]);
    let used = disk.used_bytes();
    disk.set_capacity(Some(used));
    let error = allocator.reserve(6 * BLOCK, "an SSTable").unwrap_err();
    assert!(matches!(error, Error::NoSpace { what: "an SSTable", needed } if needed == 2 * BLOCK));
    assert_eq!(allocator.free_runs(), [extent(780, 4)]);
    assert_eq!(allocator.reserve(4 * BLOCK, "an SSTable").unwrap().extent(), extent(780, 4));
    // Room for what is needed, not for the usual step.
    disk.set_capacity(Some(used + 3 * BLOCK));
    assert_eq!(allocator.reserve(6 * BLOCK, "an SSTable").unwrap().extent(), extent(780, 6));
    assert_eq!(allocator.file_length(), START + 786 * BLOCK);
    let error = allocator.reserve(u64::MAX, "an SSTable").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace);
    let error = allocator.reserve(u64::MAX / 2, "an SSTable").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace);
}

#[test]
fn a_failed_sync_of_the_longer_file_poisons() {
    let disk = disk_of(1);
    let health = Health::default();
    let length = disk.length().unwrap();
    let shared = Arc::new(disk.clone());
    let allocator = Allocator::with_health(shared, START, length, &[], health.clone()).unwrap();
    let allocator = Arc::new(allocator);
    disk.fail(Fault {
        operation: FaultOperation::Sync,
        at: 0,
        times: FaultTimes::Once,
        effect: FaultEffect::FailedSync(AfterFailedSync::Reverted),
    });
    assert_eq!(allocator.reserve(2 * BLOCK, "a test").unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(health.check().unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(allocator.file_length(), length);
    assert_eq!(allocator.free_runs(), [extent(0, 1)]);
    assert_eq!(allocator.reserve(2 * BLOCK, "a test").unwrap_err().kind(), ErrorKind::Poisoned);
}

#[test]
fn released_extents_wait_for_two_superblocks() {
    let disk = disk_of(4);
    let allocator = allocator(&disk, &[extent(0, 4)]);
    allocator.durable(5);
    allocator.release(extent(0, 1), 5);
    allocator.release(extent(1, 1), 6);
    assert_eq!((allocator.released(), allocator.free_bytes()), (2 * BLOCK, 0));
    allocator.durable(6);
    assert_eq!(allocator.free_bytes(), 0);
    allocator.durable(7);
    assert_eq!(allocator.free_runs(), [extent(0, 1)]);
    allocator.durable(8);
    assert_eq!(allocator.free_runs(), [extent(0, 2)]);
    // A reader that lets go late.
    allocator.release(extent(2, 1), 3);
    assert_eq!(allocator.free_runs(), [extent(0, 3)]);
}

#[test]
fn a_guard_keeps_the_extent_while_somebody_reads() {
    let disk = disk_of(2);
    let allocator = allocator(&disk, &[extent(0, 1), extent(1, 1)]);
    drop(ExtentGuard::new(extent(1, 1), allocator.clone()));
    let guard = Arc::new(ExtentGuard::new(extent(0, 1), allocator.clone()));
    let reader = Arc::clone(&guard);
    guard.mark_obsolete(1);
    drop(guard);
    allocator.durable(9);
    assert_eq!((allocator.free_bytes(), allocator.released()), (0, 0));
    assert_eq!(reader.extent(), extent(0, 1));
    drop(reader);
    assert_eq!(allocator.free_runs(), [extent(0, 1)]);
}

#[test]
#[should_panic(expected = "freed twice")]
fn an_extent_has_one_owner() {
    let disk = disk_of(2);
    allocator(&disk, &[]).release(extent(1, 1), 0);
    let allocator = allocator(&disk, &[extent(0, 1)]);
    allocator.durable(2);
    allocator.release(extent(1, 1), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Against a model that knows the owner of every block.
    #[test]
    fn no_block_has_two_owners(
        steps in prop::collection::vec((0u8..6, 1u64..9, any::<prop::sample::Index>()), 1..120),
    ) {
        let disk = disk_of(8);
        let allocator = allocator(&disk, &[]);
        let mut sequence = 1;
        let mut live: Vec<Extent> = Vec::new();
        let mut waiting: Vec<(u64, Extent)> = Vec::new();
        for (step, blocks, index) in steps {
            match step {
                0..3 => {
                    let reservation = allocator.reserve(blocks * BLOCK, "a test").unwrap();
                    if step == 0 {
                        let kept = index.index(usize::try_from(blocks).unwrap()) as u64 + 1;
                        live.push(reservation.commit(kept * BLOCK));
                    } else if step == 1 {
                        live.push(reservation.commit(blocks * BLOCK));
                    }
                }
                3..5 if !live.is_empty() => {
                    let gone = live.swap_remove(index.index(live.len()));
                    allocator.release(gone, sequence);
                    waiting.push((sequence, gone));
                }
                _ => {
                    sequence += 1;
                    allocator.durable(sequence);
                    waiting.retain(|(generation, _)| generation + 2 > sequence);
                }
            }
            let mut all = allocator.free_runs();
            prop_assert!(all.windows(2).all(|pair| pair[0].end() < pair[1].offset));
            all.extend(&live);
            all.extend(waiting.iter().map(|(_, extent)| *extent));
            all.sort_unstable();
            // The parts cover the grid without a gap and without an overlap.
            prop_assert_eq!(all.first().map(|first| first.offset), Some(START));
            prop_assert!(all.windows(2).all(|pair| pair[0].end() == pair[1].offset));
            prop_assert_eq!(all.last().map(Extent::end), Some(allocator.file_length()));
        }
        let reopened = Allocator::new(
            Arc::new(disk.clone()), START, allocator.file_length(), &live).unwrap();
        let used: u64 = live.iter().map(|extent| extent.length).sum();
        prop_assert_eq!(reopened.free_bytes(), allocator.file_length() - START - used);
    }
}

#[test]
fn the_first_fit_of_many_runs_is_found_by_class() {
    // 100,000 short runs before the only long one.
    let mut free = FreeRuns::default();
    for number in 0..100_000 {
        free.add(extent(number * 3, 1 + number % 2));
    }
    free.add(extent(400_000, 64));
    free.add(extent(500_000, 80));
    assert_eq!(free.take_first(70 * BLOCK), Some(extent(500_000, 70)));
    for taken in 0..50 {
        assert_eq!(free.take_first(64 * BLOCK).is_some(), taken == 0);
    }
    // Of its own class, the lowest that is long enough; before it, what is too short.
    assert_eq!(free.take_first(2 * BLOCK), Some(extent(3, 2)));
    assert_eq!(free.take_first(BLOCK), Some(extent(0, 1)));
    assert_eq!(free.take_first(BLOCK), Some(extent(6, 1)));
}

const MEBI: u64 = 1 << 20;
const ALL: Giving = Giving { keep_bytes: 0, least_bytes: BLOCK, warm: true };
const COLD: Giving = Giving { warm: false, ..ALL };

/// 4 MiB, of which the second is live.
fn mebibytes() -> (SimDisk, Arc<Allocator>) {
    let disk = disk_of(1024);
    let allocator = allocator(&disk, &[extent(256, 256)]);
    (disk, allocator)
}

#[test]
fn the_tail_is_cut_only_when_the_root_says_so() {
    let (disk, allocator) = mebibytes();
    let before = allocator.file_length();
    assert!(!allocator.cut(COLD), "nobody has looked yet");
    allocator.look();
    assert!(!allocator.cut(Giving { keep_bytes: 3 * MEBI, ..COLD }), "all of it is kept");
    assert!(allocator.cut(COLD));
    assert_eq!(allocator.file_length(), START + 2 * MEBI);
    // The superblock on the disk still says the old length.
    assert!(!allocator.shorten(before).unwrap());
    assert_eq!(disk.length().unwrap(), before);
    assert!(!allocator.shorten(START + 3 * MEBI).unwrap());
    assert_eq!(disk.length().unwrap(), START + 3 * MEBI);
    // The grid has grown again meanwhile: the file is not shortened below it.
    let grown = allocator.reserve(3 * MEBI / 2, "a test").unwrap();
    assert_eq!(grown.extent().offset, START + 2 * MEBI);
    assert!(!allocator.shorten(START).unwrap());
    assert_eq!(disk.length().unwrap(), allocator.file_length());
    assert_eq!(allocator.file_length(), grown.extent().end());
}

#[test]
fn what_was_taken_since_the_last_look_is_not_cold() {
    let (_, allocator) = mebibytes();
    allocator.look();
    let front = allocator.reserve(512 * 1024, "a test").unwrap();
    drop(front);
    assert_eq!(allocator.cold_bytes(), 3 * MEBI - 512 * 1024);
    while allocator.punch(COLD).unwrap() {}
    assert_eq!(allocator.holes(), 3 * MEBI - 512 * 1024);
    while allocator.punch(ALL).unwrap() {}
    assert_eq!(allocator.holes(), 3 * MEBI - 512 * 1024, "it was looked through");
    allocator.look();
    while allocator.punch(ALL).unwrap() {}
    assert_eq!(allocator.holes(), 3 * MEBI);
}

#[test]
fn a_hole_gets_room_before_it_is_given_out() {
    let (disk, allocator) = mebibytes();
    let full = disk.used_bytes();
    allocator.look();
    while allocator.punch(Giving { keep_bytes: MEBI, ..COLD }).unwrap() {}
    assert_eq!((allocator.holes(), disk.used_bytes()), (2 * MEBI, full - 2 * MEBI));
    assert_eq!(allocator.free_bytes(), 3 * MEBI);
    let low = allocator.reserve(MEBI, "a test").unwrap();
    assert_eq!((low.extent(), allocator.holes()), (extent(0, 256), 2 * MEBI));
    // Somebody else has taken half of what was given back.
    disk.set_capacity(Some(full - MEBI));
    let error = allocator.reserve(2 * MEBI, "an SSTable").unwrap_err();
    assert!(matches!(error, Error::NoSpace { what: "an SSTable", .. }));
    assert_eq!((allocator.holes(), allocator.free_bytes()), (2 * MEBI, 2 * MEBI));
    drop(low);
    // Where no hole can be filled, what has room is taken.
    disk.set_capacity(Some(full - 2 * MEBI));
    drop(allocator.reserve(MEBI, "an SSTable").unwrap());
    disk.set_capacity(Some(full));
    let high = allocator.reserve(2 * MEBI, "an SSTable").unwrap();
    assert_eq!((high.extent(), allocator.holes()), (extent(512, 512), 0));
    assert_eq!(disk.used_bytes(), full);
}

#[test]
fn what_lies_too_high_is_offered_a_lower_place() {
    let (_, allocator) = mebibytes();
    let lower = |bytes, end| allocator.reserve_before(bytes, end, "a test").unwrap();
    assert_eq!(lower(MEBI, START + MEBI).unwrap().extent(), extent(0, 256));
    assert!(lower(MEBI + 1, START + 2 * MEBI).is_none());
    assert!(lower(MEBI, START + MEBI - 1).is_none());
}

/// A look for space that began with a move ended with the error of a full disk, and never came to
/// what is cut off without any room.
#[test]
fn a_hole_that_a_full_disk_cannot_fill_is_no_lower_place() {
    let (disk, allocator) = mebibytes();
    allocator.look();
    while allocator.punch(Giving { keep_bytes: MEBI, ..COLD }).unwrap() {}
    disk.set_capacity(Some(disk.used_bytes()));
    let free = (allocator.holes(), allocator.free_bytes());
    let lower = || allocator.reserve_before(3 * MEBI / 2, START + 4 * MEBI, "a test").unwrap();
    assert!(lower().is_none());
    assert_eq!((allocator.holes(), allocator.free_bytes()), free, "it is free as before");
    disk.set_capacity(None);
    assert!(lower().is_some());
}

#[test]
fn what_readers_hold_is_counted() {
    let (_, allocator) = mebibytes();
    let guard = ExtentGuard::new(extent(256, 256), allocator.clone());
    guard.mark_obsolete(1);
    assert_eq!((allocator.held(), allocator.released()), (MEBI, 0));
    drop(guard);
    assert_eq!((allocator.held(), allocator.released()), (0, MEBI));
}

/// Bytes of the grid that are not zero, in blocks.
fn solid_blocks(disk: &SimDisk) -> Vec<u64> {
    let bytes = disk.bytes();
    let grid = &bytes[usize::try_from(START).unwrap()..];
    let blocks = (0u64..).zip(grid.chunks(usize::try_from(BLOCK).unwrap()));
    blocks.filter(|(_, block)| block.iter().any(|byte| *byte != 0)).map(|(at, _)| at).collect()
}

fn scrub_all(allocator: &Allocator) -> usize {
    let pacer = crate::file::pacer::tests::unlimited();
    std::iter::from_fn(|| allocator.scrub(&pacer).unwrap().then_some(())).count()
}

#[test]
fn whatever_is_not_live_is_scrubbed_once_it_is_free() {
    let disk = disk_of(200);
    disk.set_bytes(START, &vec![0xee; 200 * 4096]);
    let live = [extent(10, 5), extent(20, 1)];
    let allocator = allocator(&disk, &live);
    allocator.durable(1);
    let tail = allocator.reserve(8 * BLOCK, "a test").unwrap();
    let dropped = allocator.reserve(8 * BLOCK, "a test").unwrap();
    assert_eq!((tail.extent(), dropped.extent()), (extent(0, 8), extent(21, 8)));
    let guard = Arc::new(ExtentGuard::new(extent(20, 1), Arc::clone(&allocator)));
    allocator.begin_scrub(&live[..1]);
    assert!(scrub_all(&allocator) > 2, "in pieces");
    let kept: Vec<u64> = (0..8).chain(10..15).chain(20..29).collect();
    assert_eq!(solid_blocks(&disk), kept);
    assert_eq!(allocator.unscrubbed(&live[..1]), 17 * BLOCK);
    // One writer keeps its front, the other gives all back.
    let written = tail.commit(3 * BLOCK);
    drop(dropped);
    scrub_all(&allocator);
    let kept: Vec<u64> = (0..3).chain(10..15).chain([20]).collect();
    assert_eq!(solid_blocks(&disk), kept);
    assert_eq!(allocator.unscrubbed(&[live[0], written]), BLOCK, "somebody reads it");
    guard.mark_obsolete(1);
    drop(guard);
    scrub_all(&allocator);
    assert_eq!(allocator.unscrubbed(&[live[0], written]), BLOCK, "and older roots name it");
    allocator.durable(3);
    scrub_all(&allocator);
    assert_eq!(allocator.unscrubbed(&[live[0], written]), 0);
    assert_eq!(solid_blocks(&disk), [0, 1, 2, 10, 11, 12, 13, 14]);
    allocator.end_scrub();
    assert!(allocator.holes() > 0, "what is long is a hole");
    // Nothing is scrubbed unasked, and holes not again.
    allocator.forfeit(written);
    assert_eq!(scrub_all(&allocator), 0);
    allocator.begin_scrub(&live[..1]);
    let before = disk.operation_count();
    scrub_all(&allocator);
    let (length, holes) = (disk.length().unwrap() - START, allocator.holes());
    let solid = length - holes - live[0].length;
    assert!(disk.operation_count() - before <= solid / BLOCK, "a write a block at most");
    assert_eq!(solid_blocks(&disk), [10, 11, 12, 13, 14]);
}

#[test]
fn a_failed_scrub_leaves_the_space_free_and_dirty() {
    let disk = disk_of(8);
    disk.set_bytes(START, &vec![0xee; 8 * 4096]);
    let allocator = allocator(&disk, &[]);
    allocator.begin_scrub(&[]);
    let times = FaultTimes::Once;
    let effect = FaultEffect::Error;
    disk.fail(Fault { operation: FaultOperation::Write, at: 0, times, effect });
    let pacer = crate::file::pacer::tests::unlimited();
    assert!(allocator.scrub(&pacer).is_err());
    assert_eq!(allocator.free_bytes(), 8 * BLOCK);
    scrub_all(&allocator);
    assert_eq!((allocator.unscrubbed(&[]), solid_blocks(&disk)), (0, vec![]));
}
