//! Groups by themselves: all that verify are found, whatever lies between them.

use super::*;
use crate::limits::RING_UNSYNCED_SHARE;
use crate::testing::{SimDisk, SimOptions};
use crate::wal::{LogPlace, Writer, group_bodies, remaining_groups};

const RING: Extent = Extent { offset: 4096, length: 64 * 1024 };

fn log(disk: &MemoryDisk) -> LogPlace<'_> {
    LogPlace { disk, file: FILE, ring: RING, salt: SALT, group_bytes_max: GROUP_MAX }
}

/// A log whose groups wrap around the ring's end.
fn wrapped() -> (Arc<MemoryDisk>, WalPosition) {
    let disk = MemoryDisk::new(512, RING.end());
    let start = WalPosition { lsn: RING.length - 4096, previous: 0 };
    let mut writer = Writer::new(disk.clone(), FILE, RING, SALT, start);
    for number in 0..12u8 {
        let bodies = [vec![number; 700], vec![number; 5]];
        writer.write_group(1 + 2 * u64::from(number), 50, bodies, true).unwrap();
    }
    (disk, start)
}

#[test]
fn each_group_is_found_by_itself() {
    let (disk, start) = wrapped();
    let lap = start.lsn..start.lsn + RING.length;
    let all = remaining_groups(&log(&disk), lap.clone()).unwrap();
    assert_eq!((all.whole.len(), all.broken.len()), (12, 0));
    for (number, (group, _)) in all.whole.iter().enumerate() {
        assert_eq!(group.first_commit, 1 + 2 * number as u64);
        let bodies = group_bodies(&log(&disk), group).unwrap();
        let byte = u8::try_from(number).unwrap();
        assert_eq!(bodies, [vec![byte; 700], vec![byte; 5]]);
        for (place, broken) in [(40, 0), (150, 1)] {
            let offset = RING.offset + (group.lsn + place) % RING.length;
            let byte = disk.peek(offset..offset + 1)[0];
            disk.poke(offset, &[byte ^ 1]);
            let left = remaining_groups(&log(&disk), lap.clone()).unwrap();
            assert_eq!((left.whole.len(), left.broken.len()), (11, broken), "{number}");
            assert!(group_bodies(&log(&disk), group).is_err());
            disk.poke(offset, &[byte]);
        }
    }
    // Of another log, and outside the stretch that was asked for.
    let other = LogPlace { salt: SALT + 1, ..log(&disk) };
    assert!(remaining_groups(&other, lap).unwrap().whole.is_empty());
    let second = all.whole[1].0.lsn;
    assert_eq!(remaining_groups(&log(&disk), start.lsn..second).unwrap().whole.len(), 1);
}

/// Headers whose checksum holds, and whose length cannot be.
#[test]
fn a_hostile_length_is_no_group() {
    let (disk, start) = wrapped();
    for length in [u32::MAX, 1 << 30, 96 * 1024] {
        let header = Header {
            body_checksum: 0,
            alignment_shift: 9,
            length,
            frame_count: u32::MAX,
            lsn: start.lsn,
            synced_lsn: 0,
            first_commit: 1,
            time_ms: 1,
            previous: 0,
        };
        disk.poke(
            RING.offset + start.lsn % RING.length,
            &header.encode(&LogId { file: FILE, salt: SALT }),
        );
        let lap = start.lsn..start.lsn + RING.length;
        let left = remaining_groups(&log(&disk), lap).unwrap();
        assert_eq!((left.whole.len(), left.broken.len()), (11, 0));
    }
}

/// A header at each step, whose checksum holds and whose length can be: the ring was read as often
/// as it has steps.
#[test]
fn lengths_that_can_be_one_by_one_cost_no_more_than_the_ring() {
    let (disk, start) = wrapped();
    let end = remaining_groups(&log(&disk), start.lsn..start.lsn + RING.length).unwrap();
    let end = end.whole.last().unwrap().0.end;
    for lsn in (end..start.lsn + RING.length).step_by(512) {
        let header = Header {
            body_checksum: 0,
            alignment_shift: 9,
            length: 60 * 1024,
            frame_count: 1,
            lsn,
            synced_lsn: 0,
            first_commit: 1,
            time_ms: 1,
            previous: 0,
        };
        let header = header.encode(&LogId { file: FILE, salt: SALT });
        disk.poke(RING.offset + lsn % RING.length, &header);
    }
    let sim = SimDisk::from_bytes(SimOptions::default(), &disk.bytes.lock());
    let place = LogPlace { disk: &sim, ..log(&disk) };
    let left = remaining_groups(&place, start.lsn..start.lsn + RING.length).unwrap();
    assert!(left.whole.len() >= 6, "{}", left.whole.len());
    let read = sim.counts().read_bytes;
    assert!(read < 6 * RING.length, "{read} bytes were read");
}

/// Story: a power loss took all but the first sectors of what was unsynced, and left groups of the
/// lap before between them. Headers of both lie over each other, and say more than a lap and two of
/// the longest groups: those behind were not looked at, and lost.
#[test]
fn groups_of_the_lap_before_are_found_below_what_a_power_loss_tore() {
    const LARGE: Extent = Extent { offset: 4096, length: 256 * 1024 };
    let disk = MemoryDisk::new(512, LARGE.end());
    let start = WalPosition { lsn: LARGE.length, previous: 0 };
    let mut writer = Writer::new(disk.clone(), FILE, LARGE, SALT, start);
    let mut write = |commit: u64, bytes: usize| {
        let end = writer.write_group(commit, 50, [vec![7u8; bytes]], true).unwrap();
        writer.state().release(end.lsn);
    };
    // A lap of groups of one sector each, and behind it as much as may be unsynced.
    (1..=512).for_each(|commit| write(commit, 300));
    let unsynced = LARGE.length / RING_UNSYNCED_SHARE;
    let before = disk.peek(LARGE.offset..LARGE.offset + unsynced);
    (513..=520).for_each(|commit| write(commit, 3900));
    for (sector, bytes) in (0u64..).zip(before.chunks(512)) {
        if !sector.is_multiple_of(8) {
            disk.poke(LARGE.offset + sector * 512, bytes);
        }
    }
    let place = LogPlace { ring: LARGE, group_bytes_max: 4096, ..log(&disk) };
    let left = remaining_groups(&place, start.lsn..start.lsn + 2 * LARGE.length).unwrap();
    assert_eq!((left.whole.len(), left.broken.len()), (512 - 8, 8));
}

#[test]
fn what_cannot_be_read_is_no_group() {
    let (disk, start) = wrapped();
    *disk.unreadable.lock() = RING.offset..RING.offset + 2048;
    let lap = start.lsn..start.lsn + RING.length;
    let left = remaining_groups(&log(&disk), lap).unwrap();
    assert!((6..12).contains(&left.whole.len()), "{}", left.whole.len());
}
