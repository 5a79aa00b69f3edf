//! How the data blocks of one SSTable are compressed: not at all, with lz4, with zstd, or with zstd
//! and a dictionary of the SSTable's own.
//!
//! ```text
//! the first blocks, raw        0    1    2    3    4    5    6    7  …
//!                              │         │         │         │
//!                            train     judge     train     judge        every fourth each
//! ```
//! A dictionary is trained on a quarter of the first blocks and judged by another quarter, which it
//! has not seen. It is kept if what it saves over all of them is more than itself: then whatever
//! comes behind is pure gain. Measured on chat (IRC, 20 MB, blocks of 64 KiB, level 6): a 32 KiB
//! dictionary saves a twentieth of the bytes; with blocks of 16 KiB a tenth, with 256 KiB nothing.
//!
//! A build without zstd writes lz4 where zstd was asked for.

use super::format::Codec;
use super::zstd::{Packer, train};
use crate::limits::DICTIONARY_BYTES;
use crate::options::Compression;

/// Of so many sampled blocks one trains a dictionary, and another one judges it.
const SAMPLE_SHARE: usize = 4;
/// A block is taken apart into samples of so many bytes.
const SAMPLE_BYTES: usize = 2048;
/// Fewest bytes of training, in terms of the dictionary: fewer teach it nothing.
const TRAINING_FACTOR: usize = 4;

/// The compressor of one SSTable.
#[derive(Debug)]
pub(super) enum Packing {
    None,
    Lz4,
    Zstd { packer: Packer, dictionary: Option<Vec<u8>> },
}

impl Packing {
    /// Without a dictionary.
    pub(super) fn new(compression: Compression) -> Packing {
        match compression {
            Compression::None => Packing::None,
            Compression::Lz4 => Packing::Lz4,
            Compression::Zstd { level } => match Packer::new(level, None) {
                Some(packer) => Packing::Zstd { packer, dictionary: None },
                None => Packing::Lz4,
            },
        }
    }

    /// With a dictionary for blocks like these, if one pays.
    pub(super) fn trained(compression: Compression, blocks: &[&[u8]], bytes: usize) -> Packing {
        let Compression::Zstd { level } = compression else {
            return Packing::new(compression);
        };
        let Some(dictionary) = paying_dictionary(level, blocks, bytes) else {
            return Packing::new(compression);
        };
        match Packer::new(level, Some(&dictionary)) {
            Some(packer) => Packing::Zstd { packer, dictionary: Some(dictionary) },
            None => Packing::new(compression),
        }
    }

    /// The dictionary, if there is one.
    pub(super) fn dictionary(&self) -> Option<&[u8]> {
        match self {
            Packing::Zstd { dictionary, .. } => dictionary.as_deref(),
            _ => None,
        }
    }

    /// Compresses `raw` into `out`, if that makes it smaller: the codec says which of the two to
    /// store.
    pub(super) fn pack(&mut self, raw: &[u8], out: &mut Vec<u8>) -> Codec {
        let (codec, smaller) = match self {
            Packing::None => (Codec::None, false),
            Packing::Lz4 => {
                *out = lz4_flex::block::compress(raw);
                (Codec::Lz4, out.len() < raw.len())
            }
            Packing::Zstd { packer, dictionary: None } => (Codec::Zstd, packer.pack(raw, out)),
            Packing::Zstd { packer, dictionary: Some(_) } => {
                (Codec::ZstdDictionary, packer.pack(raw, out))
            }
        };
        if smaller { codec } else { Codec::None }
    }
}

/// A dictionary that saves more of these blocks than it takes.
fn paying_dictionary(level: u8, blocks: &[&[u8]], bytes: usize) -> Option<Vec<u8>> {
    let quarter = |first: usize| blocks.iter().skip(first).step_by(SAMPLE_SHARE);
    let samples: Vec<&[u8]> = quarter(0).flat_map(|block| block.chunks(SAMPLE_BYTES)).collect();
    let training: usize = samples.iter().map(|sample| sample.len()).sum();
    let bytes = bytes.min(DICTIONARY_BYTES).min(training / TRAINING_FACTOR);
    let dictionary = train(&samples, bytes)?;
    let mut out = Vec::new();
    let mut size = |packer: &mut Packer| -> usize {
        let sizes = quarter(SAMPLE_SHARE / 2)
            .map(|block| if packer.pack(block, &mut out) { out.len() } else { block.len() });
        sizes.sum()
    };
    let without = size(&mut Packer::new(level, None)?);
    let with = size(&mut Packer::new(level, Some(&dictionary))?);
    let saved = without.saturating_sub(with) * SAMPLE_SHARE;
    (saved > dictionary.len()).then_some(dictionary)
}
