use super::*;

/// Power is lost while the last group is written: any number of its bytes have arrived, the rest of
/// the place is old or garbage. What was synced before comes back, the torn group does not.
#[test]
fn a_tail_torn_at_any_byte_is_cut() {
    for garbage in [0x00, 0xA5] {
        let mut log = Fixture::new(512, 16, 4096 * 15);
        log.append(&[300], true).unwrap();
        log.append(&[40, 900], true).unwrap();
        let torn = log.append(&[500, 1000], false).unwrap();
        let place = log.place(torn.lsn);
        let whole = log.disk.peek(place..place + (torn.end - torn.lsn));
        let used = 96 + 8 + 500 + 8 + 1000;
        for arrived in 0..whole.len() {
            let mut bytes = vec![garbage; whole.len()];
            bytes[..arrived].copy_from_slice(&whole[..arrived]);
            log.disk.poke(place, &bytes);
            let (groups, end) = log.read_known(torn.lsn).unwrap();
            let complete = bytes[..used] == whole[..used];
            assert_eq!(complete, arrived >= used, "the last byte is not the garbage");
            let expected = if complete { 3 } else { 2 };
            assert_eq!(groups[..], log.written[..expected], "{arrived} bytes arrived");
            assert!(complete || arrived < 40 || end.cut.is_some(), "{arrived} bytes leave a trace");
        }
    }
}

/// Sectors of one write arrive in any order: every subset of them.
#[test]
fn a_tail_with_any_subset_of_its_sectors_is_cut() {
    let mut log = Fixture::new(512, 16, 4096 * 15 + 512 * 6);
    log.append(&[300], true).unwrap();
    let torn = log.append(&[3000], false).unwrap();
    let whole: Vec<Vec<u8>> = (torn.lsn..torn.end)
        .step_by(512)
        .map(|lsn| log.disk.peek(log.place(lsn)..log.place(lsn) + 512))
        .collect();
    assert_eq!(whole.len(), 7);
    for subset in 0u32..1 << whole.len() {
        for (index, sector) in whole.iter().enumerate() {
            let arrived = subset & (1 << index) != 0;
            let bytes = if arrived { &sector[..] } else { &[0x3C; 512] };
            log.disk.poke(log.place(torn.lsn + 512 * index as u64), bytes);
        }
        let complete = subset + 1 == 1 << whole.len();
        let (groups, _) = log.read_known(torn.lsn).unwrap();
        assert_eq!(groups.len(), 1 + usize::from(complete));
    }
}

/// Every byte of synced groups that has something behind it: flipped, it is refused, never cut and
/// never replayed. The superblock knows nothing here, only the groups behind tell.
#[test]
fn damage_of_any_byte_of_synced_groups_is_refused() {
    let mut log = Fixture::new(512, 16, 4096 * 15 + 512 * 6);
    for length in [300, 900, 10, 100] {
        log.append(&[length], true).unwrap();
    }
    for seen in &log.written[..3] {
        let used = 96 + 8 + seen.bodies[0].len() as u64;
        for lsn in seen.lsn..seen.lsn + used {
            let place = log.place(lsn);
            let byte = log.disk.peek(place..place + 1)[0];
            for flip in [0x01, 0x80, 0xFF] {
                log.disk.poke(place, &[byte ^ flip]);
                assert_refused(log.read());
            }
            log.disk.poke(place, &[byte]);
        }
    }
    assert_eq!(log.read().unwrap().0, log.written);
}

/// The documented ambiguity: nothing tells the last synced group, damaged, from an unsynced one,
/// unless the superblock knows.
#[test]
fn damage_of_the_last_synced_group_alone_is_cut() {
    let mut log = Fixture::new(512, 16, 0);
    log.append(&[300], true).unwrap();
    let last = log.append(&[300], true).unwrap();
    for lsn in last.lsn..last.lsn + 96 + 8 + 300 {
        let place = log.place(lsn);
        let byte = log.disk.peek(place..place + 1)[0];
        log.disk.poke(place, &[byte ^ 0x10]);
        assert_eq!(log.read().unwrap().0[..], log.written[..1]);
        assert_refused(log.read_known(last.end));
        log.disk.poke(place, &[byte]);
    }
    assert_eq!(log.read_known(last.end).unwrap().0, log.written);
}

#[test]
fn a_missing_tail_that_the_superblock_knows_is_refused() {
    let mut log = Fixture::new(512, 16, 0);
    let first = log.append(&[300], true).unwrap();
    assert_eq!(log.read_known(first.end).unwrap().0.len(), 1);
    let error = log.read_known(first.end + 512).unwrap_err();
    let Error::Corruption(corruption) = &error else {
        panic!("{error}");
    };
    assert_eq!(corruption.offset, log.place(first.end));
    assert!(corruption.detail.contains(&format!("lsn {}", first.end)));
    assert!(corruption.detail.contains(&format!("up to lsn {}", first.end + 512)));
}

