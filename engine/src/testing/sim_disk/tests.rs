use super::*;
use crate::file::{AlignedBuffer, Disk, Flush, StoreBy};
use proptest::prelude::*;
use std::io;

pub(super) fn aligned(length: usize, byte: u8) -> AlignedBuffer {
    let mut buffer = AlignedBuffer::with_capacity(length);
    buffer.extend(&vec![byte; length]);
    buffer
}

pub(super) fn put(disk: &SimDisk, offset: u64, byte: u8, flush: Flush) -> io::Result<usize> {
    disk.write_at(offset, aligned(512, byte).as_slice(), flush)
}

pub(super) fn later(disk: &SimDisk, offset: u64, byte: u8) {
    assert_eq!(put(disk, offset, byte, Flush::Later).expect("no fault is planned"), 512);
}

/// The first byte of each sector, as one character a sector: `.` for zero.
fn sectors(disk: &SimDisk) -> String {
    let bytes = disk.bytes();
    bytes.chunks(512).map(|sector| if sector[0] == 0 { '.' } else { sector[0] as char }).collect()
}

pub(super) fn after(disk: &SimDisk, policy: CrashPolicy) -> String {
    sectors(&disk.crash_image(&policy))
}

#[test]
fn power_loss_takes_what_was_not_synced() {
    let disk = SimDisk::new(SimOptions::default());
    later(&disk, 0, b'a');
    disk.sync().unwrap();
    later(&disk, 0, b'b');
    later(&disk, 512, b'c');
    later(&disk, 1024, b'd');
    assert_eq!(disk.pending_count(), 3);
    assert_eq!(sectors(&disk), "bcd");
    assert_eq!(after(&disk, CrashPolicy::DropAll), "a");
    assert_eq!(after(&disk, CrashPolicy::KeepAll), "bcd");
    assert_eq!(after(&disk, CrashPolicy::Prefix(1)), "b");
    assert_eq!(after(&disk, CrashPolicy::Prefix(2)), "bc");
    assert_eq!(after(&disk, CrashPolicy::DropOne(0)), "acd");
    assert_eq!(after(&disk, CrashPolicy::DropOne(1)), "b.d");
    assert_eq!(after(&disk, CrashPolicy::KeepOne(2)), "a.d");
    assert_eq!(after(&disk, CrashPolicy::Kill), "bcd");
}

#[test]
fn an_immediate_flush_makes_one_write_durable_and_no_other() {
    let disk = SimDisk::new(SimOptions::default());
    later(&disk, 0, b'a');
    assert_eq!(put(&disk, 1024, b'n', Flush::Now).unwrap(), 512);
    assert_eq!(disk.pending_count(), 1);
    assert_eq!(after(&disk, CrashPolicy::DropAll), "..n");
    assert_eq!(after(&disk, CrashPolicy::KeepAll), "a.n");
}

/// A later sync or crash must not bring the older, cached bytes of the same place back.
#[test]
fn an_immediate_flush_stays_newer_than_pending_writes_of_its_place() {
    let disk = SimDisk::new(SimOptions::default());
    later(&disk, 0, b'a');
    put(&disk, 0, b'n', Flush::Now).unwrap();
    assert_eq!(disk.pending_count(), 1);
    for policy in [CrashPolicy::DropAll, CrashPolicy::KeepAll, CrashPolicy::Random { seed: 1 }] {
        assert_eq!(after(&disk, policy), "n");
    }
    later(&disk, 0, b'b');
    assert_eq!(after(&disk, CrashPolicy::KeepAll), "b");
    disk.truncate(0).unwrap();
    put(&disk, 512, b'm', Flush::Now).unwrap();
    assert_eq!(after(&disk, CrashPolicy::DropAll), "nm");
    assert_eq!(after(&disk, CrashPolicy::KeepAll), ".m");
    disk.sync().unwrap();
    assert_eq!(after(&disk, CrashPolicy::DropAll), ".m");
}

