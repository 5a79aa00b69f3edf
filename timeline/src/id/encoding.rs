//! The order-preserving bytes of a timeline id: see the module above for the grammar.

use super::{Field, ID_FIELDS_MAX};
use crate::error::{Error, Result};
use std::borrow::Cow;

const TAG_BYTES: u8 = 1;
const TAG_TEXT: u8 = 2;
const TAG_INTEGER: u8 = 3;
/// What a zero byte inside a field becomes, behind itself: above every terminator and tag.
const ESCAPE: u8 = 0xFF;
/// Behind a zero byte: the field ends.
const END: u8 = 0x01;
/// Flipping the sign bit makes two's complement order as unsigned.
const SIGN: u64 = 1 << 63;

pub(super) fn is_empty(field: &Field<'_>) -> bool {
    match field {
        Field::Bytes(bytes) => bytes.is_empty(),
        Field::Text(text) => text.is_empty(),
        Field::Integer(_) => false,
    }
}

pub(super) fn field_length(field: &Field<'_>) -> usize {
    let escaped = |bytes: &[u8]| 3 + bytes.len() + bytes.iter().filter(|byte| **byte == 0).count();
    match field {
        Field::Bytes(bytes) => escaped(bytes),
        Field::Text(text) => escaped(text.as_bytes()),
        Field::Integer(_) => 9,
    }
}

pub(super) fn put_field(out: &mut Vec<u8>, field: &Field<'_>) {
    match field {
        Field::Bytes(bytes) => put_escaped(out, TAG_BYTES, bytes),
        Field::Text(text) => put_escaped(out, TAG_TEXT, text.as_bytes()),
        Field::Integer(value) => {
            out.push(TAG_INTEGER);
            out.extend_from_slice(&(value.cast_unsigned() ^ SIGN).to_be_bytes());
        }
    }
}

fn put_escaped(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    for byte in bytes {
        out.push(*byte);
        if *byte == 0 {
            out.push(ESCAPE);
        }
    }
    out.extend_from_slice(&[0, END]);
}

/// The fields of an encoded id, at least one and at most four.
pub(super) fn decode(encoded: &[u8]) -> Result<Vec<Field<'_>>> {
    let mut rest = encoded;
    let mut fields = Vec::with_capacity(ID_FIELDS_MAX);
    while let Some((tag, body)) = rest.split_first() {
        if fields.len() == ID_FIELDS_MAX {
            return Err(Error::decode("a timeline id of more than four fields"));
        }
        let (field, behind) = match *tag {
            TAG_BYTES => escaped(body).map(|(bytes, behind)| (Field::Bytes(bytes), behind))?,
            TAG_TEXT => {
                let (bytes, behind) = escaped(body)?;
                (Field::Text(text(bytes)?), behind)
            }
            TAG_INTEGER => integer(body)?,
            _ => return Err(Error::decode(format!("timeline id field of type {tag}"))),
        };
        fields.push(field);
        rest = behind;
    }
    if fields.is_empty() {
        return Err(Error::decode("an empty timeline id"));
    }
    Ok(fields)
}

fn integer(body: &[u8]) -> Result<(Field<'_>, &[u8])> {
    let Some((bytes, behind)) = body.split_first_chunk::<8>() else {
        return Err(Error::decode("timeline id: an integer field is cut"));
    };
    Ok((Field::Integer((u64::from_be_bytes(*bytes) ^ SIGN).cast_signed()), behind))
}

fn text(bytes: Cow<'_, [u8]>) -> Result<Cow<'_, str>> {
    let bad = |_| Error::decode("timeline id: a string field is not UTF-8");
    match bytes {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(bad),
        Cow::Owned(bytes) => {
            String::from_utf8(bytes).map(Cow::Owned).map_err(|error| bad(error.utf8_error()))
        }
    }
}

/// The bytes up to the terminator, and what lies behind it. Borrowed where nothing was escaped.
fn escaped(body: &[u8]) -> Result<(Cow<'_, [u8]>, &[u8])> {
    let mut owned: Option<Vec<u8>> = None;
    let mut rest = body;
    loop {
        let zero = rest.iter().position(|byte| *byte == 0);
        let Some((zero, next)) = zero.and_then(|zero| Some((zero, *rest.get(zero + 1)?))) else {
            return Err(Error::decode("timeline id: a field without its end"));
        };
        match next {
            END => {
                let behind = &rest[zero + 2..];
                return Ok(match owned {
                    None => (Cow::Borrowed(&rest[..zero]), behind),
                    Some(mut bytes) => {
                        bytes.extend_from_slice(&rest[..zero]);
                        (Cow::Owned(bytes), behind)
                    }
                });
            }
            ESCAPE => {
                owned.get_or_insert_default().extend_from_slice(&rest[..=zero]);
                rest = &rest[zero + 2..];
            }
            _ => return Err(Error::decode("timeline id: a bad escape")),
        }
    }
}
