//! Writing by storing into the page cache.
//!
//! A store costs a copy: no call of the system, no lock of the inode, and nothing waits for the
//! device (measured beside unlimited direct output: 0.5 us for 512 bytes where a direct write takes
//! 74, 8 us for 128 KiB where it takes 121). It outlives the process as any write does. Until a
//! later sync returned well a power loss may take any of its pages, and tears them as a whole: what
//! lies beside it in a page of [`BLOCK_SIZE`](crate::limits::BLOCK_SIZE) bytes is written again
//! with it. So whoever stores keeps away from pages that hold bytes which must not be lost.

use std::io;

/// A range of the file that can be stored to. See
/// [`Disk::map_stores`](super::Disk::map_stores).
pub trait Stores: Send + Sync {
    /// Stores `bytes` at `offset` of the file, of any alignment. Readers of the file see them on
    /// return.
    ///
    /// # Errors
    /// `InvalidInput` outside the range. A device that fails tells the next sync; where the page
    /// has to be read first and cannot be, the system ends the process, as it does for any map.
    fn store(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Lets the device begin with what was stored in this part, so that a later sync has less to
    /// wait for. Nothing is lost where the system cannot.
    fn start_writing(&self, offset: u64, length: u64);

    /// Lets the device read this part, which will be stored to soon. Nothing is lost where the
    /// system cannot.
    fn read_ahead(&self, _offset: u64, _length: u64) {}
}
