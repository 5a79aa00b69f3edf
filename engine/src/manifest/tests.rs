use super::format::{self, Header};
use super::replay::{RecordInfo, records};
use super::*;
use crate::codec::Decoder;
use crate::error::{Error, ErrorKind};
use crate::file::{Allocator, Disk, Extent, FileId, ManifestRef};
use crate::limits::BLOCK_SIZE;
use crate::testing::{
    CrashPolicy, Fault, FaultEffect, FaultOperation, FaultTimes, SimDisk, SimOptions, WrittenPart,
};
use crate::version::tests::{any_edit, segment_meta, timeline_meta, timeline_table};
use crate::version::{Catalog, Edit, Shard, SstableMeta, Tier};
use proptest::prelude::*;
use std::sync::Arc;

const FILE: FileId = FileId([9; 16]);

fn store() -> (SimDisk, Arc<Allocator>) {
    let disk = SimDisk::new(SimOptions::default());
    let allocator = Allocator::new(Arc::new(disk.clone()), 0, 0, &[]).unwrap();
    (disk, Arc::new(allocator))
}

fn create(catalog: &Catalog) -> (SimDisk, Arc<Allocator>, Manifest) {
    let (disk, allocator) = store();
    let shared = Arc::new(disk.clone());
    let manifest = Manifest::create(shared, FILE, allocator.clone(), catalog).unwrap();
    (disk, allocator, manifest)
}

fn apply(catalog: &mut Catalog, edits: &[Edit]) {
    edits.iter().for_each(|edit| catalog.apply(edit).unwrap());
}

fn added(number: u64) -> Edit {
    let key = format!("{number:06}");
    Edit::SstableAdded { level: 1, meta: timeline_meta(number, (&key, 1), (&key, 9)) }
}

/// A base with one table, and three records of edits behind it.
fn sample() -> (SimDisk, Arc<Allocator>, Manifest, Catalog) {
    let mut catalog = Catalog::new();
    apply(&mut catalog, &[Edit::TableCreated(timeline_table(16, "inbox"))]);
    let (disk, allocator, mut manifest) = create(&catalog);
    for edits in [
        vec![added(1), added(2), added(3)],
        vec![Edit::SstableMoved { number: 2, level: 3 }, Edit::EpochBegun { commit: 8 }],
        vec![Edit::SstableRemoved { number: 1 }],
    ] {
        apply(&mut catalog, &edits);
        manifest.append(&edits, &catalog).unwrap();
    }
    (disk, allocator, manifest, catalog)
}

fn golden(edit: &Edit, expected: &[&[u8]]) {
    let bodies = format::encode_bodies(std::slice::from_ref(edit));
    assert_eq!(bodies.len(), 1);
    assert_eq!(bodies[0].bytes, expected.concat(), "{edit:?}");
}

