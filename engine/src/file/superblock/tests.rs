use super::*;
use crate::error::ErrorKind;
use crate::testing::{
    CrashPolicy, Fault, FaultEffect, FaultOperation, FaultTimes, SimDisk, SimOptions,
};
use proptest::prelude::*;

const FILE_LENGTH: u64 = RING_OFFSET + crate::limits::RING_BYTES_MIN + 64 * 1024;

fn superblock(sequence: u64) -> Superblock {
    let ring = Extent { offset: RING_OFFSET, length: crate::limits::RING_BYTES_MIN };
    let extent = Extent { offset: ring.end(), length: 64 * 1024 };
    Superblock {
        sequence,
        file: FileId([7; 16]),
        incarnation: 1,
        format_version: FORMAT_VERSION,
        compatible: 0,
        read_only_compatible: 0,
        incompatible: 0,
        file_length: FILE_LENGTH,
        ring,
        manifest: ManifestRef { extent, length: 4096 * 2, checksum: 0xaabb_ccdd },
        wal: WalHead { lsn: 512 * sequence, previous: 0x0102_0304, salt: 99 },
        synced_lsn: 512 * sequence + 1,
        commit: 1000 + sequence,
        clock_high_water_ms: 1_700_000_000_000,
        clean: true,
        unsynced: false,
        identity: Identity { device: 3, inode: 4, boot: [5; 16] },
        created_ms: 1_600_000_000_000,
        cold: Some(ColdRef { id: [0xc0; 16], generation: 0x1122 }),
    }
}

/// A file of full length without a superblock.
fn empty_file() -> SimDisk {
    let disk = SimDisk::new(SimOptions::default());
    disk.allocate(0, FILE_LENGTH).unwrap();
    disk.sync().unwrap();
    disk
}

fn store(sequence: u64) -> SimDisk {
    let disk = empty_file();
    write(&disk, &superblock(sequence)).unwrap();
    disk
}

fn place(disk: &SimDisk, copy: usize, superblock: &Superblock) {
    disk.set_bytes(copy_offset(copy), format::encode(superblock, copy).as_slice());
}

#[test]
fn golden_bytes() {
    let bytes = format::encode(&superblock(2), 3);
    let bytes = bytes.as_slice();
    assert_eq!(bytes.len(), 4096);
    let mut expected = Vec::new();
    expected.extend(b"Tidelog\0");
    expected.extend(crc32fast::hash(&bytes[16..]).to_le_bytes());
    expected.extend(3u32.to_le_bytes());
    expected.extend(2u64.to_le_bytes());
    expected.extend([7; 16]);
    expected.extend(1u64.to_le_bytes());
    expected.extend([0; 8 + 24]);
    expected.extend(393_216u64.to_le_bytes());
    expected.extend(65_536u64.to_le_bytes());
    expected.extend(262_144u64.to_le_bytes());
    expected.extend(327_680u64.to_le_bytes());
    expected.extend(65_536u64.to_le_bytes());
    expected.extend(8192u64.to_le_bytes());
    expected.extend(0xaabb_ccddu32.to_le_bytes());
    expected.extend(0x0102_0304u32.to_le_bytes());
    expected.extend(1024u64.to_le_bytes());
    expected.extend(99u64.to_le_bytes());
    expected.extend(1025u64.to_le_bytes());
    expected.extend(1002u64.to_le_bytes());
    expected.extend(1_700_000_000_000u64.to_le_bytes());
    expected.extend(1_600_000_000_000u64.to_le_bytes());
    expected.extend(1u32.to_le_bytes());
    expected.extend([0; 4]);
    expected.extend(3u64.to_le_bytes());
    expected.extend(4u64.to_le_bytes());
    expected.extend([5; 16]);
    expected.extend([0; 24]);
    expected.extend([0xc0; 16]);
    expected.extend(0x1122u64.to_le_bytes());
    expected.resize(4096, 0);
    assert_eq!(bytes, expected);
}

#[test]
fn the_zone_of_a_state_is_what_its_update_writes() {
    let ring = usize::try_from(RING_OFFSET).unwrap();
    assert!(zone(&superblock(5)) == store(5).bytes()[..ring]);
}

/// Every combination of four copies, each new, old, or damaged.
#[test]
fn quorum_truth_table() {
    for case in 0..81usize {
        let states = [case % 3, case / 3 % 3, case / 9 % 3, case / 27];
        let disk = empty_file();
        for (copy, state) in states.into_iter().enumerate() {
            match state {
                0 => place(&disk, copy, &superblock(6)),
                1 => place(&disk, copy, &superblock(5)),
                _ => disk.set_bytes(copy_offset(copy), &[0xee; 512]),
            }
        }
        let count = |wanted| states.iter().filter(|state| **state == wanted).count();
        let result = read(&disk);
        let expected = match (count(0), count(1)) {
            (2.., _) => superblock(6),
            (_, 2..) => superblock(5),
            _ => {
                assert_eq!(result.unwrap_err().kind(), ErrorKind::Corruption, "{states:?}");
                continue;
            }
        };
        assert_eq!(result.unwrap(), expected, "{states:?}");
        let stale = heal(&disk, &expected).unwrap();
        assert_eq!(stale, 4 - count(usize::from(expected.sequence == 5)), "{states:?}");
        let healed = CopyState::Valid(Box::new(expected));
        assert!(read_copies(&disk).iter().all(|copy| *copy == healed), "{states:?}");
    }
}

