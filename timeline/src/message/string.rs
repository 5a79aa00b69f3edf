//! [`StringMessage`]: text with an id and attributes.
//!
//! ```text
//! offset  size  field       notes
//!      0     1  version     1
//!      1     1  has id      0 or 1
//!      2  4+id  id          only with an id: u32 length, UTF-8
//!         4     count       of attributes
//!               attributes  u32 length, name, u32 length, value; names ascend
//!               content     UTF-8, to the end
//! ```

use super::reader::Reader;
use super::{Attributes, Message, put_length, put_text};
use crate::error::{Error, Result};

/// A text message, with an optional id and string attributes: the original's `StringMessage`.
///
/// ```
/// use tidelog::{Message, StringMessage};
/// let mut message = StringMessage::with_id("m-1", "hello");
/// message.add_attribute("from", "alice")?;
/// let mut bytes = Vec::new();
/// message.encode(&mut bytes)?;
/// assert_eq!(StringMessage::decode(&bytes)?, message);
/// # Ok::<(), tidelog::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StringMessage {
    id: Option<String>,
    content: String,
    attributes: Attributes,
}

impl StringMessage {
    /// A message without an id.
    pub fn new(content: impl Into<String>) -> StringMessage {
        StringMessage { content: content.into(), ..StringMessage::default() }
    }

    /// A message with an id, which should be unique in its conversation. An empty one is none.
    pub fn with_id(id: impl Into<String>, content: impl Into<String>) -> StringMessage {
        let id = Some(id.into()).filter(|id| !id.is_empty());
        StringMessage { id, content: content.into(), ..StringMessage::default() }
    }

    /// The text.
    pub fn content(&self) -> &str {
        &self.content
    }

    /// Replaces the text.
    pub fn set_content(&mut self, content: impl Into<String>) {
        self.content = content.into();
    }

    /// Sets the id.
    ///
    /// # Errors
    /// [`InvalidUse`](crate::ErrorKind::InvalidUse) for an empty one.
    pub fn set_message_id(&mut self, id: impl Into<String>) -> Result<()> {
        let id = id.into();
        if id.is_empty() {
            return Err(Error::invalid("an empty message id"));
        }
        self.id = Some(id);
        Ok(())
    }

    /// Sets an attribute.
    ///
    /// # Errors
    /// As [`Attributes::add`].
    pub fn add_attribute(
        &mut self,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<()> {
        self.attributes.add(name, value)
    }

    /// Replaces an attribute that is there.
    ///
    /// # Errors
    /// As [`Attributes::update`].
    pub fn update_attribute(&mut self, name: &str, value: impl Into<String>) -> Result<()> {
        self.attributes.update(name, value)
    }
}

impl From<&str> for StringMessage {
    fn from(content: &str) -> StringMessage {
        StringMessage::new(content)
    }
}

impl Message for StringMessage {
    fn encode(&self, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(&[1, u8::from(self.id.is_some())]);
        if let Some(id) = &self.id {
            put_text(out, "message id", id)?;
        }
        put_length(out, "attributes", self.attributes.len())?;
        for (name, value) in self.attributes.iter() {
            put_text(out, "attribute name", name)?;
            put_text(out, "attribute value", value)?;
        }
        out.extend_from_slice(self.content.as_bytes());
        Ok(())
    }

    fn retracted() -> Result<StringMessage> {
        Ok(StringMessage::default())
    }

    fn decode(bytes: &[u8]) -> Result<StringMessage> {
        let mut reader = Reader::new("string message", bytes);
        reader.version()?;
        let id = match reader.u8()? {
            0 => None,
            1 => Some(reader.text()?.to_owned()),
            flag => return Err(reader.error(format!("id flag {flag}"))),
        };
        if id.as_ref().is_some_and(String::is_empty) {
            return Err(reader.error("an empty id"));
        }
        let mut attributes = Attributes::new();
        let mut last = "";
        for _ in 0..reader.count(8)? {
            let name = reader.text()?;
            reader.begin("attribute", name);
            let value = reader.text()?;
            if name <= last {
                return Err(reader.error("attribute names do not ascend"));
            }
            attributes.add(name, value).map_err(|error| reader.error(error))?;
            reader.finish();
            last = name;
        }
        let content = std::str::from_utf8(reader.rest()).map_err(|error| reader.error(error))?;
        Ok(StringMessage { id, content: content.to_owned(), attributes })
    }

    fn message_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    fn attributes(&self) -> Option<&Attributes> {
        Some(&self.attributes)
    }
}