#[test]
fn golden_bytes_of_edits() {
    let mut record = timeline_table(16, "in");
    golden(
        &Edit::TableCreated(record.clone()),
        &[&[1, 16, 0, 0, 0, 1, 1, 1, 0], &[0; 8], &[1], &[0; 16], &[2, 0], b"in"],
    );
    record.options.ttl_ms = Some(258);
    record.expired_before_ms = 772;
    record.grid = record.grid.altered(515, 12, |_, _| true);
    record.own_ttl = true;
    record.options.erase_after_ms = Some(60_000);
    record.erased_through = 5;
    golden(
        &Edit::TableAltered(record),
        &[
            &[7, 16, 0, 0, 0, 1, 1, 1],
            &[4, 1, 2, 1, 0, 0, 0, 0, 0, 0],
            &[3, 0x60, 0xea, 0, 0, 0, 0, 0, 0],
            &[6, 1, 0, 0, 0, 0, 0, 0, 0],
            &[7, 5, 0, 0, 0, 0, 0, 0, 0],
            &[4, 3, 0, 0, 0, 0, 0, 0],
            &[2],
            &[0; 16],
            &[3, 2, 0, 0, 0, 0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0],
            &[2, 0],
            b"in",
        ],
    );
    let numbers =
        |values: &[u64]| -> Vec<u8> { values.iter().flat_map(|v| v.to_le_bytes()).collect() };
    let shard = Shard { tier: Tier::Cold, window: 258 };
    let mut meta = SstableMeta { shard, ..timeline_meta(7, ("ab", 3), ("c", 4)) };
    [258, 259].into_iter().for_each(|expires_ms| meta.own_ttl.note(expires_ms));
    golden(
        &Edit::SstableAdded { level: 2, meta },
        &[
            &[2, 2],
            &numbers(&[7]),
            &[16, 0, 0, 0, 1, 2],
            &numbers(&[258, 7 * 4096, 4096, 4000]),
            &[17, 0, 0, 0],
            &numbers(&[3, 2, 30, 7, 17, 5, 6, 0, 3, 4]),
            &[2, 0, 1, 0],
            b"abc",
            &[0; 4],
            &[2, 0],
            &numbers(&[258]),
            &[1, 1],
        ],
    );
    let mut meta = timeline_meta(7, ("ab", 3), ("c", 4));
    meta.segments = [5, 6].into();
    let bytes = &format::encode_bodies(&[Edit::SstableAdded { level: 2, meta }])[0].bytes;
    assert!(bytes.ends_with(&[&b"abc\x02\0\0\0"[..], &numbers(&[5, 6]), &[0]].concat()));
    golden(
        &Edit::SegmentAdded { meta: segment_meta(8) },
        &[
            &[9],
            &numbers(&[8]),
            &[16, 0, 0, 0],
            &numbers(&[8 * 4096, 4096, 3000]),
            &[5, 0, 0, 0],
            &numbers(&[4, 99]),
        ],
    );
    golden(&Edit::SegmentRemoved { number: 8 }, &[&[10], &numbers(&[8])]);
    let extent = Extent { offset: 3 * 4096, length: 2 * 4096 };
    golden(
        &Edit::SegmentReplaced { number: 8, extent, footer_checksum: 258 },
        &[&[11], &numbers(&[8, 3 * 4096, 2 * 4096]), &[2, 1, 0, 0]],
    );
    golden(&Edit::TableDropped { table: crate::entry::TableId(258) }, &[&[8, 2, 1, 0, 0]]);
    golden(&Edit::SstableRemoved { number: 5 }, &[&[3], &numbers(&[5])]);
    golden(&Edit::SstableMoved { number: 5, level: 1 }, &[&[4], &numbers(&[5]), &[1]]);
    golden(&Edit::EpochBegun { commit: 6 }, &[&[5], &numbers(&[6])]);
    golden(&Edit::ColdFile { first: 7 }, &[&[12], &numbers(&[7])]);
    golden(
        &Edit::Counters { next_sstable: 8, next_table: 17 },
        &[&[6], &numbers(&[8]), &[17, 0, 0, 0]],
    );
}

#[test]
fn options_that_nobody_knows_are_refused() {
    let mut record = timeline_table(16, "in");
    record.options.ttl_ms = Some(258);
    let body = &format::encode_bodies(&[Edit::TableCreated(record)])[0].bytes;
    let decoded = |bytes: &[u8]| table::decode_table(&mut Decoder::new(&bytes[1..]));
    decoded(body).unwrap();
    // The count stands at 8, the one option behind it.
    for tag in [0, 99, 255] {
        let mut unknown = body.clone();
        unknown[9] = tag;
        assert!(decoded(&unknown).is_err(), "tag {tag}");
    }
    let mut twice = body.clone();
    twice[8] = 2;
    let option = body[9..18].to_vec();
    twice.splice(18..18, option);
    assert!(decoded(&twice).is_err());
}

