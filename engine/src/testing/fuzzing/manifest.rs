//! The manifest over a simulated disk, and the catalog that it makes.

use super::put_checksum;
use crate::codec::checksum_seeded;
use crate::entry::TableId;
use crate::error::Result;
use crate::file::{Allocator, Disk, Extent, FileId, ManifestRef};
use crate::manifest::{self, Manifest};
use crate::options::{Compression, Sequence, TableOptions};
use crate::own_ttl::OwnTtl;
use crate::runtime::Random;
use crate::testing::SimDisk;
use crate::version::{
    Catalog, Edit, SegmentMeta, Shard, SstableMeta, TableKind, TableRecord, Tier,
};
use std::sync::Arc;

const FILE: FileId = FileId([3; 16]);

/// A manifest being written, with the catalog that it should make.
pub struct Log {
    disk: SimDisk,
    allocator: Arc<Allocator>,
    manifest: Manifest,
    catalog: Catalog,
    sequence: u64,
}

/// A moment of a log: what the superblock would name, and the catalog then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    reference: ManifestRef,
    catalog: Catalog,
}

impl Log {
    /// A new manifest.
    ///
    /// # Errors
    /// The disk's.
    pub fn create(disk: &SimDisk) -> Result<Log> {
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let allocator = Arc::new(Allocator::new(Arc::clone(&shared), 0, 0, &[])?);
        let catalog = Catalog::new();
        let manifest = Manifest::create(shared, FILE, Arc::clone(&allocator), &catalog)?;
        Ok(Log { disk: disk.clone(), allocator, manifest, catalog, sequence: 1 })
    }

    /// Logs random edits that are possible, and makes them durable. Impossible edits are drawn as
    /// well: the catalog must refuse them and stay as it was.
    ///
    /// # Errors
    /// The disk's.
    pub fn append(&mut self, random: &mut Random) -> Result<Moment> {
        let mut edits = Vec::new();
        for _ in 0..=random.below(6) {
            let edit = any_edit(random, &self.catalog);
            let before = self.catalog.clone();
            match self.catalog.apply(&edit) {
                Ok(()) => edits.push(edit),
                Err(_) => assert_eq!(before, self.catalog, "a refused edit changes nothing"),
            }
            assert_eq!(self.catalog.version.check_invariants(), Ok(()));
        }
        // As every change of a root does: a segment goes with the last SSTable that needed it.
        let unused: Vec<u64> = self.catalog.segments.unused().collect();
        for number in unused {
            let edit = Edit::SegmentRemoved { number };
            self.catalog.apply(&edit).expect("nobody needs it");
            edits.push(edit);
        }
        let reference = self.manifest.append(&edits, &self.catalog)?;
        crate::file::disk::sync(&self.disk, "sync the manifest")?;
        self.sequence += 1;
        for extent in self.manifest.take_replaced() {
            self.allocator.release(extent, self.sequence - 1);
        }
        self.allocator.durable(self.sequence);
        Ok(Moment { reference, catalog: self.catalog.clone() })
    }

    /// Opens the manifest anew, as the next process does.
    ///
    /// # Errors
    /// The disk's, or damage.
    pub fn reopen(self, moment: &Moment) -> Result<Log> {
        let Log { disk, allocator, sequence, .. } = self;
        let shared = Arc::new(disk.clone());
        let (manifest, catalog) =
            Manifest::open(shared, FILE, Arc::clone(&allocator), &moment.reference)?;
        assert_eq!(catalog, moment.catalog, "the manifest makes the catalog");
        Ok(Log { disk, allocator, manifest, catalog, sequence })
    }
}

impl Moment {
    /// The used part of the manifest's extent: offset and length.
    pub fn used(&self) -> (u64, u64) {
        (self.reference.extent.offset, self.reference.length)
    }

    /// Whether replay of this moment makes its catalog.
    ///
    /// # Errors
    /// What replay says.
    pub fn replays(&self, disk: &SimDisk) -> Result<bool> {
        let (infos, damage) = manifest::records_until_damage(disk, FILE, &self.reference);
        let catalog = manifest::replay(disk, FILE, &self.reference)?;
        assert!(damage.is_none(), "what replays can be listed");
        assert_eq!(infos.iter().map(|info| info.bytes).sum::<u64>(), self.reference.length);
        assert_eq!(catalog.version.check_invariants(), Ok(()));
        Ok(catalog == self.catalog)
    }

