//! Whether this is still the process that something was made in, and not a child of fork.
//!
//! A child of fork has a copy of all memory and of all descriptors, but none of the threads. What
//! it does to a store it does beside its parent, behind the back of the lock, which both hold.
//!
//! The mark is a page that the kernel hands to a child empty: to ask is to look at one byte. Where
//! the kernel knows no such page, the number of the process is asked for.

use memmap2::MmapMut;
use std::hint::black_box;

const HERE: u8 = 1;

/// See the module.
#[derive(Debug)]
pub struct OwnProcess {
    mark: Option<MmapMut>,
    id: u32,
}

impl OwnProcess {
    /// The process that calls.
    pub fn new() -> OwnProcess {
        OwnProcess { mark: marked(), id: std::process::id() }
    }

    /// Whether the caller is in that process.
    #[inline]
    pub fn is_here(&self) -> bool {
        match &self.mark {
            Some(mark) => black_box(mark)[0] == HERE,
            None => std::process::id() == self.id,
        }
    }
}

impl Default for OwnProcess {
    fn default() -> OwnProcess {
        OwnProcess::new()
    }
}

#[cfg(target_os = "linux")]
fn marked() -> Option<MmapMut> {
    // The kernel rounds up to a page, whatever its size.
    let mut page = super::map(crate::limits::PAGE_SIZE).ok()?;
    let advice = rustix::mm::Advice::LinuxWipeOnFork;
    // SAFETY: the range is that of the map, which is private and of nobody else. The advice changes
    // nothing of it in this process; in a child its bytes are zeros, which are bytes as any others.
    unsafe { rustix::mm::madvise(page.as_mut_ptr().cast(), page.len(), advice) }.ok()?;
    page[0] = HERE;
    Some(page)
}

#[cfg(not(target_os = "linux"))]
fn marked() -> Option<MmapMut> {
    None
}

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_here_and_another_process_is_not() {
        assert!(OwnProcess::new().is_here());
        let own = OwnProcess { mark: None, id: std::process::id() };
        assert!(own.is_here());
        assert!(!OwnProcess { mark: None, id: own.id + 1 }.is_here());
        #[cfg(target_os = "linux")]
        {
            // What a child sees of the page.
            let mut wiped = OwnProcess::new();
            wiped.mark.as_mut().unwrap()[0] = 0;
            assert!(!wiped.is_here());
        }
    }
}
