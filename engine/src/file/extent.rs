//! A contiguous run of the file.

/// A run of bytes in the file; both fields are multiples of the block size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Extent {
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
}

impl Extent {
    /// The byte behind the last one.
    pub fn end(&self) -> u64 {
        self.offset + self.length
    }
}
