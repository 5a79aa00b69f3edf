//! Bytes that pass their checksum and still lie: hostile lengths, counts and offsets. Decoding
//! gives an error or some value, never a panic, never more memory than the bytes deserve.

use crate::batch::KeyedOperation;
use crate::cache::Source;
use crate::entry::{Direction, KeyedVersion, Payload};
use crate::limits::SEQ_MAX;
use crate::options::{Compression, ReadMode};
use crate::sstable::Unpacking;
use crate::sstable::block::Identity;
use crate::sstable::directory::{
    Bases, Found, RunLocation, encode_timeline_page, places_of, search_keyed, search_timeline,
    timeline_entry,
};
use crate::sstable::footer::Footer;
use crate::sstable::format::{BlockHeader, HEADER_SIZE, PAGE_CONTENT};
use crate::sstable::fragment::FragmentView;
use crate::sstable::index::{INDEX_ENTRIES_PER_PAGE, INDEX_ENTRY, IndexEntry};
use crate::sstable::keyed_block::KeyedBlock;
use crate::sstable::properties::Properties;
use crate::sstable::testing::{FILE, Fixture, options};
use crate::sstable::timeline_block::TimelineBlock;
use crate::sstable::{EntryRef, Rank, Sstable};
use crate::version::TableKind;
use proptest::prelude::*;
use std::ops::Bound;
use std::sync::Arc;

