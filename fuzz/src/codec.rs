//! The codec against a second reader, which is written to be obvious and not fast.

use crate::harness::{each, ensure};
use crate::mutation::{length, mutate, noise};
use tidelog_engine::testing::Random;
use tidelog_engine::testing::fuzzing::codec::{Field, decode, encode};

/// Fields are written and read, then the same bytes with damage.
pub(crate) fn run(seed: u64, events: u64) -> Result<(), String> {
    each(seed, events, 1 << 20, |random| {
        let fields: Vec<Field> = (0..random.below(12)).map(|_| field(random)).collect();
        let mut bytes = encode(&fields);
        let (read, end) = decode(&bytes, &fields);
        ensure(read == fields && end == Ok(bytes.len()), || {
            format!("written {fields:?}, read {read:?} up to {end:?} of {}", bytes.len())
        })?;
        mutate(random, &mut bytes);
        let (read, end) = decode(&bytes, &fields);
        let expected = reference(&bytes, &fields);
        let (Ok(place) | Err(place)) = end;
        ensure(place <= bytes.len(), || format!("an end at {place} of {}", bytes.len()))?;
        ensure((&read, end.is_ok()) == (&expected.0, expected.1), || {
            format!(
                "of {bytes:?} and {fields:?}: {read:?} {end:?}, the second reader: {expected:?}"
            )
        })
    })
}

fn field(random: &mut Random) -> Field {
    let shift = random.below(64);
    let number = random.next_u64() >> shift;
    let low = number.to_le_bytes();
    match random.below(7) {
        0 => Field::U8(low[0]),
        1 => Field::U16(u16::from_le_bytes([low[0], low[1]])),
        2 => Field::U32(u32::from_le_bytes([low[0], low[1], low[2], low[3]])),
        3 => Field::U64(number),
        4 => Field::I64(i64::from_le_bytes(low)),
        5 => Field::Bytes(noise(random, 40)),
        _ => Field::Zeros(length(random, 12)),
    }
}

/// The fields that `bytes` begin with, and whether all of `shape` could be read.
fn reference(bytes: &[u8], shape: &[Field]) -> (Vec<Field>, bool) {
    let mut rest = bytes;
    let mut read = Vec::new();
    for kind in shape {
        match reference_field(&mut rest, kind) {
            Some(field) => read.push(field),
            None => return (read, false),
        }
    }
    (read, true)
}

fn reference_field(rest: &mut &[u8], kind: &Field) -> Option<Field> {
    Some(match kind {
        Field::U8(_) => Field::U8(u8::from_le_bytes(fixed(rest)?)),
        Field::U16(_) => Field::U16(u16::from_le_bytes(fixed(rest)?)),
        Field::U32(_) => Field::U32(u32::from_le_bytes(fixed(rest)?)),
        Field::U64(_) => Field::U64(u64::from_le_bytes(fixed(rest)?)),
        Field::I64(_) => Field::I64(i64::from_le_bytes(fixed(rest)?)),
        Field::Bytes(_) => {
            let count = usize::try_from(u32::from_le_bytes(fixed(rest)?)).ok()?;
            let (bytes, behind) = rest.split_at_checked(count)?;
            *rest = behind;
            Field::Bytes(bytes.to_vec())
        }
        Field::Zeros(count) => {
            let (zeros, behind) = rest.split_at_checked(*count)?;
            *rest = behind;
            zeros.iter().all(|byte| *byte == 0).then_some(Field::Zeros(*count))?
        }
    })
}

fn fixed<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(*bytes)
}
