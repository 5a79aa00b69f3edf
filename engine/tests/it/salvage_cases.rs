//! Each kind of structure is damaged in turn: what is lost is what was in it, and it is named.

use super::hooked_disk::HookedDisk;
use super::salvage_judge::judge;
use super::salvage_store::Store;
use std::collections::BTreeMap;
use std::sync::Arc;
use tidelog_engine::inspect::{Inspector, SstableReport};
use tidelog_engine::salvage::{Loss, Report, Salvage};
use tidelog_engine::testing::{SimDisk, SimOptions};
use tidelog_engine::{ErrorKind, TableId};

/// The files of a store that are being damaged.
struct Files {
    store: Store,
    bytes: Vec<u8>,
    cold: Vec<u8>,
}

impl Files {
    fn new(seed: u64) -> Files {
        let store = Store::with_everything(seed);
        let (bytes, cold) = (store.bytes.clone(), store.cold.clone());
        Files { store, bytes, cold }
    }

    fn inspector(&self) -> Inspector {
        let world = self.store.world(&self.store.bytes, &self.store.cold);
        Inspector::over(Arc::new(world.disk)).with_cold(Arc::new(world.cold.unwrap()))
    }

    /// Whether an SSTable lies in the cold file.
    fn is_in_cold(&self, sstable: &SstableReport) -> bool {
        sstable.meta.shard.tier == tidelog_engine::Tier::Cold
    }

    fn flip(&mut self, in_cold: bool, offset: u64) {
        let file = if in_cold { &mut self.cold } else { &mut self.bytes };
        file[usize::try_from(offset).unwrap()] ^= 0x10;
    }

    fn mend(&mut self) {
        self.bytes.clone_from(&self.store.bytes);
        self.cold.clone_from(&self.store.cold);
    }

    /// Salvages, holds the outcome against the truth, and mends the files.
    fn salvage(&mut self, context: &str) -> Report {
        let (report, target) = self.store.salvage(&self.bytes, &self.cold).unwrap();
        judge(&self.store, &self.bytes, (&report, &target), context);
        assert!(!report.damage.is_empty(), "{context}: no damage was met");
        self.mend();
        report
    }
}

fn is_exact(loss: &Loss) -> bool {
    matches!(loss, Loss::Entries { .. })
}

/// What the damage of one data block of a table may cost.
fn may_cost(table: TableId, loss: &Loss) -> bool {
    match table.0 {
        1 => matches!(loss, Loss::States { .. }),
        2 => matches!(loss, Loss::Amendments { .. }),
        3 => matches!(loss, Loss::Marks { .. }),
        20 => matches!(loss, Loss::Versions { .. }),
        _ => is_exact(loss),
    }
}

#[test]
fn one_damaged_block_of_any_sstable_costs_what_was_in_it_and_no_more() {
    let mut files = Files::new(21);
    let inspector = files.inspector();
    let mut met: BTreeMap<String, usize> = BTreeMap::new();
    for sstable in inspector.sstables().unwrap() {
        let number = sstable.meta.number;
        let in_cold = files.is_in_cold(&sstable);
        for block in inspector.blocks(number).unwrap() {
            let context = format!("{} at {} of SSTable {number}", block.kind, block.offset);
            for place in [block.offset + 9, block.offset + block.length / 2] {
                files.flip(in_cold, place);
            }
            let report = files.salvage(&context);
            let is_data = block.kind.ends_with("block");
            *met.entry(format!("{} {}", block.kind, sstable.meta.table.0)).or_default() += 1;
            if is_data {
                assert!(!report.is_whole(), "{context}");
                let expected = report.lost.iter().all(|loss| may_cost(sstable.meta.table, loss));
                assert!(expected, "{context}: {report:#?}");
            } else {
                assert!(report.is_whole(), "{context}: {report:#?}");
            }
        }
    }
    for table in ["1", "2", "3", "20"] {
        assert!(met.contains_key(&format!("SSTable keyed block {table}")), "{met:?}");
    }
    for table in ["16", "17", "18", "19"] {
        assert!(met.contains_key(&format!("SSTable timeline block {table}")), "{met:?}");
    }
}

#[test]
fn without_directory_and_block_the_entries_are_counted_between_two_keys() {
    let mut files = Files::new(22);
    let inspector = files.inspector();
    let mut unknown = 0;
    for sstable in inspector.sstables().unwrap() {
        if sstable.meta.table.0 < 16 || sstable.meta.table.0 == 20 {
            continue;
        }
        let in_cold = files.is_in_cold(&sstable);
        let blocks = inspector.blocks(sstable.meta.number).unwrap();
        for block in blocks.iter().filter(|block| block.kind.contains("directory")) {
            files.flip(in_cold, block.offset + 100);
        }
        let data = blocks.iter().find(|block| block.kind.ends_with("block")).unwrap();
        files.flip(in_cold, data.offset + data.length / 2);
        let report = files.salvage(&format!("SSTable {}", sstable.meta.number));
        for loss in &report.lost {
            if let Loss::UnknownEntries { entries, table, .. } = loss {
                unknown += 1;
                assert_eq!(*table, sstable.meta.table);
                assert!(*entries > 0 && *entries <= sstable.meta.entries);
                assert!(report.epochs > 0 || in_cold, "{report:?}");
            }
        }
    }
    assert!(unknown > 3, "{unknown}");
}

