use super::*;
use crate::error::ErrorKind;
use proptest::prelude::*;

fn aligned(bytes: &[u8]) -> AlignedBuffer {
    let mut buffer = AlignedBuffer::with_capacity(bytes.len());
    buffer.extend(bytes);
    buffer
}

fn new_disk(folder: &tempfile::TempDir) -> OsDisk {
    OsDisk::open(folder.path().join("a.tide"), OpenMode::CreateReadWrite).unwrap()
}

fn read(disk: &OsDisk, offset: u64, length: usize) -> Vec<u8> {
    let mut buffer = vec![0xee; length];
    let count = disk.read_at(offset, &mut buffer).unwrap();
    buffer.truncate(count);
    buffer
}

#[test]
fn modes_say_what_may_happen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tide");
    let kind = |mode| OsDisk::open(&path, mode).map(|_| ()).unwrap_err().kind();
    assert_eq!(kind(OpenMode::ReadOnly), ErrorKind::NotFound);
    assert_eq!(kind(OpenMode::ReadWrite), ErrorKind::NotFound);
    let writer = OsDisk::open(&path, OpenMode::CreateReadWrite).unwrap();
    let reader = OsDisk::open(&path, OpenMode::ReadOnly).unwrap();
    assert_eq!(writer.geometry(), reader.geometry());
    assert_eq!(writer.identity(), reader.identity());
    let page = aligned(&[7; 4096]);
    writer.write_at(0, page.as_slice(), Flush::Later).unwrap();
    assert_eq!(read(&reader, 0, 5000), vec![7; 4096]);
    reader.write_at(0, page.as_slice(), Flush::Later).unwrap_err();
    reader.truncate(0).unwrap_err();
    assert_eq!(reader.length().unwrap(), 4096);
    let error = OsDisk::open(folder.path(), OpenMode::ReadWrite).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidUse);
    let error = OsDisk::open(folder.path(), OpenMode::ReadOnly).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidUse);
}

#[test]
fn writes_are_read_back_with_either_flush() {
    let folder = tempfile::tempdir().unwrap();
    let disk = new_disk(&folder);
    let alignment = disk.geometry().alignment;
    assert!(matches!(alignment, 512 | 4096));
    let bytes: Vec<u8> = (1..=251).cycle().take(alignment * 3).collect();
    let buffer = aligned(&bytes);
    for (place, flush) in [(0, Flush::Later), (8192 * 4, Flush::Now)] {
        assert_eq!(disk.write_at(place, buffer.as_slice(), flush).unwrap(), bytes.len());
        assert_eq!(read(&disk, place, bytes.len()), bytes);
        // What the page cache holds by now must not outlive the next direct write.
        let newer = aligned(&vec![9; alignment]);
        disk.write_at(place, newer.as_slice(), flush).unwrap();
        assert_eq!(read(&disk, place, alignment), newer.as_slice());
        assert_eq!(
            read(&disk, place + alignment as u64, alignment),
            bytes[alignment..][..alignment]
        );
    }
    disk.sync().unwrap();
    assert_eq!(read(&disk, 16_384, 100), vec![0; 100]);
    assert_eq!(disk.read_at(1 << 40, &mut [0; 10]).unwrap(), 0);
    disk.read_at(u64::MAX, &mut [0; 10]).unwrap_err();
}

/// Stores and direct writes take turns on the blocks of one page: whoever came last is seen, by
/// reads and by the other.
#[test]
fn stores_and_direct_writes_see_each_other() {
    for by in [StoreBy::Write, StoreBy::Map] {
        stores_and_direct_writes(by);
    }
}

fn stores_and_direct_writes(by: StoreBy) {
    let folder = tempfile::tempdir().unwrap();
    let disk = new_disk(&folder);
    disk.allocate(0, 65_536).unwrap();
    let Some(stores) = disk.open_stores(8192, 16_384, by).unwrap() else {
        assert!(!disk.geometry().direct, "there are stores where there are direct writes");
        return;
    };
    let alignment = disk.geometry().alignment;
    let mut expected = vec![0; 16_384];
    for turn in 0..200usize {
        let block = turn * 7 % (expected.len() / alignment) * alignment;
        let bytes = vec![u8::try_from(turn % 255 + 1).unwrap(); alignment];
        let place = 8192 + block as u64;
        match turn % 3 {
            0 => disk.write_at(place, aligned(&bytes).as_slice(), Flush::Now).map(|_| ()).unwrap(),
            1 => {
                disk.write_at(place, aligned(&bytes).as_slice(), Flush::Later).map(|_| ()).unwrap()
            }
            _ => stores.store(place, &bytes).unwrap(),
        }
        expected[block..block + alignment].copy_from_slice(&bytes);
        assert_eq!(read(&disk, 8192, expected.len()), expected, "turn {turn}");
        stores.start_writing(8192, 4096);
    }
    disk.sync().unwrap();
    drop(stores);
    assert_eq!(read(&disk, 8192, expected.len()), expected);
}

