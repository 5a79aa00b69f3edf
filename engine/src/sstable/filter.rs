//! The filter: a blocked bloom filter over the keys, one 64-byte line a lookup.
//!
//! ```text
//! page content: 63 lines of 64 bytes | 24 zero bytes
//! page = hash % pages      line = (hash >> 32) % 63
//! bits = mix(hash ^ 0x9e3779b97f4a7c15): six times the low nine bits, shifting right by nine
//! bit b of a line: byte b / 8, bit b % 8
//! ```
//!
//! One line for each 51 keys: about ten bits a key.
//!
//! # Invariants
//! 1. A key that was added is never denied.

use super::format::PAGE_CONTENT;
use super::hash::mix;

const LINE: usize = 64;
const LINES_PER_PAGE: u64 = 63;
const KEYS_PER_LINE: u64 = 51;
const PROBES: usize = 6;

const _: () = assert!(LINE * 63 <= PAGE_CONTENT);

/// Pages of a filter over `keys` keys.
pub(super) fn page_count(keys: u64) -> u64 {
    keys.div_ceil(KEYS_PER_LINE * LINES_PER_PAGE).max(1)
}

/// The page of a hash.
pub(super) fn page_of(hash: u64, pages: u64) -> u64 {
    hash % pages
}

/// Adds a hash to the content of its page.
pub(super) fn add(content: &mut [u8], hash: u64) {
    for (byte, mask) in probes(hash) {
        content[byte] |= mask;
    }
}

/// Whether the key with this hash may be there, by the content of its page.
pub(super) fn may_contain(content: &[u8], hash: u64) -> bool {
    probes(hash).into_iter().all(|(byte, mask)| content[byte] & mask != 0)
}

/// The place of a hash's line in the content of its page.
pub(super) fn line_of(hash: u64) -> usize {
    usize::try_from((hash >> 32) % LINES_PER_PAGE).expect("less than 63") * LINE
}

/// The bytes of the page, and the bits in them, that a hash sets.
fn probes(hash: u64) -> [(usize, u8); PROBES] {
    let line = line_of(hash);
    let mut bits = mix(hash ^ 0x9e37_79b9_7f4a_7c15);
    std::array::from_fn(|_| {
        let bit = usize::try_from(bits & 511).expect("nine bits");
        bits >>= 9;
        (line + bit / 8, 1u8 << (bit % 8))
    })
}
