//! Power is lost at any moment, on a disk that then holds any legal mixture of what was pending.
//! What is replayed must be a prefix of what was written, and hold everything acknowledged.

use super::{FILE, GROUP_MAX};
use crate::error::{ErrorKind, Result};
use crate::file::{Disk, Extent, StoreBy};
use crate::limits::{RING_UNSYNCED_SHARE, STORED_GROUP_BYTES_MAX};
use crate::sync::{AtomicBool, Ordering};
use crate::testing::{
    AfterFailedSync, CrashPolicy, Fault, FaultEffect, FaultOperation, FaultTimes, SimDisk,
    SimOptions, WrittenPart,
};
use crate::wal::reader::ReplayEnd;
use crate::wal::{Group, WalPosition, Writer, replay, sync_written};
use proptest::prelude::*;
use std::sync::Arc;

const BLOCKS: u64 = 24;
/// Every body begins with its number.
const NUMBER_BYTES: usize = 8;
const RING: Extent = Extent { offset: 4096, length: BLOCKS * 4096 };

/// What a superblock would say: durable from the moment it is set.
#[derive(Debug, Clone, Copy)]
struct Root {
    head: WalPosition,
    salt: u64,
    synced_lsn: u64,
}

/// One step of the store above the log.
#[derive(Debug, Clone)]
enum Step {
    Append {
        lengths: Vec<usize>,
        durable: bool,
    },
    Sync,
    /// Everything up to the log's end is flushed; the head moves there, the mark may lag.
    Release {
        exact: bool,
    },
}

/// A store that is nothing but its log. The bodies are numbered, so that any mixture shows.
struct Store {
    disk: SimDisk,
    root: Root,
    writer: Writer,
    /// Unsynced groups are stored where that may be.
    stores: bool,
    /// Start, end and bodies of each group since the head, the one in flight included.
    groups: Vec<(u64, u64, Vec<Vec<u8>>)>,
    /// Everything before it was acknowledged as durable.
    acknowledged: u64,
    next_commit: u64,
}

impl Store {
    fn create(options: SimOptions, start: u64, stores: bool) -> Store {
        let length = usize::try_from(RING.end()).unwrap();
        let disk = SimDisk::from_bytes(options, &vec![0; length]);
        let head = WalPosition { lsn: start, previous: 0 };
        let root = Root { head, salt: 1, synced_lsn: start };
        Store::start(disk, root, 1, stores)
    }

    fn start(disk: SimDisk, root: Root, next_commit: u64, stores: bool) -> Store {
        let mut writer = Writer::new(Arc::new(disk.clone()), FILE, RING, root.salt, root.head);
        if stores {
            writer.store_unsynced(StoreBy::Write);
        }
        let acknowledged = root.head.lsn;
        Store { disk, root, writer, stores, groups: Vec::new(), acknowledged, next_commit }
    }

    fn step(&mut self, step: &Step) -> Result<()> {
        let state = Arc::clone(self.writer.state());
        match step {
            Step::Append { lengths, durable } => {
                let bytes =
                    self.writer.group_bytes(lengths.iter().map(|length| NUMBER_BYTES + length));
                if bytes > state.free_bytes() {
                    self.release(true);
                }
                let unsynced = state.unsynced_bytes() + bytes;
                let durable = *durable || unsynced > RING.length / RING_UNSYNCED_SHARE;
                self.append(lengths, durable)
            }
            Step::Sync => {
                let target = sync_written(&state, &self.disk)?;
                self.acknowledged = self.acknowledged.max(target);
                Ok(())
            }
            Step::Release { exact } => {
                self.release(*exact);
                Ok(())
            }
        }
    }

    fn append(&mut self, lengths: &[usize], durable: bool) -> Result<()> {
        let first = self.next_commit;
        let body = |(commit, length): (u64, &usize)| {
            let mut body = commit.to_le_bytes().to_vec();
            body.resize(NUMBER_BYTES + length, (commit % 255) as u8 + 1);
            body
        };
        let bodies: Vec<Vec<u8>> = (first..).zip(lengths).map(body).collect();
        let start = self.writer.position().lsn;
        let end = start + self.writer.group_bytes(bodies.iter().map(Vec::len));
        self.groups.push((start, end, bodies.clone()));
        self.next_commit += lengths.len() as u64;
        let written = self.writer.write_group(first, first, &bodies, durable)?;
        assert_eq!(written.lsn, end);
        if durable {
            self.acknowledged = end;
        }
        Ok(())
    }

