//! A build without zstd: every value here is impossible, so nothing can be done with one.

use std::convert::Infallible;

/// Compresses the blocks of one SSTable.
#[derive(Debug)]
pub(in crate::sstable) struct Packer(Infallible);

impl Packer {
    /// `None`: this build cannot.
    pub(in crate::sstable) fn new(_level: u8, _dictionary: Option<&[u8]>) -> Option<Packer> {
        None
    }

    pub(in crate::sstable) fn pack(&mut self, _raw: &[u8], _out: &mut Vec<u8>) -> bool {
        match self.0 {}
    }
}

/// No dictionary: nothing could be compressed with it.
pub(in crate::sstable) fn train(_: &[&[u8]], _bytes_max: usize) -> Option<Vec<u8>> {
    None
}

/// A dictionary made ready for decompression.
#[derive(Debug)]
pub(in crate::sstable) struct Digest(Infallible);

impl Digest {
    pub(in crate::sstable) fn new(_dictionary: &[u8]) -> Option<Digest> {
        None
    }
}

/// What decompression works with.
#[derive(Debug)]
pub(in crate::sstable) struct Context(Infallible);

impl Context {
    /// `None`: this build cannot.
    pub(in crate::sstable) fn new() -> Option<Context> {
        None
    }

    pub(in crate::sstable) fn unpack(
        &mut self,
        _stored: &[u8],
        _target: &mut [u8],
        _digest: Option<&Digest>,
    ) -> Result<usize, String> {
        match self.0 {}
    }
}
