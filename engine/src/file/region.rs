//! Immutable bytes of the file: a map, or a copy on the heap. Cloning shares them.

use std::any::Any;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// A shared run of immutable bytes.
#[derive(Clone)]
pub struct Region(Source);

#[derive(Clone)]
enum Source {
    Memory(Arc<[u8]>),
    Map(Arc<memmap2::Mmap>),
    Guarded(Arc<Guarded>),
}

/// Bytes together with what must live as long as anybody can see them.
struct Guarded {
    region: Region,
    _guard: Arc<dyn Any + Send + Sync>,
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

    /// The same bytes, which keep `guard` alive. A payload handed to a reader may outlive the
    /// SSTable it was read from; the extent under its map must not be written again meanwhile.
    pub(crate) fn with_guard(self, guard: Arc<dyn Any + Send + Sync>) -> Region {
        Region(Source::Guarded(Arc::new(Guarded { region: self, _guard: guard })))
    }

    /// Asks the system to bring these bytes in as huge pages. Advice, as [`Region::will_need`], but
    /// it is waited for.
    pub(crate) fn bring_in_huge(&self, range: Range<usize>) {
        match &self.0 {
            Source::Memory(_) => {}
            Source::Map(map) => {
                super::os::bring_in_huge(map, range);
            }
            Source::Guarded(guarded) => guarded.region.bring_in_huge(range),
        }
    }

    /// Tells the system that these bytes are read soon, so that they come in one read and not page
    /// by page. Advice: nothing is waited for, and nothing depends on it.
    pub(crate) fn will_need(&self, range: Range<usize>) {
        match &self.0 {
            Source::Memory(_) => {}
            Source::Map(map) => {
                super::os::will_need(map, range);
            }
            Source::Guarded(guarded) => guarded.region.will_need(range),
        }
    }
}

impl Deref for Region {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Source::Memory(bytes) => bytes,
            Source::Map(map) => map,
            Source::Guarded(guarded) => &guarded.region,
        }
    }
}

impl std::fmt::Debug for Region {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Region({} bytes)", self.len())
    }
}
