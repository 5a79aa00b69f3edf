//! What decompression needs beside a block: contexts to work with, and dictionaries made ready.
//!
//! Both cost more to make than a block costs to decompress, so a few are kept: contexts for as many
//! readers as are likely to decompress at one moment, and the dictionaries used last. The memory is
//! bounded by the two numbers below, however many SSTables have a dictionary.
//!
//! # Concurrency
//! Any thread. Each lock is held for a look-up only, never across a read or a decompression.

use super::block::zeroed;
use super::format::{BlockHeader, Codec, HEADER_SIZE};
use super::zstd::{self, Context, Digest};
use crate::error::{Error, Result};
use crate::sync::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;

/// Most idle contexts that are kept.
const CONTEXTS_MAX: usize = 4;
/// Most dictionaries that are kept: each takes its bytes and about 30 KB.
const DIGESTS_MAX: usize = 32;

/// Shared by all SSTables of a store.
#[derive(Debug, Default)]
pub(crate) struct Unpacking {
    contexts: Mutex<Vec<Context>>,
    /// By SSTable number; the one used last comes first.
    digests: Mutex<VecDeque<(u64, Arc<Digest>)>>,
}

impl Unpacking {
    /// The dictionary of an SSTable, made ready by `load` where it is not kept. `None` where `load`
    /// finds none.
    pub(super) fn digest(
        &self,
        number: u64,
        load: impl FnOnce() -> Result<Option<Digest>>,
    ) -> Result<Option<Arc<Digest>>> {
        {
            let mut digests = self.digests.lock();
            if let Some(place) = digests.iter().position(|(of, _)| *of == number) {
                let found = digests.remove(place).expect("it was found there a line ago");
                let digest = Arc::clone(&found.1);
                digests.push_front(found);
                return Ok(Some(digest));
            }
        }
        let Some(digest) = load()?.map(Arc::new) else {
            return Ok(None);
        };
        let mut digests = self.digests.lock();
        digests.push_front((number, Arc::clone(&digest)));
        digests.truncate(DIGESTS_MAX);
        Ok(Some(digest))
    }

    /// Decompresses a verified block into one that looks uncompressed: header, then raw content.
    ///
    /// # Errors
    /// The outer one where this build cannot; the inner one says what is wrong with the block.
    pub(super) fn decompress(
        &self,
        header: &BlockHeader,
        bytes: &[u8],
        digest: Option<&Digest>,
    ) -> Result<Result<Arc<[u8]>, String>> {
        let stored = &bytes[HEADER_SIZE..];
        let raw_length = header.raw_length as usize;
        let mut buffer = zeroed(HEADER_SIZE + raw_length);
        let target = Arc::get_mut(&mut buffer).expect("nobody else has the new buffer yet");
        target[..HEADER_SIZE].copy_from_slice(&bytes[..HEADER_SIZE]);
        let target = &mut target[HEADER_SIZE..];
        let unpacked = match header.codec {
            Codec::None => Err("it is not compressed".to_owned()),
            Codec::Lz4 => {
                lz4_flex::block::decompress_into(stored, target).map_err(|error| error.to_string())
            }
            Codec::Zstd | Codec::ZstdDictionary => {
                let mut context = self.context()?;
                let unpacked = context.unpack(stored, target, digest);
                self.give_back(context);
                unpacked
            }
        };
        Ok(match unpacked {
            Ok(length) if length == raw_length => Ok(buffer),
            Ok(length) => Err(format!("it decompresses to {length} bytes, expected {raw_length}")),
            Err(error) => Err(format!("it does not decompress: {error}")),
        })
    }

    fn context(&self) -> Result<Context> {
        if !zstd::AVAILABLE {
            return Err(zstd::unsupported("a block compressed with zstd"));
        }
        let idle = self.contexts.lock().pop();
        idle.or_else(Context::new).ok_or_else(|| {
            Error::io("decompress a block", 0, std::io::ErrorKind::OutOfMemory.into())
        })
    }

    fn give_back(&self, context: Context) {
        let mut contexts = self.contexts.lock();
        if contexts.len() < CONTEXTS_MAX {
            contexts.push(context);
        }
    }
}