/// Unsynced groups reach the disk in any order: every subset of five of them. The prefix up to the
/// first missing one is replayed.
#[test]
fn unsynced_groups_in_any_order_are_cut_at_the_first_missing_one() {
    let mut log = Fixture::new(512, 16, 4096 * 14);
    let synced = log.append(&[300], true).unwrap();
    for length in [100, 2000, 30, 600, 700] {
        log.append(&[length], false).unwrap();
    }
    let whole = log.disk.bytes.lock().clone();
    for subset in 0u32..32 {
        *log.disk.bytes.lock() = whole.clone();
        for (index, seen) in log.written[1..].iter().enumerate() {
            if subset & (1 << index) == 0 {
                for lsn in (seen.lsn..seen.end).step_by(512) {
                    log.disk.poke(log.place(lsn), &[0; 512]);
                }
            }
        }
        let arrived = subset.trailing_ones() as usize;
        let (groups, end) = log.read_known(synced.end).unwrap();
        assert_eq!(groups[..], log.written[..1 + arrived]);
        assert_eq!(end.cut.is_some(), subset.count_ones() as usize > arrived);
    }
}

/// A group in the middle was never synced when the later ones were written, and those say so.
#[test]
fn a_synced_group_behind_a_hole_refuses_only_what_it_knows() {
    let mut log = Fixture::new(512, 16, 0);
    let hole = log.append(&[300], false).unwrap();
    let zeros = vec![0; usize::try_from(hole.end - hole.lsn).unwrap()];
    let behind = log.append(&[300], true).unwrap();
    let bytes = log.disk.bytes.lock().clone();
    log.disk.poke(log.place(hole.lsn), &zeros);
    assert_eq!(log.read().unwrap().0.len(), 0, "no group names the sync yet");
    *log.disk.bytes.lock() = bytes;
    let last = log.append(&[300], true).unwrap();
    log.disk.poke(log.place(hole.lsn), &zeros);
    assert_refused(log.read());
    // The body of the witness may be gone: its header is intact.
    log.disk.poke(log.place(last.lsn) + 200, &[0xEE]);
    log.disk.poke(log.place(behind.lsn), &zeros);
    assert_refused(log.read());
}

/// A sector that cannot be read is an error, wherever it lies: in a group, and behind the last one,
/// where the look-ahead has to look.
#[test]
fn an_unreadable_sector_is_an_error_and_never_an_end() {
    let mut log = Fixture::new(512, 16, 4096 * 15);
    for length in [300, 900, 10] {
        log.append(&[length], true).unwrap();
    }
    let limit = log.head.lsn + log.ring.length;
    for lsn in (log.head.lsn..limit).step_by(512) {
        *log.disk.unreadable.lock() = log.place(lsn)..log.place(lsn) + 512;
        assert_eq!(log.read().unwrap_err().kind(), ErrorKind::Io, "lsn {lsn}");
    }
}

#[test]
fn a_file_that_ends_inside_the_ring_is_an_error() {
    let mut log = Fixture::new(512, 16, 0);
    log.append(&[300], true).unwrap();
    let end = usize::try_from(log.ring.end() - 1).unwrap();
    log.disk.bytes.lock().truncate(end);
    assert_eq!(log.read().unwrap_err().kind(), ErrorKind::Io);
}

/// Intact groups in the wrong place: another file, another opening, another lsn.
#[test]
fn groups_of_other_logs_are_not_believed() {
    let mut log = Fixture::new(512, 16, 0);
    let first = log.append(&[300], true).unwrap();
    let second = log.append(&[300], true).unwrap();
    let bytes = log.disk.peek(log.place(first.lsn)..log.place(first.end));
    log.disk.poke(log.place(second.end), &bytes);
    assert_eq!(log.read().unwrap().0, log.written);
    let mut none = |_: Group<'_>| panic!("no group is of this log");
    let mut foreign =
        |file, salt| replay(&*log.disk, file, log.ring, log.head, salt, 0, GROUP_MAX, &mut none);
    assert_eq!(foreign(FileId([1; 16]), SALT).unwrap().groups, 0);
    assert_eq!(foreign(FILE, SALT + 1).unwrap().groups, 0);
}

/// Whole stretches of synced groups are gone, headers and all, as after a lost erase block. The
/// look-ahead finds a group behind them that knows better.
#[test]
fn lost_stretches_of_synced_groups_are_refused() {
    let mut log = Fixture::new(512, 64, 4096 * 50);
    for number in 0..20 {
        log.append(&[number * 400], number % 5 == 4).unwrap();
    }
    let whole = log.disk.bytes.lock().clone();
    let synced = log.written[14].end;
    for first in 0..15 {
        for last in first..19 {
            *log.disk.bytes.lock() = whole.clone();
            for lsn in (log.written[first].lsn..log.written[last].end).step_by(512) {
                log.disk.poke(log.place(lsn), &[0x77; 512]);
            }
            assert_refused(log.read_known(synced));
            // Without the superblock: the first group behind the stretch names the last sync before
            // it, one after every fifth group. Later groups may know more.
            let knows = (last + 1) / 5 * 5 > first;
            match log.read() {
                Ok((groups, end)) => {
                    assert!(!knows, "stretch {first}..={last}");
                    assert_eq!(groups[..], log.written[..first]);
                    assert!(end.cut.is_some());
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Corruption),
            }
        }
    }
}
