//! The simulated file as a [`Disk`]: checks, numbering and faults around each operation.

use super::fault::{FaultEffect, FaultOperation};
use super::operation::Change;
use super::{Logged, SimDisk};
use crate::file::{Disk, Flush, Geometry, Identity, Region, StoreBy, Stores};
use std::io;
use std::sync::Arc;

/// Longest simulated file, in bytes: a hostile length must not fill the memory with pages.
const FILE_BYTES_MAX: u64 = 1 << 36;

impl Disk for SimDisk {
    fn geometry(&self) -> Geometry {
        let state = self.state();
        Geometry { alignment: state.options.alignment, direct: state.options.direct }
    }

    fn identity(&self) -> Identity {
        self.state().identity
    }

    fn length(&self) -> io::Result<u64> {
        let state = self.state();
        state.check_alive()?;
        Ok(state.volatile.length())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.state();
        state.check_alive()?;
        state.counts.reads += 1;
        let length = match state.faults.strike(FaultOperation::Read) {
            None => buffer.len(),
            Some(FaultEffect::ShortRead) => buffer.len().div_ceil(2),
            Some(_) => return Err(device_error()),
        };
        let end = offset.saturating_add(length as u64);
        if state.unreadable.iter().any(|(from, to)| offset < *to && end > *from) {
            return Err(device_error());
        }
        let count = state.volatile.read(offset, &mut buffer[..length]);
        state.counts.read_bytes += count as u64;
        Ok(count)
    }

    fn write_at(&self, offset: u64, bytes: &[u8], flush: Flush) -> io::Result<usize> {
        let mut state = self.state();
        state.check_alive()?;
        state.check_write(offset, bytes)?;
        state.counts.writes += 1;
        state.write(offset, bytes, flush)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state();
        state.check_alive()?;
        state.counts.syncs += 1;
        state.begin(Logged::Sync, 0, 0, &[], None)?;
        match state.faults.strike(FaultOperation::Sync) {
            None => state.make_durable(),
            Some(effect) => {
                state.fail_sync(effect);
                return Err(match effect {
                    FaultEffect::FullSync(_) => io::ErrorKind::StorageFull.into(),
                    _ => device_error(),
                });
            }
        }
        Ok(())
    }

    fn allocate(&self, offset: u64, length: u64) -> io::Result<()> {
        let mut state = self.state();
        state.check_alive()?;
        let end = check_range(offset, length)?;
        if length == 0 {
            return Err(invalid("an allocation of no bytes"));
        }
        state.counts.allocations += 1;
        let operation = state.operation(Change::Allocate { offset, length }, end);
        state.begin(Logged::Allocate, offset, length, &[], Some(&operation))?;
        if state.faults.strike(FaultOperation::Allocate).is_some() {
            return Err(device_error());
        }
        if state.volatile.missing_room(offset, length) > state.room() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.add(operation);
        Ok(())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let mut state = self.state();
        state.check_alive()?;
        check_range(length, 0)?;
        state.counts.truncations += 1;
        let operation = state.operation(Change::Truncate { length }, 0);
        state.begin(Logged::Truncate, length, 0, &[], Some(&operation))?;
        state.add(operation);
        Ok(())
    }

    fn punch_hole(&self, offset: u64, length: u64) -> io::Result<bool> {
        let mut state = self.state();
        state.check_alive()?;
        check_range(offset, length)?;
        state.counts.holes += 1;
        let operation = state.operation(Change::Punch { offset, length }, 0);
        state.begin(Logged::Punch, offset, length, &[], Some(&operation))?;
        state.add(operation);
        Ok(true)
    }

    fn map(&self, offset: u64, length: u64) -> io::Result<Region> {
        let state = self.state();
        state.check_alive()?;
        let end = offset.checked_add(length).ok_or_else(|| invalid("the range is too long"))?;
        if end > state.volatile.length() {
            return Err(invalid("a map behind the end of the file"));
        }
        let length = usize::try_from(length).map_err(|_| invalid("the range is too long"))?;
        let mut bytes = vec![0; length];
        state.volatile.read(offset, &mut bytes);
        Ok(Region::from_memory(Arc::from(bytes)))
    }

    fn open_stores(
        &self,
        offset: u64,
        length: u64,
        by: StoreBy,
    ) -> io::Result<Option<Arc<dyn Stores>>> {
        let state = self.state();
        state.check_alive()?;
        let end = offset.checked_add(length).ok_or_else(|| invalid("the range is too long"))?;
        if end > state.volatile.length() {
            return Err(invalid("stores behind the end of the file"));
        }
        let opened =
            || Arc::new(SimStores { disk: self.clone(), offset, end, by }) as Arc<dyn Stores>;
        Ok(state.options.direct.then(opened))
    }

    fn try_lock(&self) -> io::Result<bool> {
        let mut state = self.state();
        state.check_alive()?;
        let holder = *state.lock_holder.get_or_insert(self.handle.number);
        Ok(holder == self.handle.number)
    }
}

/// Stores to a simulated file: each is a write of whole pages, so that a power loss may damage what
/// lies beside it. Those by the system's write fail as other writes do, those by a map only by a
/// crash.
struct SimStores {
    disk: SimDisk,
    offset: u64,
    end: u64,
    by: StoreBy,
}

impl Stores for SimStores {
    fn store(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset.saturating_add(bytes.len() as u64);
        if offset < self.offset || end > self.end {
            return Err(invalid("a store outside of its range"));
        }
        let mut state = self.disk.state();
        state.check_alive()?;
        state.store(offset, bytes, self.by)
    }

    fn start_writing(&self, _offset: u64, _length: u64) {}
}

pub(super) fn check_range(offset: u64, length: u64) -> io::Result<u64> {
    match offset.checked_add(length) {
        Some(end) if end <= FILE_BYTES_MAX => Ok(end),
        _ => Err(io::ErrorKind::FileTooLarge.into()),
    }
}

pub(super) fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

/// What a real device answers: EIO.
pub(super) fn device_error() -> io::Error {
    io::Error::from_raw_os_error(5)
}