    fn release(&mut self, exact: bool) {
        let state = self.writer.state();
        self.root.head = self.writer.position();
        self.root.synced_lsn = if exact { self.root.head.lsn } else { state.synced_lsn() };
        state.release(self.root.head.lsn);
        self.acknowledged = self.root.head.lsn;
        self.groups.clear();
    }

    /// Opens the file as it is on `disk`, and checks all that was promised.
    fn check(&self, disk: &SimDisk) -> ReplayEnd {
        let mut expected = self.groups.iter();
        let mut each = |group: Group<'_>| {
            let (start, end, bodies) = expected.next().expect("nothing is invented");
            assert_eq!((group.lsn, group.end), (*start, *end));
            let found: Vec<Vec<u8>> = group.frames.map(|(_, body)| body.to_vec()).collect();
            assert_eq!(&found, bodies);
            Ok(())
        };
        let root = self.root;
        let end =
            replay(disk, FILE, RING, root.head, root.salt, root.synced_lsn, GROUP_MAX, &mut each)
                .expect("a crash is not damage");
        assert!(end.end.lsn >= self.acknowledged, "an acknowledged group is gone");
        end
    }

    /// Starts the next log where the last one was cut, with a salt of its own.
    fn recover(&self, disk: &SimDisk) -> Store {
        let end = self.check(disk).end.aligned(disk.geometry().alignment);
        let root = Root { head: end, salt: self.root.salt + 1, synced_lsn: end.lsn };
        Store::start(disk.clone(), root, self.next_commit, self.stores)
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let lengths = prop::collection::vec(prop_oneof![4 => 0usize..400, 1 => 0usize..9000], 1..4);
    let step = prop_oneof![
        8 => (lengths, any::<bool>())
            .prop_map(|(lengths, durable)| Step::Append { lengths, durable }),
        1 => Just(Step::Sync),
        1 => any::<bool>().prop_map(|exact| Step::Release { exact }),
    ];
    prop::collection::vec(step, 1..40)
}

fn options() -> impl Strategy<Value = SimOptions> {
    prop_oneof![Just((512, 512)), Just((4096, 512)), Just((4096, 4096))]
        .prop_map(|(alignment, sector)| SimOptions { alignment, sector, ..SimOptions::default() })
}

fn policies(pending: usize, seed: u64) -> Vec<CrashPolicy> {
    let mut policies = vec![CrashPolicy::DropAll, CrashPolicy::KeepAll, CrashPolicy::Kill];
    for index in 0..=pending {
        policies.push(CrashPolicy::Prefix(index));
        policies.push(CrashPolicy::DropOne(index));
        policies.push(CrashPolicy::KeepOne(index));
        policies.push(CrashPolicy::TearOne { index, seed: seed ^ index as u64 });
    }
    for more in 0..12 {
        policies.push(CrashPolicy::Random { seed: seed.wrapping_add(more) });
    }
    policies
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Two lives of one log, each ended by a power loss at a random operation; after each, every
    /// image that the disk may hold is replayed, and one of them is lived on with.
    #[test]
    fn any_crash_leaves_a_prefix_with_everything_acknowledged(
        options in options(),
        stores in any::<bool>(),
        start in 0u64..2 * BLOCKS,
        lives in prop::collection::vec((steps(), 0u64..60, any::<u64>()), 2),
    ) {
        let mut store = Store::create(options, start * 4096, stores);
        for (steps, crash_at, seed) in lives {
            store.disk.crash_at(store.disk.operation_count() + crash_at);
            for step in &steps {
                if store.step(step).is_err() {
                    prop_assert!(store.disk.crashed());
                    break;
                }
            }
            let pending = store.disk.pending_count();
            for policy in policies(pending, seed) {
                let image = store.disk.crash_image(&policy);
                let end = store.check(&image);
                // Recovery writes nothing: a second one sees the same.
                prop_assert_eq!(end, store.check(&image));
            }
            let image = store.disk.crash_image(&CrashPolicy::Random { seed });
            store = store.recover(&image);
        }
    }

    /// The disk fails once, then power is lost. Nothing is acknowledged from the failure on, and
    /// what was acknowledged before is there.
    #[test]
    fn any_failure_then_a_crash_keeps_everything_acknowledged(
        steps in steps(),
        at in 0u64..30,
        kind in 0usize..6,
        stores in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let faults = [
            (FaultOperation::Write, FaultEffect::Error),
            (FaultOperation::Write, FaultEffect::PartialWrite(WrittenPart::OneSector)),
            (FaultOperation::Write, FaultEffect::PartialWrite(WrittenPart::Half)),
            (FaultOperation::Sync, FaultEffect::FailedSync(AfterFailedSync::KeptInCache)),
            (FaultOperation::Sync, FaultEffect::FailedSync(AfterFailedSync::Reverted)),
            (FaultOperation::Sync, FaultEffect::FailedSync(AfterFailedSync::LostOnlyAfterCrash)),
        ];
        let (operation, effect) = faults[kind];
        let mut store = Store::create(SimOptions::default(), 4096, stores);
        store.disk.fail(Fault { operation, at, times: FaultTimes::Once, effect });
        let failed = steps.iter().find_map(|step| store.step(step).err());
        if failed.is_some() {
            let end = store.writer.position();
            let refused = store.writer.write_group(u64::MAX / 2, 0, [b"x"], true).unwrap_err();
            prop_assert_eq!(refused.kind(), ErrorKind::Poisoned);
            prop_assert_eq!(store.writer.position(), end);
        }
        for more in 0..8 {
            let seed = seed.wrapping_add(more);
            store.check(&store.disk.crash_image(&CrashPolicy::Random { seed }));
        }
        store.check(&store.disk.crash_image(&CrashPolicy::DropAll));
        store.check(&store.disk.crash_image(&CrashPolicy::KeepAll));
    }

    /// Short reads and short writes are legal, and change nothing.
    #[test]
    fn short_reads_and_writes_change_nothing(steps in steps(), stores in any::<bool>()) {
        let mut store = Store::create(SimOptions::default(), 8 * 4096, stores);
        for (operation, effect) in [
            (FaultOperation::Write, FaultEffect::ShortWrite),
            (FaultOperation::Read, FaultEffect::ShortRead),
        ] {
            store.disk.fail(Fault { operation, at: 0, times: FaultTimes::Forever, effect });
        }
        for step in &steps {
            store.step(step).unwrap();
        }
        let end = store.check(&store.disk);
        prop_assert_eq!(end.end, store.writer.position());
    }
}