#[test]
fn a_crash_stops_everything_and_leaves_the_operation_in_flight() {
    let disk = SimDisk::new(SimOptions::default());
    later(&disk, 0, b'a');
    disk.sync().unwrap();
    disk.crash_at(3);
    later(&disk, 512, b'b');
    assert!(!disk.crashed());
    put(&disk, 1024, b'c', Flush::Now).unwrap_err();
    assert!(disk.crashed());
    disk.sync().unwrap_err();
    disk.read_at(0, &mut [0; 8]).unwrap_err();
    disk.length().unwrap_err();
    disk.map(0, 8).unwrap_err();
    assert_eq!(disk.operation_count(), 4);
    assert_eq!(disk.pending_count(), 2);
    assert_eq!(after(&disk, CrashPolicy::DropAll), "a");
    assert_eq!(after(&disk, CrashPolicy::KeepOne(1)), "a.c");
    assert_eq!(after(&disk, CrashPolicy::Kill), "ab");
}

#[test]
fn a_kill_keeps_the_boot_and_leaves_pending_operations_pending() {
    let disk = SimDisk::new(SimOptions::default());
    later(&disk, 0, b'a');
    assert!(disk.try_lock().unwrap());
    let killed = disk.crash_image(&CrashPolicy::Kill);
    assert_eq!(killed.identity(), disk.identity());
    assert!(killed.try_lock().unwrap());
    assert_eq!(after(&killed, CrashPolicy::DropAll), "");
    let lost = killed.crash_image(&CrashPolicy::KeepAll);
    assert_ne!(lost.identity().boot, disk.identity().boot);
    assert_eq!(lost.identity().inode, disk.identity().inode);
    let lost_again = lost.crash_image(&CrashPolicy::KeepAll);
    assert_ne!(lost_again.identity().boot, lost.identity().boot);
    assert_ne!(disk.copied().identity().inode, disk.identity().inode);
}

#[test]
fn a_torn_write_mixes_old_new_and_garbage_sectors_inside_its_range_only() {
    let disk = SimDisk::new(SimOptions::default());
    let old = aligned(8 * 512, b'o');
    disk.write_at(0, old.as_slice(), Flush::Later).unwrap();
    disk.sync().unwrap();
    disk.write_at(512, aligned(6 * 512, b'n').as_slice(), Flush::Later).unwrap();
    let (mut olds, mut news, mut garbage) = (0, 0, 0);
    for seed in 0..200 {
        let torn = disk.crash_image(&CrashPolicy::TearOne { index: 0, seed }).bytes();
        assert_eq!(torn.len(), 8 * 512);
        assert!(torn[..512].iter().chain(&torn[7 * 512..]).all(|byte| *byte == b'o'));
        for sector in torn[512..7 * 512].chunks(512) {
            match sector {
                sector if sector.iter().all(|byte| *byte == b'o') => olds += 1,
                sector if sector.iter().all(|byte| *byte == b'n') => news += 1,
                _ => garbage += 1,
            }
        }
    }
    assert!(olds > 100 && news > 100 && garbage > 20, "{olds} {news} {garbage}");
}

#[test]
fn random_images_are_repeatable_and_reach_every_combination() {
    let disk = SimDisk::new(SimOptions::default());
    later(&disk, 0, b'a');
    later(&disk, 512, b'b');
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..300 {
        let policy = CrashPolicy::Random { seed };
        assert_eq!(disk.crash_image(&policy).bytes(), disk.crash_image(&policy).bytes());
        seen.insert(after(&disk, policy));
    }
    // The length alone (data lost), the data alone (length lost), both, none.
    for state in ["", "a", "ab", ".b", "..", ".", "a."] {
        assert!(seen.contains(state), "{state:?} is missing in {seen:?}");
    }
}

#[test]
fn lengths_and_room_follow_allocate_truncate_and_punch() {
    let disk = SimDisk::new(SimOptions::default());
    disk.allocate(0, 16_384).unwrap();
    assert_eq!((disk.length().unwrap(), disk.used_bytes()), (16_384, 16_384));
    later(&disk, 4096, b'a');
    assert_eq!(disk.crash_image(&CrashPolicy::DropOne(0)).bytes().len(), 0);
    disk.allocate(4096, 4096).unwrap();
    assert_eq!(disk.bytes()[4096], b'a');
    disk.sync().unwrap();
    assert!(disk.punch_hole(4096, 4096).unwrap());
    assert_eq!((disk.bytes()[4096], disk.used_bytes()), (0, 12_288));
    assert_eq!(disk.crash_image(&CrashPolicy::DropAll).bytes()[4096], b'a');
    disk.truncate(8192).unwrap();
    assert_eq!(disk.bytes().len(), 8192);
    assert_eq!(disk.crash_image(&CrashPolicy::DropAll).bytes().len(), 16_384);
    disk.allocate(0, u64::MAX).unwrap_err();
    disk.allocate(0, 0).unwrap_err();
    disk.truncate(u64::MAX).unwrap_err();
    disk.map(0, u64::MAX).unwrap_err();
}

