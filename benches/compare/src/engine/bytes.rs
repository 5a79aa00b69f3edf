//! Keys of the engines that have keys of bytes: timeline and seq, big-endian, so that their order
//! is that of the bytes.

use crate::Result;
use std::ops::RangeInclusive;

/// The key of an entry.
pub fn key(timeline: u64, seq: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&timeline.to_be_bytes());
    key[8..].copy_from_slice(&seq.to_be_bytes());
    key
}

/// All keys of a timeline from a seq on.
pub fn keys(timeline: u64, from: u64) -> RangeInclusive<[u8; 16]> {
    key(timeline, from)..=key(timeline, u64::MAX)
}

/// The seq in a key.
pub fn seq(key: &[u8]) -> Result<u64> {
    let seq = key.last_chunk().ok_or("a key without a seq")?;
    Ok(u64::from_be_bytes(*seq))
}