fn policies(pending: usize) -> Vec<CrashPolicy> {
    let mut policies = vec![CrashPolicy::DropAll, CrashPolicy::KeepAll, CrashPolicy::Kill];
    for index in 0..pending {
        policies.extend([CrashPolicy::Prefix(index), CrashPolicy::DropOne(index)]);
        policies.push(CrashPolicy::KeepOne(index));
        policies.extend((0..3).map(|seed| CrashPolicy::TearOne { index, seed }));
    }
    // With both halves on their way all copies could be torn: so seldom that few draws miss it.
    let draws = if pending > 2 { 500 } else { 8 };
    policies.extend((0..draws).map(|seed| CrashPolicy::Random { seed }));
    policies
}

/// Runs `action` with a crash at each of its operations, and gives each state left behind.
fn crash_everywhere(disk: &SimDisk, action: impl Fn(&SimDisk), mut check: impl FnMut(SimDisk)) {
    for operation in 0.. {
        let live = disk.crash_image(&CrashPolicy::Kill);
        live.crash_at(live.operation_count() + operation);
        action(&live);
        if !live.crashed() {
            return;
        }
        for policy in policies(live.pending_count()) {
            check(live.crash_image(&policy));
        }
    }
}

/// Power is lost at any operation of an update, again at any operation of the healing behind it,
/// and again in the next update. The state is always the old or the new one, and never goes back
/// once an opening has healed it.
#[test]
fn crashes_in_updates_and_in_healing() {
    let disk = store(1);
    let update = |to: u64| move |disk: &SimDisk| drop(write(disk, &superblock(to)));
    crash_everywhere(&disk, update(2), |image| {
        let found = read(&image).unwrap().sequence;
        assert!(found == 1 || found == 2);
        let healing = |disk: &SimDisk| drop(heal(disk, &superblock(found)));
        crash_everywhere(&image, healing, |image| {
            let again = read(&image).unwrap().sequence;
            // The healing of 2 may fall back to 1: it does the same update once more.
            assert!(again == found || (found == 2 && again == 1), "{found} became {again}");
        });
        heal(&image, &superblock(found)).unwrap();
        crash_everywhere(&image, update(3), |image| {
            let later = read(&image).unwrap().sequence;
            assert!(later == found || later == 3, "{found} became {later}");
        });
    });
}

#[test]
fn every_byte_of_a_copy_counts() {
    let disk = store(4);
    for offset in 0..SUPERBLOCK_SIZE as u64 {
        let place = copy_offset(1) + offset;
        disk.flip_bit(place, u32::try_from(offset % 8).unwrap());
        let copies = read_copies(&disk);
        assert!(matches!(copies[1], CopyState::Damaged(_)), "byte {offset}");
        assert!(matches!(copies[0], CopyState::Valid(_)));
        assert_eq!(read(&disk).unwrap(), superblock(4));
        disk.flip_bit(place, u32::try_from(offset % 8).unwrap());
    }
}

#[test]
fn a_misplaced_copy_is_noticed() {
    let disk = store(4);
    disk.set_bytes(copy_offset(0), format::encode(&superblock(4), 2).as_slice());
    let expected = CopyState::Damaged("this is copy 2 in the place of copy 0".to_owned());
    assert_eq!(read_copies(&disk)[0], expected);
}

#[test]
fn two_states_of_one_sequence_are_refused() {
    let disk = store(4);
    let fork = Superblock { commit: 1, ..superblock(4) };
    place(&disk, 1, &fork);
    place(&disk, 3, &fork);
    let error = read(&disk).unwrap_err();
    assert!(error.to_string().contains("different states"), "{error}");
    let foreign = Superblock { file: FileId([8; 16]), ..superblock(9) };
    place(&disk, 1, &foreign);
    place(&disk, 3, &foreign);
    assert_eq!(read(&disk).unwrap_err().kind(), ErrorKind::Corruption);
}