#[test]
fn stores_outside_of_their_range_are_refused() {
    for by in [StoreBy::Write, StoreBy::Map] {
        stores_outside_of_their_range(by);
    }
}

fn stores_outside_of_their_range(by: StoreBy) {
    let folder = tempfile::tempdir().unwrap();
    let disk = new_disk(&folder);
    disk.allocate(0, 65_536).unwrap();
    let length = disk.length().unwrap();
    assert!(disk.open_stores(length, 1 << 40, by).is_err());
    assert!(disk.open_stores(u64::MAX, 2, by).is_err());
    let Some(stores) = disk.open_stores(8192, 4096, by).unwrap() else { return };
    for (offset, length) in [(8191, 1), (12_288, 1), (12_287, 2), (0, 1), (u64::MAX, 1)] {
        let refused = stores.store(offset, &vec![1; length]).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "{offset} {length}");
    }
    stores.store(12_287, &[1]).unwrap();
    stores.store(12_288, &[]).unwrap();
    stores.start_writing(0, u64::MAX);
}

#[test]
fn misaligned_writes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let disk = new_disk(&folder);
    let buffer = aligned(&[1; 8192]);
    let alignment = disk.geometry().alignment;
    for (place, range) in [(8, 0..alignment), (0, 0..100), (0, 8..8 + alignment)] {
        if place == 0 && range.len() == alignment && !disk.geometry().direct {
            continue;
        }
        let error = disk.write_at(place, &buffer.as_slice()[range], Flush::Later).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
    assert_eq!(disk.length().unwrap(), 0);
}

#[test]
fn the_lock_is_on_the_file_and_goes_with_the_handle() {
    let folder = tempfile::tempdir().unwrap();
    let first = new_disk(&folder);
    let second = new_disk(&folder);
    assert!(first.try_lock().unwrap());
    assert!(first.try_lock().unwrap());
    assert!(!second.try_lock().unwrap());
    drop(first);
    assert!(second.try_lock().unwrap());
    let names = folder.path().read_dir().unwrap().count();
    assert_eq!(names, 1, "the store is one file");
}

#[test]
fn allocate_truncate_and_punch_follow_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let disk = new_disk(&folder);
    let page = aligned(&[7; 4096]);
    disk.write_at(4096, page.as_slice(), Flush::Later).unwrap();
    disk.allocate(0, 65_536).unwrap();
    assert_eq!(disk.length().unwrap(), 65_536);
    assert_eq!(read(&disk, 4096, 4096), vec![7; 4096]);
    assert_eq!(read(&disk, 8192, 57_344), vec![0; 57_344]);
    disk.write_at(8192, page.as_slice(), Flush::Later).unwrap();
    if disk.punch_hole(4096, 4096).unwrap() {
        assert_eq!(read(&disk, 4096, 4096), vec![0; 4096]);
    }
    assert_eq!(read(&disk, 8192, 4096), vec![7; 4096]);
    assert_eq!(disk.length().unwrap(), 65_536);
    disk.truncate(8192).unwrap();
    assert_eq!(disk.length().unwrap(), 8192);
    disk.truncate(16_384).unwrap();
    assert_eq!(read(&disk, 8192, 9000), vec![0; 8192]);
    disk.allocate(0, u64::MAX).unwrap_err();
    disk.truncate(u64::MAX).unwrap_err();
}

/// Some file systems cannot allocate: the bytes that are there must stay.
#[test]
fn allocation_by_writing_extends_with_zeros() {
    let folder = tempfile::tempdir().unwrap();
    let disk = new_disk(&folder);
    let page = aligned(&[7; 4096]);
    disk.write_at(0, page.as_slice(), Flush::Later).unwrap();
    disk.truncate(5000).unwrap();
    disk.allocate_by_writing(0, 3 * 1024 * 1024).unwrap();
    disk.allocate_by_writing(0, 4096).unwrap();
    assert_eq!(disk.length().unwrap(), 3 * 1024 * 1024);
    assert_eq!(read(&disk, 0, 4096), vec![7; 4096]);
    assert!(read(&disk, 4096, 4 * 1024 * 1024).iter().all(|byte| *byte == 0));
    disk.allocate_by_writing(u64::MAX, 1).unwrap_err();
}

