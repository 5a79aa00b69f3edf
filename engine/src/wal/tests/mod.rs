//! Tests of the ring, against a disk in memory; `crash.rs` uses the simulated one.

mod crash;
mod damage;
mod golden;
mod hostile;
mod laps;
mod remains;
mod writing;

use super::format::{HEADER_SIZE, Header, LogId};
use super::reader::ReplayEnd;
use super::*;
use crate::error::{Error, ErrorKind, Result};
use crate::file::{Disk, Extent, FileId, Flush, Geometry, Identity, Region};
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering};
use std::io;
use std::ops::Range;
use std::sync::Arc;

pub(super) const FILE: FileId = FileId(*b"0123456789abcdef");
pub(super) const SALT: u64 = 0x5A17;
pub(super) const GROUP_MAX: u64 = 64 * 1024;

/// A file in memory that remembers how it was written, and fails where a test says so.
pub(super) struct MemoryDisk {
    alignment: usize,
    pub(super) bytes: Mutex<Vec<u8>>,
    pub(super) writes: Mutex<Vec<(Range<u64>, Flush)>>,
    pub(super) syncs: AtomicU64,
    pub(super) unreadable: Mutex<Range<u64>>,
    pub(super) fail_writes: AtomicBool,
    pub(super) fail_syncs: AtomicBool,
}

impl MemoryDisk {
    pub(super) fn new(alignment: usize, length: u64) -> Arc<MemoryDisk> {
        Arc::new(MemoryDisk {
            alignment,
            bytes: Mutex::new(vec![0; usize::try_from(length).unwrap()]),
            writes: Mutex::default(),
            syncs: AtomicU64::new(0),
            unreadable: Mutex::new(0..0),
            fail_writes: AtomicBool::new(false),
            fail_syncs: AtomicBool::new(false),
        })
    }