#[test]
fn golden_bytes_of_a_record() {
    let body = &format::encode_bodies(&[Edit::EpochBegun { commit: 6 }])[0];
    let header = Header { kind: 2, length: 41, previous: 0x0a0b_0c0d, number: 3, count: 1 };
    let extent = Extent { offset: 8192, length: 65536 };
    let (buffer, checksum) = format::encode_record(FILE, extent, 4096, header, body);
    let mut expected = checksum.to_le_bytes().to_vec();
    expected.extend([2, 0, 0, 0, 41, 0, 0, 0, 0x0d, 0x0c, 0x0b, 0x0a, 3, 0, 0, 0, 0, 0, 0, 0]);
    expected.extend([1, 0, 0, 0, 0, 0, 0, 0, 5, 6, 0, 0, 0, 0, 0, 0, 0]);
    expected.resize(4096, 0);
    assert_eq!(buffer.as_slice(), expected);
    let mut seeded = [9; 16].to_vec();
    seeded.extend(8192u64.to_le_bytes());
    seeded.extend(4096u64.to_le_bytes());
    seeded.extend(&expected[4..]);
    assert_eq!(checksum, crc32fast::hash(&seeded));
}

#[test]
fn what_was_appended_is_replayed() {
    let (disk, allocator, manifest, catalog) = sample();
    let reference = manifest.reference();
    assert_eq!(reference.length, 4 * BLOCK_SIZE);
    assert_eq!(replay(&disk, FILE, &reference).unwrap(), catalog);
    let found = records(&disk, FILE, &reference).unwrap();
    assert_eq!(
        found.iter().map(|r| (r.number, r.base)).collect::<Vec<_>>(),
        [(1, true), (2, false), (3, false), (4, false)]
    );
    assert_eq!(found[1].edits, [added(1), added(2), added(3)]);
    assert_eq!(found[3].offset, reference.extent.offset + 3 * BLOCK_SIZE);
    let (mut reopened, mut again) =
        Manifest::open(Arc::new(disk.clone()), FILE, allocator, &reference).unwrap();
    assert_eq!(again, catalog);
    apply(&mut again, &[added(9)]);
    let longer = reopened.append(&[added(9)], &again).unwrap();
    assert_eq!(replay(&disk, FILE, &longer).unwrap(), again);
    // The old reference still means the old catalog.
    assert_eq!(replay(&disk, FILE, &reference).unwrap(), catalog);
}

#[test]
fn segments_are_replayed_and_one_that_nobody_needs_is_damage() {
    let (disk, _, mut manifest, mut catalog) = sample();
    let mut meta = timeline_meta(9, ("x", 1), ("x", 9));
    meta.segments = [8].into();
    let extent = Extent { offset: 40 * 4096, length: 4096 };
    let edits = [
        Edit::SegmentAdded { meta: segment_meta(8) },
        Edit::SstableAdded { level: 1, meta },
        Edit::SegmentReplaced { number: 8, extent, footer_checksum: 6 },
    ];
    apply(&mut catalog, &edits);
    let reference = manifest.append(&edits, &catalog).unwrap();
    assert_eq!(replay(&disk, FILE, &reference).unwrap(), catalog);
    assert_eq!(catalog.segments.get(8).map(|meta| meta.extent), Some(extent));
    // The base of a new extent names it too.
    let (disk, _, again) = create(&catalog);
    assert_eq!(replay(&disk, FILE, &again.reference()).unwrap(), catalog);
    let removed = [Edit::SstableRemoved { number: 9 }];
    apply(&mut catalog, &removed);
    let (disk, _, dangling) = create(&catalog);
    let error = replay(&disk, FILE, &dangling.reference()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corruption);
    drop(manifest);
}

