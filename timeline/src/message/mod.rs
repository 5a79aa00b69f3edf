//! What a timeline holds: messages, as types of the application.
//!
//! A message is bytes to the engine. A type says how it becomes bytes and back, and may carry an
//! id, by which *readers* drop duplicates, and attributes, by which scans filter. `Vec<u8>`,
//! [`Payload`] and `String` are messages as they are; [`StringMessage`], [`DistinctMessage`] and
//! [`Row`] have the behaviour of the original library's types.

mod distinct;
#[cfg(feature = "serde")]
mod json;
mod reader;
mod row;
mod string;
#[cfg(test)]
mod tests;

use crate::error::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use tidelog_engine::Payload;

pub use distinct::DistinctMessage;
#[cfg(feature = "serde")]
pub use json::Json;
pub use row::{Row, Value};
pub use string::StringMessage;

/// A type that timelines can hold.
///
/// Encoding the same message must give the same bytes; decoding must answer any bytes with a
/// message or an error, and never panic (a panic in it becomes an error of kind
/// [`Panicked`](ErrorKind::Panicked) where the library's own threads read, and unwinds to the
/// caller elsewhere).
///
/// ```
/// use tidelog::{Error, Message, Result};
///
/// #[derive(Clone)]
/// struct Like { post: u64 }
///
/// impl Message for Like {
///     fn encode(&self, out: &mut Vec<u8>) -> Result<()> {
///         out.extend_from_slice(&self.post.to_le_bytes());
///         Ok(())
///     }
///     fn decode(bytes: &[u8]) -> Result<Like> {
///         let bytes = bytes.try_into().map_err(|_| Error::decode("a like has 8 bytes"))?;
///         Ok(Like { post: u64::from_le_bytes(bytes) })
///     }
/// }
/// ```
pub trait Message: Clone + Send + Sync + 'static {
    /// Appends the message's bytes, at most 16 MiB, to `out`.
    ///
    /// # Errors
    /// What makes the message impossible to store; nothing is written then.
    fn encode(&self, out: &mut Vec<u8>) -> Result<()>;

    /// The message of these bytes, which may be hostile.
    ///
    /// # Errors
    /// [`Error::decode`] for bytes that are no message of this type.
    fn decode(bytes: &[u8]) -> Result<Self>;

    /// As [`Message::decode`], from bytes that may be shared instead of copied.
    ///
    /// # Errors
    /// As [`Message::decode`].
    fn from_payload(payload: Payload) -> Result<Self> {
        Self::decode(&payload)
    }

    /// What readers get in the place of a message that was retracted: its bytes are gone. Here it
    /// is the message of no bytes, or none if there is no such message.
    ///
    /// # Errors
    /// [`Error::decode`] where there is none: a reader gets the error instead of the entry.
    fn retracted() -> Result<Self> {
        Self::decode(&[])
    }

    /// The id by which a reader tells a message sent twice, unique within its conversation. The
    /// library does not drop duplicates by it.
    fn message_id(&self) -> Option<&str> {
        None
    }

    /// The message's attributes, for filters.
    fn attributes(&self) -> Option<&Attributes> {
        None
    }
}

impl Message for Vec<u8> {
    fn encode(&self, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(self);
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<Vec<u8>> {
        Ok(bytes.to_vec())
    }
}

/// Bytes shared with the store: reading copies nothing where the engine does not.
impl Message for Payload {
    fn encode(&self, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(self);
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<Payload> {
        Ok(Payload::from_vec(bytes.to_vec()))
    }

    fn from_payload(payload: Payload) -> Result<Payload> {
        Ok(payload)
    }
}

/// The text's UTF-8 bytes, nothing else.
impl Message for String {
    fn encode(&self, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(self.as_bytes());
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<String> {
        let text = std::str::from_utf8(bytes);
        text.map(str::to_owned).map_err(|error| Error::decode(format!("a text message: {error}")))
    }
}

/// Attributes of a message: names and strings, ordered by name.
///
/// The rules are the original library's: no empty name or value, no name that begins with `__`, and
/// an update is for what is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes(BTreeMap<String, String>);

impl Attributes {
    /// No attributes.
    pub fn new() -> Attributes {
        Attributes::default()
    }

    /// Sets an attribute, new or not.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidUse`] for an empty name or value, and for a name that begins with `__`.
    pub fn add(&mut self, name: impl Into<String>, value: impl Into<String>) -> Result<()> {
        let (name, value) = (name.into(), value.into());
        if name.is_empty() || value.is_empty() {
            return Err(Error::invalid(format!("attribute {name:?} = {value:?}: empty")));
        }
        if name.starts_with("__") {
            return Err(Error::invalid(format!("attribute {name:?}: names in __ are reserved")));
        }
        self.0.insert(name, value);
        Ok(())
    }

    /// Replaces the value of an attribute that is there.
    ///
    /// # Errors
    /// As [`Attributes::add`]; also [`ErrorKind::InvalidUse`] when there is no such attribute.
    pub fn update(&mut self, name: &str, value: impl Into<String>) -> Result<()> {
        if !self.0.contains_key(name) {
            return Err(Error::invalid(format!("attribute {name:?} does not exist")));
        }
        self.add(name, value)
    }

    /// The value of an attribute.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names and values, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Encodes a message alone.
pub(crate) fn encoded(message: &impl Message) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    message.encode(&mut out)?;
    let limit = tidelog_engine::limits::PAYLOAD_LENGTH_MAX;
    match out.len() > limit {
        true => Err(Error::too_large("message bytes", out.len(), limit)),
        false => Ok(out),
    }
}

/// A `u32` length of an encoder.
fn put_length(out: &mut Vec<u8>, what: &str, length: usize) -> Result<()> {
    let length = u32::try_from(length).map_err(|_| {
        Error::new(ErrorKind::TooLarge, format!("too large: {what} has {length} bytes or items"))
    })?;
    out.extend_from_slice(&length.to_le_bytes());
    Ok(())
}

fn put_text(out: &mut Vec<u8>, what: &str, text: &str) -> Result<()> {
    put_length(out, what, text.len())?;
    out.extend_from_slice(text.as_bytes());
    Ok(())
}
