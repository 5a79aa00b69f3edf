use super::{BlockCache, Keep};
use crate::file::Region;
use proptest::prelude::*;
use std::sync::Arc;

fn region(length: usize, byte: u8) -> Region {
    Region::from_memory(Arc::from(vec![byte; length]))
}

#[test]
fn keeps_what_is_used_and_stays_in_its_bytes() {
    let cache = BlockCache::new(10_000);
    cache.insert((1, 0), region(1000, 7), Keep::Data);
    for offset in 1..100 {
        assert!(cache.get((1, 0)).is_some(), "a block in use stays");
        cache.insert((2, offset), region(1000, 1), Keep::Data);
        assert!(cache.bytes() <= 10_000);
    }
    assert_eq!(cache.get((1, 0)).unwrap()[0], 7);
    assert!(cache.get((2, 1)).is_none());
}

#[test]
fn refuses_what_is_larger_than_a_shard() {
    let cache = BlockCache::new(100);
    cache.insert((1, 0), region(1000, 7), Keep::Data);
    assert!(cache.get((1, 0)).is_none());
    let nothing = BlockCache::new(0);
    nothing.insert((1, 0), region(0, 7), Keep::Data);
    assert!(nothing.get((1, 0)).is_none());
    assert_eq!(nothing.hits_and_misses(), (0, 1));
}

#[test]
fn a_filter_outlives_many_pages_that_are_used_once() {
    let cache = BlockCache::new(10_000);
    cache.insert((1, 0), region(1000, 7), Keep::Lookup);
    let turn = 8;
    for offset in 0..5 * turn {
        cache.insert((2, offset), region(1000, 1), Keep::Data);
    }
    assert!(cache.get((1, 0)).is_some(), "five turns of the hand");
    for offset in 0..20 * turn {
        cache.insert((3, offset), region(1000, 1), Keep::Data);
    }
    assert!(cache.get((1, 0)).is_none(), "what nobody uses goes in the end");
}

proptest! {
    #[test]
    fn never_returns_another_block(
        operations in prop::collection::vec((0u64..4, 0u64..40, 1usize..3000), 1..300),
    ) {
        let cache = BlockCache::new(20_000);
        for (number, offset, length) in operations {
            let byte = u8::try_from(number * 40 + offset).unwrap();
            cache.insert((number, offset), region(length, byte), Keep::Data);
            prop_assert!(cache.bytes() <= 20_000);
            let found = cache.get((number, offset)).unwrap();
            prop_assert!(found.iter().all(|found| *found == byte));
        }
    }
}
