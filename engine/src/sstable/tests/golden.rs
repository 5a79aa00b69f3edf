//! The bytes of every structure, as they were first written: they must never change.

use crate::batch::KeyedOperation;
use crate::entry::{KeyedVersion, Payload, TableId};
use crate::options::Compression;
use crate::own_ttl::OwnTtl;
use crate::segment::Reference;
use crate::sstable::block::{Identity, Unsealed, seal};
use crate::sstable::directory::{Bases, RunLocation, encode_keyed_page, encode_timeline_page};
use crate::sstable::entry::{self, Shared};
use crate::sstable::filter;
use crate::sstable::footer::{Footer, Section};
use crate::sstable::format::{BlockKind, Codec, FLAG_CONTINUED};
use crate::sstable::fragment_writer::{FragmentWriter, Row};
use crate::sstable::index::IndexEntry;
use crate::sstable::keyed_block::encode_version;
use crate::sstable::properties::Properties;
use crate::sstable::testing::{FILE, Fixture, meta, options};
use crate::sstable::{Builder, EntryRef, FragmentView, OriginRef};
use crate::version::TableKind;

fn hex(bytes: &[u8]) -> String {
    let words: Vec<String> = bytes
        .chunks(8)
        .map(|chunk| chunk.iter().map(|byte| format!("{byte:02x}")).collect())
        .collect();
    words.join(" ")
}

#[test]
fn block_header() {
    let mut bytes = Vec::new();
    let block = Unsealed {
        kind: BlockKind::Directory,
        flags: FLAG_CONTINUED,
        items: 3,
        codec: Codec::None,
        stored: b"content",
        raw_length: 7,
    };
    seal(Identity { file: FILE, number: 42 }, 4096, &block, &mut bytes);
    bytes.extend_from_slice(block.stored);
    assert_eq!(
        hex(&bytes),
        "77ae521d04010100 0700000007000000 0300000000000000 2a00000000000000 \
         0010000000000000 636f6e74656e74"
    );
}

#[test]
fn fragment() {
    let origin = OriginRef { table: TableId(9), key: b"room", seq: 77 };
    let entry = EntryRef {
        seq: 300,
        commit: 1000,
        time_ms: 5000,
        ttl_ms: None,
        event_ms: Some(-2),
        origin: Some(origin),
        payload: b"hello",
        shared: None,
        erased: false,
    };
    let mut head = Vec::new();
    entry.encode_head(&mut head);
    let mut writer = FragmentWriter::default();
    writer.start(b"alice", 4);
    let plain = Row {
        seq: 7,
        commit: 1000,
        time_ms: 4000,
        flags: 0,
        head: b"",
        tail: b"hi",
        payload_length: 2,
        reference: None,
        expires_ms: None,
    };
    writer.push(&plain);
    writer.push(&Row {
        seq: 300,
        commit: 1001,
        time_ms: 5000,
        flags: entry.flags(),
        head: &head,
        tail: entry.payload,
        payload_length: 5,
        reference: None,
        expires_ms: None,
    });
    let mut bytes = Vec::new();
    writer.encode(&mut bytes);
    assert_eq!(
        hex(&bytes),
        "8a12111111220405 02211a07e803a00f 616c696365250101 e803000302216869 \
         feffffffffffffff 090000004d000000 000000000400726f 6f6d68656c6c6f"
    );
}

#[test]
fn entry_with_a_time_to_live() {
    let reference = Reference::from_bits((9 << 24) | 2).unwrap();
    let entry = EntryRef {
        seq: 1,
        commit: 2,
        time_ms: 3,
        event_ms: Some(-2),
        ttl_ms: Some(300),
        origin: None,
        payload: b"",
        shared: Some(Shared { reference, is_origin: false }),
        erased: false,
    };
    let mut bytes = Vec::new();
    entry.encode_head(&mut bytes);
    assert_eq!(entry.flags(), 13);
    assert_eq!(hex(&bytes), "feffffffffffffff ac02020000090000 0000");
    let read = entry::decode(13, &bytes).unwrap();
    assert_eq!((read.ttl_ms, read.shared), (Some(300), entry.shared));
    assert_eq!(entry::own_ttl(13, &bytes), Ok(Some(300)));
    assert_eq!(entry::reference(13, &bytes), Ok(Some(reference)));
    assert!(entry::decode(4, &[0, 1]).is_err(), "a time to live of nothing");
}

/// Equal flags and equal lengths have no columns.
#[test]
fn uniform_fragment() {
    let mut writer = FragmentWriter::default();
    writer.start(b"bob", 0);
    for number in 0..3u64 {
        let reference = ((9 << 24) | number).to_le_bytes();
        writer.push(&Row {
            seq: 5 + number,
            commit: 70,
            time_ms: 80,
            flags: 8,
            head: &[],
            tail: &reference,
            payload_length: 0,
            reference: None,
            expires_ms: None,
        });
    }
    let mut bytes = Vec::new();
    writer.encode(&mut bytes);
    assert_eq!(
        hex(&bytes),
        "0020081011111103 031818054650626f 6200000009000000 0001000009000000 \
         0002000009000000 00"
    );
    let fragment = FragmentView::parse(&bytes).unwrap();
    fragment.verify().unwrap();
    assert_eq!(fragment.reference(2).unwrap().map(|found| found.bits()), Some((9 << 24) | 2));
}

#[test]
fn version() {
    let mut bytes = Vec::new();
    let version = KeyedVersion {
        key: b"key"[..].into(),
        commit: 5,
        index: 2,
        time_ms: 1000,
        operation: KeyedOperation::Add,
        value: Payload::from_vec(vec![1, 0, 0, 0, 0, 0, 0, 0]),
    };
    encode_version(&version, &mut bytes);
    assert_eq!(
        hex(&bytes),
        "0500000000000000 e803000000000000 0200000003000300 080000006b657901 \
         00000000000000"
    );
}

