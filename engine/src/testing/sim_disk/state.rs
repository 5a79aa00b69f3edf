//! The inside of a simulated file: what each operation does to its images.

use super::device::{check_range, device_error, invalid};
use super::fault::{AfterFailedSync, FaultEffect, FaultOperation, WrittenPart};
use super::image::PAGE;
use super::operation::{Change, Operation};
use super::{Logged, State};
use crate::file::{Flush, StoreBy};
use crate::runtime::mix;
use std::io;
use std::sync::Arc;

impl State {
    pub(super) fn check_alive(&self) -> io::Result<()> {
        if self.crashed { Err(io::Error::other("simulated crash")) } else { Ok(()) }
    }

    /// Refuses what a device with direct writes would, and what a page cache would make slow.
    pub(super) fn check_write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let alignment = self.options.alignment;
        if !offset.is_multiple_of(alignment as u64) || !bytes.len().is_multiple_of(alignment) {
            return Err(invalid("offset or length of a write is not aligned"));
        }
        if self.options.direct && !bytes.as_ptr().addr().is_multiple_of(alignment) {
            return Err(invalid("the memory of a direct write is not aligned"));
        }
        check_range(offset, bytes.len() as u64).map(|_| ())
    }

    /// Numbers an operation, and lets the crash happen if this is its moment.
    pub(super) fn begin(
        &mut self,
        kind: Logged,
        offset: u64,
        length: u64,
        bytes: &[u8],
        operation: Option<&Operation>,
    ) -> io::Result<()> {
        let checksum = u64::from(crc32fast::hash(bytes));
        for word in [kind as u64, offset, length, checksum] {
            self.log_hash = mix(self.log_hash.rotate_left(7) ^ word);
        }
        let number = self.operations;
        self.operations += 1;
        if self.crash_at.is_some_and(|at| number >= at) {
            self.crashed = true;
            self.in_flight = operation.cloned();
            return self.check_alive();
        }
        Ok(())
    }

    /// An operation that makes the file reach at least to `end`.
    pub(super) fn operation(&self, change: Change, end: u64) -> Operation {
        let grows_to = (end > self.volatile.length()).then_some(end);
        Operation { change, grows_to, durable: false }
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8], flush: Flush) -> io::Result<usize> {
        let kind = match flush {
            Flush::Later => Logged::WriteLater,
            Flush::Now => Logged::WriteNow,
        };
        let length = bytes.len() as u64;
        let whole = self.write_operation(offset, bytes);
        self.begin(kind, offset, length, bytes, Some(&whole))?;
        let (count, fails) = self.written_part(bytes.len());
        if count == 0 {
            return if fails { Err(device_error()) } else { Ok(0) };
        }
        let count = self.fit(offset, count)?;
        self.counts.written_bytes += count as u64;
        let operation = match count == bytes.len() {
            true => whole,
            false => self.write_operation(offset, &bytes[..count]),
        };
        match flush {
            Flush::Now if !fails => self.add_durable(offset, operation),
            Flush::Now | Flush::Later => self.add(operation),
        }
        if fails { Err(device_error()) } else { Ok(count) }
    }

    /// A write of the whole pages that the bytes touch, with what lies there beside them. By the
    /// system's write it may fail as others do; what that cuts short is gone on with.
    pub(super) fn store(&mut self, offset: u64, bytes: &[u8], by: StoreBy) -> io::Result<()> {
        let whole = self.page_operation(offset, bytes);
        self.begin(Logged::Store, offset, bytes.len() as u64, bytes, Some(&whole))?;
        let failed = match by {
            StoreBy::Write => self.written_part(bytes.len()),
            StoreBy::Map => (bytes.len(), false),
        };
        if let (count, true) = failed {
            if count > 0 {
                let operation = self.page_operation(offset, &bytes[..count]);
                self.add(operation);
            }
            return Err(device_error());
        }
        self.counts.stored_bytes += bytes.len() as u64;
        self.add(whole);
        Ok(())
    }

    fn page_operation(&self, offset: u64, bytes: &[u8]) -> Operation {
        let page = PAGE as u64;
        let start = offset / page * page;
        let end = (offset + bytes.len() as u64).div_ceil(page) * page;
        let end = end.min(self.volatile.length());
        let mut pages = vec![0; usize::try_from(end - start).expect("a store fits in memory")];
        self.volatile.read(start, &mut pages);
        let inside = usize::try_from(offset - start).expect("it is below a page");
        pages[inside..inside + bytes.len()].copy_from_slice(bytes);
        self.write_operation(start, &pages)
    }

    fn write_operation(&self, offset: u64, bytes: &[u8]) -> Operation {
        let end = if bytes.is_empty() { 0 } else { offset + bytes.len() as u64 };
        self.operation(Change::Write { offset, bytes: Arc::from(bytes) }, end)
    }

    /// How many bytes a fault lets through, and whether the write fails all the same.
    fn written_part(&mut self, length: usize) -> (usize, bool) {
        let (alignment, sector) = (self.options.alignment, self.options.sector);
        match self.faults.strike(FaultOperation::Write) {
            None => (length, false),
            Some(FaultEffect::ShortWrite) => {
                let half = length / 2 / alignment * alignment;
                (half.max(alignment).min(length), false)
            }
            Some(FaultEffect::PartialWrite(WrittenPart::OneSector)) => (sector.min(length), true),
            Some(FaultEffect::PartialWrite(WrittenPart::Half)) => {
                (length / 2 / sector * sector, true)
            }
            Some(_) => (0, true),
        }
    }

    /// The part of a write for which there is room: whole pages, as a file system allocates.
    fn fit(&self, offset: u64, count: usize) -> io::Result<usize> {
        let room = self.room();
        if self.volatile.missing_room(offset, count as u64) <= room {
            return Ok(count);
        }
        let inside = usize::try_from(offset % PAGE as u64).expect("it is below a page");
        let mut fits = 0;
        let mut next = PAGE - inside;
        while next < count && self.volatile.missing_room(offset, next as u64) <= room {
            fits = next;
            next += PAGE;
        }
        if fits == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(fits) }
    }

    /// Bytes of room left on the device.
    pub(super) fn room(&self) -> u64 {
        let capacity = self.options.capacity.unwrap_or(u64::MAX);
        capacity.saturating_sub(self.volatile.used())
    }

    /// Does an operation that waits for a sync.
    pub(super) fn add(&mut self, operation: Operation) {
        operation.apply(&mut self.volatile);
        self.pending.push(operation);
    }

    /// Does a write that is durable at once, and nothing else with it. Where an earlier operation
    /// on the same bytes is pending the write waits behind it, so that it stays the newer one.
    fn add_durable(&mut self, offset: u64, operation: Operation) {
        let Change::Write { bytes, .. } = &operation.change else {
            unreachable!("only writes are flushed at once");
        };
        let end = offset + bytes.len() as u64;
        operation.apply(&mut self.volatile);
        let operation = Operation { grows_to: Some(end), durable: true, ..operation };
        if self.pending.iter().any(|earlier| earlier.orders_before_write(offset, end)) {
            self.pending.push(operation);
        } else {
            operation.apply(&mut self.durable);
        }
    }

    pub(super) fn make_durable(&mut self) {
        for operation in self.pending.drain(..) {
            operation.apply(&mut self.durable);
        }
    }

    pub(super) fn fail_sync(&mut self, effect: FaultEffect) {
        let (FaultEffect::FailedSync(after) | FaultEffect::FullSync(after)) = effect else {
            return;
        };
        if after == AfterFailedSync::KeptInCache {
            return;
        }
        self.pending.iter_mut().for_each(Operation::lose_bytes);
        self.pending.retain(|operation| !operation.is_nothing());
        if after == AfterFailedSync::Reverted {
            self.volatile = self.durable.clone();
            for operation in &self.pending {
                operation.apply(&mut self.volatile);
            }
        }
    }

    /// The pending operations with the interrupted one behind them.
    pub(super) fn with_in_flight(&self) -> impl Iterator<Item = &Operation> {
        self.pending.iter().chain(&self.in_flight)
    }

    pub(super) fn volatile_bytes(&self) -> Vec<u8> {
        let length = usize::try_from(self.volatile.length()).expect("a file fits in memory");
        let mut bytes = vec![0; length];
        self.volatile.read(0, &mut bytes);
        bytes
    }

    /// Changes both images; grows the file where it is too short.
    pub(super) fn rot(&mut self, offset: u64, bytes: &[u8]) {
        let end = offset + bytes.len() as u64;
        let inside_durable = self.durable.length().max(end) == self.durable.length();
        let grows = end > self.volatile.length();
        for image in [&mut self.durable, &mut self.volatile] {
            image.write(offset, bytes);
        }
        if grows {
            self.volatile.grow(end);
        }
        if grows || inside_durable {
            self.durable.grow(end);
        } else {
            // The durable file is shorter than the live one: bytes behind its end do not exist.
            let length = self.durable.length();
            self.durable.set_length(length);
        }
    }
}
