//! [`TimelineId`]: the name of a timeline, an ordered tuple of one to four fields.
//!
//! ```text
//! id     = field{1,4}                       the order of the bytes is the order of the fields
//! field  = 01 escaped 00 01                 bytes
//!        | 02 escaped 00 01                 string (UTF-8)
//!        | 03 i64, big-endian, sign flipped integer
//! escaped: each byte 00 becomes 00 FF
//! ```
//!
//! # Invariants
//! 1. Equal fields have equal bytes, and the bytes order as the fields do: field by field, bytes
//!    before strings before integers, a shorter tuple before the longer ones it begins.
//! 2. An id is a byte prefix of another one if and only if its fields begin the other's.
//! 3. At most 1,024 encoded bytes; a one-field id is not empty.

mod encoding;
mod into;
#[cfg(test)]
mod tests;
mod text;

use crate::error::{Error, ErrorKind, Result};
use std::borrow::Cow;
use std::sync::Arc;

pub use into::{IntoField, IntoTimelineId};

/// Most fields of an id.
pub const ID_FIELDS_MAX: usize = 4;
/// Most encoded bytes of an id: the engine's limit for keys.
pub const ID_LENGTH_MAX: usize = tidelog_engine::limits::KEY_LENGTH_MAX;

/// One field of a [`TimelineId`]. Fields order as their ids do: bytes, strings, integers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field<'a> {
    /// Bytes, in their own order.
    Bytes(Cow<'a, [u8]>),
    /// Text, in the order of its UTF-8 bytes, which is the order of its characters.
    Text(Cow<'a, str>),
    /// An integer, negative ones first.
    Integer(i64),
}

/// The name of a timeline: one to four fields, each a string, an integer or bytes.
///
/// Ids are made from strings, integers, bytes and tuples of them, compare as their fields do, and
/// print in the notation of the command line.
///
/// ```
/// use tidelog::TimelineId;
/// let alice = TimelineId::new("alice")?;
/// let group = TimelineId::new(("group", 42))?;
/// assert_eq!(group.to_string(), "t:group,i:42");
/// assert_eq!("t:group,i:42".parse::<TimelineId>()?, group);
/// assert!(alice < group && group.starts_with(&TimelineId::new("group")?));
/// # Ok::<(), tidelog::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimelineId {
    encoded: Arc<[u8]>,
}

impl TimelineId {
    /// An id from a string, an integer, bytes, or a tuple of up to four of them.
    ///
    /// # Errors
    /// [`ErrorKind::TooLarge`] above 1,024 encoded bytes (each field costs 3 bytes, an integer 9,
    /// and each zero byte one more) or for an integer above `i64::MAX`; [`ErrorKind::InvalidUse`]
    /// for an empty id.
    pub fn new(id: impl IntoTimelineId) -> Result<TimelineId> {
        id.into_timeline_id()
    }

    /// An id from its fields.
    ///
    /// # Errors
    /// As [`TimelineId::new`]; [`ErrorKind::InvalidUse`] for no field or more than four.
    pub fn from_fields(fields: &[Field<'_>]) -> Result<TimelineId> {
        if fields.is_empty() || fields.len() > ID_FIELDS_MAX {
            return Err(Error::invalid(format!(
                "a timeline id has 1 to {ID_FIELDS_MAX} fields, not {}",
                fields.len()
            )));
        }
        if fields.len() == 1 && encoding::is_empty(&fields[0]) {
            return Err(Error::invalid("an empty timeline id"));
        }
        let length = fields.iter().map(encoding::field_length).sum();
        if length > ID_LENGTH_MAX {
            return Err(Error::too_large("encoded timeline id", length, ID_LENGTH_MAX));
        }
        let mut encoded = Vec::with_capacity(length);
        for field in fields {
            encoding::put_field(&mut encoded, field);
        }
        debug_assert_eq!(encoded.len(), length);
        Ok(TimelineId { encoded: encoded.into() })
    }

    /// An id from its encoded bytes, which may come from anywhere.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`] when they are not what [`TimelineId::as_bytes`] gives for some id.
    pub fn from_encoded(encoded: &[u8]) -> Result<TimelineId> {
        if encoded.len() > ID_LENGTH_MAX {
            return Err(Error::decode(format!("a timeline id of {} bytes", encoded.len())));
        }
        let fields = encoding::decode(encoded)?;
        if fields.len() == 1 && encoding::is_empty(&fields[0]) {
            return Err(Error::decode("an empty timeline id"));
        }
        Ok(TimelineId { encoded: encoded.into() })
    }

    /// The encoded bytes: the key under which the engine keeps the timeline.
    pub fn as_bytes(&self) -> &[u8] {
        &self.encoded
    }

    /// The fields, in order.
    pub fn fields(&self) -> Vec<Field<'_>> {
        encoding::decode(&self.encoded).expect("an id is checked when it is made")
    }

    /// Whether the fields of `prefix` are the first fields of this id (or all of them).
    pub fn starts_with(&self, prefix: &TimelineId) -> bool {
        self.encoded.starts_with(&prefix.encoded)
    }
}

impl std::fmt::Debug for TimelineId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TimelineId({self})")
    }
}

/// Which timelines to list: all, or those that begin with some fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TimelinePrefix {
    encoded: Vec<u8>,
}

impl TimelinePrefix {
    /// All timelines of the table.
    pub fn all() -> TimelinePrefix {
        TimelinePrefix::default()
    }

    /// The timelines whose first fields are these, the timeline of exactly these fields included.
    ///
    /// # Errors
    /// As [`TimelineId::new`].
    pub fn fields(fields: impl IntoTimelineId) -> Result<TimelinePrefix> {
        Ok(TimelinePrefix { encoded: fields.into_timeline_id()?.as_bytes().to_vec() })
    }

    /// The bytes with which the encoded ids begin.
    pub fn as_bytes(&self) -> &[u8] {
        &self.encoded
    }
}

fn integer_too_large(value: impl std::fmt::Display) -> Error {
    let text = format!("too large: integer field is {value}, the limit is {}", i64::MAX);
    Error::new(ErrorKind::TooLarge, text)
}
