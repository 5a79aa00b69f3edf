//! Compressed blocks, and the dictionary that they may need.

use super::{Fetcher, Handle, PAGE};
use crate::error::{Error, Result};
use crate::file::Region;
use crate::sstable::block::Block;
use crate::sstable::format::{BlockHeader, BlockKind, Codec};
use crate::sstable::zstd::{self, Digest};
use std::sync::Arc;

impl Fetcher {
    pub(super) fn decompressed(
        &self,
        header: &BlockHeader,
        bytes: &[u8],
        handle: &Handle,
    ) -> Result<Block> {
        let file_offset = self.file_offset(handle.offset);
        let digest = match header.codec {
            Codec::ZstdDictionary => Some(self.digest()?),
            _ => None,
        };
        let buffer = self
            .source
            .unpacking
            .decompress(header, bytes, digest.as_deref())?
            .map_err(|detail| Error::corruption(handle.kind.name(), file_offset, detail))?;
        Ok(Block::new(Region::from_memory(buffer), 0, *header, file_offset))
    }

    /// The block of the dictionary, if the SSTable has one.
    pub(in crate::sstable) fn dictionary_handle(&self) -> Option<Handle> {
        let section = &self.footer.dictionary;
        let length = usize::try_from(section.length).expect("the footer bounds it");
        (section.count == 1).then_some(Handle {
            kind: BlockKind::Dictionary,
            offset: section.offset,
            length,
            checksum: None,
            unit: self.footer.data.count + section.offset / PAGE,
        })
    }

    /// The dictionary of the SSTable, ready for use.
    pub(in crate::sstable) fn digest(&self) -> Result<Arc<Digest>> {
        if !zstd::AVAILABLE {
            return Err(zstd::unsupported("a block compressed with zstd"));
        }
        let section = &self.footer.dictionary;
        let damage = |detail: &str| {
            let place = self.file_offset(section.offset);
            Error::corruption(BlockKind::Dictionary.name(), place, detail)
        };
        let handle = self
            .dictionary_handle()
            .ok_or_else(|| damage("a block needs a dictionary, and the SSTable has none"))?;
        let load = || self.fetch_fresh(&handle).map(|block| Digest::new(block.content()));
        let digest = self.source.unpacking.digest(self.identity.number, load)?;
        digest.ok_or_else(|| damage("its bytes are no dictionary"))
    }
}
