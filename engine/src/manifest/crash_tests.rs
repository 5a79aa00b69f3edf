//! A store in small: superblock, allocator, manifest and SSTables that are nothing but a pattern.
//!
//! Power is lost, or the process killed, at random operations: in flushes, in compactions, in
//! superblock updates, in the healing of an opening. Extents are reused all the time. What must
//! hold afterwards: the catalog is that of the last step that succeeded or of the one that was
//! interrupted, and every live SSTable has its bytes.

use super::Manifest;
use crate::error::Result;
use crate::file::superblock::{self, FORMAT_VERSION, Superblock, WalHead};
use crate::file::{Allocator, Disk, Extent, FileId, disk};
use crate::limits::{RING_BYTES_MIN, RING_OFFSET};
use crate::runtime::Random;
use crate::testing::{CrashPolicy, SimDisk, SimOptions};
use crate::version::tests::{timeline_meta, timeline_table};
use crate::version::{Catalog, Edit};
use std::sync::Arc;

const FILE: FileId = FileId([3; 16]);
const RING: Extent = Extent { offset: RING_OFFSET, length: RING_BYTES_MIN };

struct Store {
    disk: SimDisk,
    allocator: Arc<Allocator>,
    manifest: Manifest,
    catalog: Catalog,
    superblock: Superblock,
}

/// What an SSTable holds: its number, over and over.
fn pattern(number: u64, length: u64) -> Vec<u8> {
    let count = usize::try_from(length / 8).unwrap();
    number.to_le_bytes().repeat(count)
}

impl Store {
    fn create() -> Store {
        let disk = SimDisk::new(SimOptions::default());
        disk.allocate(0, RING.end()).unwrap();
        disk.sync().unwrap();
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let allocator = Allocator::new(Arc::clone(&shared), RING.end(), RING.end(), &[]);
        let allocator = Arc::new(allocator.unwrap());
        let mut catalog = Catalog::new();
        let table = Edit::TableCreated(timeline_table(16, "inbox"));
        catalog.apply(&table).unwrap();
        let manifest = Manifest::create(shared, FILE, allocator.clone(), &catalog).unwrap();
        let superblock = Superblock {
            sequence: 0,
            file: FILE,
            incarnation: 1,
            format_version: FORMAT_VERSION,
            compatible: 0,
            read_only_compatible: 0,
            incompatible: 0,
            file_length: 0,
            ring: RING,
            manifest: manifest.reference(),
            wal: WalHead::default(),
            synced_lsn: 0,
            commit: 0,
            clock_high_water_ms: 0,
            clean: false,
            unsynced: false,
            identity: disk.identity(),
            created_ms: 0,
            cold: None,
        };
        let mut store = Store { disk, allocator, manifest, catalog, superblock };
        store.publish().unwrap();
        store.publish().unwrap();
        store
    }

    fn open(disk: &SimDisk) -> Result<Store> {
        let superblock = superblock::read(disk)?;
        superblock::heal(disk, &superblock)?;
        let reference = superblock.manifest;
        let catalog = super::replay(disk, FILE, &reference)?;
        let mut live: Vec<Extent> = catalog.version.iter().map(|found| found.2.extent).collect();
        live.push(reference.extent);
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let length = superblock.file_length;
        let allocator = Allocator::new(Arc::clone(&shared), RING.end(), length, &live)?;
        let allocator = Arc::new(allocator);
        allocator.durable(superblock.sequence);
        let (manifest, catalog) = Manifest::open(shared, FILE, allocator.clone(), &reference)?;
        Ok(Store { disk: disk.clone(), allocator, manifest, catalog, superblock })
    }

    fn publish(&mut self) -> Result<()> {
        disk::sync(&self.disk, "sync")?;
        let superblock = Superblock {
            sequence: self.superblock.sequence + 1,
            manifest: self.manifest.reference(),
            file_length: self.allocator.file_length(),
            ..self.superblock.clone()
        };
        superblock::write(&self.disk, &superblock)?;
        self.allocator.durable(superblock.sequence);
        self.superblock = superblock;
        Ok(())
    }

    /// Adds an SSTable, and often removes others. `intended` is told of the catalog behind it.
    fn step(&mut self, random: &mut Random, intended: &mut Catalog) -> Result<()> {
        let mut after = self.catalog.clone();
        let mut removed = Vec::new();
        let mut edits = Vec::new();
        for (_, _, meta) in self.catalog.version.iter() {
            if random.chance(1, 4) {
                removed.push(meta.extent);
                let number = meta.number;
                edits.push(Edit::SstableRemoved { number });
            }
        }
        let number = after.next_sstable;
        let bytes = (random.below(3) + 1) * 4096;
        let reservation = self.allocator.reserve(bytes, "an SSTable")?;
        let mut writer = crate::file::AlignedBuffer::with_capacity(0);
        writer.extend(&pattern(number, bytes));
        let offset = reservation.extent().offset;
        let later = crate::file::Flush::Later;
        disk::write_all_at(&self.disk, "write", offset, writer.as_slice(), later)?;
        let mut meta = timeline_meta(number, ("a", number), ("b", number));
        meta.extent = reservation.commit(bytes);
        meta.bytes = bytes;
        edits.push(Edit::SstableAdded { level: 0, meta });
        for edit in &edits {
            after.apply(edit).unwrap();
        }
        *intended = after.clone();
        self.manifest.append(&edits, &after)?;
        let generation = self.superblock.sequence;
        self.publish()?;
        removed.extend(self.manifest.take_replaced());
        for extent in removed {
            self.allocator.release(extent, generation);
        }
        self.catalog = after;
        Ok(())
    }

    fn check(&self) {
        for (_, _, meta) in self.catalog.version.iter() {
            let mut bytes = vec![0; usize::try_from(meta.bytes).unwrap()];
            disk::read_exact_at(&self.disk, "read", meta.extent.offset, &mut bytes).unwrap();
            assert!(bytes == pattern(meta.number, meta.bytes), "{meta:?}");
        }
    }
}

fn policy(random: &mut Random) -> CrashPolicy {
    match random.below(5) {
        0 => CrashPolicy::DropAll,
        1 => CrashPolicy::KeepAll,
        2 => CrashPolicy::Kill,
        _ => CrashPolicy::Random { seed: random.next_u64() },
    }
}

fn run(seed: u64) {
    let mut random = Random::new(seed);
    let mut store = Store::create();
    for _ in 0..12 {
        let live = store.disk.clone();
        live.crash_at(live.operation_count() + random.below(60));
        let mut intended = store.catalog.clone();
        while store.step(&mut random, &mut intended).is_ok() {}
        assert!(live.crashed(), "seed {seed}: nothing else fails");
        let mut image = live.crash_image(&policy(&mut random));
        // The opening may be interrupted as well.
        while random.chance(1, 2) {
            image.crash_at(image.operation_count() + random.below(7));
            drop(Store::open(&image));
            image = image.crash_image(&policy(&mut random));
        }
        let opened = Store::open(&image).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let expected = [&store.catalog, &intended];
        assert!(expected.contains(&&opened.catalog), "seed {seed}");
        opened.check();
        store = opened;
    }
}

#[test]
fn extents_are_reused_and_nothing_is_lost_in_crashes() {
    for seed in 0..150 {
        run(seed);
    }
}
