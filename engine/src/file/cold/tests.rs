//! The header, and what an opening makes of a cold file.

use super::*;
use crate::testing::{CrashPolicy, SimDisk, SimOptions};

const FILE: FileId = FileId([7; 16]);
const ID: [u8; 16] = [9; 16];

fn disk() -> SimDisk {
    SimDisk::new(SimOptions::default())
}

fn kind(result: Result<()>) -> Option<ColdFileProblem> {
    match result {
        Ok(()) => None,
        Err(Error::ColdFile { problem, .. }) => Some(problem),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn golden_bytes() {
    let header = ColdHeader { generation: 3, id: ID, file: FILE };
    let buffer = format::encode(&header);
    let bytes = buffer.as_slice();
    assert_eq!(bytes.len(), 4096);
    assert_eq!(bytes[..8], *b"TideCold");
    assert_eq!(bytes[12..24], [1, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(bytes[24..40], [9; 16]);
    assert_eq!(bytes[40..56], [7; 16]);
    assert!(bytes[56..].iter().all(|byte| *byte == 0));
    assert_eq!(format::decode(bytes, 1), Some(header));
    assert_eq!(format::decode(bytes, 0), None, "it is in the place of the other copy");
    for at in 0..4096 {
        let mut changed = bytes.to_vec();
        changed[at] ^= 1;
        assert_eq!(format::decode(&changed, 1), None, "byte {at}");
    }
}

#[test]
fn a_creation_that_is_cut_off_begins_again() {
    let whole = disk();
    create(&whole, FILE, ID).unwrap();
    for at in 0..whole.operation_count() {
        for policy in [
            CrashPolicy::DropAll,
            CrashPolicy::KeepAll,
            CrashPolicy::Random { seed: at },
            CrashPolicy::TearOne { index: 0, seed: at },
        ] {
            let disk = disk();
            disk.crash_at(at);
            assert!(create(&disk, FILE, ID).is_err());
            let crashed = disk.crash_image(&policy);
            let again = create(&crashed, FILE, [1; 16]).unwrap();
            assert!(again.id == ID || again.id == [1; 16]);
            assert_eq!(kind(check(&crashed, FILE, &again, &[], true)), None);
        }
    }
}

#[test]
fn a_file_with_something_in_it_is_left_alone() {
    for contents in [vec![1u8; 100], vec![5; 64 * 1024], vec![0; 68 * 1024]] {
        let disk = SimDisk::from_bytes(SimOptions::default(), &contents);
        let error = create(&disk, FILE, ID).unwrap_err();
        assert!(matches!(error, Error::ColdFile { problem: ColdFileProblem::Foreign, .. }));
        assert_eq!(disk.bytes(), contents);
    }
    let theirs = disk();
    create(&theirs, FileId([1; 16]), ID).unwrap();
    let before = theirs.bytes();
    assert!(create(&theirs, FILE, ID).is_err());
    assert_eq!(theirs.bytes(), before);
}

#[test]
fn missing_foreign_and_stale_are_told_apart() {
    let empty = disk();
    let root = ColdRef { id: ID, generation: 4 };
    let live = [Extent { offset: GRID_OFFSET, length: 4096 }];
    let problem = |disk: &SimDisk, writing| kind(check(disk, FILE, &root, &live, writing));
    assert_eq!(problem(&empty, true), Some(ColdFileProblem::Missing));
    let cold = disk();
    create(&cold, FILE, ID).unwrap();
    cold.allocate(GRID_OFFSET, 4096).unwrap();
    for (generation, writing, expected) in [
        (3, true, Some(ColdFileProblem::Stale)),
        (4, true, None),
        (5, true, None),
        (6, true, Some(ColdFileProblem::Stale)),
        (6, false, None),
    ] {
        advance(&cold, &ColdHeader { generation, id: ID, file: FILE }).unwrap();
        let found = problem(&cold, writing);
        assert_eq!(found, expected, "generation {generation}");
    }
    advance(&cold, &ColdHeader { generation: 5, id: ID, file: FILE }).unwrap();
    cold.truncate(GRID_OFFSET).unwrap();
    assert_eq!(problem(&cold, false), Some(ColdFileProblem::Stale));
    let other = ColdRef { id: [8; 16], ..root };
    assert_eq!(kind(check(&cold, FILE, &other, &live, true)), Some(ColdFileProblem::Foreign));
    let stranger = check(&cold, FileId([3; 16]), &root, &live, true);
    assert_eq!(kind(stranger), Some(ColdFileProblem::Foreign));
    cold.set_bytes(0, &[0; 8192]);
    assert_eq!(problem(&cold, true), Some(ColdFileProblem::Foreign));
}

#[test]
fn a_torn_header_leaves_the_generation_before() {
    let mut cold = disk();
    create(&cold, FILE, ID).unwrap();
    for generation in 2..20 {
        let header = ColdHeader { generation, id: ID, file: FILE };
        cold.crash_at(cold.operation_count() + 1);
        assert!(advance(&cold, &header).is_err(), "the sync is cut off");
        cold = cold.crash_image(&CrashPolicy::TearOne { index: 0, seed: generation });
        let found = read(&cold).unwrap().unwrap().generation;
        assert!(found == generation || found + 1 == generation, "{found} of {generation}");
        advance(&cold, &header).unwrap();
    }
}

#[test]
fn the_reason_comes_out_of_an_absent_disk() {
    let reason = problem(ColdFileProblem::Stale, "it was restored");
    let error = read(&AbsentDisk::new(reason)).unwrap_err();
    assert!(matches!(error, Error::ColdFile { problem: ColdFileProblem::Stale, .. }), "{error}");
}
