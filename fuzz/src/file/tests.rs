//! What is repaired is believed: else lies would end at the first checksum.

use super::stores::{self, Store, index};
use crate::golden::units::{Unit, inspector};
use std::collections::BTreeMap;

/// Half of each payload are such bytes.
const PAYLOAD: &[u8] = b"........";

/// Changes a byte of a payload in a unit; says whether anybody notices. `None`: there is none.
fn is_noticed(store: &Store, unit: &Unit) -> Option<bool> {
    let mut files = store.files.clone();
    let bytes = &mut files[unit.file][index(&unit.bytes)];
    let place = bytes.windows(PAYLOAD.len()).position(|window| window == PAYLOAD)?;
    bytes[place] = b'!';
    store.layout.repair(&mut files);
    let (machine, changed) = store.with_files(&files);
    assert!(!changed.is_empty());
    Some(!inspector(&machine).verify().unwrap().faults.is_empty())
}

#[test]
fn a_changed_payload_with_its_checksums_is_believed() {
    let mut believed: BTreeMap<&str, usize> = BTreeMap::new();
    for store in stores::make().unwrap() {
        for unit in store.known.units.used() {
            if is_noticed(&store, unit) == Some(false) {
                *believed.entry(unit.what).or_default() += 1;
            }
        }
    }
    for what in ["SSTable timeline block", "segment", "log group"] {
        assert!(believed.get(what).is_some_and(|count| *count > 2), "{what}: {believed:?}");
    }
}
