//! Immutable bytes of the file: a map, or a copy on the heap. Cloning shares them.

use std::ops::Deref;
use std::sync::Arc;

/// A shared run of immutable bytes.
#[derive(Clone)]
pub struct Region(Source);

#[derive(Clone)]
enum Source {
    Memory(Arc<[u8]>),
    Map(Arc<memmap2::Mmap>),
}

impl Region {
    /// Bytes on the heap.
    pub fn from_memory(bytes: Arc<[u8]>) -> Region {
        Region(Source::Memory(bytes))
    }

    /// A read-only map of an immutable range of the file.
    pub(crate) fn from_map(map: memmap2::Mmap) -> Region {
        Region(Source::Map(Arc::new(map)))
    }
}

impl Deref for Region {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Source::Memory(bytes) => bytes,
            Source::Map(map) => map,
        }
    }
}

impl std::fmt::Debug for Region {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Region({} bytes)", self.len())
    }
}