#[test]
fn index_entry() {
    let mut bytes = Vec::new();
    let entry = IndexEntry {
        offset: 1,
        length: 2,
        checksum: 3,
        first_seq: 4,
        base_index: 5,
        base_commit: 6,
        base_time: 7,
    };
    entry.encode(&mut bytes);
    assert_eq!(
        hex(&bytes),
        "0100000000000000 0200000003000000 0400000000000000 0500000000000000 \
         0600000000000000 0700000000000000"
    );
}

#[test]
fn directory_pages() {
    let mut bytes = Vec::new();
    let run = RunLocation {
        first_seq: 1,
        last_seq: 2,
        count: 2,
        first_block: 3,
        last_block: 4,
        first_offset: 9,
        times_ms: (5, 6),
        last_commit: 7,
    };
    let entries = [(0x1111_1111_0000_0000, &b"a"[..], run), (0x2222_2222_0000_0000, b"bcd", run)];
    let bases = Bases { commit: 3, time_ms: 5 };
    encode_timeline_page(&entries, bases, &mut bytes);
    assert_eq!(hex(&bytes), "1111222208001300 0301010309000104 0001610701010309 0001040001626364");
    bytes.clear();
    encode_keyed_page(&[(0x1111_1111_0000_0000, 5), (0x2222_2222_0000_0000, 6)], &mut bytes);
    assert_eq!(hex(&bytes), "1111111122222222 0500000006000000");
}

#[test]
fn filter_bits() {
    let mut page = vec![0; 4032];
    filter::add(&mut page, 0x0123_4567_89ab_cdef);
    let bits: Vec<usize> =
        (0..page.len() * 8).filter(|bit| page[bit / 8] >> (bit % 8) & 1 == 1).collect();
    assert_eq!(bits, [29971, 30013, 30043, 30071, 30108, 30200]);
}

#[test]
fn properties_and_footer() {
    let mut own_ttl = OwnTtl::default();
    [400, 437, 437].into_iter().for_each(|expires_ms| own_ttl.note(expires_ms));
    let properties = Properties {
        entries: 4,
        keys: 2,
        payload_bytes: 3,
        commits: (4, 5),
        times_ms: (6, 7),
        oldest_origin: 10,
        own_ttl: own_ttl.clone(),
        first: (b"a"[..].into(), 8),
        last: (b"bc"[..].into(), 9),
    };
    let mut bytes = Vec::new();
    properties.encode(&mut bytes);
    assert_eq!(
        hex(&bytes),
        "0400000000000000 0200000000000000 0300000000000000 0400000000000000 \
         0500000000000000 0600000000000000 0700000000000000 0800000000000000 \
         0900000000000000 0100020000000000 0a00000000000000 6162630a02640000 \
         0000000000010000 00000000000002"
    );
    assert_eq!(Properties::decode(&bytes).unwrap(), properties);
    let section = |offset| Section { offset, length: 4096, count: 1, checksum: 0xabcd };
    let footer = Footer {
        kind: TableKind::Keyed,
        table: TableId(16),
        bytes: 7 * 4096,
        data: section(0),
        index: section(4096),
        directory: section(2 * 4096),
        filter: section(3 * 4096),
        properties: section(4 * 4096),
        dictionary: Section { offset: 5 * 4096, length: 100, count: 1, checksum: 0xef },
    };
    bytes.clear();
    footer.encode(&mut bytes);
    assert_eq!(
        hex(&bytes),
        "5449444553535400 0100000002000000 1000000006000000 0070000000000000 \
         0000000000000000 0010000000000000 0100000000000000 cdab000000000000 \
         0010000000000000 0010000000000000 0100000000000000 cdab000000000000 \
         0020000000000000 0010000000000000 0100000000000000 cdab000000000000 \
         0030000000000000 0010000000000000 0100000000000000 cdab000000000000 \
         0040000000000000 0010000000000000 0100000000000000 cdab000000000000 \
         0050000000000000 6400000000000000 0100000000000000 ef00000000000000"
    );
    let mut meta = Fixture::build(options(TableKind::Keyed, Compression::None), 100, |builder| {
        builder.add_version(&KeyedVersion {
            key: b"k"[..].into(),
            commit: 1,
            index: 0,
            time_ms: 1,
            operation: KeyedOperation::Put,
            value: Payload::from_vec(Vec::new()),
        })
    })
    .unwrap()
    .meta;
    assert_eq!(meta.bytes, 6 * 4096);
    meta.bytes = 7 * 4096;
    assert_eq!(Footer::decode(&bytes, &meta).unwrap(), footer);
    meta.table = TableId(17);
    assert!(Footer::decode(&bytes, &meta).is_err());
}

#[test]
fn equal_input_gives_equal_bytes() {
    let options = options(TableKind::Timeline, Compression::None);
    let mut builder = Builder::new(Vec::new(), options);
    for number in 0..500u32 {
        let entry = EntryRef {
            seq: 1,
            commit: 1 + u64::from(number),
            time_ms: 9,
            ttl_ms: None,
            event_ms: None,
            origin: None,
            payload: &number.to_be_bytes(),
            shared: None,
            erased: false,
        };
        builder.append(&number.to_be_bytes(), &entry).unwrap();
    }
    let (bytes, built) = builder.finish().unwrap();
    assert_eq!(meta(&options, &built).keys, 500);
    assert_eq!((built.bytes, crate::codec::checksum(&bytes)), (40960, 3_115_318_975));
}
