//! Unsigned integers in groups of seven bits, the low ones first; a set high bit says that more
//! follow. A value has one form: the last group of more than one is not 0.

use super::{DecodeError, Decoder};

/// Bytes of the longest one.
pub(crate) const VARINT_SIZE_MAX: usize = 10;

/// Bytes that `value` needs.
pub(crate) fn varint_size(value: u64) -> usize {
    let bits = (u64::BITS - value.leading_zeros()) as usize;
    bits.div_ceil(7).max(1)
}

/// Appends `value`.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Reads a value.
#[inline]
pub(crate) fn take_varint(
    decoder: &mut Decoder<'_>,
    what: &'static str,
) -> Result<u64, DecodeError> {
    match decoder.rest().first() {
        // Most values.
        Some(byte) if *byte < 0x80 => {
            let taken = decoder.take(1, what)?;
            Ok(u64::from(taken[0]))
        }
        _ => take_long(decoder, what),
    }
}

/// Reads a value of more than one byte.
fn take_long(decoder: &mut Decoder<'_>, what: &'static str) -> Result<u64, DecodeError> {
    let error = decoder.error(what);
    let mut value = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let byte = decoder.u8(what)?;
        let group = u64::from(byte & 0x7f);
        // The tenth group has one bit.
        if (group << shift) >> shift != group {
            return Err(error);
        }
        value |= group << shift;
        if byte & 0x80 == 0 {
            let is_shortest = byte != 0 || shift == 0;
            return if is_shortest { Ok(value) } else { Err(error) };
        }
    }
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_comes_back() {
        for bits in 0..u64::BITS {
            for value in [u64::MAX >> bits, 1 << bits] {
                let mut bytes = Vec::new();
                put_varint(&mut bytes, value);
                assert_eq!(bytes.len(), varint_size(value), "{value}");
                let mut decoder = Decoder::new(&bytes);
                assert_eq!(take_varint(&mut decoder, "test"), Ok(value));
                assert!(decoder.is_empty());
                for length in 0..bytes.len() {
                    assert!(take_varint(&mut Decoder::new(&bytes[..length]), "test").is_err());
                }
            }
        }
        assert_eq!(varint_size(u64::MAX), VARINT_SIZE_MAX);
    }

    #[test]
    fn a_value_has_one_form_and_at_most_64_bits() {
        let mut beyond = [0x80; 10];
        beyond[9] = 2;
        for bytes in [&[0x80, 0][..], &[0x85, 0x80, 0], &beyond, &[0xff; 11]] {
            assert!(take_varint(&mut Decoder::new(bytes), "test").is_err(), "{bytes:?}");
        }
    }
}
