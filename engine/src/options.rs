//! Options of a store and of its tables, with their bounds.

use crate::error::{Error, Result};
use crate::limits;
use crate::version::{TableKind, Tier};
use std::path::PathBuf;
use std::time::Duration;

/// When a commit is acknowledged, and what survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Acknowledged once the disk has it: survives kill -9 and power loss. Group-committed.
    #[default]
    Sync,
    /// Acknowledged once written, synced at most this much later: survives kill -9; power loss
    /// takes at most the last such stretch of time.
    Interval(Duration),
    /// Acknowledged once written: survives kill -9; power loss takes what the engine has not synced
    /// for its own reasons yet (at most 1,000,000 entries and an eighth of the ring).
    Buffered,
}

/// How small commits that nobody wants synced reach the file: those of [`Durability::Interval`] and
/// [`Durability::Buffered`], in groups of at most
/// [`STORED_GROUP_BYTES_MAX`](crate::limits::STORED_GROUP_BYTES_MAX). Larger groups are written to
/// the device past the page cache. Whatever is chosen, what was acknowledged outlives the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnsyncedCommits {
    /// They are written into the page cache, by the system's write: a commit waits for no device.
    #[default]
    Cached,
    /// They are stored into the page cache through a map of the ring: no call of the system, and
    /// no waiting beside direct writes of background output. That trusts the device in one thing
    /// more: that bytes which it holds are not lost when a power loss interrupts the writing of
    /// the same bytes over them. For the system may write pages beside a stored one again, and
    /// synced bytes among them. With [`ReadMode::Read`], where nothing is mapped, it is `Cached`.
    Mapped,
    /// They are written to the device past the page cache, as larger groups are.
    Direct,
}

/// How blocks of the file are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadMode {
    /// Through read-only maps of immutable extents. Checksums are verified on first touch.
    #[default]
    Map,
    /// With `pread` into a block cache. Checksums are verified at each read.
    Read,
}

/// Options of an open store.
#[derive(Debug, Clone)]
pub struct Options {
    /// Create the store where the file does not exist or is empty. Default: true.
    pub create: bool,
    /// Open without the writer lock, write nothing. Default: false.
    pub read_only: bool,
    /// Bytes of the WAL ring, fixed at creation; a multiple of 4,096. Default 128 MiB, at least
    /// 256 KiB, at most 8 GiB.
    pub ring_bytes: u64,
    /// Bytes after which the memtable is flushed. Default 64 MiB, at least 16 KiB. One memtable is
    /// filled while another is flushed: each takes at most a quarter of `memory_budget`, whatever
    /// is asked for here.
    pub memtable_bytes: usize,
    /// Bytes after which flush and compaction begin a new SSTable. Default 64 MiB, at least 16 KiB.
    /// Its directory is held in memory until it is written, so it takes at most a quarter of
    /// `memory_budget`, whatever is asked for here.
    pub sstable_bytes: u64,
    /// Bytes for all that the engine keeps in memory: half for memtables, an eighth each for the
    /// block cache and for the state of timelines, the rest for flush and compaction. Maps of the
    /// file and what a reader holds are not counted; while the file is cold, the system is asked to
    /// read up to twice as many bytes of it around what is touched. Default 512 MiB.
    pub memory_budget: usize,
    /// How blocks are read. Default: maps.
    pub read_mode: ReadMode,
    /// How small commits that nobody wants synced reach the file. Default: through the page cache.
    pub unsynced_commits: UnsyncedCommits,
    /// Path of a second file, on another disk perhaps, for the SSTables of the cold tier. Given to
    /// a store that has none yet, the file is created, and what becomes cold from then on lies in
    /// it. Later openings must name it too, by whatever path it has then: ids decide. Default:
    /// none.
    pub cold_file: Option<PathBuf>,
    /// Open although the cold file is not given, missing, foreign or stale: hot data are read and
    /// written as ever, reads of cold data fail with the error, nothing becomes cold. Default:
    /// false, such an opening fails.
    pub without_cold_file: bool,
    /// Bytes per second of background output; 0 is no limit. Default 200 MB/s, not applied while
    /// writers wait for a flush or soon may, or while level 0 of a table has half as many SSTables
    /// as slow its writers down.
    pub output_rate: u64,
}

/// Options of a scrub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScrubOptions {
    /// Bytes to read a second; 0 is no limit, else at least 65,536. Default 16 MiB: 100 GB in less
    /// than two hours, and a twelfth of what background output may write beside it.
    pub pace: u64,
}

impl Default for ScrubOptions {
    fn default() -> ScrubOptions {
        ScrubOptions { pace: limits::SCRUB_PACE_DEFAULT }
    }
}

impl ScrubOptions {
    /// These options with so many bytes a second.
    #[must_use]
    pub fn pace(mut self, pace: u64) -> ScrubOptions {
        self.pace = pace;
        self
    }
}

