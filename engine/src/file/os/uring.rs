//! Writes that Linux does beside their caller: one at a time on each ring of `io_uring`.
//!
//! ```text
//! submission ring   head · tail · [index of an entry …]    the tail is ours, the head the kernel's
//! entries           64 bytes each: what to do
//! completion ring   head · tail · [16 bytes each …]        the head is ours, the tail the kernel's
//! ```
//! A ring that has nothing to do is kept for the next write.
//!
//! # Concurrency
//! A ring has one owner. The list of idle ones is locked for a push or a pop.

use crate::sync::{Arc, AtomicBool, AtomicU32, AtomicU64, Mutex, Ordering};
use memmap2::{MmapOptions, MmapRaw};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::io_uring::{
    IORING_OFF_SQ_RING, IORING_OFF_SQES, IoringEnterFlags, IoringFeatureFlags, IoringOp,
    io_uring_enter, io_uring_params, io_uring_setup,
};
use std::fs::File;
use std::io;

/// Words of 8 bytes of a submission entry.
const ENTRY_WORDS: usize = 8;
/// Bytes of a completion.
const COMPLETION_BYTES: usize = 16;
/// Idle rings that are kept.
const IDLE_MAX: usize = 8;

/// The rings of a file.
#[derive(Debug, Default)]
pub(super) struct Rings {
    idle: Mutex<Vec<Ring>>,
    /// The system has none for us.
    missing: AtomicBool,
}

#[derive(Debug)]
pub(super) struct Ring {
    fd: OwnedFd,
    rings: MmapRaw,
    entries: MmapRaw,
    sq: Submissions,
    cq: Completions,
}

/// Offsets of words in the rings' memory.
#[derive(Debug, Clone, Copy)]
struct Submissions {
    tail: usize,
    mask: usize,
    array: usize,
}

/// The same.
#[derive(Debug, Clone, Copy)]
struct Completions {
    head: usize,
    tail: usize,
    mask: usize,
    first: usize,
}

impl Rings {
    /// Begins a write of `bytes`; `None` where the caller has to write by itself. What it gives is
    /// called to wait for the end.
    ///
    /// # Safety
    /// `bytes` stay where they are and are not changed until the returned closure has returned; if
    /// it is never called, for ever.
    pub(super) unsafe fn begin(
        self: &Arc<Rings>,
        file: &File,
        bytes: &[u8],
        offset: u64,
    ) -> Option<impl FnOnce() -> io::Result<usize> + Send + Sync + use<>> {
        let mut ring = self.take()?;
        // SAFETY: the caller keeps the bytes.
        if !unsafe { ring.submit(file, bytes, offset) } {
            return None;
        }
        let rings = Arc::clone(self);
        Some(move || {
            let outcome = ring.wait();
            let mut idle = rings.idle.lock();
            if idle.len() < IDLE_MAX {
                idle.push(ring);
            }
            match u32::try_from(outcome) {
                Ok(count) => Ok(count as usize),
                Err(_) => Err(io::Error::from_raw_os_error(-outcome)),
            }
        })
    }

    fn take(&self) -> Option<Ring> {
        if self.missing.load(Ordering::Relaxed) {
            return None;
        }
        let idle = self.idle.lock().pop();
        let ring = idle.or_else(|| Ring::new().ok());
        if ring.is_none() {
            self.missing.store(true, Ordering::Relaxed);
        }
        ring
    }
}

