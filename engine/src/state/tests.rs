use super::*;
use crate::entry::TableId;

const TABLE: TableId = TableId(16);

#[test]
fn golden_bytes_of_a_state_record() {
    let record = StateRecord { next_seq: 2, last_commit: 3, last_time_ms: 4 };
    let expected =
        [&[1u8][..], &2u64.to_le_bytes(), &3u64.to_le_bytes(), &4u64.to_le_bytes(), &[0; 16]]
            .concat();
    assert_eq!(record.encode(), expected);
    assert_eq!(StateRecord::decode(&expected), Ok(record));
    assert!(StateRecord::decode(&expected[..40]).is_err());
    let mut reserved = expected.clone();
    reserved[40] = 1;
    assert!(StateRecord::decode(&reserved).is_err());
}

#[test]
fn a_pinned_cell_is_never_evicted_and_never_doubled() {
    let cache = StateCache::new(0);
    let pinned = cache.pin(TABLE, b"pinned", || Ok((StateRecord::NEW, 1))).unwrap();
    pinned.assign(41);
    for number in 0..10_000u32 {
        cache.pin(TABLE, &number.to_be_bytes(), || Ok((StateRecord::NEW, 1))).unwrap();
    }
    assert!(cache.len() < 2_000, "the cache is bounded, it holds {}", cache.len());
    let again = cache.pin(TABLE, b"pinned", || panic!("it is cached")).unwrap();
    assert_eq!(again.next_seq(), 42);
}

#[test]
fn a_loader_overtaken_by_an_eviction_loads_again() {
    // Story: A misses and reads next seq 1. B loads the same timeline, appends (next seq 2), and
    // its cell is evicted. Were A to insert what it read, seq 1 would be given out twice.
    let cache = StateCache::new(0);
    let mut loads = 0;
    let cell = cache
        .pin(TABLE, b"raced", || {
            loads += 1;
            if loads == 1 {
                cache.pin(TABLE, b"raced", || Ok((StateRecord::NEW, 1))).unwrap();
                for number in 0..10_000u32 {
                    cache.pin(TABLE, &number.to_be_bytes(), || Ok((StateRecord::NEW, 1))).unwrap();
                }
                return Ok((StateRecord::NEW, 1));
            }
            Ok((StateRecord { next_seq: 2, last_commit: 1, last_time_ms: 1 }, 2))
        })
        .unwrap();
    assert_eq!((loads, cell.next_seq()), (2, 2));
}

#[test]
fn many_are_pinned_in_their_order() {
    // Story: a batch names timelines that are cached, that are not, and some of them twice.
    let cache = StateCache::new(1 << 20);
    let next_of = |number: u64| StateRecord { next_seq: number, ..StateRecord::NEW };
    let key = |number: u64| format!("timeline {number}, at times one with a long id").into_bytes();
    let keys: Vec<_> = (1..1_000).map(|number| key(number * 7 % 300 + 1)).collect();
    for number in (1..300).step_by(2) {
        cache.pin(TABLE, &key(number), || Ok((next_of(number), number))).unwrap();
    }
    let mut loads = 0;
    let load = |_, id: &[u8]| {
        loads += 1;
        let number = (1..=300).find(|number| key(*number) == id).unwrap();
        assert!(number % 2 == 0, "{number} is cached");
        Ok((next_of(number), number))
    };
    let cells = cache.pin_all(keys.iter().map(|key| Ok((TABLE, &key[..]))), load).unwrap();
    assert_eq!((cells.len(), loads, cache.len()), (keys.len(), 150, 300));
    for (cell, number) in cells.iter().zip(1..1_000) {
        assert_eq!(cell.next_seq(), number * 7 % 300 + 1);
    }
}

#[test]
fn one_failure_fails_all_and_pins_none() {
    let cache = StateCache::new(1 << 20);
    let keys = [b"a", b"b", b"c", b"d", b"e"];
    let load = |_, key: &[u8]| match key {
        b"d" => Err(crate::Error::Closed { what: "a test" }),
        _ => Ok((StateRecord::NEW, 1)),
    };
    assert!(cache.pin_all(keys.iter().map(|key| Ok((TABLE, &key[..]))), load).is_err());
    assert_eq!(cache.len(), 3);
}
