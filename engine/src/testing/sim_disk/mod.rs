//! `SimDisk`: one simulated file behind [`Disk`], with a cache that power loss takes.
//!
//! ```text
//!  write, store, allocate, truncate, punch   sync, write with Flush::Now
//!          │                                              │
//!          ▼                                              ▼
//!   volatile image  ◄── reads            pending list ──► durable image
//!   (every operation applied)            (in order)       (survives power loss)
//! ```
//!
//! A crash at operation n makes that operation and all later ones fail; [`SimDisk::crash_image`]
//! then gives any legal state after it as a fresh disk. Operations that change state are numbered
//! from 0: writes, stores, syncs, allocations, truncations and punched holes, failed ones included.
//!
//! # Invariants
//! I1. Durable image with all pending operations applied in order = volatile image, but for writes
//!     that a failed sync lost.
//! I2. A pending operation marked durable has an earlier pending operation that touches its bytes.
//! I3. After a crash nothing changes any more.
//!
//! # Concurrency
//! One lock around everything; any number of threads may use clones of a handle. A handle made by
//! [`SimDisk::reopen`] stands for another process: it competes for the writer lock.

mod crash;
#[cfg(test)]
mod crash_tests;
mod device;
mod fault;
mod image;
mod operation;
mod state;
#[cfg(test)]
mod tests;

pub use crash::CrashPolicy;
pub use fault::{AfterFailedSync, Fault, FaultEffect, FaultOperation, FaultTimes, WrittenPart};

use crate::file::Identity;
use crate::runtime::mix;
use crate::sync::Mutex;
use fault::FaultPlan;
use image::Image;
use operation::Operation;
use std::sync::Arc;

/// What kind of device is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimOptions {
    /// Alignment that writes need: 512 or 4096.
    pub alignment: usize,
    /// Writes bypass the page cache: memory addresses must be aligned too.
    pub direct: bool,
    /// Bytes of room; whole pages of 4,096 bytes are counted. `None`: without end.
    pub capacity: Option<u64>,
    /// Unit in which a write is torn: 512 or 4096. Neighbours of a write are never damaged.
    pub sector: usize,
}

impl Default for SimOptions {
    fn default() -> SimOptions {
        SimOptions { alignment: 512, direct: true, capacity: None, sector: 512 }
    }
}

/// How often a simulated file was asked for what, failed calls included; and what was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskCounts {
    /// Reads; what is read through a map is not seen.
    pub reads: u64,
    /// Bytes that reads have given.
    pub read_bytes: u64,
    /// Writes.
    pub writes: u64,
    /// Syncs.
    pub syncs: u64,
    /// Allocations.
    pub allocations: u64,
    /// Truncations.
    pub truncations: u64,
    /// Punched holes.
    pub holes: u64,
    /// Bytes that writes have taken.
    pub written_bytes: u64,
    /// Bytes that were stored into the page cache.
    pub stored_bytes: u64,
}

/// A handle to a simulated file. Cloning shares the handle, and with it the writer lock.
#[derive(Clone)]
pub struct SimDisk {
    handle: Arc<Handle>,
}

/// What one process has open; gives the writer lock back when its last clone goes.
struct Handle {
    file: Arc<Mutex<State>>,
    number: u64,
}

struct State {
    options: SimOptions,
    identity: Identity,
    durable: Image,
    volatile: Image,
    pending: Vec<Operation>,
    /// The operation that the crash interrupted: part of power-loss images, not of the volatile
    /// one.
    in_flight: Option<Operation>,
    faults: FaultPlan,
    /// Offsets and ends that no read gets over.
    unreadable: Vec<(u64, u64)>,
    operations: u64,
    counts: DiskCounts,
    crash_at: Option<u64>,
    crashed: bool,
    handles: u64,
    lock_holder: Option<u64>,
    log_hash: u64,
}

/// Kinds of operations in the log hash.
#[derive(Clone, Copy)]
enum Logged {
    WriteLater = 1,
    WriteNow = 2,
    Sync = 3,
    Allocate = 4,
    Truncate = 5,
    Punch = 6,
    Store = 7,
}

impl SimDisk {
    /// An empty file.
    ///
    /// # Panics
    /// If alignment or sector are not 512 or 4096.
    pub fn new(options: SimOptions) -> SimDisk {
        assert!(matches!(options.alignment, 512 | 4096), "alignment {}", options.alignment);
        assert!(matches!(options.sector, 512 | 4096), "sector {}", options.sector);
        let identity = Identity { device: 1, inode: 1, boot: boot_id(1) };
        SimDisk::with_images(options, identity, Image::default(), Image::default(), Vec::new())
    }

    /// A file that holds `bytes`, all of them durable.
    pub fn from_bytes(options: SimOptions, bytes: &[u8]) -> SimDisk {
        let disk = SimDisk::new(options);
        disk.set_bytes(0, bytes);
        disk
    }

    fn with_images(
        options: SimOptions,
        identity: Identity,
        durable: Image,
        volatile: Image,
        pending: Vec<Operation>,
    ) -> SimDisk {
        let state = State {
            options,
            identity,
            durable,
            volatile,
            pending,
            in_flight: None,
            faults: FaultPlan::default(),
            unreadable: Vec::new(),
            operations: 0,
            counts: DiskCounts::default(),
            crash_at: None,
            crashed: false,
            handles: 1,
            lock_holder: None,
            log_hash: 0,
        };
        SimDisk { handle: Arc::new(Handle { file: Arc::new(Mutex::new(state)), number: 0 }) }
    }

