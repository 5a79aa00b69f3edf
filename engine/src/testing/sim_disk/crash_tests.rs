//! Lengths that come without their bytes, bytes without their lengths, and sectors that are lost.

use super::tests::{after, aligned, later, put};
use super::*;
use crate::file::{Disk, Flush};

#[test]
fn lengths_and_bytes_reach_the_device_apart() {
    let disk = SimDisk::new(SimOptions::default());
    later(&disk, 0, b'a');
    disk.sync().unwrap();
    later(&disk, 0, b'b');
    later(&disk, 512, b'c');
    assert_eq!(after(&disk, CrashPolicy::LengthsAlone), "a.");
    assert_eq!(after(&disk, CrashPolicy::BytesAlone), "b");
    disk.sync().unwrap();
    // A cut is a length as well.
    later(&disk, 0, b'd');
    disk.truncate(512).unwrap();
    assert_eq!(after(&disk, CrashPolicy::LengthsAlone), "b");
    assert_eq!(after(&disk, CrashPolicy::BytesAlone), "dc");
}

#[test]
fn room_has_a_length_and_no_bytes() {
    let disk = SimDisk::new(SimOptions::default());
    disk.allocate(0, 2048).unwrap();
    later(&disk, 0, b'a');
    assert_eq!(after(&disk, CrashPolicy::LengthsAlone), "....");
    assert_eq!(after(&disk, CrashPolicy::BytesAlone), "");
}

#[test]
fn what_was_flushed_at_once_is_there_whole_whatever_becomes_of_the_rest() {
    let disk = SimDisk::new(SimOptions::default());
    later(&disk, 0, b'a');
    put(&disk, 1024, b'n', Flush::Now).unwrap();
    later(&disk, 1536, b'b');
    assert_eq!(after(&disk, CrashPolicy::LengthsAlone), "..n.");
    assert_eq!(after(&disk, CrashPolicy::BytesAlone), "a.n");
}

#[test]
fn a_damaged_sector_holds_neither_what_was_there_nor_what_was_to_come() {
    let disk = SimDisk::new(SimOptions::default());
    disk.write_at(0, aligned(4 * 512, b'o').as_slice(), Flush::Later).unwrap();
    disk.sync().unwrap();
    later(&disk, 0, b'a');
    disk.write_at(512, aligned(3 * 512, b'n').as_slice(), Flush::Later).unwrap();
    later(&disk, 0, b'z');
    let image =
        |index, sector| disk.crash_image(&CrashPolicy::DamageSector { index, sector }).bytes();
    let torn = image(1, 1);
    assert_eq!(torn[..512], [b'a'; 512], "what came before is there");
    assert_eq!(torn[512..1024], [b'n'; 512], "so are the sectors before");
    assert_eq!(torn[1536..], [b'o'; 512], "those behind are as they were");
    let left = torn[1024..1536].iter().filter(|byte| [b'o', b'n'].contains(byte)).count();
    assert!(left < 30, "{left} bytes of the damaged sector are old or new");
    assert_eq!(image(1, 1), torn, "it is the same each time");
    assert_eq!(image(1, 9), image(1, 2), "there are three sectors");
    assert_ne!(image(1, 0), image(1, 2));
    assert_eq!(image(3, 0), disk.crash_image(&CrashPolicy::KeepAll).bytes());
}

#[test]
fn files_that_read_the_same_have_the_same_hash() {
    let disk = SimDisk::new(SimOptions::default());
    later(&disk, 0, b'a');
    let image = disk.crash_image(&CrashPolicy::KeepAll);
    assert_eq!(image.content_hash(), disk.content_hash());
    let lost = disk.crash_image(&CrashPolicy::DropAll);
    assert_ne!(lost.content_hash(), disk.content_hash());
    later(&disk, 0, b'b');
    assert_ne!(image.content_hash(), disk.content_hash());
    // A hole, and room that nobody wrote to.
    image.truncate(8192).unwrap();
    let hole = image.content_hash();
    image.allocate(0, 8192).unwrap();
    assert_eq!(image.content_hash(), hole);
    image.flip_bit(8191, 0);
    assert_ne!(image.content_hash(), hole);
}