    /// Changes bytes behind the log's back.
    pub(super) fn poke(&self, offset: u64, bytes: &[u8]) {
        let offset = usize::try_from(offset).unwrap();
        self.bytes.lock()[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    pub(super) fn peek(&self, range: Range<u64>) -> Vec<u8> {
        let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        self.bytes.lock()[range].to_vec()
    }
}

impl Disk for MemoryDisk {
    fn geometry(&self) -> Geometry {
        Geometry { alignment: self.alignment, direct: true }
    }

    fn identity(&self) -> Identity {
        Identity::default()
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.bytes.lock().len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let unreadable = self.unreadable.lock().clone();
        if offset < unreadable.end && unreadable.start < offset + buffer.len() as u64 {
            return Err(io::Error::other("unreadable sector"));
        }
        let bytes = self.bytes.lock();
        let rest = &bytes[usize::try_from(offset).unwrap().min(bytes.len())..];
        // Short reads are legal.
        let count = rest.len().min(buffer.len()).min(100_000);
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, offset: u64, bytes: &[u8], flush: Flush) -> io::Result<usize> {
        let alignment = self.alignment;
        assert!(offset.is_multiple_of(alignment as u64));
        assert!(bytes.len().is_multiple_of(alignment));
        assert!(bytes.as_ptr().addr().is_multiple_of(alignment));
        if self.fail_writes.load(Ordering::Relaxed) {
            return Err(io::Error::other("failed write"));
        }
        self.writes.lock().push((offset..offset + bytes.len() as u64, flush));
        self.poke(offset, bytes);
        Ok(bytes.len())
    }

    fn sync(&self) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        if self.fail_syncs.load(Ordering::Relaxed) {
            return Err(io::Error::other("failed sync"));
        }
        Ok(())
    }

    fn allocate(&self, _: u64, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn truncate(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn punch_hole(&self, _: u64, _: u64) -> io::Result<bool> {
        Ok(false)
    }

    fn map(&self, _: u64, _: u64) -> io::Result<Region> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn try_lock(&self) -> io::Result<bool> {
        Ok(true)
    }
}

/// A group as a test sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) lsn: u64,
    pub(super) end: u64,
    pub(super) first_commit: u64,
    pub(super) bodies: Vec<Vec<u8>>,
}

/// A log with its disk and what was written to it.
pub(super) struct Fixture {
    pub(super) disk: Arc<MemoryDisk>,
    pub(super) ring: Extent,
    pub(super) head: WalPosition,
    pub(super) writer: Writer,
    pub(super) written: Vec<Seen>,
    next_commit: u64,
}

impl Fixture {
    pub(super) fn new(alignment: usize, blocks: u64, start: u64) -> Fixture {
        let ring = Extent { offset: 8192, length: blocks * 4096 };
        let disk = MemoryDisk::new(alignment, ring.end() + 4096);
        let head = WalPosition { lsn: start, previous: 0 };
        let writer = Writer::new(Arc::clone(&disk) as _, FILE, ring, SALT, head);
        Fixture { disk, ring, head, writer, written: Vec::new(), next_commit: 1 }
    }

    /// Appends a group of bodies of these lengths, filled with a byte of their commit number.
    pub(super) fn append(&mut self, lengths: &[usize], durable: bool) -> Result<Seen> {
        let lsn = self.writer.position().lsn;
        let first_commit = self.next_commit;
        let bodies: Vec<Vec<u8>> = (first_commit..)
            .zip(lengths)
            .map(|(commit, length)| vec![(commit % 251) as u8; *length])
            .collect();
        let end = self.writer.write_group(first_commit, 77, &bodies, durable)?.lsn;
        let bytes = self.writer.group_bytes(lengths.iter().copied());
        assert_eq!(end, lsn + bytes);
        self.next_commit += lengths.len() as u64;
        let seen = Seen { lsn, end, first_commit, bodies };
        self.written.push(seen.clone());
        Ok(seen)
    }

    /// Frees what lies before group `count` of those still known.
    pub(super) fn release(&mut self, count: usize) {
        let mut previous = 0;
        let last = self.written[count - 1].end;
        self.replay(|group| {
            if group.end == last {
                previous = group.end;
            }
        })
        .unwrap();
        assert_eq!(previous, last);
        self.head =
            WalPosition { lsn: last, previous: self.checksum_at(self.written[count - 1].lsn) };
        self.writer.state().release(last);
        self.written.drain(..count);
    }

    pub(super) fn place(&self, lsn: u64) -> u64 {
        self.ring.offset + lsn % self.ring.length
    }

    pub(super) fn checksum_at(&self, lsn: u64) -> u32 {
        let place = self.place(lsn);
        u32::from_le_bytes(self.disk.peek(place..place + 4).try_into().unwrap())
    }

    fn replay(&self, each: impl FnMut(&Seen)) -> Result<ReplayEnd> {
        self.replay_known(self.head.lsn, each)
    }

    fn replay_known(&self, synced: u64, mut each: impl FnMut(&Seen)) -> Result<ReplayEnd> {
        let mut visit = |group: Group<'_>| {
            assert_eq!(group.time_ms, 77);
            assert!(group.synced_lsn <= group.lsn);
            each(&Seen {
                lsn: group.lsn,
                end: group.end,
                first_commit: group.first_commit,
                bodies: group.frames.map(|(_, body)| body.to_vec()).collect(),
            });
            Ok(())
        };
        replay(&*self.disk, FILE, self.ring, self.head, SALT, synced, GROUP_MAX, &mut visit)
    }

    /// Replays with the superblock's mark at `synced`.
    pub(super) fn read_known(&self, synced: u64) -> Result<(Vec<Seen>, ReplayEnd)> {
        let mut groups = Vec::new();
        let end = self.replay_known(synced, |group| groups.push(group.clone()))?;
        assert_eq!(end.groups, groups.len() as u64);
        assert_eq!(end.end.lsn, groups.last().map_or(self.head.lsn, |group| group.end));
        assert!(end.synced_lsn <= end.end.lsn);
        Ok((groups, end))
    }

    /// Replays with a superblock that knows of the head alone.
    pub(super) fn read(&self) -> Result<(Vec<Seen>, ReplayEnd)> {
        self.read_known(self.head.lsn)
    }
}

#[track_caller]
pub(super) fn assert_refused<T: std::fmt::Debug>(result: Result<T>) {
    assert_eq!(result.expect_err("damage is refused").kind(), ErrorKind::Corruption);
}
