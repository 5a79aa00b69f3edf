//! Random timelines, built in one go or by copying fragments, compared with a model by every read
//! path: both directions, both read modes, both codecs, tiny and normal blocks.

use crate::entry::{Direction, Entry, TableId};
use crate::options::{Compression, ReadMode};
use crate::sstable::cursor::OwnedCursor;
use crate::sstable::testing::{Fixture, options};
use crate::sstable::{Builder, BuilderOptions, EntryRef, OriginRef, Rank, RunLocation, Sstable};
use crate::version::TableKind;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// An entry of the model: `(seq, commit, time, event, origin, payload)`.
#[derive(Debug, Clone, PartialEq)]
struct Item {
    seq: u64,
    commit: u64,
    time_ms: u64,
    event_ms: Option<i64>,
    origin: Option<(Vec<u8>, u64)>,
    payload: Vec<u8>,
}

impl Item {
    fn entry(&self) -> EntryRef<'_> {
        EntryRef {
            seq: self.seq,
            commit: self.commit,
            time_ms: self.time_ms,
            ttl_ms: None,
            event_ms: self.event_ms,
            origin: self.origin.as_ref().map(|(key, seq)| OriginRef {
                table: TableId(3),
                key,
                seq: *seq,
            }),
            payload: &self.payload,
            shared: None,
            erased: false,
        }
    }

    fn matches(&self, entry: &Entry) -> bool {
        let origin = entry.origin.as_ref().map(|origin| {
            assert_eq!(origin.table, TableId(3));
            (origin.key.to_vec(), origin.seq)
        });
        self.seq == entry.seq
            && self.commit == entry.commit
            && self.time_ms == entry.time_ms
            && self.event_ms == entry.event_ms
            && self.origin == origin
            && self.payload == *entry.payload
    }
}

type Model = BTreeMap<Vec<u8>, Vec<Item>>;

fn payload() -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![
        60 => 0usize..40,
        25 => 40usize..400,
        10 => 400usize..9000,
        2 => 9000usize..65_536,
        1 => Just(300_000usize),
    ];
    (length, any::<u8>()).prop_map(|(length, seed)| {
        (0..length)
            .map(|at| seed.wrapping_mul(31).wrapping_add(u8::try_from(at / 7 % 251).unwrap()))
            .collect()
    })
}

/// What an entry adds to the one before: seq, commit, time; and its event, origin and payload.
type Step = (u64, u64, u64, Option<i64>, Option<u64>, Vec<u8>);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let jump = prop_oneof![20 => Just(1u64), 1 => 2u64..300, 1 => Just(1u64 << 40)];
    let commit = prop_oneof![5 => 0u64..3, 1 => 0u64..100_000, 1 => Just(1u64 << 33)];
    let time = prop_oneof![5 => 0u64..3, 1 => 0u64..100_000];
    let event = prop_oneof![5 => Just(None), 1 => any::<i64>().prop_map(Some)];
    let origin = prop_oneof![5 => Just(None), 1 => any::<u64>().prop_map(Some)];
    let count = prop_oneof![8 => 1usize..4, 3 => 4usize..80, 1 => 80usize..300];
    count.prop_flat_map(move |count| {
        let step =
            (jump.clone(), commit.clone(), time.clone(), event.clone(), origin.clone(), payload());
        prop::collection::vec(step, count)
    })
}

fn model() -> impl Strategy<Value = Model> {
    let key = prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 1..6),
        1 => prop::collection::vec(any::<u8>(), 1000..1024),
    ];
    prop::collection::btree_map(key, steps(), 1..25).prop_map(|timelines| {
        let build = |steps: Vec<Step>| {
            let (mut seq, mut commit, mut time_ms) = (0u64, 10u64, 1_700_000_000_000u64);
            let items =
                steps.into_iter().map(|(jump, commits, times, event_ms, origin, payload)| {
                    seq += jump;
                    commit += commits;
                    time_ms += times;
                    let origin = origin.map(|seq| (b"origin".to_vec(), seq));
                    Item { seq, commit, time_ms, event_ms, origin, payload }
                });
            items.collect::<Vec<Item>>()
        };
        timelines.into_iter().map(|(key, steps)| (key, build(steps))).collect()
    })
}

