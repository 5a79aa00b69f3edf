//! Where the immutable structures of the file are read from, and how.

use super::BlockCache;
use crate::file::{Disk, FileId};
use crate::options::ReadMode;
use crate::sstable::{Allowance, Unpacking};
use std::sync::Arc;

/// Where SSTables and segments are read from, and how.
#[derive(Clone)]
pub(crate) struct Source {
    /// The store's file.
    pub(crate) disk: Arc<dyn Disk>,
    /// Its id.
    pub(crate) file: FileId,
    /// Maps or `pread`.
    pub(crate) mode: ReadMode,
    /// Verified blocks.
    pub(crate) cache: Arc<BlockCache>,
    /// What may be read around what is touched.
    pub(crate) around: Arc<Allowance>,
    /// What decompression works with.
    pub(crate) unpacking: Arc<Unpacking>,
}

impl Source {
    /// A file that is read block by block and with no cache of its own: for whoever checks it.
    pub(crate) fn uncached(disk: Arc<dyn Disk>, file: FileId) -> Source {
        Source {
            disk,
            file,
            mode: ReadMode::Read,
            cache: Arc::new(BlockCache::new(0)),
            around: Arc::default(),
            unpacking: Arc::default(),
        }
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("file", &self.file).field("mode", &self.mode).finish()
    }
}