    /// Another handle to the same live file, as another process would have it.
    pub fn reopen(&self) -> SimDisk {
        let file = Arc::clone(&self.handle.file);
        let mut state = file.lock();
        let number = state.handles;
        state.handles += 1;
        drop(state);
        SimDisk { handle: Arc::new(Handle { file, number }) }
    }

    /// A copy of the file on another inode, as a backup tool makes it: everything is durable.
    pub fn copied(&self) -> SimDisk {
        let state = self.state();
        let identity = Identity { inode: state.identity.inode + 1, ..state.identity };
        let image = state.volatile.clone();
        SimDisk::with_images(state.options, identity, image.clone(), image, Vec::new())
    }

    /// How many operations that change state were begun so far; the number of the next one.
    pub fn operation_count(&self) -> u64 {
        self.state().operations
    }

    /// Calls of some kinds so far.
    pub fn counts(&self) -> DiskCounts {
        self.state().counts
    }

    /// Operations that no sync has covered; the interrupted one is the last.
    pub fn pending_count(&self) -> usize {
        let state = self.state();
        state.with_in_flight().filter(|operation| !operation.durable).count()
    }

    /// Lets operation `number` (the next one, if it has passed) and all later calls fail.
    pub fn crash_at(&self, number: u64) {
        self.state().crash_at = Some(number);
    }

    /// Whether the crash has happened.
    pub fn crashed(&self) -> bool {
        self.state().crashed
    }

    /// A fresh disk (not locked, not crashed, without faults) that holds what the crash left.
    pub fn crash_image(&self, policy: &CrashPolicy) -> SimDisk {
        let state = self.state();
        if *policy == CrashPolicy::Kill {
            return SimDisk::with_images(
                state.options,
                state.identity,
                state.durable.clone(),
                state.volatile.clone(),
                state.pending.clone(),
            );
        }
        let pending: Vec<Operation> = state.with_in_flight().cloned().collect();
        let sector = state.options.sector;
        let image = crash::image_after_power_loss(&state.durable, &pending, *policy, sector);
        let previous = u64::from_le_bytes(state.identity.boot[..8].try_into().expect("8 bytes"));
        let identity = Identity { boot: boot_id(previous), ..state.identity };
        SimDisk::with_images(state.options, identity, image.clone(), image, Vec::new())
    }

    /// Plans a fault. Several may be planned; where two strike at once the older decides.
    ///
    /// # Panics
    /// If the effect does not fit the operation.
    pub fn fail(&self, fault: Fault) {
        self.state().faults.add(fault);
    }

    /// Forgets all planned faults, and lets everything be read again.
    pub fn clear_faults(&self) {
        let mut state = self.state();
        state.faults.clear();
        state.unreadable.clear();
    }

    /// Lets every read that touches this range fail, as sectors do that have gone bad. What is read
    /// through a map is not concerned.
    pub fn make_unreadable(&self, offset: u64, length: u64) {
        self.state().unreadable.push((offset, offset.saturating_add(length)));
    }

    /// Changes the room on the device; what is there already stays.
    pub fn set_capacity(&self, capacity: Option<u64>) {
        self.state().options.capacity = capacity;
    }

    /// Bytes of room that the file takes on the device.
    pub fn used_bytes(&self) -> u64 {
        self.state().volatile.used()
    }

    /// A hash over all operations that changed state, in order, with their bytes.
    pub fn log_hash(&self) -> u64 {
        self.state().log_hash
    }

    /// A hash of everything that a reader of the live file sees.
    pub fn content_hash(&self) -> u64 {
        self.state().volatile.hash()
    }

    /// Everything that a reader of the live file sees.
    pub fn bytes(&self) -> Vec<u8> {
        self.state().volatile_bytes()
    }

    /// Changes bytes on the device and in the cache, behind the back of whoever has the file open.
    pub fn set_bytes(&self, offset: u64, bytes: &[u8]) {
        self.state().rot(offset, bytes);
    }

    /// Flips one bit (0 to 7) on the device and in the cache.
    ///
    /// # Panics
    /// If the place is behind the end of the file.
    pub fn flip_bit(&self, offset: u64, bit: u32) {
        let mut state = self.state();
        let mut byte = [0];
        assert_eq!(state.volatile.read(offset, &mut byte), 1, "no byte at offset {offset}");
        state.rot(offset, &[byte[0] ^ (1 << (bit % 8))]);
    }

    /// Zeroes a range on the device and in the cache; the part behind the end is left out.
    pub fn zero(&self, offset: u64, length: u64) {
        let mut state = self.state();
        let end = offset.saturating_add(length).min(state.volatile.length());
        let count = usize::try_from(end.saturating_sub(offset)).expect("a file fits in memory");
        state.rot(offset, &vec![0; count]);
    }

    fn state(&self) -> crate::sync::MutexGuard<'_, State> {
        self.handle.file.lock()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut state = self.file.lock();
        if state.lock_holder == Some(self.number) {
            state.lock_holder = None;
        }
    }
}

impl std::fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state();
        f.debug_struct("SimDisk")
            .field("length", &state.volatile.length())
            .field("pending", &state.pending.len())
            .field("operations", &state.operations)
            .field("crashed", &state.crashed)
            .finish()
    }
}

fn boot_id(previous: u64) -> [u8; 16] {
    let first = mix(previous.wrapping_add(1));
    let mut boot = [0; 16];
    boot[..8].copy_from_slice(&first.to_le_bytes());
    boot[8..].copy_from_slice(&mix(first).to_le_bytes());
    boot
}