#[test]
fn a_full_extent_is_replaced_by_a_base() {
    let (disk, allocator, mut manifest, mut catalog) = sample();
    let first = manifest.reference().extent;
    let mut number = 10;
    while manifest.reference().extent == first {
        assert!(manifest.take_replaced().is_empty());
        apply(&mut catalog, &[added(number)]);
        manifest.append(&[added(number)], &catalog).unwrap();
        number += 1;
    }
    assert_eq!(manifest.take_replaced(), [first]);
    assert!(manifest.take_replaced().is_empty());
    let reference = manifest.reference();
    assert_eq!(replay(&disk, FILE, &reference).unwrap(), catalog);
    let base = &records(&disk, FILE, &reference).unwrap()[0];
    assert!(base.base && base.number > 4);
    allocator.release(first, 1);
    allocator.durable(3);
    assert_eq!(allocator.reserve(first.length, "a test").unwrap().extent(), first);
}

/// An extent that is in use is taken to hold nothing else's bytes: see `file/allocator/`.
#[test]
fn a_new_extent_keeps_nothing_of_what_lay_there() {
    let disk = SimDisk::from_bytes(SimOptions::default(), &vec![0xee; 1 << 20]);
    let shared = Arc::new(disk.clone());
    let allocator = Arc::new(Allocator::new(shared.clone(), 0, 1 << 20, &[]).unwrap());
    let mut catalog = Catalog::new();
    apply(&mut catalog, &[Edit::TableCreated(timeline_table(16, "inbox"))]);
    let mut manifest = Manifest::create(shared, FILE, allocator, &catalog).unwrap();
    for round in 0..2 {
        let reference = manifest.reference();
        let place = |at: u64| usize::try_from(reference.extent.offset + at).unwrap();
        let bytes = disk.bytes();
        let behind = &bytes[place(reference.length)..place(reference.extent.length)];
        assert!(!behind.is_empty() && behind.iter().all(|byte| *byte == 0));
        assert!(bytes[place(reference.extent.length)] == 0xee, "and nothing behind it is touched");
        let edits: Vec<Edit> = (1..800).map(|number| added(round * 1000 + number)).collect();
        apply(&mut catalog, &edits);
        manifest.begin_anew(&catalog).unwrap();
    }
}

#[test]
fn a_large_catalog_takes_several_records() {
    let mut catalog = Catalog::new();
    apply(&mut catalog, &[Edit::TableCreated(timeline_table(16, "inbox"))]);
    let edits: Vec<Edit> = (1..12_000).map(added).collect();
    let (disk, _, mut manifest) = create(&catalog);
    apply(&mut catalog, &edits);
    let reference = manifest.append(&edits, &catalog).unwrap();
    let found = records(&disk, FILE, &reference).unwrap();
    assert!(found.len() > 1 && found[0].base && !found[1].base);
    assert!(found.iter().all(|record| record.bytes <= 1 << 20));
    assert_eq!(replay(&disk, FILE, &reference).unwrap(), catalog);
}

/// Story: the second record of a large base is damaged. The SSTables that it named hold commits
/// from the first on, and a salvage said that all up to the newest of the others were there.
#[test]
fn a_change_that_was_cut_is_certain_of_none_of_its_commits() {
    let mut catalog = Catalog::new();
    apply(&mut catalog, &[Edit::TableCreated(timeline_table(16, "inbox"))]);
    apply(&mut catalog, &(1..12_000).map(added).collect::<Vec<Edit>>());
    let (disk, _, mut manifest) = create(&catalog);
    apply(&mut catalog, &[added(12_000)]);
    let reference = manifest.append(&[added(12_000)], &catalog).unwrap();
    let found = records(&disk, FILE, &reference).unwrap();
    assert!(found.len() > 2 && found[0].base && !found[1].base);
    let prefix = |damaged: &RecordInfo| {
        disk.flip_bit(damaged.offset + 40, 3);
        let prefix = replay_prefix(&disk, FILE, &reference);
        disk.flip_bit(damaged.offset + 40, 3);
        assert!(prefix.damage.is_some() && prefix.unread >= damaged.bytes);
        let newest = prefix.catalog.version.iter().map(|(_, _, meta)| meta.commits.1).max();
        assert_eq!(prefix.flushed, newest.unwrap());
        prefix.certain
    };
    // The base is whole, and what comes behind it is another change.
    assert_eq!(prefix(found.last().unwrap()), 11_999 + 10);
    assert_eq!(prefix(&found[1]), 0);
}