#[test]
fn misaligned_writes_are_refused() {
    let disk = SimDisk::new(SimOptions::default());
    let buffer = aligned(4096, 1);
    let refused = |offset: u64, bytes: &[u8]| {
        let error = disk.write_at(offset, bytes, Flush::Later).expect_err("misaligned");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    };
    refused(100, &buffer.as_slice()[..512]);
    refused(512, &buffer.as_slice()[..100]);
    refused(512, &buffer.as_slice()[8..520]);
    assert_eq!(disk.operation_count(), 0);
    let cached = SimDisk::new(SimOptions { direct: false, ..SimOptions::default() });
    assert_eq!(cached.write_at(512, &buffer.as_slice()[8..520], Flush::Later).unwrap(), 512);
    cached.write_at(512, &buffer.as_slice()[..8], Flush::Later).unwrap_err();
}

#[test]
fn a_full_device_takes_what_fits_and_goes_on_when_there_is_room() {
    let disk = SimDisk::new(SimOptions { capacity: Some(8192), ..SimOptions::default() });
    let buffer = aligned(12_288, b'a');
    let full = |result: io::Result<usize>| {
        assert_eq!(result.expect_err("full").kind(), io::ErrorKind::StorageFull);
    };
    assert_eq!(disk.write_at(0, buffer.as_slice(), Flush::Later).unwrap(), 8192);
    full(disk.write_at(8192, &buffer.as_slice()[..512], Flush::Now));
    full(disk.allocate(8192, 1).map(|()| 0));
    assert_eq!(disk.write_at(0, &buffer.as_slice()[..512], Flush::Now).unwrap(), 512);
    disk.set_capacity(Some(12_288));
    assert_eq!(disk.write_at(8192, &buffer.as_slice()[..512], Flush::Now).unwrap(), 512);
    assert_eq!(disk.write_at(8704, &buffer.as_slice()[..512], Flush::Now).unwrap(), 512);
}

fn fault(operation: FaultOperation, at: u64, times: FaultTimes, effect: FaultEffect) -> Fault {
    Fault { operation, at, times, effect }
}

#[test]
fn planned_faults_strike_when_planned() {
    let disk = SimDisk::new(SimOptions::default());
    later(&disk, 0, b'a');
    disk.fail(fault(FaultOperation::Write, 1, FaultTimes::Once, FaultEffect::Error));
    later(&disk, 0, b'b');
    put(&disk, 0, b'c', Flush::Later).unwrap_err();
    later(&disk, 0, b'd');
    disk.fail(fault(FaultOperation::Read, 0, FaultTimes::Forever, FaultEffect::Error));
    disk.read_at(0, &mut [0; 4]).unwrap_err();
    disk.read_at(0, &mut [0; 4]).unwrap_err();
    disk.clear_faults();
    assert_eq!(disk.read_at(0, &mut [0; 4]).unwrap(), 4);
    disk.fail(fault(FaultOperation::Read, 0, FaultTimes::Once, FaultEffect::ShortRead));
    assert_eq!(disk.read_at(0, &mut [0; 4]).unwrap(), 2);
    disk.fail(fault(FaultOperation::Allocate, 0, FaultTimes::Once, FaultEffect::Error));
    disk.allocate(0, 4096).unwrap_err();
    disk.allocate(0, 4096).unwrap();
}

#[test]
fn partial_and_short_writes() {
    let disk = SimDisk::new(SimOptions::default());
    let buffer = aligned(4 * 512, b'a');
    let write = || disk.write_at(0, buffer.as_slice(), Flush::Later);
    let plan = |effect| disk.fail(fault(FaultOperation::Write, 0, FaultTimes::Once, effect));
    plan(FaultEffect::PartialWrite(WrittenPart::Nothing));
    write().unwrap_err();
    assert_eq!(sectors(&disk), "");
    plan(FaultEffect::PartialWrite(WrittenPart::OneSector));
    write().unwrap_err();
    assert_eq!(sectors(&disk), "a");
    plan(FaultEffect::PartialWrite(WrittenPart::Half));
    write().unwrap_err();
    assert_eq!(sectors(&disk), "aa");
    plan(FaultEffect::ShortWrite);
    assert_eq!(write().unwrap(), 1024);
    plan(FaultEffect::ShortWrite);
    assert_eq!(put(&disk, 0, b'b', Flush::Later).unwrap(), 512);
}

