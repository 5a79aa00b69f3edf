//! What a scrub tells: its own report, and what the store remembers of all of them.

use crate::entry::TableId;
use crate::limits::SCRUB_FAULTS_MAX;
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering};

/// What a scrub has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScrubReport {
    /// What is wrong; the first 1,000 faults.
    pub faults: Vec<ScrubFault>,
    /// How many there are.
    pub fault_count: u64,
    /// What was looked at.
    pub counts: ScrubCounts,
    /// Whether the pass came to its end. One that was cancelled, or is still at work, has not.
    pub whole: bool,
    /// Whether reads went past the page cache of the system: then what was read is what the device
    /// gave. Otherwise the system may have answered from its memory.
    pub past_page_cache: bool,
}

impl ScrubReport {
    pub(super) fn push(&mut self, fault: ScrubFault) {
        self.fault_count += 1;
        if self.faults.len() < SCRUB_FAULTS_MAX {
            self.faults.push(fault);
        }
    }
}

/// What a scrub has looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScrubCounts {
    /// Bytes read from the device, what was read twice included.
    pub read_bytes: u64,
    /// Bytes of the groups of the log.
    pub log_bytes: u64,
    /// SSTables, and their bytes.
    pub sstables: u64,
    /// Bytes of those.
    pub sstable_bytes: u64,
    /// Payload segments.
    pub segments: u64,
    /// Bytes of those.
    pub segment_bytes: u64,
    /// What was replaced before it was looked at.
    pub skipped: u64,
    /// SSTables that lie in a cold file which the store was opened without.
    pub absent_sstables: u64,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScrubFault {
    /// Which structure it is in.
    pub structure: ScrubStructure,
    /// The part of it that is damaged.
    pub what: &'static str,
    /// Its offset, in the cold file where that says so.
    pub offset: u64,
    /// Whether it lies in the cold file.
    pub in_cold_file: bool,
    /// What was expected, and what was found.
    pub detail: String,
    /// The table whose data it is; of a segment, the home of its payloads.
    pub table: Option<TableId>,
    /// The entries that may be concerned, where they are known. Of a block that is the stretch
    /// between what is sound before and behind it; of other parts of an SSTable all that it holds.
    /// A payload of a segment may belong to any timeline of the SSTables that the detail names.
    pub entries: Option<EntrySpan>,
}

impl std::fmt::Display for ScrubFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let file = if self.in_cold_file { " of the cold file" } else { "" };
        write!(f, "{} at offset {}{file}: {}", self.what, self.offset, self.detail)
    }
}

/// A structure of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScrubStructure {
    /// The superblock.
    Superblock,
    /// The write-ahead log.
    Log,
    /// The manifest.
    Manifest,
    /// The payload segment of this number.
    Segment(u64),
    /// The header of the cold file.
    ColdFile,
    /// The SSTable of this number.
    Sstable(u64),
}

/// A stretch of a table: from a timeline (or key) and sequence id to another, both included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntrySpan {
    /// The first timeline, as its bytes, and sequence id; 0 in a keyed table.
    pub first: (Vec<u8>, u64),
    /// The last.
    pub last: (Vec<u8>, u64),
}

/// How far a scrub is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScrubProgress {
    /// Bytes that were read.
    pub read_bytes: u64,
    /// About how many there are: what was live when the pass began.
    pub expected_bytes: u64,
    /// Faults so far.
    pub faults: u64,
}

/// What the scrubs since the store was opened have found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScrubStats {
    /// Whether one is at work.
    pub running: bool,
    /// Passes that came to their end.
    pub passes: u64,
    /// When the last of them did, in milliseconds since 1970.
    pub last_pass_ms: Option<u64>,
    /// Bytes that they have read, those of passes that were cut short included.
    pub read_bytes: u64,
    /// Faults that they have found. The same damage counts in each pass: where it grows, data are
    /// damaged now.
    pub faults: u64,
    /// The last of them, in words.
    pub last_fault: Option<String>,
}

/// What the store remembers of its scrubs.
#[derive(Debug, Default)]
pub(crate) struct ScrubState {
    running: AtomicBool,
    passes: AtomicU64,
    last_pass_ms: AtomicU64,
    read_bytes: AtomicU64,
    faults: AtomicU64,
    last_fault: Mutex<Option<String>>,
}

impl ScrubState {
    /// Whether a scrub may begin; then it has.
    pub(super) fn begin(&self) -> bool {
        !self.running.swap(true, Ordering::AcqRel)
    }

    pub(super) fn end(&self) {
        self.running.store(false, Ordering::Release);
    }

    pub(super) fn ended_whole(&self, now_ms: u64) {
        self.last_pass_ms.store(now_ms, Ordering::Relaxed);
        self.passes.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self, bytes: u64) {
        self.read_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn found(&self, fault: &ScrubFault) {
        self.faults.fetch_add(1, Ordering::Relaxed);
        *self.last_fault.lock() = Some(fault.to_string());
    }

    pub(crate) fn stats(&self) -> ScrubStats {
        let passes = self.passes.load(Ordering::Relaxed);
        let last_pass_ms = self.last_pass_ms.load(Ordering::Relaxed);
        ScrubStats {
            running: self.running.load(Ordering::Acquire),
            passes,
            last_pass_ms: (passes > 0).then_some(last_pass_ms),
            read_bytes: self.read_bytes.load(Ordering::Relaxed),
            faults: self.faults.load(Ordering::Relaxed),
            last_fault: self.last_fault.lock().clone(),
        }
    }
}
