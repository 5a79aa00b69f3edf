//! The ring of the write-ahead log over a simulated disk.

use super::put_checksum;
use crate::codec::checksum_seeded;
use crate::error::Result;
use crate::file::{Disk, Extent, FileId};
use crate::sync::Arc;
use crate::testing::SimDisk;
use crate::wal::{WalPosition, Writer, replay, scan_groups, sync_written};

const FILE: FileId = FileId([5; 16]);
/// Where the ring of a fuzzed log begins.
pub const RING_OFFSET: u64 = 8192;
/// Largest group that these logs may hold, in bytes.
pub const GROUP_BYTES_MAX: u64 = 64 * 1024;

/// A log being written.
pub struct Log {
    disk: SimDisk,
    writer: Writer,
    head: Head,
    next_commit: u64,
}

/// What a superblock would know of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    ring: Extent,
    start: WalPosition,
    salt: u64,
    /// Everything before it is known to be on the disk.
    pub synced_lsn: u64,
}

/// One group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Where it begins.
    pub lsn: u64,
    /// Where the next one begins.
    pub end: u64,
    /// Commit number of its first frame.
    pub first_commit: u64,
    /// Commit time.
    pub time_ms: u64,
    /// The bodies.
    pub bodies: Vec<Vec<u8>>,
}

impl Log {
    /// An empty log of `blocks` blocks that starts at block `start`, on a disk long enough.
    pub fn new(disk: &SimDisk, blocks: u64, start: u64, salt: u64) -> Log {
        let ring = Extent { offset: RING_OFFSET, length: blocks * 4096 };
        let start = WalPosition { lsn: start * 4096, previous: 0 };
        let head = Head { ring, start, salt, synced_lsn: start.lsn };
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let writer = Writer::new(shared, FILE, ring, salt, start);
        Log { disk: disk.clone(), writer, head, next_commit: 1 }
    }

    /// What a superblock would say.
    pub fn head(&self) -> Head {
        self.head
    }

    /// Whether a group of these bodies fits now.
    pub fn fits(&self, bodies: &[Vec<u8>]) -> bool {
        let bytes = self.writer.group_bytes(bodies.iter().map(Vec::len));
        bytes <= self.writer.state().free_bytes() && bytes <= GROUP_BYTES_MAX
    }

    /// Appends a group; with `durable` it is on the disk on return.
    ///
    /// # Errors
    /// The disk's.
    pub fn append(&mut self, time_ms: u64, bodies: &[Vec<u8>], durable: bool) -> Result<Group> {
        let lsn = self.writer.position().lsn;
        let first_commit = self.next_commit;
        let end = self.writer.write_group(first_commit, time_ms, bodies, durable)?.lsn;
        self.next_commit += bodies.len() as u64;
        Ok(Group { lsn, end, first_commit, time_ms, bodies: bodies.to_vec() })
    }

    /// Syncs what was written, as the interval worker does.
    ///
    /// # Errors
    /// The disk's.
    pub fn sync(&self) -> Result<()> {
        sync_written(&Arc::clone(self.writer.state()), &self.disk).map(|_| ())
    }

    /// Everything before this is on the disk, as far as the log knows.
    pub fn synced_lsn(&self) -> u64 {
        self.writer.state().synced_lsn()
    }

    /// Frees the whole log: all of it must be synced.
    pub fn release(&mut self) {
        let position = self.writer.position();
        assert_eq!(self.synced_lsn(), position.lsn);
        self.head.start = position;
        self.head.synced_lsn = position.lsn;
        self.writer.state().release(position.lsn);
    }

    /// Notes in the superblock how far the log is synced.
    pub fn note_synced(&mut self) {
        self.head.synced_lsn = self.synced_lsn();
    }
}

impl Head {
    /// Replays.
    ///
    /// # Errors
    /// What replay says.
    pub fn replay(&self, disk: &SimDisk) -> Result<Vec<Group>> {
        let mut groups = Vec::new();
        let mut each = |group: crate::wal::Group<'_>| {
            let bodies: Vec<_> = group.frames.map(|(_, body)| body.to_vec()).collect();
            let (lsn, end) = (group.lsn, group.end);
            let (first_commit, time_ms) = (group.first_commit, group.time_ms);
            groups.push(Group { lsn, end, first_commit, time_ms, bodies });
            Ok(())
        };
        let Head { ring, start, salt, synced_lsn } = *self;
        let max = GROUP_BYTES_MAX;
        let end = replay(disk, FILE, ring, start, salt, synced_lsn, max, &mut each)?;
        assert_eq!(end.groups, groups.len() as u64);
        assert_eq!(end.end.lsn, groups.last().map_or(start.lsn, |group| group.end));
        assert!(end.synced_lsn <= end.end.lsn, "what is known to be synced was found");
        Ok(groups)
    }

    /// Lists the groups as the tools do: lenient, and never more than replay finds.
    ///
    /// # Errors
    /// The disk's.
    pub fn list(&self, disk: &SimDisk) -> Result<usize> {
        let Head { ring, start, salt, synced_lsn } = *self;
        let listing = scan_groups(disk, FILE, ring, start, salt, synced_lsn, GROUP_BYTES_MAX)?;
        Ok(listing.groups.len())
    }

    /// Where the byte of a logical position lies in the file.
    pub fn place(&self, lsn: u64) -> u64 {
        self.ring.offset + lsn % self.ring.length
    }

    /// Gives the group of `lsn` in the bytes of a file the checksums it has, if it does not wrap.
    pub fn repair(&self, file: &mut [u8], lsn: u64) {
        let place = usize::try_from(self.place(lsn)).unwrap_or(usize::MAX);
        let end = usize::try_from(self.ring.end()).unwrap_or(usize::MAX).min(file.len());
        if let Some(bytes) = file.get_mut(place..end) {
            repair(bytes, FILE, self.salt, lsn);
        }
    }
}

/// Gives the group at the front of some bytes, which reach to the end of the ring, the checksums it
/// has.
pub fn repair(bytes: &mut [u8], file: FileId, salt: u64, lsn: u64) {
    if bytes.len() < 96 {
        return;
    }
    let length: [u8; 4] = bytes[16..20].try_into().expect("4 bytes");
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if let Some(body) = bytes.get(96..length) {
        let sum = checksum_seeded(file, salt, lsn, body);
        put_checksum(bytes, 4, sum);
    }
    let sum = checksum_seeded(file, salt, lsn, &bytes[4..96]);
    put_checksum(bytes, 0, sum);
}