fn build(model: &Model, target: usize, compression: Compression) -> Fixture {
    let options = options(TableKind::Timeline, compression);
    Fixture::build(options, target, |builder| fill(builder, model, |_| true)).unwrap()
}

fn fill(
    builder: &mut Builder<Vec<u8>>,
    model: &Model,
    keep: impl Fn(&Item) -> bool,
) -> crate::Result<()> {
    for (key, items) in model {
        for item in items.iter().filter(|item| keep(item)) {
            builder.append(key, &item.entry())?;
        }
    }
    Ok(())
}

fn drain(cursor: &mut OwnedCursor) -> Vec<Entry> {
    std::iter::from_fn(|| cursor.next().unwrap()).collect()
}

fn check(sstable: &Arc<Sstable>, model: &Model) {
    for (key, items) in model {
        let run = sstable.find(key).unwrap().expect("the timeline is there");
        check_run(&run, items);
        let count = items.len();
        let mut starts = vec![0, count / 3, count - 1, count];
        starts.dedup();
        for start in starts {
            let mut cursor = sstable.walk(key, &run, start as u64, Direction::Forward).unwrap();
            let found = drain(&mut cursor);
            assert_eq!(found.len(), count - start);
            assert!(items[start..].iter().zip(&found).all(|(item, entry)| item.matches(entry)));
            let mut cursor = sstable.walk(key, &run, start as u64, Direction::Backward).unwrap();
            let found = drain(&mut cursor);
            let expected = &items[..(start + 1).min(count)];
            assert_eq!(found.len(), expected.len());
            assert!(expected.iter().rev().zip(&found).all(|(item, entry)| item.matches(entry)));
        }
        for item in items.iter().step_by(1 + count / 12) {
            check_ranks(sstable, key, &run, items, item);
        }
    }
    for absent in [&b""[..], b"no such timeline", &[0xff; 1030]] {
        assert!(model.contains_key(absent) || sstable.find(absent).unwrap().is_none());
    }
    check_lists(sstable, model);
    assert_eq!(sstable.verify(), vec![]);
}

fn check_run(run: &RunLocation, items: &[Item]) {
    let (first, last) = (&items[0], items.last().unwrap());
    assert_eq!((run.first_seq, run.last_seq), (first.seq, last.seq));
    assert_eq!(run.times_ms, (first.time_ms, last.time_ms));
    assert_eq!((run.count, run.last_commit), (items.len() as u64, last.commit));
}

fn check_ranks(sstable: &Sstable, key: &[u8], run: &RunLocation, items: &[Item], item: &Item) {
    for more in 0..2 {
        let below = |value: fn(&Item) -> u64, limit: u64| {
            items.iter().filter(|item| value(item) < limit).count() as u64
        };
        let seq = item.seq + more;
        let rank = |by| sstable.rank(key, run, by).unwrap();
        assert_eq!(rank(Rank::Seq(seq)), below(|item| item.seq, seq));
        let commit = item.commit + more;
        assert_eq!(rank(Rank::Commit(commit)), below(|item| item.commit, commit));
        let time = item.time_ms + more;
        assert_eq!(rank(Rank::Time(time)), below(|item| item.time_ms, time));
    }
}

