//! Bytes that somebody else draws, in the place of a block or page of a small SSTable.

use super::{Filled, fill, use_everything};
use tidelog_engine::testing::Random;
use tidelog_engine::testing::fuzzing::sstable::Contents;

/// Bytes of a block that a seed holds: header, counts and lengths, and what comes first.
const SEED_BYTES: usize = 120;

thread_local! {
    /// Made once: to build them takes much longer than to read them.
    static SMALL: [Filled; 2] = [true, false].map(small);
}

/// The first small SSTable of keys, or of timelines.
fn small(of_keys: bool) -> Filled {
    let mut seed = 0;
    loop {
        let filled = fill(&mut Random::new(seed)).expect("what is drawn can be built");
        let is_small = filled.units.len() < 9 && filled.table.bytes().len() < 40_000;
        if is_small && matches!(filled.contents, Contents::Keys(_)) == of_keys {
            return filled;
        }
        seed += 1;
    }
}

/// The first byte says which SSTable and which of its units; the others are what that holds behind
/// its checksum. Then all checksums are repaired.
pub(crate) fn raw(bytes: &[u8]) -> Result<(), String> {
    let Some((which, bytes)) = bytes.split_first() else {
        return Ok(());
    };
    SMALL.with(|small| {
        let filled = &small[usize::from(which % 2)];
        let unit = filled.units[usize::from(which / 2) % filled.units.len()];
        let mut changed = filled.table.bytes();
        let held = &mut changed[unit.range()][4..];
        let count = bytes.len().min(held.len());
        held[..count].copy_from_slice(&bytes[..count]);
        let table = filled.table.repaired(&mut changed, &filled.units);
        use_everything(&table.open(false), filled)
    })
}

/// The front of each unit, as it is.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    SMALL.with(|small| {
        let mut seeds = Vec::new();
        for (which, filled) in small.iter().enumerate() {
            let bytes = filled.table.bytes();
            for (number, unit) in filled.units.iter().enumerate() {
                let which = u8::try_from(number * 2 + which).expect("there are few units");
                let held = &bytes[unit.range()][4..];
                seeds.push([&[which][..], &held[..held.len().min(SEED_BYTES)]].concat());
            }
        }
        seeds
    })
}