#[test]
fn other_files_and_newer_stores_are_told_apart() {
    let text = SimDisk::from_bytes(SimOptions::default(), &[b'x'; 100_000]);
    let error = read(&text).unwrap_err();
    assert_eq!(error.to_string(), "corruption in superblock at offset 0: not a Tidelog store");
    let short = SimDisk::from_bytes(SimOptions::default(), b"hello");
    assert!(read(&short).unwrap_err().to_string().ends_with("not a Tidelog store"));

    for change in [
        |newer: &mut Superblock| newer.format_version = FORMAT_VERSION + 1,
        |newer: &mut Superblock| newer.incompatible = 1 << 40,
    ] {
        let mut newer = superblock(4);
        change(&mut newer);
        let disk = empty_file();
        (0..4).for_each(|copy| place(&disk, copy, &newer));
        assert_eq!(read(&disk).unwrap_err().kind(), ErrorKind::Unsupported);
        assert!(matches!(read_copies(&disk)[0], CopyState::Unsupported(_)));
        assert!(!is_unfinished(&disk).unwrap());
    }
    let readable = Superblock { read_only_compatible: 2, compatible: 8, ..superblock(4) };
    let disk = empty_file();
    write(&disk, &readable).unwrap();
    assert_eq!(read(&disk).unwrap(), readable);
    assert_eq!(readable.check_writable().unwrap_err().kind(), ErrorKind::Unsupported);
    superblock(4).check_writable().unwrap();
}

#[test]
fn a_file_that_was_cut_is_refused() {
    let disk = store(4);
    disk.truncate(FILE_LENGTH - 1).unwrap();
    let error = read(&disk).unwrap_err().to_string();
    assert!(error.contains("393215") && error.contains("393216"), "{error}");
}

#[test]
fn copies_that_cannot_be_read_are_no_damage() {
    let fault =
        |times| Fault { operation: FaultOperation::Read, at: 0, times, effect: FaultEffect::Error };
    let disk = store(4);
    disk.fail(fault(FaultTimes::Once));
    assert_eq!(read(&disk).unwrap(), superblock(4));
    disk.fail(fault(FaultTimes::Forever));
    assert_eq!(read(&disk).unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(is_unfinished(&disk).unwrap_err().kind(), ErrorKind::Io);
}

#[test]
fn a_creation_that_was_interrupted_is_unfinished() {
    let disk = empty_file();
    assert!(is_unfinished(&disk).unwrap());
    crash_everywhere(
        &disk,
        |disk| drop(write(disk, &superblock(1))),
        |image| {
            if !is_unfinished(&image).unwrap() {
                // Then it can be opened, or copies 2 and 3 were torn and 0 and 1 are there.
                assert_eq!(read(&image).unwrap(), superblock(1));
            }
        },
    );
    assert!(is_unfinished(&SimDisk::new(SimOptions::default())).unwrap());
}

#[test]
fn a_file_that_may_hold_something_is_not_unfinished() {
    assert!(!is_unfinished(&store(1)).unwrap());
    assert!(!is_unfinished(&store(2)).unwrap());
    // Copies 2 and 3 rotted away: copies 0 and 1 say that commits were made.
    let disk = store(2);
    disk.zero(copy_offset(2), 2 * SUPERBLOCK_STRIDE);
    assert!(!is_unfinished(&disk).unwrap());
    assert_eq!(read(&disk).unwrap(), superblock(2));
    // A group in the ring.
    let disk = empty_file();
    disk.set_bytes(RING_OFFSET + 17, &[1]);
    assert!(!is_unfinished(&disk).unwrap());
    // Somebody else's short file.
    let notes = SimDisk::from_bytes(SimOptions::default(), b"dear diary");
    assert!(!is_unfinished(&notes).unwrap());
}

#[test]
fn impossible_fields_are_refused() {
    let changes: [fn(&mut Superblock); 8] = [
        |s| s.sequence = 0,
        |s| s.ring.length += 512,
        |s| s.ring.length = u64::MAX - 4095,
        |s| s.ring.offset = 0,
        |s| s.manifest.extent.offset = s.ring.offset,
        |s| s.manifest.extent.length = u64::MAX - 4095,
        |s| s.manifest.length = s.manifest.extent.length + 4096,
        |s| s.manifest.length = 0,
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut bad = superblock(4);
        change(&mut bad);
        let disk = empty_file();
        (0..4).for_each(|copy| place(&disk, copy, &bad));
        assert_eq!(read(&disk).unwrap_err().kind(), ErrorKind::Corruption, "change {index}");
        assert!(matches!(read_copies(&disk)[3], CopyState::Damaged(_)), "change {index}");
    }
}

proptest! {
    /// Whatever a right checksum covers is refused, or means just these bytes.
    #[test]
    fn any_verified_bytes_are_safe(
        bytes in prop::collection::vec(any::<u8>(), 1..60),
        at in 0usize..300,
    ) {
        let mut copy = format::encode(&superblock(3), 0).as_slice().to_vec();
        let end = (COVERED + at + bytes.len()).min(copy.len());
        let count = end - COVERED - at;
        copy[COVERED + at..end].copy_from_slice(&bytes[..count]);
        let sum = crc32fast::hash(&copy[COVERED..]);
        copy[8..12].copy_from_slice(&sum.to_le_bytes());
        if let Ok(superblock) = format::decode(&copy, 0) {
            let again = format::encode(&superblock, 0);
            prop_assert_eq!(again.as_slice(), &copy[..]);
        }
    }
}

const COVERED: usize = format::COVERED_OFFSET;
