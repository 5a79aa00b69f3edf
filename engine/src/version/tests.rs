use super::edit::FIRST_USER_TABLE;
use super::*;
use crate::file::Extent;
use crate::limits::LEVEL_COUNT;
use crate::options::{Sequence, TableOptions};
use proptest::prelude::*;
use std::cmp::Reverse;

const TABLE: TableId = TableId(FIRST_USER_TABLE);

/// The meta of an SSTable of timelines with the range `first..=last`.
pub(crate) fn timeline_meta(number: u64, first: (&str, u64), last: (&str, u64)) -> SstableMeta {
    SstableMeta {
        number,
        table: TABLE,
        kind: TableKind::Timeline,
        shard: Shard::default(),
        extent: Extent { offset: number.wrapping_mul(4096), length: 4096 },
        bytes: 4000,
        footer_checksum: 17,
        entries: 3,
        keys: 2,
        payload_bytes: 30,
        oldest_origin: 0,
        own_ttl: Default::default(),
        first: (first.0.as_bytes().into(), first.1),
        last: (last.0.as_bytes().into(), last.1),
        commits: (number, number.saturating_add(10)),
        times_ms: (5, 6),
        segments: [].into(),
    }
}

/// The meta of a payload segment.
pub(crate) fn segment_meta(number: u64) -> SegmentMeta {
    SegmentMeta {
        number,
        table: TABLE,
        extent: Extent { offset: number.wrapping_mul(4096), length: 4096 },
        bytes: 3000,
        footer_checksum: 5,
        records: 4,
        payload_bytes: 99,
    }
}

pub(crate) fn timeline_table(id: u32, name: &str) -> TableRecord {
    TableRecord::new(TableId(id), name, TableOptions::timeline())
}

fn numbers<'a>(found: impl IntoIterator<Item = &'a SstableMeta>) -> Vec<u64> {
    found.into_iter().map(|meta| meta.number).collect()
}

fn version(added: Vec<(u8, SstableMeta)>) -> Version<SstableMeta> {
    Version::default().apply(&[], added)
}

#[test]
fn a_timeline_may_span_neighbours() {
    let version = version(vec![
        (1, timeline_meta(3, ("m", 11), ("m", 20))),
        (1, timeline_meta(1, ("a", 1), ("c", 9))),
        (1, timeline_meta(4, ("m", 21), ("z", 5))),
        (1, timeline_meta(2, ("d", 1), ("m", 10))),
    ]);
    assert_eq!(numbers(version.level(TABLE, Shard::default(), 1)), [1, 2, 3, 4]);
    assert_eq!(numbers(version.candidates(TABLE, b"m")), [4, 3, 2]);
    assert_eq!(numbers(version.candidates(TABLE, b"b")), [1]);
    assert_eq!(numbers(version.candidates(TABLE, b"ca")), [0u64; 0]);
    assert_eq!(numbers(version.candidates(TableId(99), b"m")), [0u64; 0]);
}

#[test]
fn level_zero_is_newest_first() {
    let version = version(vec![
        (0, timeline_meta(1, ("a", 1), ("z", 9))),
        (0, timeline_meta(5, ("a", 10), ("c", 9))),
        (0, timeline_meta(3, ("k", 1), ("z", 19))),
    ]);
    assert_eq!(numbers(version.level(TABLE, Shard::default(), 0)), [5, 3, 1]);
}

/// The SSTable of `timeline_meta` in another shard.
fn in_shard(tier: Tier, window: u64, meta: SstableMeta) -> SstableMeta {
    SstableMeta { shard: Shard { tier, window }, ..meta }
}

