//! [`Json`]: any serde type as a message, as JSON text. Behind the feature `serde`.

use super::Message;
use crate::error::{Error, ErrorKind, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A serde type as a message: its JSON text, which other programs and the command line can read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Json<T>(pub T);

impl<T> Message for Json<T>
where
    T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
{
    fn encode(&self, out: &mut Vec<u8>) -> Result<()> {
        serde_json::to_writer(out, &self.0).map_err(|error| {
            Error::with_source(ErrorKind::InvalidUse, format!("a message as JSON: {error}"), error)
        })
    }

    /// What `null` is to the type.
    fn retracted() -> Result<Json<T>> {
        Self::decode(b"null")
    }

    fn decode(bytes: &[u8]) -> Result<Json<T>> {
        serde_json::from_slice(bytes).map(Json).map_err(|error| {
            Error::with_source(ErrorKind::Decode, format!("a message from JSON: {error}"), error)
        })
    }
}
