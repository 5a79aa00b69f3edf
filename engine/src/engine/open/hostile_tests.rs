//! Logs that nobody wrote: valid groups that name extents which cannot be.

use super::super::Engine;
use super::Parts;
use crate::batch::WriteBatch;
use crate::entry::{Direction, TableId};
use crate::error::{Error, Result};
use crate::file::{Disk, superblock};
use crate::inspect::{Inspector, SpaceKind, SpaceRun};
use crate::limits::RING_OFFSET;
use crate::options::{Durability, Options, TableOptions};
use crate::segment::LargePayload;
use crate::sync::Arc;
use crate::testing::{SeededEntropy, SimClock, SimDisk, SimOptions, SimScheduler};
use crate::wal::{WalPosition, Writer};

const PAYLOAD: usize = 300_000;

fn open(disk: &SimDisk, read_only: bool) -> Result<Engine> {
    let clock = SimClock::new(1_704_067_200_000);
    let parts = Parts {
        disk: Arc::new(disk.reopen()),
        cold: None,
        clock: Arc::new(clock.clone()),
        scheduler: Arc::new(SimScheduler::new(3, clock)),
        entropy: Arc::new(SeededEntropy::new(disk.operation_count())),
        name: "simulated.tide".to_owned(),
    };
    let options = Options {
        ring_bytes: 256 * 1024,
        memory_budget: 4 << 20,
        create: !read_only,
        read_only,
        ..Options::default()
    };
    Engine::open_with(parts, options)
}

/// A store with an empty log and room behind it, and its table.
fn store() -> (SimDisk, TableId) {
    let disk = SimDisk::new(SimOptions::default());
    let engine = open(&disk, false).unwrap();
    let table = engine.create_table("message", TableOptions::timeline()).unwrap();
    let mut batch = WriteBatch::new();
    batch.append(table, b"t", &vec![7; 2_000_000], None).unwrap();
    engine.commit(batch, Durability::Sync).unwrap();
    let gone = engine.create_table("gone", TableOptions::timeline()).unwrap();
    let mut batch = WriteBatch::new();
    batch.append(gone, b"t", &vec![7; 2_000_000], None).unwrap();
    engine.commit(batch, Durability::Sync).unwrap();
    engine.flush().unwrap();
    engine.drop_table(gone).unwrap();
    engine.close().unwrap();
    (disk, table)
}

/// Appends a valid group to the log, each frame of which names one of these payloads.
fn forge(disk: &SimDisk, table: TableId, named: &[LargePayload]) {
    let superblock = superblock::read(disk).unwrap();
    let wal = superblock.wal;
    let start = WalPosition { lsn: wal.lsn, previous: wal.previous };
    let shared: Arc<dyn Disk> = Arc::new(disk.reopen());
    let mut writer = Writer::new(shared, superblock.file, superblock.ring, wal.salt, start);
    let bodies = (2..).zip(named).map(|(seq, large)| {
        let mut batch = WriteBatch::new();
        batch.append(table, b"t", &vec![7; PAYLOAD], None).unwrap();
        batch.place_large(0, large);
        batch.assign(0, seq);
        batch.into_body()
    });
    let bodies: Vec<Vec<u8>> = bodies.collect();
    writer.write_group(superblock.commit + 1, 1_704_067_200_000, bodies, true).unwrap();
}

#[test]
fn extents_that_cannot_be_are_refused_before_anything_is_allocated() {
    let (base, table) = store();
    let superblock = superblock::read(&base).unwrap();
    let (manifest, end) = (superblock.manifest.extent, superblock.file_length);
    let at = |number: u64, offset: u64| {
        let length = u32::try_from(PAYLOAD).unwrap();
        LargePayload { number, offset, length, table, footer_checksum: 9 }
    };
    let inspector = Inspector::over(Arc::new(base.reopen()));
    let live = inspector.segments().unwrap()[0].extent;
    let length = at(1, 0).meta().extent.length;
    let space = inspector.space().unwrap();
    let is_room = |run: &&SpaceRun| run.kind == SpaceKind::Free && run.extent.length > 4 * length;
    let room = space.iter().find(is_room).expect("a table was dropped").extent.offset;
    let hostile = [
        ("the same twice", "extents", vec![at(900, room), at(901, room)]),
        ("one over the end of another", "extents", vec![at(900, room), at(901, room + 4096)]),
        ("over a live segment", "extents", vec![at(900, live.offset + 4096)]),
        ("over the manifest", "extents", vec![at(900, manifest.offset)]),
        ("over the ring", "extents", vec![at(900, RING_OFFSET)]),
        ("over the superblock", "extents", vec![at(900, 0)]),
        ("behind the file", "extents", vec![at(900, end)]),
        ("at the end of all files", "extents", vec![at(900, i64::MAX as u64 & !4095)]),
        ("one number twice", "WAL", vec![at(900, room), at(900, room + (1 << 19))]),
    ];
    for (what, place, named) in hostile {
        let disk = base.reopen();
        let disk = SimDisk::from_bytes(SimOptions::default(), &disk.bytes());
        forge(&disk, table, &named);
        let before = disk.bytes();
        let error = open(&disk, false).map(drop).unwrap_err();
        let Error::Corruption(found) = error else { panic!("{what}: {error}") };
        assert_eq!(found.what, place, "{what}: {found:?}");
        assert!(disk.bytes() == before, "{what}: nothing was written");
        let _ = Inspector::over(Arc::new(disk.reopen())).verify();
        // Who only reads allocates nothing; no entry is whole, for whoever reads it.
        let Ok(engine) = open(&disk, true) else { continue };
        let scan = engine.snapshot().scan(table, b"t", 2, u64::MAX, Direction::Forward).unwrap();
        for entry in scan {
            assert!(entry.is_err_and(|error| error.is_unreadable()), "{what}");
        }
    }
    // Where there is room, the same log opens.
    forge(&base, table, &[at(900, room), at(901, room + length)]);
    open(&base, false).unwrap().close().unwrap();
}
