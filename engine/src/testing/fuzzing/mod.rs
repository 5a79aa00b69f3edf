//! Doors for the fuzzers of `tidelog-fuzz`: the engine's private decoders and structures, behind
//! plain values. Bytes and numbers go in, values come out; what must hold is the fuzzer's business.
//!
//! Checksums are repaired here by the layout that the documents give, not by the writers' code, so
//! that a fuzzer reaches what lies behind them.

pub mod allocator;
pub mod batch;
pub mod codec;
pub mod cold;
pub mod manifest;
pub mod memtable;
pub mod segment;
pub mod sstable;
pub mod superblock;
pub mod wal;

/// Replaces the 4 bytes of a checksum at `offset`, if they are there.
fn put_checksum(bytes: &mut [u8], offset: usize, checksum: u32) {
    if let Some(place) = bytes.get_mut(offset..offset + 4) {
        place.copy_from_slice(&checksum.to_le_bytes());
    }
}