#[test]
fn a_whole_sstable_of_zeros_is_counted() {
    let mut files = Files::new(22);
    let sstables = files.inspector().sstables().unwrap();
    let of_rooms = sstables.iter().find(|sstable| sstable.meta.table.0 == 16).unwrap();
    let extent = of_rooms.meta.extent;
    let range = usize::try_from(extent.offset).unwrap()..usize::try_from(extent.end()).unwrap();
    files.bytes[range].fill(0);
    let report = files.salvage("zeros");
    let counted: u64 = report
        .lost
        .iter()
        .map(|loss| match loss {
            Loss::UnknownEntries { entries, .. } => *entries,
            _ => 0,
        })
        .sum();
    assert_eq!(counted, of_rooms.meta.entries, "{report:#?}");
}

#[test]
fn a_damaged_record_of_a_segment_costs_the_entries_that_need_it() {
    let mut files = Files::new(23);
    let segments = files.inspector().segments().unwrap();
    assert!(segments.len() > 2, "{segments:?}");
    let mut lost = 0;
    for segment in &segments {
        let context = format!("segment {}", segment.number);
        files.flip(false, segment.extent.offset + segment.bytes / 3);
        let report = files.salvage(&context);
        assert!(report.lost.iter().all(is_exact), "{context}: {report:#?}");
        lost += report.lost.len();
        // Each entry that needs the segment was named as damaged once, by the thousand.
        assert!(report.damage.len() <= 3, "{context}: {:#?}", report.damage);
        // The footer alone costs nothing.
        files.flip(false, segment.extent.offset + segment.bytes - 20);
        let report = files.salvage(&context);
        assert!(report.is_whole(), "{context}: {report:#?}");
    }
    assert!(lost > 2, "{lost}");
}

#[test]
fn one_superblock_copy_of_four_is_enough_and_none_is_not() {
    let mut files = Files::new(24);
    for copy in [0, 1, 2] {
        files.flip(false, copy * 16_384 + 100);
    }
    let report = files.salvage("three copies");
    assert!(report.is_whole(), "{report:#?}");
    for copy in [0, 1, 2, 3] {
        files.flip(false, copy * 16_384 + 100);
    }
    let refused = files.store.salvage(&files.bytes, &files.cold).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corruption);
}

#[test]
fn groups_behind_a_damaged_one_are_taken_and_its_commits_are_named() {
    let mut files = Files::new(25);
    let log = files.inspector().log().unwrap();
    let groups = &log.groups;
    assert!(groups.len() > 5, "{} groups", groups.len());
    for (index, group) in groups.iter().enumerate().take(groups.len() - 3).skip(1) {
        // Its header, or its frames.
        let place = if index % 2 == 0 { 30 } else { 110 };
        files.flip(false, group.offset + place);
        let report = files.salvage(&format!("group {index}"));
        let commits: Vec<(u64, Option<u64>)> = report
            .lost
            .iter()
            .filter_map(|loss| match loss {
                Loss::Commits { first, last, .. } => Some((*first, *last)),
                _ => None,
            })
            .collect();
        assert_eq!(commits, [(group.commits.0, Some(group.commits.1))], "{report:#?}");
        let others = |loss: &Loss| matches!(loss, Loss::Commits { .. }) || is_exact(loss);
        assert!(report.lost.iter().all(others), "{report:#?}");
        assert!(report.epochs > 0 && report.torn_tail.is_none(), "{report:#?}");
    }
}

#[test]
fn a_large_payload_that_only_the_log_names_costs_its_entries() {
    let names_some = |files: &Files| !files.inspector().log().unwrap().payloads.is_empty();
    let mut files = (26..60).map(Files::new).find(names_some).unwrap();
    let log = files.inspector().log().unwrap();
    for payload in &log.payloads {
        let context = format!("the payload of commit {}", payload.commit);
        files.flip(false, payload.segment.extent.offset + 40);
        let report = files.salvage(&context);
        let lost: u64 = report
            .lost
            .iter()
            .map(|loss| match loss {
                Loss::Entries { entries, .. } => *entries,
                other => panic!("{context}: {other:?}"),
            })
            .sum();
        assert_eq!(lost, payload.entries, "{context}: {report:#?}");
        files.flip(false, payload.segment.extent.offset + payload.segment.bytes - 20);
        let report = files.salvage(&context);
        assert!(report.is_whole(), "{context}: {report:#?}");
    }
}

