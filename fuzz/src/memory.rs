//! The allocator of this program: the system's, with the bytes of each thread counted.
//!
//! A decoder that believes a hostile length allocates before it fails, and the system hands out
//! address space that is never touched: only counting shows it.
//!
//! # Invariants
//! 1. `peak` is at least `live`, and never falls but in [`measure`].
//! 2. No call allocates: the counters are plain cells that need no construction.
//!
//! # Concurrency
//! Counters are per thread, so tests that run side by side do not see each other. Memory that one
//! thread frees for another is counted where it is freed; the fuzzers run on one thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Live bytes of one thread above which an allocation is refused, which ends the process: a fuzzer
/// must not take the machine down.
const HARD_LIMIT: usize = 2 * 1024 * 1024 * 1024;

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

/// See the module.
struct CountingAllocator;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

// SAFETY: every call is handed to the system's allocator as it is, or refused with a null pointer,
// which the trait allows; the counters neither allocate nor unwind.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !add(layout.size()) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promises about `layout` are those that the system asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !add(layout.size()) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promises about `layout` are those that the system asks for.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        subtract(layout.size());
        // SAFETY: the pointer came from the system with this layout, by the calls above and below.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !add(size) {
            return std::ptr::null_mut();
        }
        subtract(layout.size());
        // SAFETY: the pointer came from the system with this layout; the caller vouches for `size`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Counts an allocation, unless it would pass the hard limit.
fn add(size: usize) -> bool {
    let live = LIVE.get().saturating_add(size);
    if live > HARD_LIMIT {
        return false;
    }
    LIVE.set(live);
    PEAK.set(PEAK.get().max(live));
    true
}

fn subtract(size: usize) {
    LIVE.set(LIVE.get().saturating_sub(size));
}

/// Runs `work`, and tells how many bytes this thread held at most above what it held before.
pub(crate) fn measure<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let (outer_peak, before) = (PEAK.get(), LIVE.get());
    PEAK.set(before);
    let result = work();
    let peak = PEAK.get();
    PEAK.set(peak.max(outer_peak));
    (result, peak - before)
}

#[cfg(test)]
mod tests {
    use super::measure;

    #[test]
    fn a_zeroed_allocation_counts_though_it_is_never_touched() {
        let (length, peak) = measure(|| vec![0u8; 300 << 20].len());
        assert_eq!(length, 300 << 20);
        assert!(peak >= 300 << 20, "{peak}");
        let ((), inner) = measure(|| drop(vec![1u8; 1000]));
        assert!((1000..10_000).contains(&inner), "{inner}");
    }
}