    /// This moment with another checksum of the last record, another extent or another length, as
    /// a hostile superblock says.
    #[must_use]
    pub fn forged(&self, extent: Extent, length: u64, checksum: u32) -> Moment {
        let reference = ManifestRef { extent, length, checksum };
        Moment { reference, catalog: self.catalog.clone() }
    }

    /// Repairs the chain of checksums in the bytes of the used part, as somebody who knows the
    /// format would, and gives the moment that names them.
    #[must_use]
    pub fn repaired(&self, used: &mut [u8]) -> Moment {
        let last = repair(used, FILE, self.reference.extent.offset);
        self.forged(self.reference.extent, used.len() as u64, last)
    }
}

/// Repairs the chain of checksums in the used part of a manifest whose extent begins at an offset,
/// and returns that of the last record, which the superblock holds.
pub fn repair(used: &mut [u8], file: FileId, offset: u64) -> u32 {
    let (mut place, mut previous) = (0, 0u32);
    while place + 32 <= used.len() {
        let length: [u8; 4] = used[place + 8..place + 12].try_into().expect("4 bytes");
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        let padded = length.max(32).saturating_add(4095) & !4095;
        let end = place.saturating_add(padded).min(used.len());
        let record = &mut used[place..end];
        record[12..16].copy_from_slice(&previous.to_le_bytes());
        previous = checksum_seeded(file, offset, place as u64, &record[4..]);
        put_checksum(record, 0, previous);
        place = end;
    }
    previous
}

/// A random edit, most of the time one that this catalog can take.
fn any_edit(random: &mut Random, catalog: &Catalog) -> Edit {
    let live: Vec<u64> = catalog.version.iter().map(|(_, _, meta)| meta.number).collect();
    let number = match live.get(random.index(live.len())) {
        Some(number) if !random.chance(1, 20) => *number,
        _ => random.below(1000),
    };
    match random.below(14) {
        13 => {
            let ids: Vec<TableId> = catalog.tables.keys().copied().collect();
            Edit::TableDropped { table: ids[random.index(ids.len())] }
        }
        12 => Edit::TableAltered(altered_table(random, catalog)),
        0 => Edit::TableCreated(any_table(random, catalog)),
        1 => Edit::EpochBegun { commit: catalog.epochs.last().unwrap_or(&0) + random.below(9) },
        2 => Edit::Counters {
            next_sstable: (catalog.next_sstable + random.below(5)).saturating_sub(1),
            next_table: catalog.next_table,
        },
        3 if random.chance(1, 20) => Edit::ColdFile { first: number },
        3 | 4 => Edit::SstableRemoved { number },
        7 => Edit::SegmentAdded { meta: any_segment(random, catalog) },
        8 if random.chance(1, 4) => Edit::SegmentRemoved { number },
        8 if random.chance(1, 2) => replaced_segment(random, catalog),
        5 | 6 => Edit::SstableMoved { number, level: level(random) },
        _ => Edit::SstableAdded { level: level(random), meta: any_meta(random, catalog) },
    }
}

/// A level, now and then one that does not exist.
fn level(random: &mut Random) -> u8 {
    u8::try_from(random.below(8)).expect("it is below 8")
}

/// Of an SSTable of one entry.
fn any_own_ttl(random: &mut Random, may_have: bool) -> OwnTtl {
    let mut own_ttl = OwnTtl::default();
    if may_have && random.chance(1, 3) {
        own_ttl.note(random.next_u64() >> random.below(64));
    }
    own_ttl
}

