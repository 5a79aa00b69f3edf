//! Random versions of keys, compared with a model by every read path.

use crate::batch::KeyedOperation;
use crate::entry::{KeyedVersion, Payload};
use crate::options::{Compression, ReadMode};
use crate::sstable::testing::{Fixture, options};
use crate::sstable::{Builder, BuilderOptions, KeyedCursor, Sstable};
use crate::version::TableKind;
use proptest::prelude::*;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

fn versions() -> impl Strategy<Value = Vec<KeyedVersion>> {
    let key = prop_oneof![
        6 => prop::collection::vec(0u8..4, 1..4),
        2 => prop::collection::vec(any::<u8>(), 1..20),
        1 => prop::collection::vec(any::<u8>(), 1020..1028),
    ];
    let length = prop_oneof![20 => 0usize..60, 3 => 60usize..3000, 1 => Just(40_000usize)];
    let version = (key, 0u64..60, 0u32..3, 1u8..5, length);
    prop::collection::vec(version, 1..400).prop_map(|versions| {
        let mut seen = BTreeSet::new();
        let mut all: Vec<_> = versions
            .into_iter()
            .filter(|(key, commit, index, ..)| seen.insert((key.clone(), *commit, *index)))
            .map(|(key, commit, index, operation, length)| KeyedVersion {
                key: key.into(),
                commit,
                index,
                time_ms: 1000 + commit,
                operation: KeyedOperation::from_byte(operation).unwrap(),
                value: Payload::from_vec(vec![operation; length]),
            })
            .collect();
        all.sort_by(|a, b| {
            (&a.key, Reverse(a.commit), Reverse(a.index)).cmp(&(
                &b.key,
                Reverse(b.commit),
                Reverse(b.index),
            ))
        });
        all
    })
}

fn build(versions: &[KeyedVersion], target: usize, compression: Compression) -> Fixture {
    Fixture::build(options(TableKind::Keyed, compression), target, |builder| {
        versions.iter().try_for_each(|version| builder.add_version(version))
    })
    .unwrap()
}

fn drain(mut cursor: KeyedCursor) -> Vec<KeyedVersion> {
    std::iter::from_fn(|| cursor.next().unwrap()).collect()
}

fn check(sstable: &Arc<Sstable>, versions: &[KeyedVersion]) {
    for commit_max in [0, 17, 40, u64::MAX] {
        for version in versions.iter().step_by(3) {
            let mut expected = Vec::new();
            for older in versions.iter().filter(|older| older.key == version.key) {
                if older.commit <= commit_max {
                    expected.push(older.clone());
                    if matches!(older.operation, KeyedOperation::Put | KeyedOperation::Delete) {
                        break;
                    }
                }
            }
            assert_eq!(sstable.versions(&version.key, commit_max).unwrap(), expected);
        }
    }
    assert!(sstable.versions(b"\xffabsent key", 9).unwrap().is_empty());
    assert_eq!(drain(sstable.keyed_cursor(Bound::Unbounded).unwrap()), versions);
    for version in versions.iter().step_by(1 + versions.len() / 10) {
        let from = &version.key;
        let included = versions.partition_point(|version| version.key < *from);
        let excluded = versions.partition_point(|version| version.key <= *from);
        let cursor = sstable.keyed_cursor(Bound::Included(from)).unwrap();
        assert_eq!(drain(cursor), versions[included..]);
        let cursor = sstable.keyed_scan(Bound::Excluded(from)).unwrap();
        assert_eq!(drain(cursor), versions[excluded..]);
    }
    assert_eq!(sstable.verify(), vec![]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn every_path_gives_what_was_put_in(
        versions in versions(),
        target in prop_oneof![Just(200usize), Just(16 * 1024)],
        lz4 in any::<bool>(),
    ) {
        let compression = if lz4 { Compression::Lz4 } else { Compression::None };
        let fixture = build(&versions, target, compression);
        check(&fixture.open(ReadMode::Map), &versions);
        check(&fixture.open(ReadMode::Read), &versions);
    }

    #[test]
    fn the_bound_is_never_exceeded(versions in versions(), cut in 1usize..400) {
        let options =
            BuilderOptions { block_bytes: 500, ..options(TableKind::Keyed, Compression::None) };
        let mut builder = Builder::new(Vec::new(), options);
        let mut bound = 0;
        for version in versions.iter().take(cut) {
            bound = builder.bound_with(version.key.len(), version.value.len());
            builder.add_version(version).unwrap();
        }
        let (bytes, _) = builder.finish().unwrap();
        prop_assert!(bytes.len() as u64 <= bound);
    }
}

#[test]
fn disorder_is_refused() {
    let version = |key: &[u8], commit, index| KeyedVersion {
        key: key.into(),
        commit,
        index,
        time_ms: 1,
        operation: KeyedOperation::Put,
        value: Payload::from_vec(vec![1]),
    };
    let mut builder = Builder::new(Vec::new(), options(TableKind::Keyed, Compression::None));
    builder.add_version(&version(b"b", 5, 1)).unwrap();
    assert!(builder.add_version(&version(b"a", 4, 1)).is_err());
    assert!(builder.add_version(&version(b"b", 6, 1)).is_err());
    assert!(builder.add_version(&version(b"b", 5, 1)).is_err());
    builder.add_version(&version(b"b", 5, 0)).unwrap();
    builder.add_version(&version(b"c", 9, 0)).unwrap();
    assert_eq!(builder.finish().unwrap().1.keys, 2);
}
