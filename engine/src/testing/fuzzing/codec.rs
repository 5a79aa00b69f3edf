//! The encoder and the decoder that every format stands on.

use crate::codec::{DecodeError, Decoder, Encode};

/// One value, and how it is encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// One byte.
    U8(u8),
    /// Two bytes.
    U16(u16),
    /// Four bytes.
    U32(u32),
    /// Eight bytes.
    U64(u64),
    /// Eight bytes, signed.
    I64(i64),
    /// A length of four bytes and so many bytes.
    Bytes(Vec<u8>),
    /// So many reserved bytes.
    Zeros(usize),
}

/// The fields, one behind the other.
pub fn encode(fields: &[Field]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for field in fields {
        match field {
            Field::U8(value) => bytes.put_u8(*value),
            Field::U16(value) => bytes.put_u16(*value),
            Field::U32(value) => bytes.put_u32(*value),
            Field::U64(value) => bytes.put_u64(*value),
            Field::I64(value) => bytes.put_i64(*value),
            Field::Bytes(value) => {
                bytes.put_u32(u32::try_from(value.len()).expect("fuzzed strings are short"));
                bytes.put(value);
            }
            Field::Zeros(count) => bytes.extend(std::iter::repeat_n(0, *count)),
        }
    }
    bytes
}

/// Reads fields of the kinds of `shape` (its values do not count, but for the number of zeros).
/// Gives what was read, and where it ended: the bytes consumed, or the offset of the error.
pub fn decode(bytes: &[u8], shape: &[Field]) -> (Vec<Field>, Result<usize, usize>) {
    let mut decoder = Decoder::new(bytes);
    let mut fields = Vec::new();
    for kind in shape {
        match decode_one(&mut decoder, kind) {
            Ok(field) => fields.push(field),
            Err(error) => return (fields, Err(error.offset)),
        }
    }
    let consumed = decoder.position();
    assert_eq!(consumed + decoder.remaining(), bytes.len());
    (fields, Ok(consumed))
}

fn decode_one(decoder: &mut Decoder<'_>, kind: &Field) -> Result<Field, DecodeError> {
    Ok(match kind {
        Field::U8(_) => Field::U8(decoder.u8("u8")?),
        Field::U16(_) => Field::U16(decoder.u16("u16")?),
        Field::U32(_) => Field::U32(decoder.u32("u32")?),
        Field::U64(_) => Field::U64(decoder.u64("u64")?),
        Field::I64(_) => Field::I64(decoder.i64("i64")?),
        Field::Bytes(_) => {
            let length = decoder.u32("length")? as usize;
            Field::Bytes(decoder.take(length, "bytes")?.to_vec())
        }
        Field::Zeros(count) => {
            decoder.zeros(*count, "zeros")?;
            Field::Zeros(*count)
        }
    })
}