fn any_table(random: &mut Random, catalog: &Catalog) -> TableRecord {
    let id = TableId(catalog.next_table + u32::try_from(random.below(3)).expect("it is below 3"));
    let kind = if random.chance(1, 3) { TableKind::Keyed } else { TableKind::Timeline };
    let compression = match random.below(3) {
        0 => Compression::None,
        1 => Compression::Lz4,
        _ => Compression::Zstd { level: u8::try_from(1 + random.below(19)).expect("it is small") },
    };
    let options = TableOptions {
        kind,
        sequence: if random.chance(1, 4) { Sequence::Given } else { Sequence::Assigned },
        ttl_ms: random.chance(1, 2).then(|| random.next_u64()),
        keep_last: random.chance(1, 3).then(|| random.next_u64()),
        compression,
        cold_after_ms: random.chance(1, 3).then(|| random.next_u64()),
        placement: if random.chance(1, 4) { Tier::Cold } else { Tier::Hot },
        erase_after_ms: random.chance(1, 4).then(|| random.next_u64()),
    };
    TableRecord::new(id, &format!("table-{}", random.below(400)), options)
}

/// A table with other options, now and then one that an altered table cannot have.
fn altered_table(random: &mut Random, catalog: &Catalog) -> TableRecord {
    let tables: Vec<_> = catalog.tables.values().collect();
    let mut record = tables[random.index(tables.len())].clone();
    record.options.ttl_ms = random.chance(1, 2).then(|| random.next_u64());
    record.expired_before_ms = (record.expired_before_ms + random.below(9)).saturating_sub(1);
    record
}

fn any_segment(random: &mut Random, catalog: &Catalog) -> SegmentMeta {
    let number = catalog.next_sstable + random.below(2);
    SegmentMeta {
        number,
        table: TableId(16 + u32::try_from(random.below(4)).expect("it is below 4")),
        extent: Extent { offset: number << 16, length: 64 * 1024 },
        bytes: 1 + random.below(64 * 1024),
        footer_checksum: 6,
        records: random.next_u64(),
        payload_bytes: random.next_u64(),
    }
}

/// A segment in another extent, now and then one that it cannot have.
fn replaced_segment(random: &mut Random, catalog: &Catalog) -> Edit {
    let live: Vec<u64> = catalog.segments.iter().map(|meta| meta.number).collect();
    let number = match live.get(random.index(live.len().max(1))) {
        Some(number) if !random.chance(1, 20) => *number,
        _ => random.below(1000),
    };
    let offset = (1 << 40) + (random.below(1 << 20) << 16) + random.below(20) / 19;
    let length = if random.chance(1, 20) { 0 } else { 64 * 1024 };
    let extent = Extent { offset, length };
    Edit::SegmentReplaced { number, extent, footer_checksum: 7 }
}

fn any_meta(random: &mut Random, catalog: &Catalog) -> SstableMeta {
    let tables: Vec<_> = catalog.tables.values().collect();
    let table = tables[random.index(tables.len())];
    let kind = table.options.kind;
    let timeline = u64::from(kind == TableKind::Timeline);
    let mut places = [(); 2].map(|()| {
        let key = format!("{:03}", random.below(600)).into_bytes().into_boxed_slice();
        (key, random.below(100) * timeline)
    });
    // Narrow ranges, so that many fit beside each other.
    places.sort();
    if random.chance(5, 6) {
        places[1].0 = places[0].0.clone();
        places.sort();
    }
    let [first, last] = places;
    let number = catalog.next_sstable + random.below(2);
    let commit = random.below(1 << 40);
    let mut segments: Vec<u64> = catalog.segments.iter().map(|meta| meta.number).collect();
    segments.retain(|_| random.chance(1, 2) && kind == TableKind::Timeline);
    if random.chance(1, 30) {
        segments.push(number + 7);
    }
    SstableMeta {
        number,
        table: table.id,
        kind,
        shard: Shard {
            tier: if random.chance(1, 6) { Tier::Cold } else { Tier::Hot },
            window: random.below(3) * 1000,
        },
        extent: Extent { offset: number << 16, length: 64 * 1024 },
        bytes: 1 + random.below(64 * 1024),
        footer_checksum: 5,
        entries: random.next_u64(),
        keys: random.next_u64(),
        payload_bytes: random.next_u64(),
        own_ttl: any_own_ttl(random, timeline == 1),
        oldest_origin: if timeline == 1 { commit * random.below(2) } else { 0 },
        first,
        last,
        commits: (commit, commit + random.below(100)),
        times_ms: (7, 7 + random.below(100)),
        segments: segments.into(),
    }
}