fn check_lists(sstable: &Arc<Sstable>, model: &Model) {
    let mut bounds = vec![Bound::Unbounded, Bound::Included(vec![1]), Bound::Excluded(vec![0xff])];
    for key in model.keys().step_by(3) {
        bounds.push(Bound::Included(key.clone()));
        bounds.push(Bound::Excluded(key.clone()));
    }
    for bound in bounds {
        let bound = bound.as_ref().map(|key| key.as_slice());
        let mut cursor = sstable.timelines(bound).unwrap();
        let found: Vec<_> = std::iter::from_fn(|| cursor.next().unwrap()).collect();
        let expected: Vec<_> = model.range::<[u8], _>((bound, Bound::Unbounded)).collect();
        assert_eq!(found.len(), expected.len());
        for ((key, run), (expected, items)) in found.iter().zip(expected) {
            assert_eq!(**key, **expected);
            check_run(run, items);
        }
    }
    for from in model.keys().map(Some).step_by(4).chain([None]) {
        let from = from.map(|key| key.as_slice());
        let mut cursor = sstable.fragments(from).unwrap();
        let mut found: BTreeMap<Vec<u8>, Vec<u64>> = BTreeMap::new();
        while let Some(fragment) = cursor.next().unwrap() {
            let view = fragment.view();
            let seqs = found.entry(view.key().to_vec()).or_default();
            assert_eq!(view.base_index(), seqs.len() as u64);
            seqs.extend((0..view.count()).map(|k| view.seq(k).unwrap()));
        }
        let start = from.map_or(Bound::Unbounded, Bound::Included);
        let expected = model.range::<[u8], _>((start, Bound::Unbounded));
        let expected: BTreeMap<Vec<u8>, Vec<u64>> = expected
            .map(|(key, items)| (key.clone(), items.iter().map(|item| item.seq).collect()))
            .collect();
        assert_eq!(found, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_path_gives_what_was_put_in(
        model in model(),
        target in prop_oneof![Just(300usize), Just(2000), Just(16 * 1024)],
        lz4 in any::<bool>(),
    ) {
        let compression = if lz4 { Compression::Lz4 } else { Compression::None };
        let fixture = build(&model, target, compression);
        check(&fixture.open(ReadMode::Map), &model);
        check(&fixture.open(ReadMode::Read), &model);
    }

    #[test]
    fn concatenated_fragments_give_the_same_entries(
        model in model(),
        first in prop_oneof![Just(300usize), Just(16 * 1024)],
        second in prop_oneof![Just(300usize), Just(16 * 1024)],
        cut in 1u64..200,
    ) {
        // The older part of each timeline in one SSTable, the newer in another, then both in one.
        let part = |keep: &dyn Fn(&Item) -> bool, target: usize| {
            let options = options(TableKind::Timeline, Compression::Lz4);
            Fixture::build(options, target, |builder| fill(builder, &model, keep)).ok()
        };
        let parts = [part(&|item| item.seq < cut, first), part(&|item| item.seq >= cut, second)];
        let parts: Vec<_> =
            parts.iter().flatten().map(|fixture| fixture.open(ReadMode::Read)).collect();
        let mut bound = 0;
        let merged = Fixture::build(
            options(TableKind::Timeline, Compression::None),
            second,
            |builder| {
                for key in model.keys() {
                    for part in &parts {
                        let mut cursor = part.fragments(Some(key))?;
                        while let Some(fragment) = cursor.next()? {
                            if *fragment.view().key() != **key {
                                break;
                            }
                            bound = builder.bound_with_fragment(&fragment.view());
                            builder.append_fragment(&fragment.view())?;
                        }
                    }
                }
                Ok(())
            },
        ).unwrap();
        prop_assert!(merged.meta.bytes <= bound);
        check(&merged.open(ReadMode::Map), &model);
    }

    #[test]
    fn the_bound_is_never_exceeded(
        model in model(),
        target in prop_oneof![Just(300usize), Just(16 * 1024)],
        cut in 1usize..200,
        compression in prop_oneof![
            Just(Compression::Lz4),
            Just(Compression::Zstd { level: 3 }),
        ],
    ) {
        let options =
            BuilderOptions { block_bytes: target, ..options(TableKind::Timeline, compression) };
        let mut builder = Builder::new(Vec::new(), options).sample(2048, 512);
        let mut bound = 0;
        let entries =
            model.iter().flat_map(|(key, items)| items.iter().map(move |item| (key, item)));
        for (key, item) in entries.take(cut) {
            let origin = item.origin.as_ref().map_or(0, |(key, _)| key.len());
            bound = builder.bound_with(key.len(), item.payload.len() + origin);
            builder.append(key, &item.entry()).unwrap();
        }
        let (bytes, _) = builder.finish().unwrap();
        prop_assert!(bytes.len() as u64 <= bound, "{} bytes, bound {bound}", bytes.len());
    }
}

fn item(seq: u64) -> Item {
    let payload = format!("message {seq}").into_bytes();
    Item { seq, commit: seq, time_ms: 1000 + seq, event_ms: None, origin: None, payload }
}

#[test]
fn the_newest_entries_cost_three_blocks() {
    let model = Model::from([(b"hot".to_vec(), (1..20_000).map(item).collect::<Vec<_>>())]);
    let fixture = build(&model, 16 * 1024, Compression::None);
    let sstable = fixture.open(ReadMode::Read);
    let run = sstable.find(b"hot").unwrap().unwrap();
    assert!(run.last_block > 10);
    let cache = &sstable.source().cache;
    let (_, before) = cache.hits_and_misses();
    let mut cursor = sstable.walk(b"hot", &run, run.count - 1, Direction::Backward).unwrap();
    for seq in (19_980..20_000).rev() {
        assert_eq!(cursor.next().unwrap().unwrap().seq, seq);
    }
    let (_, after) = cache.hits_and_misses();
    assert_eq!(after - before, 2, "one index page and the last data block");
}

#[test]
fn an_entry_of_the_largest_size_has_a_block_of_its_own() {
    let mut largest = item(2);
    largest.payload = vec![5; crate::limits::PAYLOAD_LENGTH_MAX];
    largest.event_ms = Some(-1);
    largest.origin = Some((vec![9; 1024], 1));
    let model = Model::from([(vec![1; 1024], vec![item(1), largest, item(3)])]);
    for compression in [Compression::None, Compression::Lz4] {
        let fixture = build(&model, 16 * 1024, compression);
        check(&fixture.open(ReadMode::Read), &model);
    }
}

#[test]
fn disorder_is_refused_and_changes_nothing() {
    let options = options(TableKind::Timeline, Compression::None);
    let mut builder = Builder::new(Vec::new(), options);
    assert!(builder.append(b"", &item(1).entry()).is_err());
    builder.append(b"b", &item(5).entry()).unwrap();
    for (key, seq, commit, time_ms) in [
        (b"a", 6, 6, 2000),
        (b"b", 5, 6, 2000),
        (b"b", 6, 4, 2000),
        (b"b", 6, 6, 1),
        (b"b", 0, 6, 2000),
    ] {
        let wrong = Item { seq, commit, time_ms, ..item(1) };
        assert!(builder.append(key, &wrong.entry()).is_err());
    }
    builder.append(b"b", &item(6).entry()).unwrap();
    assert_eq!(builder.entries(), 2);
    assert_eq!(builder.finish().unwrap().1.last, (b"b"[..].into(), 6));
    assert!(Builder::new(Vec::new(), options).finish().is_err(), "no entries");
}

#[test]
fn thousands_of_timelines_fill_and_overflow_directory_pages() {
    let mut model: Model =
        (0..6000u32).map(|number| (number.to_be_bytes().to_vec(), vec![item(1)])).collect();
    for number in 0..200u8 {
        model.insert(vec![number; 800 + usize::from(number)], vec![item(1), item(2)]);
    }
    let fixture = build(&model, 16 * 1024, Compression::None);
    for mode in [ReadMode::Map, ReadMode::Read] {
        let sstable = fixture.open(mode);
        for (key, items) in &model {
            check_run(&sstable.find(key).unwrap().unwrap(), items);
        }
        assert_eq!(sstable.verify(), vec![]);
    }
    let sstable = fixture.open(ReadMode::Read);
    let absent = (10_000..20_000u32).map(u32::to_be_bytes);
    let passed = absent.filter(|key| sstable.filter_contains(key).unwrap()).count();
    assert!(passed < 300, "{passed} of 10,000 absent keys passed the filter");
    let pages = sstable.blocks().unwrap();
    let directory = pages.iter().filter(|page| page.kind == "SSTable directory page");
    let continued = directory
        .filter(|page| sstable.describe_block(page.offset).unwrap().contains("continued: true"));
    assert!(continued.count() > 0, "the test means to meet full pages");
}

#[test]
fn one_sstable_serves_many_threads() {
    let model: Model =
        (0..40u8).map(|key| (vec![key], (1..200).map(item).collect::<Vec<_>>())).collect();
    let fixture = build(&model, 1000, Compression::Lz4);
    for mode in [ReadMode::Map, ReadMode::Read] {
        let sstable = fixture.open(mode);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| check(&sstable, &model));
            }
        });
    }
}
