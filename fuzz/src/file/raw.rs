//! Bytes that somebody else draws, as changes of a whole file.

use super::lies::use_repaired;
use super::stores::{self, Store, index};
use crate::golden::units::Unit;
use tidelog_engine::testing::Random;

/// Bytes of one change: which unit, where in it (two bytes), and what is there then.
const CHANGE: usize = 4;
/// Most changes of one file.
const CHANGES_MAX: usize = 16;

thread_local! {
    /// Made once: that takes much longer than to use one.
    static STORES: Vec<Store> = stores::make().expect("what is whole can be inspected");
}

/// The first byte says which store is changed, the others how. Then all checksums are repaired.
pub(crate) fn raw(bytes: &[u8]) -> Result<(), String> {
    let Some((which, changes)) = bytes.split_first() else {
        return Ok(());
    };
    STORES.with(|stores| {
        let store = &stores[usize::from(*which) % stores.len()];
        let used: Vec<&Unit> = store.known.units.used().collect();
        let mut files = store.files.clone();
        for change in changes.chunks_exact(CHANGE).take(CHANGES_MAX) {
            let unit = used[usize::from(change[0]) % used.len()];
            let held = &mut files[unit.file][index(&unit.bytes)];
            let place = usize::from(u16::from_le_bytes([change[1], change[2]])) % held.len();
            held[place] = change[3];
        }
        use_repaired(&mut Random::new(1), store, files)
    })
}

/// Changes of the front of some units.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let change = |unit: u8, place: u8, value: u8| vec![unit, place, 0, value];
    vec![
        [vec![0], change(0, 40, 1)].concat(),
        [vec![1], change(9, 8, 255), change(20, 12, 0)].concat(),
        [vec![2], change(30, 41, 7), change(31, 42, 7), change(60, 60, 1)].concat(),
    ]
}
