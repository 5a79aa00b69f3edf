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
        check(&bytes, &fields)
    })
}

/// Both readers read the same.
fn check(bytes: &[u8], fields: &[Field]) -> Result<(), String> {
    let (read, end) = decode(bytes, fields);
    let expected = reference(bytes, fields);
    let (Ok(place) | Err(place)) = end;
    ensure(place <= bytes.len(), || format!("an end at {place} of {}", bytes.len()))?;
    ensure((&read, end.is_ok()) == (&expected.0, expected.1), || {
        format!("of {bytes:?} and {fields:?}: {read:?} {end:?}, the second reader: {expected:?}")
    })
}

/// The first byte says how many kinds of fields follow; behind them come the fields.
pub(crate) fn raw(bytes: &[u8]) -> Result<(), String> {
    let Some((count, rest)) = bytes.split_first() else {
        return Ok(());
    };
    let (kinds, rest) = rest.split_at(usize::from(*count).min(rest.len()));
    let fields: Vec<Field> = kinds.iter().map(|kind| empty(*kind)).collect();
    check(rest, &fields)
}

/// A field of each kind, and some of several.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let random = &mut Random::new(1);
    let numbered = (0..7u8).map(|kind| (kind, with_content(random, kind)));
    let (kinds, fields): (Vec<u8>, Vec<Field>) = numbered.unzip();
    let count = u8::try_from(kinds.len()).expect("there are few kinds");
    let all = [&[count][..], &kinds, &encode(&fields)].concat();
    let strings = [Field::Bytes(vec![7; 3]), Field::Bytes(Vec::new())];
    vec![all, [&[2, 5, 5][..], &encode(&strings)].concat()]
}

/// A field of a kind; its value does not count.
fn empty(kind: u8) -> Field {
    match kind % 7 {
        0 => Field::U8(0),
        1 => Field::U16(0),
        2 => Field::U32(0),
        3 => Field::U64(0),
        4 => Field::I64(0),
        5 => Field::Bytes(Vec::new()),
        _ => Field::Zeros(usize::from(kind / 7)),
    }
}

fn with_content(random: &mut Random, kind: u8) -> Field {
    match empty(kind) {
        Field::U32(_) => Field::U32(70_000),
        Field::U64(_) => Field::U64(random.next_u64()),
        Field::I64(_) => Field::I64(-2),
        Field::Bytes(_) => Field::Bytes(noise(random, 9)),
        field => field,
    }
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
