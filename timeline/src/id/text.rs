//! The notation of ids for people and for the command line.
//!
//! ```text
//! alice            text                  i:42       integer
//! s:i:42           the text "i:42"       x:0AFF     bytes, in hexadecimal
//! t:group,i:42     a tuple; in its texts a comma and a backslash carry a backslash
//! ```

use super::{Field, TimelineId};
use crate::error::{Error, Result};
use std::borrow::Cow;
use std::fmt::{self, Write};
use std::str::FromStr;

impl fmt::Display for TimelineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = self.fields();
        if let [field] = fields.as_slice() {
            return write_field(f, field, false);
        }
        f.write_str("t:")?;
        for (index, field) in fields.iter().enumerate() {
            if index > 0 {
                f.write_char(',')?;
            }
            write_field(f, field, true)?;
        }
        Ok(())
    }
}

fn write_field(f: &mut fmt::Formatter<'_>, field: &Field<'_>, in_tuple: bool) -> fmt::Result {
    match field {
        Field::Integer(value) => write!(f, "i:{value}"),
        Field::Bytes(bytes) => {
            f.write_str("x:")?;
            bytes.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
        }
        Field::Text(text) => {
            if is_marked(text) {
                f.write_str("s:")?;
            }
            if !in_tuple {
                return f.write_str(text);
            }
            for character in text.chars() {
                if matches!(character, ',' | '\\') {
                    f.write_char('\\')?;
                }
                f.write_char(character)?;
            }
            Ok(())
        }
    }
}

/// Whether plain text would be read as something else.
fn is_marked(text: &str) -> bool {
    ["i:", "x:", "s:", "t:"].iter().any(|mark| text.starts_with(mark))
}

impl FromStr for TimelineId {
    type Err = Error;

    /// Reads the notation that `Display` writes.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidUse`](crate::ErrorKind::InvalidUse) for what is not in the notation, and
    /// as [`TimelineId::new`].
    fn from_str(text: &str) -> Result<TimelineId> {
        let Some(tuple) = text.strip_prefix("t:") else {
            return TimelineId::from_fields(&[parse_field(Cow::Borrowed(text))?]);
        };
        let fields: Vec<_> = split_tuple(tuple)?
            .into_iter()
            .map(|text| parse_field(Cow::Owned(text)))
            .collect::<Result<_>>()?;
        TimelineId::from_fields(&fields)
    }
}

/// The texts between the commas that carry no backslash, without their backslashes.
fn split_tuple(tuple: &str) -> Result<Vec<String>> {
    let mut texts = vec![String::new()];
    let mut characters = tuple.chars();
    while let Some(character) = characters.next() {
        let last = texts.last_mut().expect("never empty");
        match character {
            ',' => texts.push(String::new()),
            '\\' => match characters.next() {
                Some(escaped @ (',' | '\\')) => last.push(escaped),
                _ => {
                    return Err(Error::invalid(format!("timeline id: bad escape in t:{tuple}")));
                }
            },
            _ => last.push(character),
        }
    }
    Ok(texts)
}

fn parse_field(text: Cow<'_, str>) -> Result<Field<'_>> {
    let bad = || Error::invalid(format!("timeline id: cannot read {text}"));
    match text.get(..2) {
        Some("i:") => text[2..].parse().map(Field::Integer).map_err(|_| bad()),
        Some("x:") => parse_hexadecimal(&text[2..]).map(Field::Bytes).ok_or_else(bad),
        Some("s:") => Ok(Field::Text(match text {
            Cow::Borrowed(text) => Cow::Borrowed(&text[2..]),
            Cow::Owned(text) => Cow::Owned(text[2..].to_owned()),
        })),
        Some("t:") => Err(bad()),
        _ => Ok(Field::Text(text)),
    }
}

fn parse_hexadecimal(digits: &str) -> Option<Cow<'static, [u8]>> {
    if !digits.len().is_multiple_of(2) || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let pair = |index| u8::from_str_radix(&digits[index..index + 2], 16).ok();
    (0..digits.len()).step_by(2).map(pair).collect::<Option<Vec<u8>>>().map(Cow::Owned)
}