#[test]
fn shards_are_read_hot_before_cold_and_newest_first() {
    let all = |number, first, last| timeline_meta(number, ("a", first), ("z", last));
    // The same place twice in one level, but not in one shard.
    let version = version(vec![
        (1, in_shard(Tier::Cold, 500, all(1, 1, 4))),
        (1, in_shard(Tier::Cold, 900, all(2, 1, 4))),
        (2, in_shard(Tier::Hot, 1000, all(3, 1, 4))),
        (1, in_shard(Tier::Hot, 1000, all(4, 1, 4))),
        (0, in_shard(Tier::Hot, 1000, all(6, 1, 4))),
        (0, in_shard(Tier::Hot, 2000, all(5, 1, 4))),
        (6, in_shard(Tier::Hot, 3000, all(7, 1, 4))),
        (6, in_shard(Tier::Hot, 0, all(8, 1, 4))),
    ]);
    version.check_invariants().unwrap();
    assert_eq!(numbers(version.candidates(TABLE, b"m")), [7, 5, 6, 4, 3, 8, 2, 1]);
    let shards: Vec<_> = version.shards(TABLE).map(|(shard, _)| shard.window).collect();
    assert_eq!(shards, [3000, 2000, 1000, 0, 900, 500]);
    let other = Shard { tier: Tier::Cold, window: 1000 };
    assert_eq!(numbers(version.level(TABLE, other, 1)), [0u64; 0]);
    let gone = version.apply(&[1, 2, 3, 4, 5, 6, 7, 8], Vec::new());
    assert_eq!(gone, Version::default(), "an empty shard is no shard");
}

#[test]
fn a_version_shares_what_does_not_change() {
    let old = version(vec![(1, timeline_meta(1, ("a", 1), ("b", 1)))]);
    let meta = old.find(1).unwrap().1.clone();
    let moved = old.apply(&[1], vec![(2, meta)]);
    assert_eq!(numbers(old.level(TABLE, Shard::default(), 1)), [1]);
    assert_eq!(numbers(moved.level(TABLE, Shard::default(), 2)), [1]);
    assert_eq!(moved.apply(&[1], Vec::new()), Version::default());
    let handles: Version<Arc<SstableMeta>> =
        moved.try_map(|meta| Ok::<_, String>(Arc::new(meta.clone()))).unwrap();
    handles.check_invariants().unwrap();
    assert_eq!(handles.find(1).unwrap().0, 2);
}

/// The SSTable that the impossible edits are about.
fn sample(number: u64) -> SstableMeta {
    timeline_meta(number, ("a", 1), ("c", 1))
}

fn added(level: u8, meta: SstableMeta) -> Edit {
    Edit::SstableAdded { level, meta }
}

/// SSTables that no catalog can have.
fn impossible_metas() -> Vec<SstableMeta> {
    let changes: [fn(&mut SstableMeta); 10] = [
        |meta| meta.kind = TableKind::Keyed,
        |meta| meta.extent.offset += 1,
        |meta| {
            let offset = u64::MAX - 4095;
            meta.extent = Extent { offset, length: 8192 };
        },
        |meta| meta.bytes = 0,
        |meta| meta.bytes = 4097,
        |meta| meta.first.0 = Box::default(),
        |meta| meta.last.0 = vec![b'x'; 1025].into(),
        |meta| std::mem::swap(&mut meta.first, &mut meta.last),
        |meta| meta.commits = (2, 1),
        |meta| meta.table = TableId(99),
    ];
    let changed = changes.into_iter().map(|change| {
        let mut meta = sample(9);
        change(&mut meta);
        meta
    });
    changed.chain([sample(0), sample(u64::MAX), sample(1)]).collect()
}

#[test]
fn impossible_edits_change_nothing() {
    let mut catalog = Catalog::new();
    catalog.apply(&Edit::TableCreated(timeline_table(16, "inbox"))).unwrap();
    catalog.apply(&added(1, sample(1))).unwrap();
    catalog.apply(&added(2, sample(2))).unwrap();
    catalog.apply(&Edit::EpochBegun { commit: 5 }).unwrap();
    let too_many = u8::try_from(LEVEL_COUNT).unwrap();
    let altered = |change: fn(&mut TableRecord)| {
        let mut record = timeline_table(16, "inbox");
        record.expired_before_ms = 7;
        change(&mut record);
        Edit::TableAltered(record)
    };
    catalog.apply(&altered(|record| record.options.ttl_ms = Some(9))).unwrap();
    assert_eq!(catalog.tables[&TABLE].options.ttl_ms, Some(9));
    let bad = [
        altered(|record| record.id = TableId(17)),
        altered(|record| record.id = STATE_TABLE),
        altered(|record| record.name = "other".to_owned()),
        altered(|record| record.options.kind = TableKind::Keyed),
        altered(|record| record.options.sequence = Sequence::Given),
        altered(|record| record.expired_before_ms = 6),
        Edit::TableCreated(timeline_table(16, "other")),
        Edit::TableCreated(timeline_table(17, "inbox")),
        Edit::TableCreated(timeline_table(17, "")),
        Edit::TableCreated(timeline_table(17, "\u{0}state")),
        Edit::TableCreated(timeline_table(2, "other")),
        Edit::TableCreated(timeline_table(u32::MAX, "other")),
        added(1, sample(3)),
        added(too_many, sample(3)),
        Edit::SstableRemoved { number: 7 },
        Edit::SstableMoved { number: 7, level: 3 },
        Edit::SstableMoved { number: 1, level: 1 },
        Edit::SstableMoved { number: 1, level: 2 },
        Edit::SstableMoved { number: 1, level: too_many },
        Edit::EpochBegun { commit: 4 },
        Edit::Counters { next_sstable: 2, next_table: 17 },
        Edit::Counters { next_sstable: 3, next_table: 16 },
    ];
    let before = catalog.clone();
    let metas = impossible_metas().into_iter().map(|meta| added(4, meta));
    for edit in metas.chain(bad) {
        assert!(catalog.apply(&edit).is_err(), "{edit:?}");
        assert_eq!(catalog, before, "{edit:?}");
    }
    assert_eq!((catalog.next_sstable, catalog.next_table), (3, 17));
}

