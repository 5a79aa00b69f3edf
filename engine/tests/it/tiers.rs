//! zstd and the cold tier: what is moved and compressed reads as before.

use super::world::{World, tiny, tiny_read};
use tidelog_engine::{
    Compression, Direction, Durability, Engine, ErrorKind, Options, TableId, TableOptions,
    WriteBatch,
};

fn append(engine: &Engine, table: TableId, key: &[u8], text: &str) {
    let mut batch = WriteBatch::new();
    batch.append(table, key, text.as_bytes(), None).unwrap();
    engine.commit(batch, Durability::Buffered).unwrap();
}

fn texts(engine: &Engine, table: TableId, key: &[u8], direction: Direction) -> Vec<String> {
    let scan = engine.snapshot().scan(table, key, 0, u64::MAX, direction).unwrap();
    scan.map(|entry| String::from_utf8(entry.unwrap().payload.to_vec()).unwrap()).collect()
}

fn text(key: u8, number: u64) -> String {
    format!("message {number} of {key}: have you seen what the tide has left on the beach?")
}

#[test]
fn a_table_with_zstd_reads_as_it_was_written() {
    let compression = Compression::Zstd { level: 3 };
    for options in [tiny(), tiny_read()] {
        // Large enough for the pages that every SSTable has to count for little.
        let options = Options { memtable_bytes: 1 << 18, sstable_bytes: 1 << 20, ..options };
        let world = World::new(1);
        let process = world.open(&options).unwrap();
        let engine = &process.engine;
        let options_of_table = TableOptions { compression, ..TableOptions::timeline() };
        let created = engine.create_table("message", options_of_table);
        if !cfg!(feature = "zstd") {
            let error = created.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains("feature `zstd`"), "{error}");
            continue;
        }
        let table = created.unwrap();
        for number in 1..=2_000 {
            append(engine, table, &[b'a' + u8::try_from(number % 3).unwrap()], &text(1, number));
        }
        engine.compact().unwrap();
        let stats = engine.stats();
        assert!(stats.sstable_bytes < 2_000 * 80 / 2, "it is compressed: {stats:?}");
        engine.close().unwrap();
        drop(process);
        let process = world.open(&options).unwrap();
        for rest in 0..3 {
            let key = [b'a' + u8::try_from(rest).unwrap()];
            let mut expected: Vec<String> =
                (1..=2_000).filter(|n| n % 3 == rest).map(|n| text(1, n)).collect();
            let found = texts(&process.engine, table, &key, Direction::Forward);
            assert_eq!(found, expected);
            expected.reverse();
            assert_eq!(texts(&process.engine, table, &key, Direction::Backward), expected);
        }
    }
}

#[test]
fn a_level_of_zstd_that_does_not_exist_is_refused() {
    let process = World::new(2).open(&tiny()).unwrap();
    for level in [0, 20] {
        let compression = Compression::Zstd { level };
        let options = TableOptions { compression, ..TableOptions::timeline() };
        let error = process.engine.create_table("message", options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidUse, "{error}");
    }
}