impl Default for Options {
    fn default() -> Options {
        Options {
            create: true,
            read_only: false,
            ring_bytes: limits::RING_BYTES_DEFAULT,
            memtable_bytes: limits::MEMTABLE_BYTES_DEFAULT,
            sstable_bytes: limits::SSTABLE_BYTES_DEFAULT,
            memory_budget: limits::MEMORY_BUDGET_DEFAULT,
            read_mode: ReadMode::Map,
            unsynced_commits: UnsyncedCommits::Cached,
            cold_file: None,
            without_cold_file: false,
            output_rate: 200_000_000,
        }
    }
}

impl Options {
    /// Checks every bound.
    ///
    /// # Errors
    /// [`Error::InvalidUse`] that names the option, its value and its limit.
    pub fn validate(&self) -> Result<()> {
        let ring = limits::RING_BYTES_MIN..=limits::RING_BYTES_MAX;
        if !ring.contains(&self.ring_bytes) || !self.ring_bytes.is_multiple_of(limits::BLOCK_SIZE) {
            return Err(Error::invalid(format!(
                "ring_bytes is {}, it must be a multiple of {} from {} to {}",
                self.ring_bytes,
                limits::BLOCK_SIZE,
                limits::RING_BYTES_MIN,
                limits::RING_BYTES_MAX
            )));
        }
        if self.memtable_bytes < limits::MEMTABLE_BYTES_MIN {
            return Err(Error::invalid(format!(
                "memtable_bytes is {}, it must be at least {}",
                self.memtable_bytes,
                limits::MEMTABLE_BYTES_MIN
            )));
        }
        if self.sstable_bytes < limits::DATA_BLOCK_BYTES as u64 {
            return Err(Error::invalid(format!(
                "sstable_bytes is {}, it must be at least {}",
                self.sstable_bytes,
                limits::DATA_BLOCK_BYTES
            )));
        }
        Ok(())
    }

    /// These options with memtables and SSTables that the memory budget has room for.
    pub(crate) fn within_budget(mut self) -> Options {
        let quarter = (self.memory_budget / 4).max(limits::MEMTABLE_BYTES_MIN);
        self.memtable_bytes = self.memtable_bytes.min(quarter);
        self.sstable_bytes = self.sstable_bytes.min(quarter as u64);
        self
    }

    /// Most bytes of frames in one batch under these options.
    pub fn batch_bytes_max(&self) -> usize {
        let quarter = usize::try_from(self.ring_bytes / 4).unwrap_or(usize::MAX);
        limits::BATCH_BYTES_MAX.min(quarter)
    }
}

/// Who gives the sequence ids of a timeline table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Sequence {
    /// The engine: dense, 1, 2, 3, …
    #[default]
    Assigned,
    /// The caller: strictly increasing; a stale id is [`Error::Conflict`], never an overwrite.
    Given,
}

/// How the blocks of a table's hot SSTables are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    /// As they are: the fastest to write and to read.
    #[default]
    None,
    /// lz4, where it makes a block smaller.
    Lz4,
    /// zstd, where it makes a block smaller, with a trained dictionary where that pays. Needs the
    /// feature `zstd`.
    Zstd {
        /// From 1, the fastest, to 19, the smallest.
        level: u8,
    },
}

impl std::fmt::Display for Compression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Compression::None => f.write_str("none"),
            Compression::Lz4 => f.write_str("lz4"),
            Compression::Zstd { level } => write!(f, "zstd:{level}"),
        }
    }
}

impl Compression {
    /// What the cold SSTables of a table with this compression are compressed with.
    pub(crate) fn of_cold(self) -> Compression {
        match self {
            Compression::Zstd { .. } => self,
            Compression::None | Compression::Lz4 => {
                Compression::Zstd { level: limits::ZSTD_LEVEL_COLD }
            }
        }
    }

    /// Checks that this build can do it.
    ///
    /// # Errors
    /// `InvalidUse` for a level that does not exist, `Unsupported` where the feature is missing.
    pub fn validate(&self) -> Result<()> {
        let Compression::Zstd { level } = self else { return Ok(()) };
        if !limits::ZSTD_LEVELS.contains(level) {
            let (first, last) = limits::ZSTD_LEVELS.into_inner();
            return Err(Error::invalid(format!(
                "the zstd level is {level}, it must be from {first} to {last}"
            )));
        }
        match crate::sstable::zstd::AVAILABLE {
            true => Ok(()),
            false => Err(crate::sstable::zstd::unsupported("a table compressed with zstd")),
        }
    }
}

