//! The hash of a key, as persisted in directories and filters: it must never change.
//!
//! It is seeded with the random id of the file, so nobody can choose timeline ids that meet on one
//! page.
//!
//! ```text
//! mix(x)   x ^= x >> 33; x *= 0xff51afd7ed558ccd;
//!          x ^= x >> 33; x *= 0xc4ceb9fe1a85ec53; x ^= x >> 33
//! hash     h = mix(first 8 bytes of the file id) ^ last 8 bytes of the file id ^ length of the key
//!          for each 8 bytes of the key, the last ones filled up with zeros:
//!              h = mix(h ^ word) + length
//! ```

use crate::file::FileId;

/// The finaliser of MurmurHash3: every bit of the input moves about half of the bits.
pub(super) fn mix(mut value: u64) -> u64 {
    value ^= value >> 33;
    value = value.wrapping_mul(0xff51_afd7_ed55_8ccd);
    value ^= value >> 33;
    value = value.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    value ^ (value >> 33)
}

/// The hash of `key` in `file`.
pub(super) fn key_hash(file: FileId, key: &[u8]) -> u64 {
    let (low, high) = file.0.split_at(8);
    let length = key.len() as u64;
    let mut hash = mix(word(low)) ^ word(high) ^ length;
    for chunk in key.chunks(8) {
        hash = mix(hash ^ word(chunk)).wrapping_add(length);
    }
    hash
}

/// Up to eight bytes, little-endian.
fn word(bytes: &[u8]) -> u64 {
    let mut full = [0u8; 8];
    full[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(full)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_persisted_and_never_changes() {
        let file = FileId([7; 16]);
        assert_eq!(key_hash(file, b"a"), GOLDEN[0]);
        assert_eq!(key_hash(file, b"timeline"), GOLDEN[1]);
        assert_eq!(key_hash(file, b"a longer timeline id"), GOLDEN[2]);
        assert_ne!(key_hash(file, b"a"), key_hash(file, b"a\0"));
        assert_ne!(key_hash(file, b"a"), key_hash(FileId([8; 16]), b"a"));
    }

    const GOLDEN: [u64; 3] = [10079825821336163724, 6574499367382460940, 9071656016568522953];
}
