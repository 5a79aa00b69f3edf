use super::*;
use crate::file::{OpenMode, OsDisk, StoreBy};

#[test]
fn groups_come_back_as_they_were_written() {
    for alignment in [512, 4096] {
        let mut log = Fixture::new(alignment, 16, 4096 * 5);
        log.append(&[0], true).unwrap();
        log.append(&[1, 2, 3000], false).unwrap();
        log.append(&[400, 8], true).unwrap();
        let (groups, end) = log.read().unwrap();
        assert_eq!(groups, log.written);
        assert_eq!(end.end, log.writer.position());
        assert_eq!(end.cut, None);
        assert_eq!(end.synced_lsn, log.written[0].end);
    }
}

#[test]
fn an_empty_log_ends_at_its_head() {
    let log = Fixture::new(512, 16, 4096);
    let (groups, end) = log.read().unwrap();
    assert!(groups.is_empty());
    assert_eq!((end.end, end.cut), (log.head, None));
}

/// A durable group is one immediate write where nothing is unsynced, else a plain write and a sync.
#[test]
fn durable_groups_choose_their_flush() {
    let mut log = Fixture::new(512, 16, 0);
    let state = Arc::clone(log.writer.state());
    let first = log.append(&[10], true).unwrap();
    assert_eq!(log.disk.writes.lock().pop().unwrap().1, Flush::Now);
    assert_eq!(log.disk.syncs.load(Ordering::Relaxed), 0);
    assert_eq!(state.synced_lsn(), first.end);

    let second = log.append(&[10], false).unwrap();
    assert_eq!(log.disk.writes.lock().pop().unwrap().1, Flush::Later);
    assert_eq!(state.synced_lsn(), first.end);
    assert_eq!(state.unsynced_bytes(), second.end - second.lsn);

    let third = log.append(&[10], true).unwrap();
    assert_eq!(log.disk.writes.lock().pop().unwrap().1, Flush::Later);
    assert_eq!(log.disk.syncs.load(Ordering::Relaxed), 1);
    assert_eq!(state.synced_lsn(), third.end);
    assert_eq!(state.unsynced_bytes(), 0);

    let fourth = log.append(&[10], false).unwrap();
    assert_eq!(sync_written(&state, &*log.disk).unwrap(), fourth.end);
    assert_eq!(sync_written(&state, &*log.disk).unwrap(), fourth.end);
    assert_eq!(log.disk.syncs.load(Ordering::Relaxed), 2, "nothing was left to sync");
    state.mark_synced(first.end);
    assert_eq!(state.synced_lsn(), fourth.end, "marks never fall");
}

#[test]
fn released_space_is_used_again_and_a_spare_block_stays_free() {
    let mut log = Fixture::new(4096, 4, 0);
    let state = Arc::clone(log.writer.state());
    assert_eq!(state.free_bytes(), 3 * 4096);
    for _ in 0..3 {
        log.append(&[100], false).unwrap();
    }
    assert_eq!((state.used_bytes(), state.free_bytes()), (3 * 4096, 0));
    assert_eq!(log.read().unwrap().0, log.written);
    log.release(2);
    assert_eq!((state.used_bytes(), state.free_bytes()), (4096, 2 * 4096));
    assert_eq!(state.synced_lsn(), 2 * 4096, "released bytes count as synced");
    log.append(&[5000], false).unwrap();
    assert_eq!(log.read().unwrap().0, log.written);
}

#[test]
#[should_panic(expected = "the caller makes room")]
fn a_group_without_room_is_a_bug_of_the_caller() {
    let mut log = Fixture::new(4096, 4, 0);
    log.append(&[4 * 4096], false).unwrap();
}

/// The disk refuses a write; a group behind the hole could be replayed never, so none is taken.
#[test]
fn a_failed_write_ends_the_log() {
    let mut log = Fixture::new(512, 16, 0);
    log.append(&[10], true).unwrap();
    log.disk.fail_writes.store(true, Ordering::Relaxed);
    assert_eq!(log.append(&[20], true).unwrap_err().kind(), ErrorKind::Io);
    log.disk.fail_writes.store(false, Ordering::Relaxed);
    let refused = log.append(&[20], true).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Poisoned);
    assert!(refused.to_string().contains("failed write"));
    let state = log.writer.state();
    assert!(matches!(sync_written(state, &*log.disk), Err(Error::Poisoned { .. })));
    assert_eq!(state.synced_lsn(), log.written[0].end);
    assert_eq!(log.read().unwrap().0, log.written);
}

