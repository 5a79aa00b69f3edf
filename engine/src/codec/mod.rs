//! Little-endian encoding, bounds-checked decoding and checksums: the leaf every format stands on.
//!
//! A [`Decoder`] never panics and never allocates: a length that the remaining bytes cannot hold is
//! an error before anything is done with it.

mod checksum;
mod decoder;
mod encode;
mod packed;
mod touch;
mod varint;

pub(crate) use checksum::{checksum, checksum_seeded, checksum_seeded_parts};
pub(crate) use decoder::{DecodeError, Decoder};
pub(crate) use encode::Encode;
pub(crate) use packed::{packed_size, put_packed, take_packed};
pub(crate) use touch::touch;
pub(crate) use varint::{VARINT_SIZE_MAX, put_varint, take_varint, varint_size};

/// Rounds `value` up to a multiple of `unit`, a power of two.
pub(crate) const fn round_up(value: u64, unit: u64) -> u64 {
    (value + (unit - 1)) & !(unit - 1)
}
