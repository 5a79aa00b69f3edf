use super::*;

/// A group begins at every sector of the ring, and so wraps at every sector it has.
#[test]
fn groups_wrap_at_every_offset() {
    for (alignment, lengths) in [(512, &[100, 1300][..]), (4096, &[9000, 10][..])] {
        let ring_bytes = 8 * 4096;
        for start in (0..2 * ring_bytes).step_by(alignment) {
            let mut log = Fixture::new(alignment, 8, start as u64);
            log.append(lengths, false).unwrap();
            log.append(&[70], true).unwrap();
            let (groups, end) = log.read_known(log.writer.position().lsn).unwrap();
            assert_eq!(groups, log.written, "start {start}");
            assert_eq!(end.cut, None);
        }
    }
}

#[test]
fn a_wrapped_durable_group_is_durable_in_both_pieces() {
    let mut log = Fixture::new(512, 8, 8 * 4096 - 512);
    log.append(&[3000], true).unwrap();
    let writes = log.disk.writes.lock();
    let end = log.ring.end();
    assert_eq!(writes[0], (end - 512..end, Flush::Now));
    assert_eq!(writes[1], (log.ring.offset..log.ring.offset + 3072, Flush::Now));
}

/// Old groups with valid checksums lie behind the tail in every lap but the first. They are of the
/// same log, but of another lsn.
#[test]
fn groups_of_old_laps_are_never_replayed() {
    let mut log = Fixture::new(512, 64, 0);
    let lengths = [10, 700, 60, 2000, 5000, 300, 9000];
    let mut laps = 0;
    for round in 0..1500 {
        let length = lengths[round % lengths.len()];
        while log.writer.state().free_bytes() < log.writer.group_bytes([length].into_iter()) {
            log.release(log.written.len() / 2 + 1);
        }
        let behind = log.disk.bytes.lock().clone();
        log.append(&[length], round % 3 == 0).unwrap();
        laps = log.writer.position().lsn / log.ring.length;
        if round % 7 != 0 {
            continue;
        }
        let (groups, end) = log.read().unwrap();
        assert_eq!(groups, log.written);
        assert_eq!((end.end, end.cut), (log.writer.position(), None));
        // The same moment, had the last write not arrived.
        let ahead = std::mem::replace(&mut *log.disk.bytes.lock(), behind);
        let (groups, end) = log.read().unwrap();
        assert_eq!(groups[..], log.written[..log.written.len() - 1]);
        assert_eq!(end.cut, None);
        *log.disk.bytes.lock() = ahead;
    }
    assert!(laps > 10);
}

/// A crash leaves an unsynced tail; the next opening starts a new log at the cut, with a new salt.
/// When it has written up to where the old log's lost groups lie, those must not follow.
#[test]
fn groups_of_an_earlier_opening_are_never_replayed() {
    let mut log = Fixture::new(512, 64, 0);
    for _ in 0..10 {
        log.append(&[300], false).unwrap();
    }
    let cut =
        WalPosition { lsn: log.written[4].lsn, previous: log.checksum_at(log.written[3].lsn) };
    let salt = SALT + 1;
    let mut writer = Writer::new(Arc::clone(&log.disk) as _, FILE, log.ring, salt, cut);
    writer.write_group(5, 77, [&[5u8; 300]], true).unwrap();
    let mut seen = 0;
    let mut count = |group: Group<'_>| {
        seen += group.frame_count;
        Ok(())
    };
    let end =
        replay(&*log.disk, FILE, log.ring, cut, salt, cut.lsn, GROUP_MAX, &mut count).unwrap();
    assert_eq!((seen, end.end, end.cut), (1, writer.position(), None));
}

#[test]
fn a_long_log_of_large_and_small_groups_streams() {
    let mut log = Fixture::new(512, 1024, 4096 * 1000);
    for length in [50_000, 10, 60_000, 400, 512, 30_000].into_iter().cycle() {
        if log.writer.state().free_bytes() < 64 * 1024 {
            break;
        }
        log.append(&[length], false).unwrap();
    }
    let (groups, end) = log.read().unwrap();
    assert_eq!(groups, log.written);
    assert_eq!(end.cut, None);
}

/// What older laps have left is overwritten, whatever is written meanwhile, and nothing else.
#[test]
fn the_free_part_of_the_ring_is_wiped() {
    for (alignment, blocks, start) in [(512, 64, 0), (4096, 64, 7 * 4096), (512, 256, 4096 * 77)] {
        let mut log = Fixture::new(alignment, blocks, start);
        while log.writer.position().lsn < start + 3 * log.ring.length {
            while log.writer.state().free_bytes() < log.writer.group_bytes([900].into_iter()) {
                log.release(log.written.len() / 2 + 1);
            }
            log.append(&[900], true).unwrap();
        }
        log.release(log.written.len() - 4);
        let (mut next, end) =
            (log.writer.position().lsn, log.writer.state().released_lsn() + log.ring.length);
        let mut pieces = 0;
        while next < end {
            let wiped = log.writer.wipe(next, end).unwrap();
            assert!(wiped > next && wiped - next <= crate::limits::ERASE_RING_BYTES as u64);
            next = wiped;
            pieces += 1;
            // What is written meanwhile stays, and what it took needs no wiping.
            log.append(&[333], pieces % 2 == 0).unwrap();
        }
        let (groups, found) = log.read().unwrap();
        assert_eq!((&groups, found.cut), (&log.written, None));
        let live: u64 = log.writer.state().used_bytes();
        let ring = log.disk.peek(log.ring.offset..log.ring.end());
        let used = ring.chunks(512).filter(|sector| sector.iter().any(|byte| *byte != 0));
        assert!(used.count() as u64 * 512 <= live, "old laps are gone");
        assert_eq!(log.writer.wipe(next, end).unwrap(), next.max(log.writer.position().lsn));
    }
}

#[test]
fn what_replay_needs_is_not_wiped_however_far_a_wipe_should_go() {
    let mut log = Fixture::new(512, 64, 0);
    log.append(&[900, 10], true).unwrap();
    log.append(&[2000], true).unwrap();
    // A whole lap from the tail on: it would end behind the groups themselves.
    let mut next = log.writer.position().lsn;
    let end = next + log.ring.length;
    for _ in 0..64 {
        next = log.writer.wipe(next, end).unwrap();
    }
    assert_eq!(next, log.ring.length, "up to the head, which lies at 0");
    assert_eq!(log.read().unwrap().0, log.written);
}

#[test]
fn a_wipe_that_fails_harms_nobody() {
    let mut log = Fixture::new(512, 64, 0);
    log.append(&[900, 10], true).unwrap();
    let (from, end) = (log.writer.position().lsn, log.ring.length);
    log.disk.fail_writes.store(true, Ordering::Relaxed);
    assert!(log.writer.wipe(from, end).is_err());
    log.disk.fail_writes.store(false, Ordering::Relaxed);
    assert_eq!(log.writer.wipe(from, end).unwrap(), end);
    log.append(&[70], true).unwrap();
    assert_eq!(log.read().unwrap().0, log.written);
}