#[test]
fn maps_begin_anywhere_and_end_inside_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let disk = new_disk(&folder);
    let bytes: Vec<u8> = (1..=251).cycle().take(16_384).collect();
    disk.write_at(0, aligned(&bytes).as_slice(), Flush::Later).unwrap();
    for (offset, length) in [(0, 16_384), (4096, 4096), (5000, 1), (512, 9000), (16_384, 0)] {
        let map = disk.map(offset, length).unwrap();
        let start = usize::try_from(offset).unwrap();
        assert_eq!(&map[..], &bytes[start..start + usize::try_from(length).unwrap()]);
    }
    for (offset, length) in [(0, 16_385), (16_384, 1), (u64::MAX, 2), (1, u64::MAX)] {
        let error = disk.map(offset, length).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
    // A map outlives the handle.
    let map = disk.map(100, 100).unwrap();
    drop(disk);
    assert_eq!(&map[..], &bytes[100..200]);
}

/// It is a matter of the system what it keeps: only what was read a moment ago is certain.
#[test]
fn what_was_just_read_is_in_memory_or_nobody_can_tell() {
    let folder = tempfile::tempdir().unwrap();
    let disk = new_disk(&folder);
    disk.write_at(0, aligned(&[7; 8192]).as_slice(), Flush::Later).unwrap();
    read(&disk, 0, 8192);
    assert_ne!(disk.is_cached(4096).unwrap(), Some(false));
    assert_eq!(disk.is_cached(1 << 20).unwrap(), None, "there is no such byte");
}

/// Huge pages are asked for, brought in, and no longer asked for: the bytes are the same.
#[test]
fn bytes_that_were_brought_in_as_huge_pages_are_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let disk = new_disk(&folder);
    let bytes: Vec<u8> = (1..=251).cycle().take(4 << 20).collect();
    disk.write_at(0, aligned(&bytes).as_slice(), Flush::Later).unwrap();
    let map = disk.map(0, 4 << 20).unwrap();
    map.bring_in_huge(0..2 << 20);
    map.bring_in_huge(2 << 20..4 << 20);
    assert_eq!(&map[..], &bytes[..]);
}

/// Old kernels do not tell the alignment; what is found by reading must be safe for writing.
#[test]
#[cfg(target_os = "linux")]
fn a_probed_alignment_is_no_smaller_than_the_reported_one() {
    let folder = tempfile::tempdir().unwrap();
    let disk = new_disk(&folder);
    let Some(direct) = &disk.direct else {
        return;
    };
    assert_eq!(platform::probed_alignment(direct), Some(4096), "an empty file tells nothing");
    disk.allocate(0, 8192).unwrap();
    let probed = platform::probed_alignment(direct).expect("direct reads work");
    assert!(probed >= disk.geometry().alignment);
}

#[test]
#[cfg(target_os = "linux")]
fn boot_ids_are_parsed_or_unknown() {
    let id = platform::parse_boot_id("01234567-89ab-cdef-0011-223344556677\n").unwrap();
    assert_eq!(id[..4], [0x01, 0x23, 0x45, 0x67]);
    assert_eq!(id[15], 0x77);
    for bad in
        ["", "0123", "0123456789abcdef001122334455667é", "zz234567-89ab-cdef-0011-223344556677"]
    {
        assert_eq!(platform::parse_boot_id(bad), None);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Write { block: u64, blocks: usize, byte: u8, now: bool },
    Truncate { block: u64 },
    Allocate { block: u64, blocks: u64 },
    Punch { block: u64, blocks: u64 },
    Sync,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..16_u64, 1..4_usize, 1..255_u8, any::<bool>())
            .prop_map(|(block, blocks, byte, now)| Step::Write { block, blocks, byte, now }),
        1 => (0..16_u64).prop_map(|block| Step::Truncate { block }),
        1 => (0..16_u64, 1..8_u64).prop_map(|(block, blocks)| Step::Allocate { block, blocks }),
        1 => (0..16_u64, 1..8_u64).prop_map(|(block, blocks)| Step::Punch { block, blocks }),
        1 => Just(Step::Sync),
    ];
    prop::collection::vec(step, 1..24)
}