#[test]
fn a_failed_sync_has_three_after_states() {
    for (effect, live, synced_later) in [
        (AfterFailedSync::KeptInCache, "bc", "bc"),
        (AfterFailedSync::Reverted, "a.", "a."),
        (AfterFailedSync::LostOnlyAfterCrash, "bc", "a."),
    ] {
        let disk = SimDisk::new(SimOptions::default());
        later(&disk, 0, b'a');
        disk.sync().unwrap();
        later(&disk, 0, b'b');
        later(&disk, 512, b'c');
        let effect_of_sync = FaultEffect::FailedSync(effect);
        disk.fail(fault(FaultOperation::Sync, 0, FaultTimes::Once, effect_of_sync));
        disk.sync().unwrap_err();
        assert_eq!(sectors(&disk), live, "{effect:?}");
        disk.sync().unwrap();
        assert_eq!(sectors(&disk), live, "{effect:?}");
        assert_eq!(after(&disk, CrashPolicy::KeepAll), synced_later, "{effect:?}");
    }
}

#[test]
fn the_lock_belongs_to_a_handle_and_its_clones() {
    let disk = SimDisk::new(SimOptions::default());
    let clone = disk.clone();
    let other = disk.reopen();
    assert!(disk.try_lock().unwrap());
    assert!(clone.try_lock().unwrap());
    assert!(!other.try_lock().unwrap());
    drop(disk);
    assert!(!other.try_lock().unwrap());
    drop(clone);
    assert!(other.try_lock().unwrap());
    later(&other, 0, b'a');
    assert_eq!(sectors(&other.reopen()), "a");
}

#[test]
fn rot_reaches_the_device_and_the_cache() {
    let disk = SimDisk::from_bytes(SimOptions::default(), &[1; 1024]);
    disk.flip_bit(5, 1);
    disk.zero(1000, 500);
    disk.set_bytes(10, b"xy");
    for image in [disk.clone(), disk.crash_image(&CrashPolicy::DropAll)] {
        let bytes = image.bytes();
        assert_eq!(bytes.len(), 1024);
        assert_eq!((bytes[5], &bytes[10..12], bytes[999], bytes[1000]), (3, &b"xy"[..], 1, 0));
    }
    assert_eq!(disk.operation_count(), 0);
    let map = disk.map(10, 2).unwrap();
    assert_eq!(&map[..], b"xy");
}

#[test]
fn the_log_hash_tells_runs_apart() {
    let run = |byte| {
        let disk = SimDisk::new(SimOptions::default());
        later(&disk, 0, byte);
        disk.sync().unwrap();
        disk.log_hash()
    };
    assert_eq!(run(b'a'), run(b'a'));
    assert_ne!(run(b'a'), run(b'b'));
}

#[derive(Debug, Clone)]
enum Step {
    Write { sector: u64, sectors: usize, now: bool },
    Truncate { sector: u64 },
    Allocate { sector: u64, sectors: u64 },
    Punch { sector: u64, sectors: u64 },
    Sync,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..40_u64, 1..12_usize, any::<bool>())
            .prop_map(|(sector, sectors, now)| Step::Write { sector, sectors, now }),
        1 => (0..40_u64).prop_map(|sector| Step::Truncate { sector }),
        1 => (0..40_u64, 1..20_u64)
            .prop_map(|(sector, sectors)| Step::Allocate { sector, sectors }),
        1 => (0..40_u64, 1..20_u64).prop_map(|(sector, sectors)| Step::Punch { sector, sectors }),
        1 => Just(Step::Sync),
    ];
    prop::collection::vec(step, 1..30)
}