impl Ring {
    fn new() -> io::Result<Ring> {
        let mut params = io_uring_params::default();
        // SAFETY: no memory is handed over but the parameters, which are ours.
        let fd = unsafe { io_uring_setup(2, &mut params) }?;
        if !params.features.contains(IoringFeatureFlags::SINGLE_MMAP) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let at = |offset: u32| offset as usize;
        let (sq, cq) = (params.sq_off, params.cq_off);
        let (tail, mask, array) = (at(sq.tail), at(sq.ring_mask), at(sq.array));
        let sq = Submissions { tail, mask, array };
        let (head, tail, mask, first) = (at(cq.head), at(cq.tail), at(cq.ring_mask), at(cq.cqes));
        let cq = Completions { head, tail, mask, first };
        let submissions = sq.array + at(params.sq_entries) * size_of::<u32>();
        let completions = cq.first + at(params.cq_entries) * COMPLETION_BYTES;
        let map = |offset, length| MmapOptions::new().offset(offset).len(length).map_raw(&fd);
        let rings = map(IORING_OFF_SQ_RING, submissions.max(completions))?;
        let entry_bytes = at(params.sq_entries) * ENTRY_WORDS * size_of::<u64>();
        let entries = map(IORING_OFF_SQES, entry_bytes)?;
        Ok(Ring { fd, rings, entries, sq, cq })
    }

    /// A word of the rings, by its offset in bytes.
    fn word(&self, offset: usize) -> &AtomicU32 {
        let count = self.rings.len() / size_of::<u32>();
        // SAFETY: the map begins on a page, so it is aligned, and has so many words. The kernel
        // changes them as atomics, and nobody else has them. It lives as long as the borrowed ring.
        let words: &[AtomicU32] =
            unsafe { std::slice::from_raw_parts(self.rings.as_ptr().cast(), count) };
        &words[offset / size_of::<u32>()]
    }

    fn entry(&self, index: u32) -> &[AtomicU64] {
        let count = self.entries.len() / size_of::<u64>();
        // SAFETY: as in `word`.
        let words: &[AtomicU64] =
            unsafe { std::slice::from_raw_parts(self.entries.as_ptr().cast(), count) };
        &words[index as usize * ENTRY_WORDS..][..ENTRY_WORDS]
    }

    /// Hands a write to the kernel; `false` where it has not taken it.
    ///
    /// # Safety
    /// See [`Rings::begin`].
    unsafe fn submit(&mut self, file: &File, bytes: &[u8], offset: u64) -> bool {
        let sq = self.sq;
        let tail = self.word(sq.tail).load(Ordering::Relaxed);
        let index = tail & self.word(sq.mask).load(Ordering::Relaxed);
        let (Ok(length), Ok(fd)) = (u32::try_from(bytes.len()), u32::try_from(file.as_raw_fd()))
        else {
            return false;
        };
        let operation = u64::from(IoringOp::Write as u8) | u64::from(fd) << 32;
        let address = bytes.as_ptr().expose_provenance() as u64;
        let words = [operation, offset, address, u64::from(length), 0, 0, 0, 0];
        for (place, word) in self.entry(index).iter().zip(words) {
            place.store(word, Ordering::Relaxed);
        }
        self.word(sq.array + index as usize * size_of::<u32>()).store(index, Ordering::Relaxed);
        self.word(sq.tail).store(tail.wrapping_add(1), Ordering::Release);
        // SAFETY: the entry names the file, which is open, and the bytes, which the caller keeps.
        match unsafe { io_uring_enter(&self.fd, 1, 0, IoringEnterFlags::empty()) } {
            Ok(1) => true,
            // Not taken: whoever drops the ring now takes the entry back with it.
            _ => false,
        }
    }

    /// The outcome of the write that was submitted: a count of bytes, or an error below zero.
    fn wait(&mut self) -> i32 {
        let cq = self.cq;
        loop {
            let head = self.word(cq.head).load(Ordering::Relaxed);
            if head != self.word(cq.tail).load(Ordering::Acquire) {
                let index = head & self.word(cq.mask).load(Ordering::Relaxed);
                let place = cq.first + index as usize * COMPLETION_BYTES;
                let outcome = self.word(place + size_of::<u64>()).load(Ordering::Relaxed);
                self.word(cq.head).store(head.wrapping_add(1), Ordering::Release);
                return outcome.cast_signed();
            }
            // SAFETY: nothing is submitted.
            if unsafe { io_uring_enter(&self.fd, 0, 1, IoringEnterFlags::GETEVENTS) }.is_err() {
                // Whatever the call says: the kernel tells of what it has taken, and the buffer is
                // not to be given back before.
                std::hint::spin_loop();
            }
        }
    }
}
