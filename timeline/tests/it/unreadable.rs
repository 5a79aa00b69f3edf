//! Entries that are no messages of the type asked for: each is named, and hides no other.

use std::sync::Arc;
use tidelog::backend::{Backend, Batch, BatchMessage, Target};
use tidelog::{
    Durability, Error, ErrorKind, MemoryBackend, Payload, Row, Scan, Store, StringMessage,
    Timeline, TimelineEntry, TimelineItem, TimelinePrefix,
};

/// A timeline of rows, the second of whose three entries is none.
fn room_of_rows() -> (Store, Timeline<Row>) {
    let store = Store::in_memory();
    let bytes = store.table::<Vec<u8>>("message").create().unwrap().timeline("room").unwrap();
    let row = b"\x01\0\0\0\0".to_vec();
    for message in [row.clone(), b"no row".to_vec(), row] {
        bytes.store(&message).unwrap();
    }
    let room = store.table::<Row>("message").open().unwrap().timeline("room").unwrap();
    (store, room)
}

/// Checks that an error names the second entry.
fn names_it(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::Decode);
    let entry = error.entry().unwrap();
    let found = (&entry.table[..], entry.timeline.to_string(), entry.seq);
    assert_eq!(found, ("message", "room".to_owned(), 2));
    let text = error.to_string();
    assert!(text.starts_with("table message, timeline room, entry 2: row: version 110"), "{text}");
    assert!(std::error::Error::source(error).is_some());
}

/// What did not decode was not named: a reader of a scan could not even go on behind it.
#[test]
fn an_error_names_the_entry_that_it_is_of() {
    let (_store, room) = room_of_rows();
    names_it(&room.get(2).unwrap_err());
    names_it(&room.versions(2).unwrap_err());
    names_it(&room.get_async(2).wait().unwrap_err());
    names_it(&room.read_page_async(Scan::backward()).wait().unwrap_err());
    let found: Vec<_> = room.scan(Scan::forward()).unwrap().collect();
    names_it(found[1].as_ref().unwrap_err());
    assert_eq!((found.len(), found[2].as_ref().unwrap().seq), (3, 3));
    let found: Vec<_> = room.scan_items(Scan::backward()).unwrap().collect();
    names_it(found[1].as_ref().unwrap_err());
    assert!(matches!(&found[2], Ok(TimelineItem::Entry(entry)) if entry.seq == 1));
    assert!(room.store_at(1, &Row::new()).unwrap_err().entry().is_none());
}

/// It did not count: a scan by another type gave as many errors as there are entries.
#[test]
fn what_does_not_decode_counts_towards_the_limit() {
    let (store, _room) = room_of_rows();
    let texts = store.table::<StringMessage>("message").open().unwrap().timeline("room").unwrap();
    let seqs = |item: Result<TimelineEntry<StringMessage>, Error>| match item {
        Ok(entry) => entry.seq,
        Err(error) => error.entry().unwrap().seq,
    };
    let scan = Scan::forward().limit(2);
    let found: Vec<u64> = texts.scan(scan).unwrap().map(seqs).collect();
    assert_eq!(found, [1, 2]);
    assert_eq!(texts.scan_items(scan).unwrap().count(), 2);
}

/// It ended the listing, and with it went those before it.
#[test]
fn a_name_that_is_no_id_hides_no_other() {
    let backend = Arc::new(MemoryBackend::new());
    let store = Store::with_backend(backend.clone()).unwrap();
    let table = store.table::<String>("message").create().unwrap();
    for id in [b"\x02a\0\x01".as_slice(), b"\x02b", b"\x02c\0\x01"] {
        let target = Target { table: table.id(), key: id.into(), seq: None };
        let batch = Batch::append(target, Payload::from_vec(Vec::new()), None);
        backend.commit(batch, Durability::Sync).unwrap();
    }
    let found: Vec<_> = table.timelines(&TimelinePrefix::all()).unwrap().collect();
    let [Ok(first), Err(error), Ok(last)] = &found[..] else { panic!("three items: {found:?}") };
    assert_eq!((first.id.to_string(), last.id.to_string()), ("a".to_owned(), "c".to_owned()));
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert!(error.to_string().starts_with("table message, timeline of the bytes \\x02b: "));
}

/// An entry may name an origin that is no timeline of this library.
#[test]
fn an_error_says_that_it_is_of_the_origin() {
    let backend = Arc::new(MemoryBackend::new());
    let store = Store::with_backend(backend.clone()).unwrap();
    let table = store.table::<Vec<u8>>("sync").create().unwrap();
    let ann = table.timeline("ann").unwrap();
    let origin = tidelog_engine::Origin { table: table.id(), key: b"raw"[..].into(), seq: 1 };
    let batch = Batch::of(BatchMessage {
        payload: Payload::from_vec(b"text".to_vec()),
        event_ms: None,
        ttl: None,
        origin: Some(origin),
        first_is_origin: false,
        targets: vec![Target { table: table.id(), key: ann.id().as_bytes().into(), seq: None }],
    });
    backend.commit(batch, Durability::Sync).unwrap();
    let error = ann.latest().unwrap_err();
    assert_eq!((error.kind(), error.entry().unwrap().seq), (ErrorKind::Decode, 1));
    assert!(error.to_string().contains("timeline ann, entry 1: its origin: "), "{error}");
}