fn fixture(compression: Compression) -> Fixture {
    Fixture::build(options(TableKind::Timeline, compression), 600, |builder| {
        for key in [b"a", b"b", b"c"] {
            for seq in 1..30 {
                builder.append(
                    key,
                    &EntryRef {
                        seq: seq * 2,
                        commit: seq,
                        time_ms: seq,
                        ttl_ms: None,
                        event_ms: Some(7),
                        origin: None,
                        payload: b"a payload",
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

fn keyed_fixture(compression: Compression) -> Fixture {
    let options = options(TableKind::Keyed, compression);
    let mut keys: Vec<String> = (0..40).map(|number| format!("key {number}")).collect();
    keys.sort();
    Fixture::build(options, 600, |builder| {
        for key in &keys {
            for commit in (1..4).rev() {
                builder.add_version(&KeyedVersion {
                    key: key.as_bytes().into(),
                    commit,
                    index: 0,
                    time_ms: commit,
                    operation: KeyedOperation::Add,
                    value: Payload::from_vec(commit.to_le_bytes().to_vec()),
                })?;
            }
        }
        Ok(())
    })
    .unwrap()
}

/// Gives each block the checksum of its new content, as somebody who knows the format would.
fn repair(fixture: &mut Fixture, offset: usize, length: usize) {
    let identity = Identity { file: FILE, number: fixture.meta.number };
    let mut checksum = 0;
    fixture.change(|bytes| {
        let place = offset as u64;
        let block = &mut bytes[offset..offset + length];
        checksum =
            crate::codec::checksum_seeded(identity.file, identity.number, place, &block[4..]);
        block[..4].copy_from_slice(&checksum.to_le_bytes());
    });
    if offset as u64 + 4096 == fixture.meta.bytes {
        fixture.meta.footer_checksum = checksum;
    }
}

/// The same for all blocks, and for what the index says of their checksums: nothing is left that
/// tells of a change but what the changed bytes mean.
fn repair_all(fixture: &mut Fixture, blocks: &[(usize, usize)], index: usize, data_blocks: usize) {
    for (number, (offset, length)) in blocks.iter().copied().enumerate().take(data_blocks) {
        repair(fixture, offset, length);
        let page = index + number / INDEX_ENTRIES_PER_PAGE * 4096;
        let entry = page + HEADER_SIZE + number % INDEX_ENTRIES_PER_PAGE * INDEX_ENTRY;
        fixture.change(|bytes| bytes.copy_within(offset..offset + 4, entry + 12));
    }
    for (offset, length) in &blocks[data_blocks..] {
        repair(fixture, *offset, *length);
    }
}

/// Uses every path of a keyed table; what comes out does not matter.
fn use_keys(fixture: &Fixture, mode: ReadMode) {
    let sstable = fixture.open(mode);
    for key in [&b"a"[..], b"key 3", b"key 17"] {
        let _ = sstable.versions(key, 9);
        let _ = sstable.all_versions(key, u64::MAX);
    }
    for cursor in [
        sstable.keyed_cursor(Bound::Unbounded),
        sstable.keyed_cursor(Bound::Excluded(b"key 2")),
        sstable.keyed_scan(Bound::Unbounded),
    ] {
        let Ok(mut cursor) = cursor else { continue };
        for _ in 0..500 {
            let _ = cursor.next();
        }
    }
    let _ = sstable.verify();
}

/// Copies all as a compaction does, up to the first error.
fn copy(fixture: &Fixture, compression: Compression) {
    let copied = Fixture::build(options(TableKind::Timeline, compression), 600, |builder| {
        let mut cursor = fixture.open(ReadMode::Read).fragments(None)?;
        while let Some(fragment) = cursor.next()? {
            builder.append_fragment(&fragment.view())?;
        }
        Ok(())
    });
    if let Ok(copied) = copied {
        use_everything(&copied, ReadMode::Map);
    }
}

/// Uses every path; what comes out does not matter.
fn use_everything(fixture: &Fixture, mode: ReadMode) {
    let sstable = fixture.open(mode);
    for key in [b"a", b"b", b"c"] {
        let Ok(Some(run)) = sstable.find(key) else {
            continue;
        };
        for value in [1, 9, 31, u64::MAX] {
            for by in [Rank::Seq(value), Rank::Commit(value), Rank::Time(value)] {
                let _ = sstable.rank(key, &run, by);
            }
        }
        for direction in [Direction::Forward, Direction::Backward] {
            let Ok(mut cursor) = sstable.walk(key, &run, 7, direction) else {
                continue;
            };
            for _ in 0..40 {
                let _ = cursor.next();
            }
        }
    }
    if let Ok(mut cursor) = sstable.timelines(Bound::Unbounded) {
        while let Ok(Some(_)) = cursor.next() {}
    }
    if let Ok(mut cursor) = sstable.fragments(None) {
        while let Ok(Some(fragment)) = cursor.next() {
            for k in 0..fragment.view().count().min(100) {
                let _ = fragment.view().entry(k);
            }
        }
    }
    let _ = sstable.verify();
    for block in sstable.blocks().unwrap_or_default() {
        let _ = sstable.describe_block(block.offset);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn blocks_that_lie_do_not_panic(
        block in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        front in any::<bool>(),
        map in any::<bool>(),
        zstd in any::<bool>(),
    ) {
        let compression = match zstd {
            true => Compression::Zstd { level: 1 },
            false => Compression::None,
        };
        let mut fixture = fixture(compression);
        let blocks = fixture.open(ReadMode::Read).blocks().unwrap();
        let block = &blocks[block.index(blocks.len())];
        let (offset, length) =
            (usize::try_from(block.offset).unwrap(), usize::try_from(block.length).unwrap());
        // Most lies are told in the first bytes: headers, counts and lengths.
        let reach = if front { length.min(140) } else { length };
        for (at, value) in changes {
            fixture.change(|bytes| bytes[offset + 4 + at.index(reach - 4)] = value);
        }
        repair(&mut fixture, offset, length);
        use_everything(&fixture, if map { ReadMode::Map } else { ReadMode::Read });
    }

    #[test]
    fn blocks_that_lie_and_their_parents_do_not_panic(
        changes in prop::collection::vec(
            (any::<prop::sample::Index>(), 4usize..140, any::<u8>()),
            1..6,
        ),
        keyed in any::<bool>(),
        lz4 in any::<bool>(),
    ) {
        let compression = if lz4 { Compression::Lz4 } else { Compression::None };
        let mut fixture = if keyed { keyed_fixture(compression) } else { fixture(compression) };
        let blocks = fixture.open(ReadMode::Read).blocks().unwrap();
        let index = blocks.iter().position(|block| block.kind == "SSTable index page").unwrap();
        let place = |value: u64| usize::try_from(value).unwrap();
        let blocks: Vec<(usize, usize)> =
            blocks.iter().map(|block| (place(block.offset), place(block.length))).collect();
        for (block, at, value) in changes {
            let (offset, length) = blocks[block.index(blocks.len())];
            fixture.change(|bytes| bytes[offset + at.min(length - 1)] = value);
        }
        repair_all(&mut fixture, &blocks, blocks[index].0, index);
        for mode in [ReadMode::Map, ReadMode::Read] {
            if keyed { use_keys(&fixture, mode) } else { use_everything(&fixture, mode) }
        }
        if !keyed {
            copy(&fixture, compression);
        }
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(
        bytes in prop::collection::vec(prop_oneof![3 => 0u8..8, 1 => any::<u8>()], 0..600),
        items in 0usize..200,
        hash in any::<u64>(),
    ) {
        if let Ok(header) = BlockHeader::decode(&bytes) {
            let _ = Unpacking::default().decompress(&header, &bytes, None);
        }
        if let Ok(fragment) = FragmentView::parse(&bytes) {
            let _ = fragment.verify();
            for k in 0..fragment.count() {
                let _ = fragment.entry(k);
            }
        }
        if let Ok(block) = TimelineBlock::parse(&bytes, items) {
            for index in 0..block.count() {
                let _ = block.layout(index);
            }
            let _ = block.partition(|head| head.key < &b"key"[..]);
        }
        if let Ok(block) = KeyedBlock::parse(&bytes, items) {
            for index in 0..block.count() {
                let _ = block.version(index);
            }
        }
        let _ = search_timeline(&bytes, items, Bases::default(), hash, b"key");
        let _ = search_keyed(&bytes, items, hash);
        let _ = timeline_entry(&bytes, items, Bases::default(), 0);
        let _ = Properties::decode(&bytes);
        let _ = IndexEntry::decode(&bytes, items, 1 << 40);
        let _ = Footer::decode(&bytes, &fixture(Compression::None).meta);
    }
}

#[test]
fn a_run_of_seqs_that_cannot_be_is_refused() {
    // Story: a directory could say that a run begins with seq 0, or ends beyond the largest.
    // Whoever reckoned with the seq before the first one, or behind the last, overflowed.
    let run = RunLocation {
        first_seq: 1,
        last_seq: 1,
        count: 1,
        first_block: 0,
        last_block: 0,
        first_offset: 0,
        times_ms: (0, 0),
        last_commit: 0,
    };
    let found = |first_seq, last_seq| {
        let run = RunLocation { first_seq, last_seq, ..run };
        let mut page = Vec::new();
        encode_timeline_page(&[(7, b"key", run)], Bases::default(), &mut page);
        page.resize(PAGE_CONTENT, 0);
        search_timeline(&page, 1, Bases::default(), 7, b"key")
    };
    assert!(matches!(found(1, SEQ_MAX), Ok(Found::Here(_))));
    for (first, last) in [(0, 0), (0, 9), (SEQ_MAX + 1, SEQ_MAX + 1), (1, u64::MAX)] {
        assert!(found(first, last).is_err(), "{first} to {last}");
    }
}

#[test]
fn any_number_of_keys_leads_to_some_places() {
    // Story: where a lookup touches a page before it reads it is reckoned from the number of keys
    // that the manifest gives the SSTable, and the product overflowed.
    for hash in [0, 1 << 48, u64::MAX] {
        assert!(places_of(hash, usize::MAX).iter().all(|place| *place < 4 * PAGE_CONTENT));
    }
}

#[test]
fn a_hostile_raw_length_allocates_nothing() {
    let mut bytes = Vec::new();
    let header = BlockHeader {
        kind: crate::sstable::format::BlockKind::TimelineData,
        codec: crate::sstable::format::Codec::Lz4,
        flags: 0,
        stored_length: 10,
        raw_length: u32::MAX,
        items: 1,
        number: 1,
        offset: 0,
    };
    header.encode(&mut bytes);
    assert!(BlockHeader::decode(&bytes).is_err());
    let more = BlockHeader { raw_length: 10 * 255 + 1, ..header };
    bytes.clear();
    more.encode(&mut bytes);
    assert!(BlockHeader::decode(&bytes).is_err());
    assert_eq!(bytes.len(), HEADER_SIZE);
}

#[test]
fn a_hostile_zstd_frame_fills_no_more_than_its_block() {
    let header = BlockHeader {
        kind: crate::sstable::format::BlockKind::TimelineData,
        codec: crate::sstable::format::Codec::Zstd,
        flags: 0,
        stored_length: 10,
        raw_length: 10 * 32 * 1024 + 1,
        items: 1,
        number: 1,
        offset: 0,
    };
    let mut bytes = Vec::new();
    header.encode(&mut bytes);
    assert!(BlockHeader::decode(&bytes).is_err(), "zstd cannot expand as far as this");
    // A frame that says it holds a terabyte in a window of a terabyte, and one of a run of bytes
    // that is longer than its block.
    let huge: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd, 0xc0, 0xf0, 0, 0, 0, 0, 0, 1, 0, 0, 3, 0, 0];
    let run: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58, 0x03, 0x00, 0x10, 0x61];
    for stored in [huge, run] {
        let header = BlockHeader {
            stored_length: u32::try_from(stored.len()).unwrap(),
            raw_length: 4096,
            ..header
        };
        bytes.clear();
        header.encode(&mut bytes);
        bytes.extend_from_slice(stored);
        let header = BlockHeader::decode(&bytes).unwrap();
        let unpacked = Unpacking::default().decompress(&header, &bytes, None);
        match crate::sstable::zstd::AVAILABLE {
            true => assert!(unpacked.unwrap().is_err()),
            false => assert!(unpacked.unwrap_err().to_string().contains("zstd")),
        }
    }
}

/// One entry a key.
fn of_keys(keys: impl Iterator<Item = Vec<u8>>) -> Fixture {
    Fixture::build(options(TableKind::Timeline, Compression::None), 4096, |builder| {
        for key in keys {
            let entry = EntryRef {
                seq: 1,
                commit: 1,
                time_ms: 1,
                ttl_ms: None,
                event_ms: None,
                origin: None,
                payload: b"text",
                shared: None,
                erased: false,
            };
            builder.append(&key, &entry)?;
        }
        Ok(())
    })
    .unwrap()
}

/// Story: all pages of a directory said that they are continued, and each key lay in the last one
/// that its lookup comes to. To verify the SSTable took their number times that of the keys.
#[test]
fn a_directory_that_is_continued_throughout_costs_no_round_a_key() {
    const KEYS: u32 = 10_000;
    let mut fixture = of_keys((0..KEYS).map(|key| key.to_be_bytes().to_vec()));
    let blocks = fixture.open(ReadMode::Read).blocks().unwrap();
    let pages = blocks.iter().filter(|block| block.kind == "SSTable directory page");
    let pages: Vec<usize> = pages.map(|page| usize::try_from(page.offset).unwrap()).collect();
    fixture.change(|bytes| {
        bytes[pages[0]..pages[0] + 4096 * pages.len()].rotate_left(4096);
        for offset in &pages {
            bytes[offset + 6] = 1;
            bytes[offset + 32..offset + 40].copy_from_slice(&(*offset as u64).to_le_bytes());
        }
    });
    pages.iter().for_each(|offset| repair(&mut fixture, *offset, 4096));
    let (keys, rounds) = (u64::from(KEYS), pages.len() as u64 - 1);
    let most = 530 * (fixture.meta.bytes / 4096) + 4 * keys;
    assert!(keys * rounds > 2 * most, "{rounds} pages of {} bytes", fixture.meta.bytes);
    // Without a cache each look at a page is a read.
    let source = Source::uncached(Arc::new(fixture.disk.clone()), FILE);
    let before = fixture.disk.counts().reads;
    let damage = Sstable::new(fixture.meta.clone(), source, None).verify();
    let reads = fixture.disk.counts().reads - before;
    assert!(damage.iter().any(|it| it.detail.contains("lookups go over")), "{damage:?}");
    assert!(reads < most, "{reads} reads, {most} are enough");
}

/// Three keys of a thousand bytes just fill a page, and many have to go on to other pages.
#[test]
fn a_directory_of_long_keys_is_not_taken_for_a_hostile_one() {
    let long = |key: u32| [&key.to_be_bytes()[..], &[7; 1001]].concat();
    let fixture = of_keys((0..3000).map(long));
    assert_eq!(fixture.open(ReadMode::Read).verify(), []);
}