#[test]
fn a_segment_lives_as_long_as_an_sstable_needs_it() {
    let mut catalog = Catalog::new();
    catalog.apply(&Edit::TableCreated(timeline_table(16, "inbox"))).unwrap();
    let needs = |number, segments: &[u64]| {
        let key = format!("{number}");
        let mut meta = timeline_meta(number, (&key, 1), (&key, 2));
        meta.segments = segments.into();
        added(1, meta)
    };
    for number in [1, 2] {
        catalog.apply(&Edit::SegmentAdded { meta: segment_meta(number) }).unwrap();
    }
    assert_eq!(catalog.segments.unused().collect::<Vec<_>>(), [1, 2]);
    catalog.apply(&needs(3, &[1])).unwrap();
    catalog.apply(&needs(4, &[1, 2])).unwrap();
    assert_eq!((catalog.segments.unused().count(), catalog.next_sstable), (0, 5));
    let replaced = |number, offset, length| {
        let extent = Extent { offset, length };
        Edit::SegmentReplaced { number, extent, footer_checksum: 9 }
    };
    let outside = SegmentMeta { extent: Extent { offset: 1, length: 4096 }, ..segment_meta(6) };
    let long = SegmentMeta { bytes: 4097, ..segment_meta(6) };
    let refused = [
        Edit::SegmentAdded { meta: segment_meta(2) },
        Edit::SegmentAdded { meta: segment_meta(3) },
        Edit::SegmentAdded { meta: segment_meta(0) },
        Edit::SegmentAdded { meta: segment_meta(1 << 40) },
        Edit::SegmentAdded { meta: outside },
        Edit::SegmentAdded { meta: long },
        Edit::SegmentRemoved { number: 1 },
        Edit::SegmentRemoved { number: 7 },
        replaced(7, 20 * 4096, 4096),
        replaced(3, 20 * 4096, 4096),
        replaced(1, 20 * 4096 + 1, 4096),
        replaced(1, 20 * 4096, 100),
        replaced(1, 20 * 4096, 0),
        replaced(1, u64::MAX - 4095, 4096),
        replaced(1, 4096, 4096),
        replaced(1, 0, 3 * 4096),
        needs(2, &[]),
        needs(6, &[5]),
        needs(6, &[2, 1]),
        needs(6, &[1, 1]),
    ];
    let before = catalog.clone();
    for edit in refused {
        assert!(catalog.apply(&edit).is_err(), "{edit:?}");
        assert_eq!(catalog, before, "{edit:?}");
    }
    catalog.apply(&replaced(1, 20 * 4096, 2 * 4096)).unwrap();
    let extent = Extent { offset: 20 * 4096, length: 2 * 4096 };
    let expected = SegmentMeta { extent, footer_checksum: 9, ..segment_meta(1) };
    assert_eq!(catalog.segments.get(1), Some(&expected));
    // It is replaced again, and may go where it was before.
    catalog.apply(&replaced(1, 4096, 4096)).unwrap();
    // The edits of the catalog make it again.
    let mut again = Catalog::new();
    catalog.edits().iter().for_each(|edit| again.apply(edit).unwrap());
    assert_eq!(again, catalog);
    catalog.apply(&Edit::SstableRemoved { number: 4 }).unwrap();
    assert_eq!(catalog.segments.unused().collect::<Vec<_>>(), [2]);
    catalog.apply(&Edit::SegmentRemoved { number: 2 }).unwrap();
    catalog.apply(&Edit::SstableRemoved { number: 3 }).unwrap();
    catalog.apply(&Edit::SegmentRemoved { number: 1 }).unwrap();
    assert_eq!(catalog.segments, segments::LiveSegments::default());
}