/// Options of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableOptions {
    /// Timelines or keys.
    pub kind: TableKind,
    /// Who gives sequence ids (timeline tables).
    pub sequence: Sequence,
    /// Entries older than this, by commit time, are never returned. `None`: kept for ever.
    pub ttl_ms: Option<u64>,
    /// Only so many of a timeline's newest sequence ids are shown. `None`: all.
    pub keep_last: Option<u64>,
    /// Compression of data blocks.
    pub compression: Compression,
    /// What is older than this, by commit time, goes to the cold tier (timeline tables). `None`:
    /// everything stays hot. Moved window by window, so an entry goes up to a twentieth later.
    pub cold_after_ms: Option<u64>,
    /// The tier that new data go to; cold for what is hardly ever read (timeline tables).
    pub placement: Tier,
    /// The erasure deadline, see [`TableOptions::erase_after`] (timeline tables). `None`: bytes of
    /// what was retracted stay until their place happens to be used again.
    pub erase_after_ms: Option<u64>,
}

impl TableOptions {
    /// A timeline table with dense ids, kept for ever.
    pub fn timeline() -> TableOptions {
        TableOptions {
            kind: TableKind::Timeline,
            sequence: Sequence::Assigned,
            ttl_ms: None,
            keep_last: None,
            compression: Compression::None,
            cold_after_ms: None,
            placement: Tier::Hot,
            erase_after_ms: None,
        }
    }

    /// A keyed table.
    pub fn keyed() -> TableOptions {
        TableOptions { kind: TableKind::Keyed, ..TableOptions::timeline() }
    }

    /// With a cold tier for what is older than this.
    #[must_use]
    pub fn cold_after(mut self, age: Duration) -> TableOptions {
        self.cold_after_ms = Some(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// In the cold tier from the beginning.
    #[must_use]
    pub fn born_cold(mut self) -> TableOptions {
        self.placement = Tier::Cold;
        self
    }

    /// With a time to live, by commit time.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> TableOptions {
        self.ttl_ms = Some(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// With the newest `count` entries of each timeline shown, and no others: deleted ones among
    /// them count. For timeline tables whose sequence ids the engine assigns.
    #[must_use]
    pub fn keep_last(mut self, count: u64) -> TableOptions {
        self.keep_last = Some(count);
        self
    }

    /// With an erasure deadline: once a retraction ([`WriteBatch::retract`](crate::WriteBatch)) of
    /// an entry of this table is older than this, by commit time, the bytes of what it took back
    /// are in the file no more, nor in the cold file: the payload that the entry was written with,
    /// that of every copy that names the entry as its origin, in whatever table, and what
    /// amendments had replaced it by. That goes for SSTables, dictionaries and payload segments as
    /// for free space and the log. The entries stay in their places and read as retracted;
    /// [`Snapshot::versions`](crate::Snapshot::versions) says of which versions the payload was
    /// erased. To erase a message, retract it: what expires, is trimmed or deleted has no deadline.
    /// Keys are not erased: no text belongs there.
    ///
    /// The work is done in the background, at half of the time. It waits for whoever may still see
    /// what is to be erased: a snapshot from before the retraction, a payload or an iterator that
    /// is held; and for a cold file that cannot be used. [`Stats::erasure`](crate::Stats::erasure)
    /// says how far it is and what it waits for. While the store is closed nothing is erased. Given
    /// to a table later, it goes for earlier retractions too. At least
    /// [`ERASE_AFTER_MS_MIN`](crate::limits::ERASE_AFTER_MS_MIN).
    #[must_use]
    pub fn erase_after(mut self, age: Duration) -> TableOptions {
        self.erase_after_ms = Some(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Checks every bound.
    ///
    /// # Errors
    /// [`Error::InvalidUse`] that names the option, its value and its limit.
    pub fn validate(&self) -> Result<()> {
        self.validate_erasure()?;
        if let Some(count) = self.keep_last {
            if count == 0 {
                return Err(Error::invalid("keep_last is 0, it must be at least 1"));
            }
            if self.kind != TableKind::Timeline || self.sequence != Sequence::Assigned {
                return Err(Error::invalid(
                    "keep_last is for timeline tables whose sequence ids the engine assigns",
                ));
            }
        }
        if self.ttl_ms == Some(0) {
            return Err(Error::invalid("ttl_ms is 0, a time to live must be at least 1"));
        }
        let tiers = self.cold_after_ms.is_some() || self.placement == Tier::Cold;
        if tiers && self.kind == TableKind::Keyed {
            return Err(Error::invalid("a keyed table has no cold tier"));
        }
        if self.cold_after_ms == Some(0) {
            return Err(Error::invalid(
                "cold_after_ms is 0, it must be at least 1; for a table that is born cold say so \
                 in `placement`",
            ));
        }
        self.compression.validate()
    }

    fn validate_erasure(&self) -> Result<()> {
        let Some(age_ms) = self.erase_after_ms else { return Ok(()) };
        if self.kind == TableKind::Keyed {
            return Err(Error::invalid("erase_after is for timeline tables"));
        }
        if age_ms < limits::ERASE_AFTER_MS_MIN {
            return Err(Error::invalid(format!(
                "erase_after is {age_ms} ms, it must be at least {} ms",
                limits::ERASE_AFTER_MS_MIN
            )));
        }
        Ok(())
    }
}
