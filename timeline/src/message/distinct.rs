//! [`DistinctMessage`]: any message with a generated id.
//!
//! ```text
//! offset  size  field    notes
//!      0     1  version  1
//!      1  4+id  id       u32 length, UTF-8, at least one byte
//!               message  the wrapped message's bytes, to the end
//! ```

use super::reader::Reader;
use super::{Attributes, Message, put_text};
use crate::error::{Error, Result};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// A message with an id of its own: `<random>:<counter>`, where the random 64 bits are drawn once a
/// process and the counter grows by one a message. (The original's `DistinctMessage` has
/// `<pid>@<address>:<counter>`, which a restart repeats.)
///
/// The id is given when the message is made, so that a message sent again keeps it, and readers can
/// drop the second.
///
/// ```
/// use tidelog::{DistinctMessage, Message};
/// let (a, b) = (DistinctMessage::new("hi".to_string()), DistinctMessage::new("hi".to_string()));
/// assert_ne!(a.message_id(), b.message_id());
/// assert_eq!(a.message(), b.message());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DistinctMessage<M> {
    id: String,
    message: M,
}

impl<M> DistinctMessage<M> {
    /// The message, with a generated id.
    pub fn new(message: M) -> DistinctMessage<M> {
        DistinctMessage { id: generate(), message }
    }

    /// The message, with the id that a client has given it.
    ///
    /// # Errors
    /// [`InvalidUse`](crate::ErrorKind::InvalidUse) for an empty one.
    pub fn with_id(id: impl Into<String>, message: M) -> Result<DistinctMessage<M>> {
        let id = id.into();
        match id.is_empty() {
            true => Err(Error::invalid("an empty message id")),
            false => Ok(DistinctMessage { id, message }),
        }
    }

    /// The message itself.
    pub fn message(&self) -> &M {
        &self.message
    }

    /// The message itself, owned.
    pub fn into_message(self) -> M {
        self.message
    }
}

fn generate() -> String {
    static PROCESS: OnceLock<u64> = OnceLock::new();
    static COUNTER: AtomicU64 = AtomicU64::new(1);
    // The keys of a new `RandomState` come from the system's randomness.
    let process = PROCESS.get_or_init(|| {
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_u32(std::process::id());
        hasher.finish()
    });
    format!("{process:016x}:{}", COUNTER.fetch_add(1, Ordering::Relaxed))
}

impl<M: Message> Message for DistinctMessage<M> {
    fn encode(&self, out: &mut Vec<u8>) -> Result<()> {
        if self.id.is_empty() {
            let text =
                "a distinct message without an id: one that was taken back cannot be written";
            return Err(Error::invalid(text));
        }
        out.push(1);
        put_text(out, "message id", &self.id)?;
        self.message.encode(out)
    }

    fn decode(bytes: &[u8]) -> Result<DistinctMessage<M>> {
        let mut reader = Reader::new("distinct message", bytes);
        reader.version()?;
        let id = reader.text()?.to_owned();
        if id.is_empty() {
            return Err(reader.error("an empty id"));
        }
        Ok(DistinctMessage { id, message: M::decode(reader.rest())? })
    }

    /// The wrapped type's, without an id.
    fn retracted() -> Result<DistinctMessage<M>> {
        Ok(DistinctMessage { id: String::new(), message: M::retracted()? })
    }

    fn message_id(&self) -> Option<&str> {
        (!self.id.is_empty()).then_some(&self.id)
    }

    fn attributes(&self) -> Option<&Attributes> {
        self.message.attributes()
    }
}