/// After a failed sync a later one that succeeds proves nothing: nothing counts as synced any more,
/// whichever thread met the failure.
#[test]
fn a_failed_sync_ends_the_log() {
    for by_leader in [true, false] {
        let mut log = Fixture::new(512, 16, 0);
        let first = log.append(&[10], true).unwrap();
        log.append(&[10], false).unwrap();
        log.disk.fail_syncs.store(true, Ordering::Relaxed);
        let error = match by_leader {
            true => log.append(&[20], true).unwrap_err(),
            false => sync_written(log.writer.state(), &*log.disk).unwrap_err(),
        };
        assert_eq!(error.kind(), ErrorKind::Io);
        log.disk.fail_syncs.store(false, Ordering::Relaxed);
        let refused = log.append(&[20], true).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Poisoned);
        assert!(sync_written(log.writer.state(), &*log.disk).is_err());
        assert_eq!(log.writer.state().synced_lsn(), first.end);
    }
}

#[test]
fn a_giant_group_leaves_no_giant_buffer() {
    let mut log = Fixture::new(512, 1024, 0);
    log.append(&[3 * 1024 * 1024], false).unwrap();
    assert_eq!(log.writer.buffer_bytes(), 0);
    log.append(&[3000], false).unwrap();
    assert!(log.writer.buffer_bytes() > 0);
}

#[test]
fn a_log_of_small_blocks_moves_to_a_disk_of_large_ones() {
    let end = WalPosition { lsn: 512 * 3, previous: 9 };
    assert_eq!(end.aligned(4096), WalPosition { lsn: 4096, previous: 9 });
    assert_eq!(end.aligned(512), end);
}

#[test]
fn what_the_callback_says_is_handed_on() {
    let mut log = Fixture::new(512, 16, 0);
    log.append(&[10], true).unwrap();
    let mut refuse = |_: Group<'_>| Err(Error::invalid("enough"));
    let result = replay(&*log.disk, FILE, log.ring, log.head, SALT, 0, GROUP_MAX, &mut refuse);
    assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidUse);
}

#[test]
fn a_listing_tells_what_replay_sees() {
    let mut log = Fixture::new(512, 16, 512 * 100);
    for length in [100, 900, 20] {
        log.append(&[length, 5], true).unwrap();
    }
    let list = |log: &Fixture| {
        scan_groups(&*log.disk, FILE, log.ring, log.head, SALT, 0, GROUP_MAX).unwrap()
    };
    let listing = list(&log);
    assert_eq!(listing.ending.unwrap(), Ending::Clean);
    assert_eq!(listing.end, log.writer.position());
    assert_eq!(listing.groups.len(), 3);
    for (info, seen) in listing.groups.iter().zip(&log.written) {
        assert_eq!((info.lsn, info.end), (seen.lsn, seen.end));
        assert_eq!((info.first_commit, info.frame_count), (seen.first_commit, 2));
        assert_eq!(info.offset, log.place(seen.lsn));
    }
    log.disk.poke(log.place(log.written[1].lsn) + 200, &[99]);
    let listing = list(&log);
    assert_eq!(listing.groups.len(), 1);
    assert!(matches!(listing.ending, Ok(Ending::Damaged(_))));
    *log.disk.unreadable.lock() = 0..u64::MAX;
    assert!(matches!(list(&log).ending, Err(Error::Io { .. })));
}

/// The same on a real file, with whatever alignment and flush the file system here wants.
#[test]
fn a_log_in_a_real_file_comes_back() {
    for by in [None, Some(StoreBy::Write), Some(StoreBy::Map)] {
        a_log_in_a_real_file(by);
    }
}

fn a_log_in_a_real_file(by: Option<StoreBy>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.tide");
    let ring = Extent { offset: 65_536, length: 256 * 1024 };
    let disk = Arc::new(OsDisk::open(&path, OpenMode::CreateReadWrite).unwrap());
    disk.allocate(0, ring.end()).unwrap();
    let head = WalPosition { lsn: ring.length * 3 - 4096, previous: 7 };
    let mut writer = Writer::new(disk, FILE, ring, SALT, head);
    if let Some(by) = by {
        writer.store_unsynced(by);
    }
    let bodies: Vec<Vec<u8>> = (0..20usize).map(|number| vec![1; number * 700]).collect();
    for (commit, body) in (1..).zip(&bodies) {
        writer.write_group(commit, 77, [body], commit % 3 == 0).unwrap();
    }
    let end = writer.position();
    drop(writer);
    let disk = OsDisk::open(&path, OpenMode::ReadOnly).unwrap();
    let mut found = Vec::new();
    let mut each = |group: Group<'_>| {
        found.extend(group.frames.map(|(_, body)| body.to_vec()));
        Ok(())
    };
    let replayed = replay(&disk, FILE, ring, head, SALT, head.lsn, GROUP_MAX, &mut each).unwrap();
    assert_eq!(found, bodies);
    assert_eq!((replayed.end, replayed.cut), (end, None));
}

