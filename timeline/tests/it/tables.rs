//! Tables as an application creates, opens and alters them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tidelog::{Compression, ErrorKind, Options, Store, TableOptions};

const DAY: Duration = Duration::from_secs(86_400);

/// A table of this crate had not all options that tables of the engine have.
#[test]
fn a_table_is_created_with_every_option_of_the_engine() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { ring_bytes: 256 * 1024, ..Options::default() };
    let store = Store::options().engine(options).open(folder.path().join("t.tide")).unwrap();
    let history = store.table::<String>("history").cold_after(30 * DAY).keep_last(1_000_000);
    let history = history.ttl(365 * DAY).erase_after(DAY).compression(Compression::Lz4);
    let expected = TableOptions::timeline().cold_after(30 * DAY).keep_last(1_000_000);
    let expected = expected.ttl(365 * DAY).erase_after(DAY);
    let expected = TableOptions { compression: Compression::Lz4, ..expected };
    assert_eq!(*history.create().unwrap().options(), expected);
    let archive = store.table::<String>("archive").born_cold().create().unwrap();
    assert_eq!(*archive.options(), TableOptions::timeline().born_cold());
    let refused = store.table::<String>("n").cold_after(Duration::ZERO).create().err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::InvalidUse);
}

#[test]
fn a_table_is_altered_and_keeps_what_it_holds() {
    let store = Store::in_memory();
    let table = store.table::<String>("t").ttl(DAY).create().unwrap();
    let room = table.timeline("room").unwrap();
    room.store(&"one".to_owned()).unwrap();
    let altered = table.alter(|options| options.ttl(7 * DAY)).unwrap();
    assert_eq!((altered.id(), altered.options().ttl_ms), (table.id(), Some(7 * 86_400_000)));
    let stale = store.table::<String>("t").ttl(DAY).create().err().unwrap();
    assert_eq!(stale.kind(), ErrorKind::AlreadyExists);
    let other = store.table::<String>("t").ttl(30 * DAY).create_or_alter().unwrap();
    assert_eq!((other.id(), other.options().ttl_ms), (table.id(), Some(30 * 86_400_000)));
    assert_eq!(store.table::<String>("t").open().unwrap().options(), other.options());
    assert_eq!(room.latest().unwrap().unwrap().message, "one");
    let given = store.table::<String>("t").given_ids().create_or_alter().err().unwrap();
    assert_eq!(given.kind(), ErrorKind::InvalidUse);
    store.drop_table("t").unwrap();
    store.table::<String>("t").create_or_alter().unwrap();
    let gone = table.alter(|options| options).err().unwrap();
    assert_eq!(gone.kind(), ErrorKind::NotFound, "the new table of that name is another one");
}

/// Two that alter a table at the same time would take back each other's options.
#[test]
fn no_alteration_takes_back_another_one() {
    let store = Store::in_memory();
    let table = store.table::<String>("t").create().unwrap();
    let (inner, calls) = (table.clone(), AtomicU32::new(0));
    let altered = table.alter(|options| {
        if calls.fetch_add(1, Ordering::Relaxed) == 0 {
            inner.alter(|options| options.keep_last(7)).unwrap();
        }
        options.ttl(DAY)
    });
    let options = altered.unwrap().options().clone();
    assert_eq!(options, TableOptions::timeline().keep_last(7).ttl(DAY));
    assert_eq!(calls.into_inner(), 2);
}

/// A store that is open for reading only refused to open a table by the calls that may create one.
#[test]
fn a_table_that_is_there_is_opened_by_a_reader() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.tide");
    let options = Options { ring_bytes: 256 * 1024, ..Options::default() };
    let store = Store::options().engine(options.clone()).open(&path).unwrap();
    let table = store.table::<String>("t").ttl(DAY).create().unwrap();
    table.timeline("room").unwrap().store(&"hello".to_owned()).unwrap();
    store.close().unwrap();
    drop((store, table));
    let options = Options { read_only: true, create: false, ..options };
    let store = Store::options().engine(options).open(&path).unwrap();
    let tables = [
        store.table::<String>("t").ttl(DAY).create().unwrap(),
        store.table::<String>("t").create_or_open().unwrap(),
        store.table::<String>("t").ttl(DAY).create_or_alter().unwrap(),
    ];
    for table in tables {
        assert_eq!(table.timeline("room").unwrap().latest().unwrap().unwrap().message, "hello");
    }
    let refused = store.table::<String>("other").create_or_open().err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Closed);
    let refused = store.table::<String>("t").create_or_alter().err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Closed);
}