fn run(disk: &dyn Disk, step: &Step) -> io::Result<bool> {
    const BLOCK: u64 = 4096;
    match *step {
        Step::Write { block, blocks, byte, now } => {
            let flush = if now { Flush::Now } else { Flush::Later };
            let bytes = aligned(&vec![byte; blocks * 4096]);
            disk.write_at(block * BLOCK, bytes.as_slice(), flush).map(|_| true)
        }
        Step::Truncate { block } => disk.truncate(block * BLOCK).map(|()| true),
        Step::Allocate { block, blocks } => {
            disk.allocate(block * BLOCK, blocks * BLOCK).map(|()| true)
        }
        Step::Punch { block, blocks } => disk.punch_hole(block * BLOCK, blocks * BLOCK),
        Step::Sync => disk.sync().map(|()| true),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The simulated disk is only worth something if it does what the real one does.
    #[test]
    fn the_simulated_disk_behaves_like_the_real_one(steps in steps()) {
        let folder = tempfile::tempdir().unwrap();
        let real = new_disk(&folder);
        let simulated = crate::testing::SimDisk::new(crate::testing::SimOptions::default());
        for step in &steps {
            let done = run(&real, step).unwrap();
            if done {
                run(&simulated, step).unwrap();
            }
            prop_assert_eq!(real.length().unwrap(), simulated.length().unwrap());
            let length = usize::try_from(real.length().unwrap()).unwrap();
            prop_assert_eq!(read(&real, 0, length + 1), simulated.bytes());
        }
    }
}

#[test]
fn writes_that_are_begun_end_as_others_do() {
    let folder = tempfile::tempdir().unwrap();
    let disk = new_disk(&folder);
    disk.allocate(0, 8 << 20).unwrap();
    let piece = |mark: u8, length: usize| aligned(&vec![mark; length]);
    // Short ones and long ones, side by side, ended in another order.
    let lengths = [4096, 256 * 1024, 64 * 1024, 8192, 1024 * 1024];
    let mut begun = Vec::new();
    for (mark, length) in (1..).zip(lengths) {
        let place = u64::from(mark) << 20;
        begun.push((mark, place, length, disk.begin_write(place, piece(mark, length))));
    }
    for (mark, place, length, begun) in begun.into_iter().rev() {
        let (buffer, outcome) = begun.finish(&disk, "write", place);
        outcome.unwrap();
        assert_eq!(buffer.as_slice(), piece(mark, length).as_slice(), "the buffer comes back");
        assert_eq!(read(&disk, place, length), buffer.as_slice());
    }
    // One that nobody waits for is over when it is dropped.
    drop(disk.begin_write(7 << 20, piece(9, 256 * 1024)));
    assert_eq!(read(&disk, 7 << 20, 256 * 1024), vec![9; 256 * 1024]);
}

#[test]
fn a_write_that_cannot_be_begun_is_an_error_at_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let disk = new_disk(&folder);
    let misaligned = disk.begin_write(100, aligned(&[1; 64 * 1024]));
    let outcome = misaligned.finish(&disk, "write", 100).1;
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Io);
    let reader = OsDisk::open(disk.path(), OpenMode::ReadOnly).unwrap();
    let refused = reader.begin_write(0, aligned(&[1; 64 * 1024]));
    assert_eq!(refused.finish(&reader, "write", 0).1.unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(disk.length().unwrap(), 0);
}

/// A process that dies does not wait for what the kernel writes for it.
#[test]
fn the_lock_lives_as_long_as_a_write_that_was_begun() {
    let folder = tempfile::tempdir().unwrap();
    let disk = new_disk(&folder);
    assert!(disk.try_lock().unwrap());
    // The kernel holds the descriptor like this while it writes.
    let held = disk.writer().try_clone().unwrap();
    drop(disk);
    let successor = new_disk(&folder);
    assert!(!successor.try_lock().unwrap());
    drop(held);
    assert!(successor.try_lock().unwrap());
}

#[test]
fn stores_need_pages_and_blocks_that_are_no_larger_than_ours() {
    for (system, expected) in [
        ((4096, 4096), true),
        ((4096, 1024), true),
        ((4096, 0), true),
        ((4096, 8192), false),
        ((16_384, 4096), false),
    ] {
        assert_eq!(writes_single_blocks(system), expected, "{system:?}");
    }
}