/// The interval worker syncs beside the leader: whatever it has marked survives, also where the
/// leader stores to the pages behind it meanwhile.
#[test]
fn what_another_thread_has_synced_survives() {
    for stores in [false, true] {
        let mut store = Store::create(SimOptions::default(), 0, stores);
        let state = Arc::clone(store.writer.state());
        let disk = store.disk.clone();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let syncer = scope.spawn(|| {
                let mut marked = 0;
                while !done.load(Ordering::Acquire) {
                    marked = sync_written(&state, &disk).unwrap();
                    assert!(state.unsynced_bytes() <= RING.length);
                }
                marked
            });
            for length in 0..150 {
                store.append(&[length], false).unwrap();
            }
            done.store(true, Ordering::Release);
            store.acknowledged = syncer.join().unwrap();
        });
        store.append(&[5], false).unwrap();
        assert!(store.acknowledged <= state.synced_lsn());
        let end = store.check(&store.disk.crash_image(&CrashPolicy::DropAll));
        // A sync may take more with it than it speaks of.
        assert!(end.end.lsn >= state.synced_lsn());
        for seed in 0..50 {
            store.check(&store.disk.crash_image(&CrashPolicy::Random { seed }));
        }
    }
}

/// A page that holds a synced group is not stored to any more, since a power loss tears pages as a
/// whole; behind it groups are stored again.
#[test]
fn no_group_is_stored_beside_a_synced_one() {
    let mut store = Store::create(SimOptions::default(), 0, true);
    let stored = |store: &Store| store.disk.counts().stored_bytes;
    store.append(&[100], false).unwrap();
    assert_eq!(stored(&store), 4096, "nothing before it: the block is written whole");
    store.append(&[100], true).unwrap();
    assert_eq!(stored(&store), 4608, "synced with the one before it");
    let mut groups = 0;
    while store.writer.position().lsn < 4096 {
        store.append(&[100], false).unwrap();
        groups += 1;
    }
    assert_eq!((groups, stored(&store)), (6, 4608), "the rest of the page is written");
    store.append(&[100], false).unwrap();
    assert_eq!(stored(&store), 8704);
    sync_written(store.writer.state(), &store.disk).unwrap();
    store.append(&[100], true).unwrap();
    store.append(&[100], false).unwrap();
    assert_eq!(stored(&store), 8704, "behind a sync by another thread, and a durable write");
    store.append(&[STORED_GROUP_BYTES_MAX], false).unwrap();
    assert_eq!(stored(&store), 8704, "large groups are written");
    store.append(&[4096], false).unwrap();
    assert!(stored(&store) > 8704 + 4096);
    store.check(&store.disk);
}