#[test]
fn behind_a_damaged_record_of_the_manifest_its_front_counts() {
    let has_many = |files: &Files| files.inspector().manifest().unwrap().records.len() > 2;
    let mut files = (27..60).map(Files::new).find(has_many).unwrap();
    let records = files.inspector().manifest().unwrap().records;
    for record in &records {
        files.flip(false, record.offset + 20);
        let report = files.salvage(&format!("record {}", record.number));
        let said = report.lost.iter().any(|loss| matches!(loss, Loss::Manifest { .. }));
        assert!(said && report.epochs > 0, "{report:#?}");
    }
    // The last record alone: what it added is in the ring still, or was there before.
    files.flip(false, records.last().unwrap().offset + 20);
    let report = files.salvage("the last record");
    let recovered: u64 = report.tables.iter().map(|table| table.recovered).sum();
    assert!(recovered > 200, "{report:#?}");
}

/// Where the first record ever is damaged, the records behind it are read as those of a new store.
/// The first record of a salvaged store says all that the store has.
#[test]
fn the_manifest_of_a_salvaged_store_is_never_taken_for_that_of_a_new_one() {
    let files = Files::new(27);
    let (_, target) = files.store.salvage(&files.bytes, &files.cold).unwrap();
    let records = Inspector::over(Arc::new(target)).manifest().unwrap().records;
    assert!(records[0].number > 1, "{} is the first", records[0].number);
}

#[test]
fn a_file_that_was_cut_short_is_salvaged_as_far_as_it_goes() {
    let mut files = Files::new(28);
    let whole = files.bytes.len();
    for part in [whole / 2, whole * 3 / 4, whole - 4096, whole - 1] {
        files.bytes.truncate(part);
        match files.store.salvage(&files.bytes, &files.cold) {
            Ok((report, target)) => {
                let context = format!("{part} of {whole} bytes");
                judge(&files.store, &files.bytes, (&report, &target), &context);
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corruption, "{part}: {error}"),
        }
        files.mend();
    }
}

/// Everything that may be a length says that it is enormous.
#[test]
fn hostile_lengths_cost_nothing() {
    let mut files = Files::new(29);
    let inspector = files.inspector();
    let mut places = Vec::new();
    for sstable in inspector.sstables().unwrap().iter().filter(|it| !files.is_in_cold(it)) {
        let blocks = inspector.blocks(sstable.meta.number).unwrap();
        places.extend(blocks.iter().flat_map(|block| [block.offset + 8, block.offset + 12]));
    }
    for segment in inspector.segments().unwrap() {
        places.extend([segment.extent.offset + 4, segment.extent.offset + 10]);
    }
    places.extend(inspector.log().unwrap().groups.iter().map(|group| group.offset + 16));
    places.extend(inspector.manifest().unwrap().records.iter().map(|record| record.offset + 8));
    for chunk in places.chunks(9) {
        for place in chunk {
            let place = usize::try_from(*place).unwrap();
            files.bytes[place..place + 4].fill(0xff);
        }
        files.salvage(&format!("lengths at {chunk:?}"));
    }
}

#[test]
fn what_the_disk_cannot_read_counts_as_damaged() {
    let files = Files::new(30);
    let sstables = files.inspector().sstables().unwrap();
    let of_rooms = sstables.iter().find(|sstable| sstable.meta.table.0 == 16).unwrap();
    let world = files.store.world(&files.bytes, &files.cold);
    world.disk.make_unreadable(of_rooms.meta.extent.offset + 4096, 4096);
    let target = SimDisk::new(SimOptions::default());
    let salvage = Salvage::over(Arc::new(world.disk.clone()));
    let salvage = salvage.with_cold(Arc::new(world.cold.clone().unwrap()));
    let report = salvage.run(Arc::new(target.clone())).unwrap();
    assert!(!report.damage.is_empty(), "{report:#?}");
    judge(&files.store, &files.bytes, (&report, &target), "an unreadable page");
}

/// A segment that was whole when it was looked at cannot be read by the time at which it is copied:
/// the run ended with that error, and what could be read was nowhere.
#[test]
fn what_the_disk_cannot_read_any_more_is_lost_and_nothing_else() {
    let files = Files::new(23);
    let mut lost = 0;
    for segment in files.inspector().segments().unwrap() {
        let world = files.store.world(&files.bytes, &files.cold);
        let target = SimDisk::new(SimOptions::default());
        let mut hooked = HookedDisk::new(target.clone(), 1024 * 1024);
        let (disk, place) = (world.disk.clone(), segment.extent.offset + segment.bytes / 3);
        // The ring of the target is written before anything is copied.
        hooked.hook = Arc::new(move || disk.make_unreadable(place, 64));
        let salvage = Salvage::over(Arc::new(world.disk.clone()));
        let salvage = salvage.with_cold(Arc::new(world.cold.clone().unwrap()));
        let report = salvage.run(Arc::new(hooked)).unwrap();
        let context = format!("segment {}", segment.number);
        assert!(!report.damage.is_empty(), "{context}");
        assert!(report.lost.iter().all(is_exact), "{context}: {report:#?}");
        judge(&files.store, &files.bytes, (&report, &target), &context);
        lost += report.lost.len();
    }
    assert!(lost > 0);
}
