//! Options for opening a store.

use super::Store;
use super::core::Settings;
use crate::backend::Backend;
use crate::buffer::BufferOptions;
use crate::error::Result;
use std::sync::Arc;
use tidelog_engine::{Durability, Options};

/// Options for opening a store; see [`Store::options`].
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use tidelog::{BufferOptions, MemoryBackend, Store};
/// let buffer = BufferOptions { delay: Duration::from_millis(20), ..BufferOptions::default() };
/// let store = Store::options().buffer(buffer).open_with(Arc::new(MemoryBackend::new()))?;
/// # store.close()?;
/// # Ok::<(), tidelog::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct StoreOptions {
    engine: Options,
    settings: Settings,
}

impl StoreOptions {
    /// Bytes for memtables, caches and timeline state of the engine together. Default 512 MiB.
    #[must_use]
    pub fn memory_budget(mut self, bytes: usize) -> StoreOptions {
        self.engine.memory_budget = bytes;
        self
    }

    /// All options of the engine.
    #[must_use]
    pub fn engine(mut self, options: Options) -> StoreOptions {
        self.engine = options;
        self
    }

    /// The durability of writes that do not say their own. Default: [`Durability::Sync`].
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> StoreOptions {
        self.settings.durability = durability;
        self
    }

    /// When the batch buffer is written. Default: 200 messages, 4 MiB or 10 s.
    #[must_use]
    pub fn buffer(mut self, buffer: BufferOptions) -> StoreOptions {
        self.settings.buffer = buffer;
        self
    }

    /// Threads for asynchronous reads, started when first needed. Default 2, at least 1.
    #[must_use]
    pub fn read_threads(mut self, count: usize) -> StoreOptions {
        self.settings.read_threads = count;
        self
    }

    /// Opens a store over any backend. The options of the engine are not used.
    ///
    /// # Errors
    /// [`InvalidUse`](crate::ErrorKind::InvalidUse) for an option out of its bounds.
    pub fn open_with(self, backend: Arc<dyn Backend>) -> Result<Store> {
        Store::new(backend, self.settings)
    }
}
