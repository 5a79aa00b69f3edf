//! The golden store is what it should be, and the short form of the sweep finds everything.

use super::Rot;
use super::damage::Damage;
use crate::golden::Answer;
use crate::golden::store::{self, Written};
use crate::golden::units::{self, Use};
use crate::prove::{Cases, Counts};
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn the_same_seed_makes_the_same_files() {
    let bytes = || {
        let golden = store::make(1).unwrap();
        [golden.machine.main.bytes(), golden.machine.cold.bytes()]
    };
    assert!(bytes() == bytes());
}

/// The truth is asked of the store itself, so it is compared with what was written.
#[test]
fn the_golden_store_shows_what_was_written() {
    let rot = Rot::new(1).unwrap();
    let tables: BTreeMap<u32, &'static str> =
        (16..).zip(["chat", "inbox", "feed", "brief", "archive", "value"]).collect();
    let mut shown = Written::default();
    for (table, key, answer) in rot.known.truth.shown() {
        let place = (tables[&table.0], key.to_vec());
        match answer {
            Answer::Entries(entries) => {
                let entries = entries.iter().map(|entry| (entry.seq, entry.payload.to_vec()));
                shown.entries.insert(place, entries.collect());
            }
            Answer::Values(values) => shown.values.extend(values.iter().cloned()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(shown, rot.known.golden.written);
}

#[test]
fn the_golden_store_holds_every_structure() {
    let rot = Rot::new(1).unwrap();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for unit in rot.known.units.used() {
        *counts.entry(unit.what).or_default() += 1;
    }
    let at_least = [
        ("superblock copy", 4),
        ("log group", 10),
        ("manifest record", 2),
        ("SSTable timeline block", 8),
        ("SSTable keyed block", 4),
        ("segment", 4),
        ("cold header", 1),
    ];
    for (what, count) in at_least {
        assert!(counts[what] >= count, "{what}: {counts:?}");
    }
    let inspector = units::inspector(&rot.known.golden.machine);
    let sstables = inspector.sstables().unwrap();
    let codecs = sstables.iter().flat_map(|sstable| inspector.blocks(sstable.meta.number).unwrap());
    let codecs: BTreeSet<&str> = codecs.map(|block| block.codec).collect();
    assert_eq!(codecs.len(), 3, "raw, lz4 and zstd: {codecs:?}");
    let levels: BTreeSet<u8> = sstables.iter().map(|sstable| sstable.level).collect();
    assert!(levels.len() > 1, "{levels:?}");
    let tables: BTreeSet<u32> = sstables.iter().map(|sstable| sstable.meta.table.0).collect();
    assert!([1, 2, 3].iter().all(|engine| tables.contains(engine)), "{tables:?}");
    let windows: BTreeSet<_> = sstables.iter().map(|sstable| sstable.meta.shard).collect();
    assert!(windows.len() > 3, "hot, cold, and two windows that expire: {windows:?}");
    assert!(!inspector.log().unwrap().payloads.is_empty(), "a large payload in the log");
}

/// The short form: damages of all kinds, each so many of all.
#[test]
fn no_damage_is_believed() {
    let rot = Rot::new(1).unwrap();
    let counts = rot.shard(0).unwrap_or_else(|failure| panic!("{}", failure.what));
    let at_least = [
        ("flips", 1000),
        ("zeroed", 1),
        ("noised", 1),
        ("swaps", 1),
        ("stale", 1),
        ("cuts", 1),
        ("found", 1000),
        ("harmless_unused", 5),
        ("openings_refused", 10),
        ("answers_refused", 100),
        ("compacted", 100),
        ("writes", 1000),
    ];
    for (what, count) in at_least {
        assert!(counts.get(what) >= count, "{what}: {counts:?}");
    }
    let outcomes = ["found", "found_in_its_structure", "harmless_unused", "cut_as_unfinished_end"];
    let outcomes: u64 = outcomes.iter().map(|outcome| counts.get(outcome)).sum();
    assert_eq!(outcomes + counts.get("unchanged"), counts.get("checks"), "{counts:?}");
    assert_eq!(counts.get("silent"), 0);
}

/// Every damage of the last group is one of three: found, an unfinished end, or of no account.
#[test]
fn damage_of_the_last_group_cuts_that_group_alone() {
    let rot = Rot::new(1).unwrap();
    let mut counts = Counts::default();
    let last = rot.known.units.used().find(|unit| unit.usage == Use::LastGroup).unwrap();
    for offset in last.bytes.clone() {
        let damage = Damage::Flip { file: 0, offset, bit: u32::try_from(offset % 8).unwrap() };
        counts.merge(&rot.check(offset, damage).unwrap());
    }
    assert_eq!(counts.get("checks"), last.bytes.end - last.bytes.start);
    assert!(counts.get("groups_cut") > 0, "{counts:?}");
    assert_eq!(counts.get("groups_cut") + counts.get("openings_refused"), counts.get("checks"));
}
