//! Writing by storing into the page cache.
//!
//! A store waits for no device, and outlives the process as any write does. Until a later sync
//! returned well a power loss may take any of its pages, and tears them as a whole: what lies
//! beside it in a page of [`BLOCK_SIZE`](crate::limits::BLOCK_SIZE) bytes is written again with it.
//! So whoever stores keeps away from pages that hold bytes which must not be lost.
//!
//! | [`StoreBy`] | 512 bytes | beside 200 MB/s of direct output | beside all the device takes |
//! |---|---|---|---|
//! | `Write` | 1 us, p99.9 7 | 1 us, p99.9 203 | 1 us, p99.9 8,000 |
//! | `Map` | 0.5 us, p99.9 5 | 0.5 us, p99.9 10 | 0.5 us, p99.9 22 |
//! | neither, but a direct write | 39 us, p99.9 147 | 40 us, p99.9 198 | 74 us, p99.9 252 |

use std::io;

/// How bytes are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreBy {
    /// By the system's write. It takes the lock of the inode, for which it may wait behind direct
    /// writes that are on their way. The system writes the blocks to the device that were touched,
    /// and no others.
    Write,
    /// By stores to a map: no call of the system, no lock. Where the system caches the file in
    /// pieces of many pages, it writes whole pieces.
    Map,
}

/// A range of the file that can be stored to. See
/// [`Disk::open_stores`](super::Disk::open_stores).
pub trait Stores: Send + Sync {
    /// Stores `bytes` at `offset` of the file, of any alignment. Readers of the file see them on
    /// return.
    ///
    /// # Errors
    /// `InvalidInput` outside the range; those of the system's write. A device that fails later
    /// tells the next sync. By a map, where the page has to be read first and cannot be, the system
    /// ends the process, as it does for any map.
    fn store(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Lets the device begin with what was stored in this part, so that a later sync has less to
    /// wait for; what it has written already is not needed in the cache. Nothing is lost where the
    /// system cannot.
    fn start_writing(&self, offset: u64, length: u64);

    /// Lets the device read this part, which will be stored to soon. Nothing is lost where the
    /// system cannot.
    fn read_ahead(&self, _offset: u64, _length: u64) {}
}
