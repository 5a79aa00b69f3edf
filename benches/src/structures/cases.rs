//! The list.

use super::inputs::{
    BATCH, ENTRIES, LIMIT, MESSAGES, TABLE, TIMELINES, batches, bodies, keys, rows, short_keys,
    short_rows,
};
use super::stores::{Memory, newest_seq, open};
use super::{Case, Operation};
use tidelog_engine::testing::probes::{Extents, Log, Memtable, Queue, Table, encode};
use tidelog_engine::{Compression, Direction};

/// Lookups of one operation, and timelines of the SSTable they look into.
const LOOKUPS: u64 = 5_000;
const LOOKED_INTO: u64 = 10_000;
/// Reads of one operation.
const READS: u64 = 250;
/// SSTables that are merged.
const MERGED: usize = 4;

/// Every case.
pub(super) const CASES: &[Case] = &[
    again("commit queue", "push and pop", 10_000, commit_queue),
    once("commit", "batches of ten", MESSAGES, commit),
    once("memtable", "insert", MESSAGES, memtable_insert),
    again("memtable", "newest twenty", READS * LIMIT, memtable_newest),
    again("WAL", "encode groups of one batch", MESSAGES / BATCH, wal_small),
    again("WAL", "encode groups of fifty batches", MESSAGES / BATCH, wal_large),
    again("block", "encode", MESSAGES, || block_encode(Compression::None)),
    again("block", "encode lz4", MESSAGES, || block_encode(Compression::Lz4)),
    again("block", "decode", MESSAGES, || block_decode(Compression::None)),
    again("block", "decode lz4", MESSAGES, || block_decode(Compression::Lz4)),
    again("directory", "lookup, there", LOOKUPS, directory_hit),
    again("directory", "lookup, not there", LOOKUPS, directory_miss),
    again("filter", "lookup, there", LOOKUPS, filter_hit),
    again("filter", "lookup, not there", LOOKUPS, filter_miss),
    again("scan", "newest twenty of the memtable", READS * LIMIT, scan_memtable),
    again("scan", "newest twenty of an SSTable", READS * LIMIT, scan_backward),
    again("scan", "twenty forward of an SSTable", READS * LIMIT, scan_forward),
    once("flush", "memtable to SSTable", MESSAGES, flush),
    once("merge", "four SSTables into one", MESSAGES, merge),
    once("allocator", "release and reserve", 2_000, allocator),
    once("recovery", "open with a log to replay", MESSAGES, recovery),
];

const fn again(
    suite: &'static str,
    name: &'static str,
    elements: u64,
    setup: fn() -> Operation,
) -> Case {
    Case { suite, name, elements, repeatable: true, setup }
}

const fn once(
    suite: &'static str,
    name: &'static str,
    elements: u64,
    setup: fn() -> Operation,
) -> Case {
    Case { suite, name, elements, repeatable: false, setup }
}

fn commit_queue() -> Operation {
    let queue = Queue::default();
    Box::new(move || queue.pass(10_000))
}

fn commit() -> Operation {
    let store = Memory::create();
    let mut batches = batches(store.table);
    Box::new(move || store.commit(std::mem::take(&mut batches)))
}

fn memtable_insert() -> Operation {
    let (memtable, mut bodies) = (Memtable::default(), bodies());
    Box::new(move || {
        for (commit, body) in (1..).zip(std::mem::take(&mut bodies)) {
            memtable.apply(body, commit);
        }
        MESSAGES
    })
}

fn memtable_newest() -> Operation {
    let memtable = Memtable::default();
    (1..).zip(bodies()).for_each(|(commit, body)| memtable.apply(body, commit));
    let keys = keys(READS, TIMELINES);
    let limit = usize::try_from(LIMIT).expect("a small number");
    Box::new(move || keys.iter().map(|key| memtable.newest(TABLE, key, limit)).sum())
}

fn wal_small() -> Operation {
    wal(1)
}

fn wal_large() -> Operation {
    wal(50)
}

fn wal(group: usize) -> Operation {
    let (mut log, bodies) = (Log::new(1024), bodies());
    Box::new(move || {
        let groups = bodies.chunks(group);
        groups.for_each(|group| assert!(log.append(group).expect("memory takes it") > 0));
        bodies.len() as u64
    })
}

fn block_encode(compression: Compression) -> Operation {
    let rows = rows();
    Box::new(move || encode(&rows, compression).expect("the rows are in order"))
}

fn block_decode(compression: Compression) -> Operation {
    let table = Table::new(&rows(), compression, false).expect("the rows are in order");
    Box::new(move || table.decode().expect("the table is whole"))
}

/// Looks each key up; `look` says whether the answer was the right one.
fn lookups(there: bool, look: fn(&Table, &[u8]) -> bool) -> Operation {
    let table = Table::new(&short_rows(LOOKED_INTO), Compression::None, true);
    let table = table.expect("the rows are in order");
    let keys = short_keys(LOOKUPS, LOOKED_INTO, there);
    Box::new(move || keys.iter().filter(|key| look(&table, &key[..])).count() as u64)
}

fn directory_hit() -> Operation {
    lookups(true, |table, key| table.has(key).expect("the table is whole"))
}

fn directory_miss() -> Operation {
    lookups(false, |table, key| !table.has(key).expect("the table is whole"))
}

fn filter_hit() -> Operation {
    lookups(true, |table, key| table.may_have(key).expect("the table is whole"))
}

fn filter_miss() -> Operation {
    // The filter is right most of the time, and either answer is one.
    lookups(false, |table, key| {
        std::hint::black_box(table.may_have(key).expect("the table is whole"));
        true
    })
}

fn scan(store: Memory, from: u64, direction: Direction) -> Operation {
    let keys = keys(READS, TIMELINES);
    Box::new(move || store.read(&keys, from, direction))
}

fn scan_memtable() -> Operation {
    scan(Memory::filled(), 1, Direction::Backward)
}

fn scan_backward() -> Operation {
    scan(compacted(), 1, Direction::Backward)
}

fn scan_forward() -> Operation {
    scan(compacted(), ENTRIES / 4, Direction::Forward)
}

fn compacted() -> Memory {
    let store = Memory::filled();
    store.engine.compact().expect("there is room");
    store
}

fn flush() -> Operation {
    let store = Memory::filled();
    Box::new(move || {
        store.engine.flush().expect("there is room");
        assert!(store.engine.stats().flushed_bytes > 0, "something was flushed");
        MESSAGES
    })
}

fn merge() -> Operation {
    let store = Memory::create();
    let batches = batches(store.table);
    for part in batches.chunks(batches.len() / MERGED) {
        store.commit(part.to_vec());
        store.engine.flush().expect("there is room");
    }
    Box::new(move || {
        let before = store.engine.stats().compacted_bytes;
        store.engine.compact().expect("there is room");
        assert!(store.engine.stats().compacted_bytes > before, "something was merged");
        MESSAGES
    })
}

fn allocator() -> Operation {
    let mut extents = Extents::new(4_000).expect("memory is long enough");
    Box::new(move || extents.turn_over(2_000).expect("there is room"))
}

fn recovery() -> Operation {
    let image = Memory::filled().image();
    let mut opened = None;
    Box::new(move || {
        let engine = opened.insert(open(&image));
        assert_eq!(newest_seq(engine), ENTRIES);
        MESSAGES
    })
}
