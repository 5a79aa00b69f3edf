//! What rot may do: each byte of a small SSTable is changed in turn. Every read gives the right
//! data or corruption, and `verify` finds the damage.

use crate::entry::{Direction, KeyedVersion, Payload};
use crate::error::{ErrorKind, Result};
use crate::file::Disk;
use crate::options::{Compression, ReadMode};
use crate::sstable::format::{BlockHeader, HEADER_SIZE};
use crate::sstable::testing::{EXTENT_OFFSET, Fixture, options};
use crate::sstable::{EntryRef, Rank, Sstable};
use crate::testing::{Fault, FaultEffect, FaultOperation, FaultTimes};
use crate::version::TableKind;
use std::ops::Bound;
use std::sync::Arc;

const KEYS: [&[u8]; 3] = [b"alice", b"bob", b"carol"];

fn timelines(compression: Compression) -> Fixture {
    timelines_of(compression, b'x')
}

/// Payloads are so many of a letter: those of two letters have the same shape.
fn timelines_of(compression: Compression, letter: u8) -> Fixture {
    Fixture::build(options(TableKind::Timeline, compression), 400, |builder| {
        for key in KEYS {
            for seq in 1..20 {
                let payload = vec![letter; usize::try_from(seq * 3).unwrap()];
                builder.append(
                    key,
                    &EntryRef {
                        seq,
                        commit: seq,
                        time_ms: 100 + seq,
                        ttl_ms: None,
                        event_ms: None,
                        origin: None,
                        payload: &payload,
                        shared: None,
                        erased: false,
                    },
                )?;
            }
        }
        Ok(())
    })
    .unwrap()
}

/// Text in small blocks, for which a dictionary pays.
fn with_dictionary() -> Fixture {
    let words = ["timeline", "inbox", "message", "window", "expired", "cold", "segment", "recall"];
    let compression = Compression::Zstd { level: 3 };
    let fixture = Fixture::build(options(TableKind::Timeline, compression), 700, |builder| {
        let mut random = crate::runtime::Random::new(7);
        for key in KEYS {
            for seq in 1..200 {
                let payload: Vec<&str> = (0..12).map(|_| words[random.index(8)]).collect();
                builder.append(
                    key,
                    &EntryRef {
                        seq,
                        commit: seq,
                        time_ms: 100 + seq,
                        ttl_ms: None,
                        event_ms: None,
                        origin: None,
                        shared: None,
                        erased: false,
                        payload: payload.join(" ").as_bytes(),
                    },
                )?;
            }
        }
        Ok(())
    });
    fixture.unwrap()
}

fn keyed() -> Fixture {
    Fixture::build(options(TableKind::Keyed, Compression::None), 200, |builder| {
        KEYS.iter().try_for_each(|key| {
            (0..6).rev().try_for_each(|commit| {
                builder.add_version(&KeyedVersion {
                    key: (*key).into(),
                    commit,
                    index: 0,
                    time_ms: 5,
                    operation: crate::batch::KeyedOperation::Put,
                    value: Payload::from_vec(vec![7; 30]),
                })
            })
        })
    })
    .unwrap()
}

/// Everything that the SSTable gives, as text to compare.
fn read_timelines(sstable: &Arc<Sstable>) -> Vec<Result<String>> {
    let mut results = Vec::new();
    for key in KEYS {
        let run = sstable.find(key).map(|run| run.expect("no damage hides a timeline"));
        results.push(run.clone().map(|run| format!("{run:?}")));
        let run = match run {
            Ok(run) => run,
            Err(error) => {
                results.extend((0..5).map(|_| Err(error.clone())));
                continue;
            }
        };
        for by in [Rank::Seq(7), Rank::Commit(9), Rank::Time(111)] {
            results.push(sstable.rank(key, &run, by).map(|rank| rank.to_string()));
        }
        for direction in [Direction::Forward, Direction::Backward] {
            let entries = || -> Result<String> {
                let mut cursor = sstable.walk(key, &run, 12, direction)?;
                let mut text = String::new();
                while let Some(entry) = cursor.next()? {
                    text.push_str(&format!("{entry:?}"));
                }
                Ok(text)
            };
            results.push(entries());
        }
    }
    let list = || -> Result<String> {
        let mut cursor = sstable.timelines(Bound::Unbounded)?;
        let mut text = String::new();
        while let Some(timeline) = cursor.next()? {
            text.push_str(&format!("{timeline:?}"));
        }
        let mut cursor = sstable.fragments(None)?;
        while let Some(fragment) = cursor.next()? {
            text.push_str(&format!("{:?}", fragment.view().bytes()));
        }
        Ok(text)
    };
    results.push(list());
    results
}

