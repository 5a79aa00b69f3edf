//! The writer: appends groups of frames to the ring, for the commit leader.
//!
//! 1. The frames are copied behind room for a header, in one aligned buffer.
//! 2. The header is sealed: own lsn, checksum of the group before, and what is known to be synced.
//! 3. One write, or two where the group wraps. Durable and nothing unsynced before it: the write
//!    itself is durable. Otherwise the group is stored into the page cache where that may be (see
//!    `stored.rs`), or else written; and synced, if it is to be durable: a durable write would say
//!    nothing about earlier ones.
//! 4. A write that is not durable may go on while the leader does something else, until it ends the
//!    group.
//!
//! # Invariants
//! 1. A group is appended only where everything before it was handed to the disk without an error.
//! 2. The position, and what others see of it, moves only after the write has ended well.
//! 3. The caller has made room: a group never reaches into what is not released.
//!
//! # Concurrency
//! `&mut self`: one leader at a time. Everything others may ask is in [`WalState`].

use super::WalPosition;
use super::format::{
    FRAME_BATCH, FRAME_HEADER_SIZE, HEADER_SIZE, Header, LogId, alignment_shift, body_checksum,
    frame_header, group_checksum,
};
use super::ring::Ring;
use super::state::WalState;
use super::stored::UnsyncedGroups;
use crate::codec::round_up;
use crate::error::Result;
use crate::file::{AlignedBuffer, Begun, Disk, Extent, FileId, Flush, StoreBy, disk};
use crate::limits::{ERASE_RING_BYTES, STORED_GROUP_BYTES_MAX};
use crate::planted::Planted;
use std::sync::Arc;

/// Bytes of the buffer that are kept between groups; one giant batch must not cost its size for
/// ever.
const BUFFER_BYTES_KEPT: usize = 1024 * 1024;
/// Groups that are written together are handed to the disk once they have so many bytes: a larger
/// write is no quicker.
const TOGETHER_BYTES_MIN: usize = 1024 * 1024;

/// Appends groups to one log.
pub(crate) struct Writer {
    disk: Arc<dyn Disk>,
    log: LogId,
    ring: Ring,
    alignment: usize,
    position: WalPosition,
    state: Arc<WalState>,
    buffer: AlignedBuffer,
    begun: Option<BegunGroup>,
    unsynced: UnsyncedGroups,
}

/// A group on its way to the disk.
struct BegunGroup {
    /// Where it ends.
    end: WalPosition,
    /// The write, and its place in the file; none where it is over.
    write: Option<(Begun, u64)>,
}

