//! Tables as an application creates, opens and alters them.

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