/// Every policy that a disk with `pending` operations can be crashed with, a few seeds each.
fn policies(pending: usize) -> Vec<CrashPolicy> {
    let mut policies = vec![
        CrashPolicy::DropAll,
        CrashPolicy::KeepAll,
        CrashPolicy::LengthsAlone,
        CrashPolicy::BytesAlone,
    ];
    for index in 0..=pending {
        policies.extend([
            CrashPolicy::Prefix(index),
            CrashPolicy::DropOne(index),
            CrashPolicy::KeepOne(index),
            CrashPolicy::TearOne { index, seed: index as u64 },
            CrashPolicy::DamageSector { index, sector: index % 4 },
        ]);
    }
    policies.extend((0..8).map(|seed| CrashPolicy::Random { seed }));
    policies
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The promises of a device: what was synced, or flushed at once, is in every image; keeping
    /// everything gives the live file.
    #[test]
    fn images_hold_what_was_promised(steps in steps()) {
        let disk = SimDisk::new(SimOptions::default());
        for (index, step) in steps.iter().enumerate() {
            let byte = u8::try_from(index + 1).unwrap();
            match *step {
                Step::Write { sector, sectors, now } => {
                    let bytes = aligned(sectors * 512, byte);
                    let flush = if now { Flush::Now } else { Flush::Later };
                    disk.write_at(sector * 512, bytes.as_slice(), flush).unwrap();
                    if now {
                        for policy in policies(disk.pending_count()) {
                            let mut found = vec![0; sectors * 512];
                            let image = disk.crash_image(&policy);
                            image.read_at(sector * 512, &mut found).unwrap();
                            prop_assert_eq!(&found[..], bytes.as_slice(), "{:?}", policy);
                        }
                    }
                }
                Step::Truncate { sector } => disk.truncate(sector * 512).unwrap(),
                Step::Allocate { sector, sectors } => {
                    disk.allocate(sector * 512, sectors * 512).unwrap();
                }
                Step::Punch { sector, sectors } => {
                    disk.punch_hole(sector * 512, sectors * 512).unwrap();
                }
                Step::Sync => {
                    disk.sync().unwrap();
                    prop_assert_eq!(disk.pending_count(), 0);
                    prop_assert_eq!(disk.crash_image(&CrashPolicy::DropAll).bytes(), disk.bytes());
                }
            }
            prop_assert_eq!(disk.crash_image(&CrashPolicy::KeepAll).bytes(), disk.bytes());
            prop_assert_eq!(disk.crash_image(&CrashPolicy::Kill).bytes(), disk.bytes());
        }
    }
}

/// What is stored is seen at once, survives a kill, and is torn in whole pages: a sync before it
/// does not save what lies beside it.
#[test]
fn a_store_may_tear_what_lies_beside_it_in_its_page() {
    let disk = SimDisk::from_bytes(SimOptions::default(), &[7; 8192]);
    let stores = disk.open_stores(0, 8192, StoreBy::Write).unwrap().unwrap();
    stores.store(5000, &[9; 10]).unwrap();
    let kept = disk.crash_image(&CrashPolicy::Kill).bytes();
    assert_eq!((&kept[5000..5010], &kept[..5000]), (&[9; 10][..], &[7; 5000][..]));
    assert_eq!(disk.crash_image(&CrashPolicy::DropAll).bytes(), vec![7; 8192]);
    let (mut beside, mut elsewhere) = (0, 0);
    for seed in 0..200 {
        let torn = disk.crash_image(&CrashPolicy::TearOne { index: 0, seed }).bytes();
        beside += usize::from(torn[4096..5000] != [7; 904]);
        elsewhere += usize::from(torn[..4096] != [7; 4096]);
    }
    assert!(beside > 0 && elsewhere == 0, "{beside} {elsewhere}");
    disk.sync().unwrap();
    assert_eq!(disk.crash_image(&CrashPolicy::DropAll).bytes(), kept);
    assert!(stores.store(8190, &[1; 3]).is_err());
    disk.crash_at(disk.operation_count());
    assert!(stores.store(0, &[1]).is_err());
    assert_eq!(disk.crash_image(&CrashPolicy::Kill).bytes(), kept);
}

/// By the system's write a store is told of its failure at once; by a map the next sync is.
#[test]
fn a_store_by_a_write_fails_as_writes_do() {
    let disk = SimDisk::from_bytes(SimOptions::default(), &[7; 8192]);
    let fail = || {
        let (operation, effect) = (FaultOperation::Write, FaultEffect::Error);
        disk.fail(Fault { operation, at: 0, times: FaultTimes::Once, effect });
    };
    let stores = |by| disk.open_stores(0, 8192, by).unwrap().unwrap();
    fail();
    assert!(stores(StoreBy::Write).store(512, &[9; 512]).is_err());
    assert_eq!(disk.bytes(), vec![7; 8192]);
    fail();
    stores(StoreBy::Map).store(512, &[9; 512]).unwrap();
    assert_eq!(disk.bytes()[512..1024], [9; 512]);
}
