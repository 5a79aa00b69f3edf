//! Memory that is asked of the system directly: large, on huge pages where there are any, and used
//! again.
//!
//! A memtable's entries and bodies are touched all over: on small pages each touch waits for the
//! table of pages as well. And a page costs a fault and its zeros when it is first written to: the
//! next memtable takes what the one before the last has left.
//!
//! ```text
//! Slab    [ body | body | body | … free ]     written from the front on, read where it was written
//! Words   [ 0 0 0 0 … ]                       atomics
//! Ahead   tells a worker what will be taken soon, so that it is there
//! OwnProcess  a page that a child of fork finds empty
//! Pool    knows all that memtables hold, and gives out again what nobody else holds any more
//! ```
//! Nothing is taken before it is touched, so what is asked for may be generous.

#[cfg_attr(any(loom, shuttle), allow(dead_code, reason = "models have their words on the heap"))]
mod ahead;
mod own_process;
#[cfg_attr(any(loom, shuttle), allow(dead_code, reason = "models have their words on the heap"))]
mod pool;
mod slab;
#[cfg_attr(any(loom, shuttle), allow(dead_code, reason = "models have their words on the heap"))]
mod words;

pub use own_process::OwnProcess;
pub(crate) use pool::Pool;
pub(crate) use slab::{Piece, Slab};
pub(crate) use words::Words;

use memmap2::MmapMut;
use std::io;

/// Bytes of a huge page. A map below that has none.
const HUGE_BYTES: usize = 2 * 1024 * 1024;
/// Bytes of a page, or fewer.
const PAGE_BYTES: usize = 4096;

/// Zeros from the system.
fn map(bytes: usize) -> io::Result<MmapMut> {
    let map = MmapMut::map_anon(bytes)?;
    #[cfg(target_os = "linux")]
    if bytes >= HUGE_BYTES {
        // Where advice is refused, nothing is lost but time.
        let _ = map.advise(memmap2::Advice::HugePage);
    }
    Ok(map)
}