impl Writer {
    /// Starts an empty log at `start`, which a durable superblock names together with `salt`. The
    /// salt must never have been used in this file before, and `start` must be aligned for the
    /// disk: see [`WalPosition::aligned`].
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        file: FileId,
        ring: Extent,
        salt: u64,
        start: WalPosition,
    ) -> Writer {
        Writer::behind(disk, file, ring, salt, start, start.lsn)
    }

    /// The same, beside an older log from `released` on, which stays whole until
    /// [`WalState::release`] says that nobody needs it any more.
    pub(crate) fn behind(
        disk: Arc<dyn Disk>,
        file: FileId,
        ring: Extent,
        salt: u64,
        start: WalPosition,
        released: u64,
    ) -> Writer {
        let state = Arc::new(WalState::behind(ring.length, start.lsn, released));
        Writer::over(disk, file, ring, salt, start, state)
    }

    /// The same, over a state that says as much already.
    pub(crate) fn over(
        disk: Arc<dyn Disk>,
        file: FileId,
        ring: Extent,
        salt: u64,
        start: WalPosition,
        state: Arc<WalState>,
    ) -> Writer {
        let alignment = disk.geometry().alignment;
        assert!(start.lsn.is_multiple_of(alignment as u64), "a log starts on a block of the disk");
        let ring = Ring::new(ring).expect("the ring was checked when the superblock was read");
        Writer {
            disk,
            log: LogId { file, salt },
            ring,
            alignment,
            position: start,
            state,
            buffer: AlignedBuffer::default(),
            begun: None,
            unsynced: UnsyncedGroups::Written,
        }
    }

    /// From now on unsynced groups are stored, where the disk can.
    pub(crate) fn store_unsynced(&mut self, by: StoreBy) {
        self.unsynced = UnsyncedGroups::ToBeOpened(by);
    }

    /// The progress that other threads see.
    pub(crate) fn state(&self) -> &Arc<WalState> {
        &self.state
    }

    /// Where the next group goes.
    pub(crate) fn position(&self) -> WalPosition {
        self.position
    }

    /// Bytes of the ring that a group with bodies of these lengths takes.
    pub(crate) fn group_bytes(&self, body_bytes: impl Iterator<Item = usize>) -> u64 {
        let frames: u64 = body_bytes.map(|bytes| (FRAME_HEADER_SIZE + bytes) as u64).sum();
        round_up(HEADER_SIZE as u64 + frames, self.alignment as u64)
    }

    /// Bytes of the buffer that are held between groups.
    #[cfg(test)]
    pub(super) fn buffer_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Appends one group; its frames get the commit numbers `first_commit`, `first_commit + 1`, ….
    /// With `durable`, the whole log up to the returned position is on the disk on return.
    ///
    /// # Panics
    /// When there is no body, or the group is larger than the free bytes of the ring: the caller
    /// has checked both.
    ///
    /// # Errors
    /// The disk's error; then any part of the group may be on the disk. Every later call fails with
    /// [`Error::Poisoned`](crate::Error::Poisoned).
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn write_group<Body: AsRef<[u8]>>(
        &mut self,
        first_commit: u64,
        time_ms: u64,
        bodies: impl IntoIterator<Item = Body>,
        durable: bool,
    ) -> Result<WalPosition> {
        self.begin_group(first_commit, time_ms, bodies, durable)?;
        self.end_group()
    }

    /// The same without waiting for the end of a write that is not durable: nobody may be told of
    /// the group before [`Writer::end_group`] has returned.
    ///
    /// # Panics
    /// Also when the group before was not ended.
    ///
    /// # Errors
    /// As [`Writer::write_group`].
    pub(crate) fn begin_group<Body: AsRef<[u8]>>(
        &mut self,
        first_commit: u64,
        time_ms: u64,
        bodies: impl IntoIterator<Item = Body>,
        durable: bool,
    ) -> Result<()> {
        assert!(self.begun.is_none(), "one group is written at a time");
        self.state.check()?;
        self.buffer.clear();
        let end = self.encode(self.position, first_commit, time_ms, bodies);
        let bytes = self.buffer.len() as u64;
        assert!(bytes <= self.state.free_bytes(), "the caller makes room before it writes");
        let outcome = match durable {
            true => self.put_durable(end.lsn).map(|()| None),
            false => self.begin_unsynced(end.lsn),
        };
        let write = outcome.map_err(|error| self.state.fail(error))?;
        self.begun = Some(BegunGroup { end, write });
        Ok(())
    }

    /// Waits until the group that was begun is written. Returns where it ends.
    ///
    /// # Panics
    /// When none was begun.
    ///
    /// # Errors
    /// As [`Writer::write_group`].
    pub(crate) fn end_group(&mut self) -> Result<WalPosition> {
        let BegunGroup { end, write } = self.begun.take().expect("a group was begun");
        if let Some((begun, place)) = write {
            let (buffer, outcome) = begun.finish(&*self.disk, "write a WAL group", place);
            self.buffer = buffer;
            outcome.map_err(|error| self.state.fail(error))?;
            self.state.mark_written(end.lsn);
        }
        self.position = end;
        if self.buffer.len() > BUFFER_BYTES_KEPT {
            self.buffer = AlignedBuffer::default();
        }
        Ok(self.position)
    }

    /// Appends many groups, none of them durable, in few writes. Each as [`Writer::write_group`]
    /// takes it: first commit, time, bodies.
    ///
    /// # Errors
    /// As of [`Writer::write_group`].
    pub(crate) fn write_groups<Bodies>(
        &mut self,
        groups: impl IntoIterator<Item = (u64, u64, Bodies)>,
    ) -> Result<WalPosition>
    where
        Bodies: IntoIterator<Item: AsRef<[u8]>>,
    {
        self.state.check()?;
        self.buffer.clear();
        let mut end = self.position;
        for (first_commit, time_ms, bodies) in groups {
            end = self.encode(end, first_commit, time_ms, bodies);
            if self.buffer.len() >= TOGETHER_BYTES_MIN {
                self.write_buffer(end)?;
                self.buffer.clear();
            }
        }
        if !self.buffer.is_empty() {
            self.write_buffer(end)?;
        }
        self.buffer = AlignedBuffer::default();
        Ok(self.position)
    }

    /// Writes the groups in the buffer, behind which the log goes on at `end`. Not durable.
    fn write_buffer(&mut self, end: WalPosition) -> Result<()> {
        let bytes = self.buffer.len() as u64;
        assert!(bytes <= self.state.free_bytes(), "the caller makes room before it writes");
        self.put_unsynced(end.lsn).map_err(|error| self.state.fail(error))?;
        self.position = end;
        Ok(())
    }

    /// Overwrites with zeros what older laps have left in the free part of the ring, from the
    /// position `from` on and not beyond `end`: a piece of it, of at most [`ERASE_RING_BYTES`].
    /// Returns where the next piece begins. Groups may be written meanwhile, and take their part.
    ///
    /// Nothing is synced. Replay reads the zeros as it reads a new ring: there is no group.
    ///
    /// # Errors
    /// The disk's. The log is as it was: no group lies there.
    pub(crate) fn wipe(&self, from: u64, end: u64) -> Result<u64> {
        self.state.check()?;
        // Behind the end the ring begins anew, with what replay needs.
        let replayed =
            if Planted::WipeTooFar.is_on() { self.position.lsn } else { self.state.released_lsn() };
        let end = end.min(replayed + self.ring.length());
        let end = end - end % self.alignment as u64;
        // A leader that panicked has not ended its group, which may be durable.
        let end_of_groups = self.begun.as_ref().map_or(self.position, |begun| begun.end);
        let from = from.max(end_of_groups.lsn);
        let Some(length) = end.checked_sub(from).filter(|length| *length > 0) else {
            return Ok(end.max(from));
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(ERASE_RING_BYTES);
        let mut zeros = AlignedBuffer::default();
        zeros.extend(&[0]);
        zeros.pad_to(length);
        // In the page cache it would be in the way of the next commit's sync.
        let direct = self.disk.geometry().direct;
        let flush = if direct { Flush::Later } else { Flush::Now };
        self.ring.write(&*self.disk, from, zeros.as_slice(), flush)?;
        Ok(from + length as u64)
    }

    /// Puts the whole group into the buffer, behind what is in it, and returns what follows it.
    fn encode<Body: AsRef<[u8]>>(
        &mut self,
        WalPosition { lsn, previous }: WalPosition,
        first_commit: u64,
        time_ms: u64,
        bodies: impl IntoIterator<Item = Body>,
    ) -> WalPosition {
        let buffer = &mut self.buffer;
        let start = buffer.len();
        buffer.extend(&[0; HEADER_SIZE]);
        let mut frame_count = 0;
        for body in bodies {
            let body = body.as_ref();
            buffer.extend(&frame_header(body.len(), FRAME_BATCH));
            buffer.extend(body);
            frame_count += 1;
        }
        assert!(frame_count > 0, "a group holds at least one frame");
        let synced_lsn = self.state.synced_lsn();
        assert!(synced_lsn <= lsn);
        let body = &buffer.as_slice()[start + HEADER_SIZE..];
        let header = Header {
            body_checksum: body_checksum(&self.log, lsn, body),
            alignment_shift: alignment_shift(self.alignment),
            length: u32::try_from(buffer.len() - start).expect("a group is far below 4 GiB"),
            frame_count,
            lsn,
            synced_lsn,
            first_commit,
            time_ms,
            previous,
        };
        let bytes = header.encode(&self.log);
        buffer.as_mut_slice()[start..start + HEADER_SIZE].copy_from_slice(&bytes);
        buffer.pad_to(self.alignment);
        let length = (buffer.len() - start) as u64;
        let lsn = lsn.checked_add(length).expect("2^64 bytes are never written");
        WalPosition { lsn, previous: group_checksum(&bytes) }
    }

    /// Hands the buffer to the disk, durable with everything before it; it ends at `end`.
    fn put_durable(&mut self, end: u64) -> Result<()> {
        if self.state.synced_lsn() == self.position.lsn {
            let group = self.buffer.as_slice();
            let flush = if Planted::GroupNotSynced.is_on() { Flush::Later } else { Flush::Now };
            self.ring.write(&*self.disk, self.position.lsn, group, flush)?;
            self.state.mark_written(end);
        } else {
            if Planted::SyncBeforeWrite.is_on() {
                disk::sync(&*self.disk, "sync the WAL")?;
            }
            self.put_unsynced(end)?;
            self.state.ask(end);
            if !Planted::SyncBeforeWrite.is_on() {
                disk::sync(&*self.disk, "sync the WAL")?;
            }
        }
        // The interval worker may have met a failure of earlier bytes meanwhile: then nothing may
        // be acknowledged, see `sync_written`.
        self.state.check()?;
        self.state.mark_synced(end);
        Ok(())
    }

    /// Stores or writes the buffer; it may be lost until the next sync.
    fn put_unsynced(&mut self, end: u64) -> Result<()> {
        if !self.store(end)? {
            let group = self.buffer.as_slice();
            self.ring.write(&*self.disk, self.position.lsn, group, Flush::Later)?;
            self.state.mark_written(end);
        }
        Ok(())
    }

    /// The same, but a write may go on: then it is returned, with its place in the file.
    fn begin_unsynced(&mut self, end: u64) -> Result<Option<(Begun, u64)>> {
        if self.store(end)? {
            return Ok(None);
        }
        let Some(place) = self.ring.unbroken(self.position.lsn, self.buffer.len()) else {
            return self.put_unsynced(end).map(|()| None);
        };
        let buffer = std::mem::take(&mut self.buffer);
        Ok(Some((self.disk.begin_write(place, buffer), place)))
    }

    /// Stores the buffer into the page cache, where that may be; returns whether it did.
    fn store(&mut self, end: u64) -> Result<bool> {
        let (lsn, group) = (self.position.lsn, self.buffer.as_slice());
        if group.len() > STORED_GROUP_BYTES_MAX {
            return Ok(false);
        }
        let Some(log) = self.unsynced.stored(&*self.disk, self.ring, lsn) else {
            return Ok(false);
        };
        let stored = self.state.store(lsn, end, || log.store(lsn, group))?;
        if stored {
            log.begin_writing(end);
        }
        Ok(stored)
    }
}