/// Recovery writes thousands of groups: one write each took it longer than to read them.
#[test]
fn groups_that_are_written_together_are_groups_like_others() {
    for alignment in [512, 4096] {
        // The ring ends inside the third megabyte, and the log goes on at its front.
        let mut log = Fixture::new(alignment, 1000, 2 * 1000 * 4096 - (5 << 19));
        log.append(&[100, 7], false).unwrap();
        let groups = (0..72u64).map(|index| (3 + 2 * index, 77, [vec![7; 50_000], vec![8; 9]]));
        let writes = log.disk.writes.lock().len();
        let end = log.writer.write_groups(groups.clone()).unwrap();
        assert_eq!(end, log.writer.position());
        let writes = log.disk.writes.lock().len() - writes;
        assert!((4..=5).contains(&writes), "{writes} writes of 3.6 MB");
        assert_eq!(log.writer.buffer_bytes(), 0);
        let (seen, replayed) = log.read().unwrap();
        assert_eq!(replayed.end, end);
        for (group, (first_commit, _, bodies)) in seen[1..].iter().zip(groups) {
            assert_eq!((group.first_commit, &group.bodies[..]), (first_commit, &bodies[..]));
        }
        assert_eq!(seen.len(), 73);
        let none = std::iter::empty::<(u64, u64, [&[u8]; 1])>();
        assert_eq!(log.writer.write_groups(none).unwrap(), end);
    }
}

/// What a replay has found is read again where memory does not hold it, without what lies behind.
#[test]
fn a_replay_to_a_known_end_looks_at_nothing_behind_it() {
    let mut log = Fixture::new(512, 1000, 0);
    for _ in 0..5 {
        log.append(&[3000, 40], false).unwrap();
    }
    let (seen, ReplayEnd { end, .. }) = log.read().unwrap();
    let replay_to = |log: &Fixture, end| {
        let mut ends = Vec::new();
        let mut each = |group: Group<'_>| {
            ends.push(group.end);
            Ok(())
        };
        let disk = &*log.disk;
        let done = replay_to(disk, FILE, log.ring, log.head, SALT, end, GROUP_MAX, &mut each);
        done.map(|()| ends)
    };
    let ends: Vec<u64> = seen.iter().map(|group| group.end).collect();
    assert_eq!(replay_to(&log, end).unwrap(), ends);
    assert_eq!(replay_to(&log, log.head).unwrap(), []);
    // The look behind the end, which replay cannot do without, is not done.
    *log.disk.unreadable.lock() = log.place(600 << 10)..log.place(640 << 10);
    assert_eq!(log.read().unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(replay_to(&log, end).unwrap(), ends);
    // It must end where it did.
    let inside = WalPosition { lsn: end.lsn - 512, ..end };
    assert_refused(replay_to(&log, inside));
    log.disk.poke(log.place(seen[3].lsn) + 200, &[0x55]);
    assert_refused(replay_to(&log, end));
}

/// What goes on while the disk writes may look at the log: the group is not yet in it.
#[test]
fn a_group_counts_as_written_when_it_has_ended() {
    let mut log = Fixture::new(512, 16, 0);
    let before = log.writer.position();
    log.writer.begin_group(1, 77, [[7; 600]], false).unwrap();
    assert_eq!((log.writer.position(), log.writer.state().written_lsn()), (before, before.lsn));
    let end = log.writer.end_group().unwrap();
    assert_eq!((log.writer.position(), log.writer.state().written_lsn()), (end, end.lsn));
    assert_eq!(log.read().unwrap().0[0].bodies, [[7; 600]]);
}

#[test]
fn a_failed_write_is_told_at_the_end_of_its_group_and_ends_the_log() {
    let mut log = Fixture::new(512, 16, 0);
    log.append(&[10], true).unwrap();
    let position = log.writer.position();
    log.disk.fail_writes.store(true, Ordering::Relaxed);
    log.writer.begin_group(2, 77, [[7; 600]], false).unwrap();
    assert_eq!(log.writer.end_group().unwrap_err().kind(), ErrorKind::Io);
    log.disk.fail_writes.store(false, Ordering::Relaxed);
    assert_eq!((log.writer.position(), log.writer.state().written_lsn()), (position, position.lsn));
    let refused = log.writer.begin_group(2, 77, [[7; 600]], false).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Poisoned);
    assert_eq!(log.read().unwrap().0, log.written);
}

/// What is durable, and nobody was told of, because the leader panicked, was overwritten with
/// zeros; a root that spoke of it had the next opening take that for damage.
#[test]
fn a_group_that_was_not_ended_is_not_wiped() {
    let mut log = Fixture::new(512, 16, 0);
    log.writer.begin_group(1, 77, [[7; 600]], true).unwrap();
    let from = log.writer.position().lsn;
    let wiped = log.writer.wipe(from, from + 16 * 4096).unwrap();
    assert!(wiped > log.writer.state().written_lsn());
    assert_eq!(log.read().unwrap().0[0].bodies, [[7; 600]]);
}