/// Of a record that cannot be applied as a whole nothing counts.
#[test]
fn the_front_of_a_manifest_ends_before_what_cannot_be_applied() {
    let (disk, _, mut manifest, catalog) = sample();
    let whole = replay_prefix(&disk, FILE, &manifest.reference());
    assert!(whole.damage.is_none() && whole.catalog == catalog && whole.unread == 0);
    assert_eq!(whole.certain, 13);
    let reference =
        manifest.append(&[added(4), Edit::SstableRemoved { number: 99 }], &catalog).unwrap();
    let front = replay_prefix(&disk, FILE, &reference);
    assert!(front.damage.is_some() && front.catalog == catalog && front.unread == BLOCK_SIZE);
    assert_eq!((front.flushed, front.certain), (13, 13));
}

#[test]
fn damage_anywhere_is_found() {
    let (disk, _, manifest, catalog) = sample();
    let reference = manifest.reference();
    for offset in 0..reference.length {
        let place = reference.extent.offset + offset;
        let bit = u32::try_from(offset % 8).unwrap();
        disk.flip_bit(place, bit);
        let error = replay(&disk, FILE, &reference).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption, "byte {offset}");
        disk.flip_bit(place, bit);
    }
    // What lies behind the used part does not exist.
    disk.set_bytes(reference.extent.offset + reference.length, &[0xff; 4096]);
    assert_eq!(replay(&disk, FILE, &reference).unwrap(), catalog);
}

#[test]
fn intact_records_in_the_wrong_place_are_found() {
    let (disk, _, manifest, _) = sample();
    let reference = manifest.reference();
    let start = usize::try_from(reference.extent.offset).unwrap();
    let bytes = disk.bytes()[start..start + 4 * 4096].to_vec();
    for (one, other) in [(0, 1), (1, 2), (2, 3), (1, 3)] {
        let copy = disk.copied();
        copy.set_bytes(reference.extent.offset + one * 4096, &bytes[other * 4096..][..4096]);
        assert_eq!(replay(&copy, FILE, &reference).unwrap_err().kind(), ErrorKind::Corruption);
    }
    let error = replay(&disk, FileId([1; 16]), &reference).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corruption);
}

#[test]
fn hostile_references_are_refused() {
    let (disk, _, manifest, _) = sample();
    let good = manifest.reference();
    let with = |change: fn(&mut ManifestRef)| {
        let mut bad = good;
        change(&mut bad);
        bad
    };
    let hostile = [
        with(|r| r.length = 0),
        with(|r| r.length += 1),
        with(|r| r.length += 4096),
        with(|r| r.length -= 4096),
        with(|r| r.length = r.extent.length + 4096),
        with(|r| r.extent.length = u64::MAX - 4095),
        with(|r| r.extent.offset = u64::MAX - 4095),
        with(|r| r.extent.offset += 1),
        with(|r| r.checksum ^= 1),
    ];
    for bad in hostile {
        let error = replay(&disk, FILE, &bad).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption, "{bad:?}");
        assert!(records(&disk, FILE, &bad).is_err());
    }
}