/// Random edits, most of them possible, some not.
pub(crate) fn any_edit() -> impl Strategy<Value = Edit> {
    let key = || prop::sample::select(vec!["a", "b", "c", "d", "e", "f", "g"]);
    let level = || 0u8..4;
    let number = || 1u64..30;
    let tier = || prop_oneof![3 => Just(Tier::Hot), 1 => Just(Tier::Cold)];
    let shard = || (tier(), 0u64..3).prop_map(|(tier, window)| Shard { tier, window });
    prop_oneof![
        1 => (16u32..24, "[a-d]{1,2}", any::<Option<u64>>()).prop_map(|(id, name, ttl_ms)| {
            let mut record = timeline_table(id, &name);
            record.options.ttl_ms = ttl_ms;
            Edit::TableCreated(record)
        }),
        1 => (16u32..20, "t1[6-8]", any::<Option<u64>>(), 0u64..9).prop_map(
            |(id, name, ttl_ms, expired_before_ms)| {
                let mut record = timeline_table(id, &name);
                record.options.ttl_ms = ttl_ms;
                record.expired_before_ms = expired_before_ms;
                Edit::TableAltered(record)
            },
        ),
        8 => (level(), number(), key(), key(), 1u64..5, 16u32..19, shard()).prop_map(
            |(level, number, one, other, seq, table, shard)| {
                let (first, last) = (one.min(other), one.max(other));
                let mut meta = timeline_meta(number, (first, seq), (last, seq + 2));
                meta.table = TableId(table);
                meta.shard = shard;
                Edit::SstableAdded { level, meta }
            },
        ),
        3 => number().prop_map(|number| Edit::SstableRemoved { number }),
        3 => (number(), level()).prop_map(|(number, level)| Edit::SstableMoved { number, level }),
        1 => (0u64..50).prop_map(|commit| Edit::EpochBegun { commit }),
        1 => (20u64..60, 18u32..24).prop_map(|(next_sstable, next_table)| Edit::Counters {
            next_sstable,
            next_table
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// The version stays in order, finds what a plain search finds, and can be made anew from its
    /// own edits.
    #[test]
    fn catalogs_stay_in_order(edits in prop::collection::vec(any_edit(), 0..80)) {
        let mut catalog = Catalog::new();
        for id in 16..19 {
            catalog.apply(&Edit::TableCreated(timeline_table(id, &format!("t{id}")))).unwrap();
        }
        for edit in edits {
            let before = catalog.clone();
            if catalog.apply(&edit).is_err() {
                prop_assert_eq!(&catalog, &before);
            }
            prop_assert_eq!(catalog.version.check_invariants(), Ok(()));
        }
        for key in [b"a", b"d", b"g"] {
            let holds = |meta: &SstableMeta| *meta.first.0 <= key[..] && *meta.last.0 >= key[..];
            let all = catalog.version.iter().filter(|(table, _, meta)| {
                *table == TABLE && holds(meta)
            });
            let mut expected: Vec<_> = all
                .map(|(_, level, meta)| {
                    let Shard { tier, window } = meta.shard;
                    let newer = match level {
                        0 => Reverse((&b""[..], meta.number)),
                        _ => Reverse((&*meta.first.0, meta.first.1)),
                    };
                    ((tier == Tier::Cold, Reverse(window), level, newer), meta)
                })
                .collect();
            expected.sort_by_key(|(order, _)| *order);
            let expected = numbers(expected.into_iter().map(|(_, meta)| meta));
            prop_assert_eq!(numbers(catalog.version.candidates(TABLE, key)), expected);
        }
        let mut again = Catalog::new();
        for edit in catalog.edits() {
            prop_assert_eq!(again.apply(&edit), Ok(()));
        }
        prop_assert_eq!(again, catalog);
    }
}
