//! zstd itself, through the safe binding of its C library.

use zstd_safe::{CCtx, CDict, DCtx, DDict, get_error_name};

/// Compresses the blocks of one SSTable.
pub(in crate::sstable) struct Packer {
    context: CCtx<'static>,
    level: i32,
    dictionary: Option<CDict<'static>>,
}

impl Packer {
    /// Levels go from 1, the fastest, to 19, the smallest. `None` where memory is short.
    pub(in crate::sstable) fn new(level: u8, dictionary: Option<&[u8]>) -> Option<Packer> {
        let level = i32::from(level);
        let dictionary = match dictionary {
            Some(bytes) => Some(CDict::try_create(bytes, level)?),
            None => None,
        };
        Some(Packer { context: CCtx::try_create()?, level, dictionary })
    }

    /// Makes `out` the compressed bytes, and returns whether they are fewer than the raw ones.
    pub(in crate::sstable) fn pack(&mut self, raw: &[u8], out: &mut Vec<u8>) -> bool {
        out.clear();
        out.reserve(raw.len());
        let packed = match &self.dictionary {
            Some(dictionary) => self.context.compress_using_cdict(out, raw, dictionary),
            None => self.context.compress(out, raw, self.level),
        };
        // What does not fit into the room of the raw bytes is not smaller.
        packed.is_ok() && out.len() < raw.len()
    }
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packer").field("level", &self.level).finish_non_exhaustive()
    }
}

/// A dictionary of at most so many bytes out of samples; `None` where they have too little in
/// common, or are too few.
pub(in crate::sstable) fn train(samples: &[&[u8]], bytes_max: usize) -> Option<Vec<u8>> {
    let sizes: Vec<usize> = samples.iter().map(|sample| sample.len()).collect();
    let joined = samples.concat();
    let mut dictionary = Vec::with_capacity(bytes_max);
    let trained = zstd_safe::train_from_buffer(&mut dictionary, &joined, &sizes);
    trained.is_ok().then_some(dictionary).filter(|dictionary| !dictionary.is_empty())
}

/// A dictionary made ready for decompression.
pub(in crate::sstable) struct Digest(DDict<'static>);

impl Digest {
    /// `None` where the bytes are no dictionary.
    pub(in crate::sstable) fn new(dictionary: &[u8]) -> Option<Digest> {
        DDict::try_create(dictionary).map(Digest)
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Digest({} bytes)", self.0.sizeof())
    }
}

/// What decompression works with: about 150 KB, used again and again.
pub(in crate::sstable) struct Context(DCtx<'static>);

impl Context {
    /// `None` where memory is short.
    pub(in crate::sstable) fn new() -> Option<Context> {
        DCtx::try_create().map(Context)
    }

    /// Fills the front of `target`, never more, and returns how many bytes that were.
    pub(in crate::sstable) fn unpack(
        &mut self,
        stored: &[u8],
        target: &mut [u8],
        digest: Option<&Digest>,
    ) -> Result<usize, String> {
        let unpacked = match digest {
            Some(digest) => self.0.decompress_using_ddict(target, stored, &digest.0),
            None => self.0.decompress(target, stored),
        };
        unpacked.map_err(|code| get_error_name(code).to_owned())
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Context")
    }
}