fn read_keyed(sstable: &Arc<Sstable>) -> Vec<Result<String>> {
    let mut results = Vec::new();
    for key in KEYS {
        results.push(sstable.versions(key, 3).map(|versions| {
            assert!(!versions.is_empty(), "no damage hides a key");
            format!("{versions:?}")
        }));
    }
    let list = || -> Result<String> {
        let mut cursor = sstable.keyed_cursor(Bound::Unbounded)?;
        let mut text = String::new();
        while let Some(version) = cursor.next()? {
            text.push_str(&format!("{version:?}"));
        }
        Ok(text)
    };
    results.push(list());
    results
}

fn change_every_byte(
    fixture: &Fixture,
    modes: &[ReadMode],
    step: usize,
    read: fn(&Arc<Sstable>) -> Vec<Result<String>>,
) {
    let expected: Vec<String> =
        read(&fixture.open(ReadMode::Map)).into_iter().map(|result| result.unwrap()).collect();
    let bytes = usize::try_from(fixture.meta.bytes).unwrap();
    for at in (0..bytes).step_by(step) {
        fixture.change(|bytes| bytes[at] ^= 1 << (at % 8));
        for mode in modes {
            for (found, expected) in read(&fixture.open(*mode)).iter().zip(&expected) {
                match found {
                    Ok(found) => assert_eq!(found, expected, "byte {at} gave wrong data"),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Corruption, "{error}"),
                }
            }
        }
        let damage = fixture.open(ReadMode::Read).verify();
        assert!(!damage.is_empty(), "the damage of byte {at} was not found");
        let info = fixture.open(ReadMode::Read).blocks();
        assert!(info.is_err() || info.unwrap().len() > 3, "the dump goes on");
        fixture.change(|bytes| bytes[at] ^= 1 << (at % 8));
    }
    assert_eq!(fixture.open(ReadMode::Read).verify(), vec![]);
}

#[test]
fn each_byte_of_timelines() {
    change_every_byte(
        &timelines(Compression::None),
        &[ReadMode::Map, ReadMode::Read],
        3,
        read_timelines,
    );
}

#[test]
fn each_byte_of_compressed_timelines() {
    change_every_byte(&timelines(Compression::Lz4), &[ReadMode::Map], 3, read_timelines);
}

#[cfg(feature = "zstd")]
#[test]
fn each_byte_of_timelines_with_a_dictionary() {
    let fixture = with_dictionary();
    let blocks = fixture.open(ReadMode::Read).blocks().unwrap();
    let with = blocks.iter().filter(|block| block.codec == "zstd with dictionary").count();
    assert!(with > 3, "the dictionary is used: {blocks:?}");
    assert!(blocks.iter().any(|block| block.kind == "SSTable dictionary"));
    change_every_byte(&fixture, &[ReadMode::Map], 37, read_timelines);
    change_every_byte(&fixture, &[ReadMode::Read], 301, read_timelines);
}

#[cfg(not(feature = "zstd"))]
#[test]
fn without_zstd_lz4_is_written() {
    let blocks = with_dictionary().open(ReadMode::Read).blocks().unwrap();
    assert!(blocks.iter().any(|block| block.codec == "lz4"));
}

#[test]
fn each_byte_of_versions() {
    change_every_byte(&keyed(), &[ReadMode::Read], 3, read_keyed);
}

#[test]
fn a_cut_file_is_corruption() {
    let fixture = timelines(Compression::None);
    fixture.disk.truncate(EXTENT_OFFSET + fixture.meta.bytes - 4096).unwrap();
    for mode in [ReadMode::Map, ReadMode::Read] {
        let error = fixture.open(mode).find(b"alice").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption);
    }
}

#[test]
fn another_identity_is_corruption() {
    let fixture = timelines(Compression::None);
    let mut other = fixture.meta.clone();
    other.number += 1;
    let other = Fixture { disk: fixture.disk.clone(), meta: other };
    let error = other.open(ReadMode::Map).find(b"alice").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corruption);
}

