//! Unsigned integers in as few bytes as they need, with their lengths in front.
//!
//! ```text
//! lengths  4 bits each, the first in the low half of the first byte: 0 to 8 bytes
//! values   little-endian, one behind the other; 0 has no byte, and no value ends with a zero byte
//! ```
//!
//! Unlike in a varint, where a value begins is known without looking at the ones before it.

use super::{DecodeError, Decoder};

/// Bytes that `value` needs.
fn length_of(value: u64) -> usize {
    8 - value.leading_zeros() as usize / 8
}

/// Bytes of these values and their lengths.
pub(crate) fn packed_size(values: &[u64]) -> usize {
    values.len().div_ceil(2) + values.iter().map(|value| length_of(*value)).sum::<usize>()
}

/// Appends these values behind their lengths.
pub(crate) fn put_packed(out: &mut Vec<u8>, values: &[u64]) {
    for pair in values.chunks(2) {
        let length = |at: usize| pair.get(at).map_or(0, |value| length_of(*value));
        let both = length(0) | (length(1) << 4);
        out.push(u8::try_from(both).expect("two numbers up to 8 in 4 bits each"));
    }
    for value in values {
        // All eight bytes and a shorter end: that is quicker than a copy of any length.
        let end = out.len() + length_of(*value);
        out.extend_from_slice(&value.to_le_bytes());
        out.truncate(end);
    }
}

/// Reads `N` values.
pub(crate) fn take_packed<const N: usize>(
    decoder: &mut Decoder<'_>,
    what: &'static str,
) -> Result<[u64; N], DecodeError> {
    let lengths = decoder.take(N.div_ceil(2), what)?;
    let mut values = [0; N];
    for (index, value) in values.iter_mut().enumerate() {
        let length = usize::from((lengths[index / 2] >> (index % 2 * 4)) & 15);
        let error = decoder.error(what);
        *value = take_value(decoder, length, what)?;
        // A value in more bytes than it needs, or of more than eight, has another length.
        if length_of(*value) != length {
            return Err(error);
        }
    }
    Ok(values)
}

/// Reads a value of so many bytes, by one load where eight bytes are there. Of more than eight
/// bytes it gives what has another length.
fn take_value(
    decoder: &mut Decoder<'_>,
    length: usize,
    what: &'static str,
) -> Result<u64, DecodeError> {
    let ahead = decoder.rest().first_chunk::<8>().copied();
    let bytes = decoder.take(length, what)?;
    match (ahead, length) {
        (_, 0) => Ok(0),
        (Some(word), 1..=8) => Ok(u64::from_le_bytes(word) & (u64::MAX >> (64 - 8 * length))),
        (None, 1..=8) => {
            let mut word = [0; 8];
            word[..length].copy_from_slice(bytes);
            Ok(u64::from_le_bytes(word))
        }
        _ => Ok(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_comes_back() {
        let values = [0, 1, 255, 256, 1 << 31, 1 << 40, u64::MAX >> 8, u64::MAX, 7];
        let mut bytes = Vec::new();
        put_packed(&mut bytes, &values);
        assert_eq!(bytes.len(), packed_size(&values));
        let mut decoder = Decoder::new(&bytes);
        assert_eq!(take_packed::<9>(&mut decoder, "test"), Ok(values));
        assert!(decoder.is_empty());
        for length in 0..bytes.len() {
            assert!(take_packed::<9>(&mut Decoder::new(&bytes[..length]), "test").is_err());
        }
    }

    #[test]
    fn a_value_has_one_form() {
        for bytes in [&[0x01, 0][..], &[0x02, 5, 0], &[0x09, 1, 1, 1, 1, 1, 1, 1, 1, 1]] {
            assert!(take_packed::<1>(&mut Decoder::new(bytes), "test").is_err(), "{bytes:?}");
        }
        let mut bytes = Vec::new();
        put_packed(&mut bytes, &[0x1234, 5, 0]);
        assert_eq!(bytes, [0x12, 0x00, 0x34, 0x12, 5]);
    }
}
