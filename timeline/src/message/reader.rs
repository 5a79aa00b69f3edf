//! Reads the fields of an encoded message. Each length is checked against the bytes that are there,
//! before anything is allocated.

use crate::error::{Error, Result};

/// Characters of a name that an error shows: a hostile one may be as long as the message.
const NAME_CHARACTERS_MAX: usize = 64;

pub(super) struct Reader<'a> {
    what: &'static str,
    /// The part that is being read: its kind, and its name.
    part: Option<(&'static str, &'a str)>,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader of `bytes`, which should be a `what`.
    pub(super) fn new(what: &'static str, bytes: &'a [u8]) -> Reader<'a> {
        Reader { what, part: None, rest: bytes }
    }

    pub(super) fn error(&self, detail: impl std::fmt::Display) -> Error {
        let what = self.what;
        Error::decode(match self.part {
            None => format!("{what}: {detail}"),
            Some((kind, name)) => {
                let name: String = name.chars().take(NAME_CHARACTERS_MAX).collect();
                format!("{what}, {kind} {name:?}: {detail}")
            }
        })
    }

    /// What is read from now on is of a part, which errors name.
    pub(super) fn begin(&mut self, kind: &'static str, name: &'a str) {
        self.part = Some((kind, name));
    }

    /// What is read from now on is of no part.
    pub(super) fn finish(&mut self) {
        self.part = None;
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let Some((taken, rest)) = self.rest.split_at_checked(length) else {
            return Err(self.error(format!("{length} bytes wanted, {} left", self.rest.len())));
        };
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        let bytes = self.take(4)?.try_into().expect("4 bytes were taken");
        Ok(u32::from_le_bytes(bytes))
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        let bytes = self.take(8)?.try_into().expect("8 bytes were taken");
        Ok(u64::from_le_bytes(bytes))
    }

    /// A count of things of at least `least` bytes each.
    pub(super) fn count(&mut self, least: usize) -> Result<usize> {
        let count = self.u32()? as usize;
        match count.checked_mul(least) {
            Some(bytes) if bytes <= self.rest.len() => Ok(count),
            _ => Err(self.error(format!("{count} items in {} bytes", self.rest.len()))),
        }
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = self.u32()? as usize;
        self.take(length)
    }

    pub(super) fn text(&mut self) -> Result<&'a str> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map_err(|error| self.error(error))
    }

    /// The version byte, of which version 1 is known.
    pub(super) fn version(&mut self) -> Result<()> {
        match self.u8()? {
            1 => Ok(()),
            version => Err(self.error(format!("version {version}, this build reads version 1"))),
        }
    }

    pub(super) fn end(&self) -> Result<()> {
        match self.rest.len() {
            0 => Ok(()),
            more => Err(self.error(format!("{more} bytes too many"))),
        }
    }
}