/// Every checksum of the block holds, and it says that it belongs here; only its parent knows that
/// it does not. So would a stale copy of the block.
#[test]
fn a_block_that_its_parent_does_not_name_is_corruption() {
    for mode in [ReadMode::Map, ReadMode::Read] {
        let other = timelines_of(Compression::None, b'y');
        let fixture = timelines(Compression::None);
        let start = usize::try_from(EXTENT_OFFSET).unwrap();
        let bytes = other.disk.bytes().split_off(start);
        let header = BlockHeader::decode(&bytes).unwrap();
        let length = HEADER_SIZE + usize::try_from(header.stored_length).unwrap();
        fixture.change(|mine| mine[..length].copy_from_slice(&bytes[..length]));
        let sstable = fixture.open(mode);
        let run = sstable.find(KEYS[0]).unwrap().unwrap();
        let mut cursor = sstable.walk(KEYS[0], &run, 0, Direction::Forward).unwrap();
        let error = cursor.next().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption, "{error}");
        assert!(error.to_string().contains("its parent expects"), "{error}");
    }
}

#[test]
fn an_error_is_not_kept_but_a_cursor_sticks_to_it() {
    let fixture = timelines(Compression::None);
    let sstable = fixture.open(ReadMode::Read);
    fixture.change(|bytes| bytes[60] ^= 1);
    let run = sstable.find(b"alice").unwrap().unwrap();
    let mut cursor = sstable.walk(b"alice", &run, 0, Direction::Forward).unwrap();
    assert!(cursor.next().is_err());
    fixture.change(|bytes| bytes[60] ^= 1);
    assert!(cursor.next().is_err(), "a cursor that failed never goes on");
    let mut cursor = sstable.walk(b"alice", &run, 0, Direction::Forward).unwrap();
    assert_eq!(cursor.next().unwrap().unwrap().seq, 1);
}

#[test]
fn mapped_payloads_keep_the_guard_of_the_extent() {
    let fixture = timelines(Compression::None);
    let guard: Arc<dyn std::any::Any + Send + Sync> = Arc::new(());
    let watch = Arc::downgrade(&guard);
    let unguarded = fixture.open(ReadMode::Map);
    let source = unguarded.source().clone();
    let sstable = Arc::new(Sstable::new(fixture.meta.clone(), source, Some(guard)));
    let run = sstable.find(b"bob").unwrap().unwrap();
    let mut cursor = sstable.walk(b"bob", &run, 0, Direction::Forward).unwrap();
    let entry = cursor.next().unwrap().unwrap();
    drop((cursor, sstable));
    assert!(watch.upgrade().is_some(), "the payload lies in the map of the extent");
    assert_eq!(*entry.payload, *b"xxx");
    drop(entry);
    assert!(watch.upgrade().is_none());
}

#[test]
fn blocks_are_described_in_words() {
    for fixture in [timelines(Compression::Lz4), keyed(), with_dictionary()] {
        let sstable = fixture.open(ReadMode::Read);
        for block in sstable.blocks().unwrap() {
            assert_eq!(block.damage, None);
            let text = sstable.describe_block(block.offset).unwrap();
            assert!(!text.contains("\ndamage:") && !text.contains("unreadable"), "{text}");
        }
        assert!(sstable.describe_block(0).unwrap().contains("alice"));
        assert!(sstable.describe_block(1).is_err());
    }
}

#[test]
fn short_reads_are_legal_and_failed_reads_are_errors() {
    let fixture = timelines(Compression::None);
    let expected: Vec<_> = read_timelines(&fixture.open(ReadMode::Read))
        .into_iter()
        .map(|read| read.unwrap())
        .collect();
    let mut fault = Fault {
        operation: FaultOperation::Read,
        at: 0,
        times: FaultTimes::Forever,
        effect: FaultEffect::ShortRead,
    };
    fixture.disk.fail(fault);
    let read = read_timelines(&fixture.open(ReadMode::Read));
    assert!(read.iter().zip(&expected).all(|(read, expected)| read.as_ref().unwrap() == expected));
    fault.effect = FaultEffect::Error;
    fault.times = FaultTimes::Once;
    for at in 0..40 {
        fixture.disk.clear_faults();
        let sstable = fixture.open(ReadMode::Read);
        fixture.disk.fail(Fault { at, ..fault });
        for (read, expected) in read_timelines(&sstable).iter().zip(&expected) {
            match read {
                Ok(read) => assert_eq!(read, expected),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Io),
            }
        }
    }
    fixture.disk.clear_faults();
}

#[test]
fn without_maps_blocks_are_read() {
    let fixture = timelines(Compression::Lz4);
    let expected = read_timelines(&fixture.open(ReadMode::Map));
    let found = read_timelines(&fixture.open_without_maps());
    assert!(found.iter().zip(&expected).all(|(a, b)| a.as_ref().unwrap() == b.as_ref().unwrap()));
}
