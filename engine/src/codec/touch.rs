//! Asks memory for bytes that will be read one after the other: as loads that do not wait for each
//! other they take the time of one.

use std::hint::black_box;

/// Loads the bytes at these places; those beyond the end are left out. For speed alone.
#[inline]
pub(crate) fn touch<const N: usize>(bytes: &[u8], places: [usize; N]) {
    let loaded = places.map(|place| bytes.get(place).copied().unwrap_or_default());
    black_box(loaded.iter().fold(0, |sum, byte| sum ^ byte));
}
