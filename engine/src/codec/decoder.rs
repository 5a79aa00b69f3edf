//! A cursor over untrusted bytes.

/// A read past the end of the bytes, or a value that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DecodeError {
    /// What was being read.
    pub(crate) what: &'static str,
    /// Offset within the decoded bytes.
    pub(crate) offset: usize,
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} cannot be decoded at byte {} of the unit", self.what, self.offset)
    }
}

/// Reads little-endian values from a slice, front to back.
#[derive(Debug, Clone)]
pub(crate) struct Decoder<'a> {
    bytes: &'a [u8],
    position: usize,
}

type Result<T> = std::result::Result<T, DecodeError>;

impl<'a> Decoder<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Decoder { bytes, position: 0 }
    }

    /// Bytes consumed so far.
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// What has not been consumed.
    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.position..]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// An error about the current position.
    #[inline]
    pub(crate) fn error(&self, what: &'static str) -> DecodeError {
        DecodeError { what, offset: self.position }
    }

    #[inline]
    pub(crate) fn take(&mut self, length: usize, what: &'static str) -> Result<&'a [u8]> {
        let Some((taken, _)) = self.rest().split_at_checked(length) else {
            return Err(self.error(what));
        };
        self.position += length;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N]> {
        let error = self.error(what);
        self.take(N, what)?.try_into().map_err(|_| error)
    }

    #[inline]
    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8> {
        Ok(u8::from_le_bytes(self.array(what)?))
    }

    #[inline]
    pub(crate) fn u16(&mut self, what: &'static str) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array(what)?))
    }

    #[inline]
    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    #[inline]
    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    #[inline]
    pub(crate) fn i64(&mut self, what: &'static str) -> Result<i64> {
        Ok(i64::from_le_bytes(self.array(what)?))
    }

    /// Reserved bytes: they must be zero, so that a later version may give them a meaning.
    pub(crate) fn zeros(&mut self, length: usize, what: &'static str) -> Result<()> {
        let error = self.error(what);
        if self.take(length, what)?.iter().any(|byte| *byte != 0) {
            return Err(error);
        }
        Ok(())
    }
}