#[test]
fn a_failed_append_changes_nothing_and_may_be_repeated() {
    let (disk, _, mut manifest, mut catalog) = sample();
    let before = manifest.reference();
    let old = catalog.clone();
    apply(&mut catalog, &[added(9)]);
    disk.fail(Fault {
        operation: FaultOperation::Write,
        at: 0,
        times: FaultTimes::Once,
        effect: FaultEffect::PartialWrite(WrittenPart::Half),
    });
    assert_eq!(manifest.append(&[added(9)], &catalog).unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(manifest.reference(), before);
    assert_eq!(replay(&disk, FILE, &before).unwrap(), old);
    let after = manifest.append(&[added(9)], &catalog).unwrap();
    assert_eq!(replay(&disk, FILE, &after).unwrap(), catalog);
}

#[test]
fn a_full_disk_refuses_a_new_extent_and_nothing_else() {
    let (disk, allocator, mut manifest, mut catalog) = sample();
    disk.set_capacity(Some(disk.used_bytes()));
    let mut number = 10;
    let (error, old) = loop {
        let old = catalog.clone();
        apply(&mut catalog, &[added(number)]);
        match manifest.append(&[added(number)], &catalog) {
            Ok(_) => number += 1,
            Err(error) => break (error, old),
        }
    };
    assert!(matches!(error, Error::NoSpace { what: "a manifest extent", .. }), "{error}");
    assert_eq!(replay(&disk, FILE, &manifest.reference()).unwrap(), old);
    assert!(manifest.take_replaced().is_empty());
    disk.set_capacity(None);
    let reference = manifest.append(&[added(number)], &catalog).unwrap();
    assert_eq!(replay(&disk, FILE, &reference).unwrap(), catalog);
    assert_eq!(manifest.take_replaced().len(), 1);
    assert!(allocator.free_runs().windows(2).all(|pair| pair[0].end() < pair[1].offset));
}

/// Power is lost after edits were appended and before a superblock covers them: they do not exist.
#[test]
fn edits_without_a_superblock_do_not_exist() {
    let (disk, _, mut manifest, catalog) = sample();
    disk.sync().unwrap();
    let covered = manifest.reference();
    let mut after = catalog.clone();
    apply(&mut after, &[added(9)]);
    manifest.append(&[added(9)], &after).unwrap();
    for seed in 0..20 {
        let image = disk.crash_image(&CrashPolicy::Random { seed });
        assert_eq!(replay(&image, FILE, &covered).unwrap(), catalog);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Random edits in random groups, with openings between, are replayed to the model's catalog.
    #[test]
    fn replay_equals_the_model(
        groups in prop::collection::vec(
            (prop::collection::vec(any_edit(), 1..6), any::<bool>()),
            1..40,
        ),
    ) {
        let mut model = Catalog::new();
        let (disk, allocator, mut manifest) = create(&model);
        for (edits, open_again) in groups {
            let mut possible = Vec::new();
            for edit in edits {
                if model.apply(&edit).is_ok() {
                    possible.push(edit);
                }
            }
            let reference = manifest.append(&possible, &model).unwrap();
            prop_assert_eq!(&replay(&disk, FILE, &reference).unwrap(), &model);
            if open_again {
                let shared = Arc::new(disk.clone());
                let opened = Manifest::open(shared, FILE, allocator.clone(), &reference);
                let (opened, catalog) = opened.unwrap();
                prop_assert_eq!(&catalog, &model);
                manifest = opened;
            }
        }
    }

    /// Bytes under a right checksum are refused, or mean just these bytes.
    #[test]
    fn any_verified_record_is_safe(
        place in 4usize..300, bytes in prop::collection::vec(any::<u8>(), 1..40),
    ) {
        let body = &format::encode_bodies(&[added(1), Edit::EpochBegun { commit: 3 }])[0];
        let length = u32::try_from(format::HEADER_SIZE + body.bytes.len()).unwrap();
        let header = Header { kind: 2, length, previous: 1, number: 2, count: body.count };
        let extent = Extent { offset: 4096, length: 8192 };
        let (mut buffer, _) = format::encode_record(FILE, extent, 0, header, body);
        buffer.as_mut_slice()[place..place + bytes.len()].copy_from_slice(&bytes);
        if let Ok((header, edits)) = format::decode_record(buffer.as_slice()) {
            let bodies = format::encode_bodies(&edits);
            let (again, _) = format::encode_record(FILE, extent, 0, header, &bodies[0]);
            prop_assert_eq!(&again.as_slice()[4..], &buffer.as_slice()[4..]);
        }
    }
}
