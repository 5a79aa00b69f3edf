//! Scans that have to look into many SSTables of one shard charge those that make them do so, so
//! that these are compacted although nothing else asks for it (`compaction/locality.rs`).
//!
//! Each SSTable of level 0 is a run by itself, and so is each level below: a timeline that is
//! longer than an SSTable lies in neighbours, which no compaction would make fewer. The first
//! [`RUNS_MAX`] runs of a shard cost nothing, not even a write to memory that others read.
//!
//! # Concurrency
//! Owned by a scan. The charge is a relaxed counter of the SSTable.

use super::source::Source;
use crate::engine::Core;
use crate::limits;
use crate::version::Shard;

/// How many runs a timeline may have in one shard before its reads are charged.
const RUNS_MAX: usize = limits::LOCALITY_RUNS;

/// What a scan has met so far in the shard in which it stands, newest runs first.
#[derive(Debug, Default)]
pub(super) struct Scattered {
    place: Option<(Shard, u8)>,
    runs: usize,
}

impl Scattered {
    /// The scan looks into the next older source.
    pub(super) fn meet(&mut self, core: &Core, source: &Source) {
        let Source::Disk { level, sstable, .. } = source else {
            return;
        };
        let shard = sstable.meta().shard;
        match self.place.replace((shard, *level)) {
            Some((before, _)) if before != shard => self.runs = 0,
            Some((_, before)) if before == *level && *level > 0 => return,
            _ => {}
        }
        self.runs += 1;
        if self.runs > RUNS_MAX {
            let reads = sstable.charge();
            // Reads wake nobody, but for one in so many as may be worth a job.
            let worth = limits::LOCALITY_READS_MIN
                .max(sstable.meta().bytes / limits::LOCALITY_BYTES_PER_READ);
            if reads.is_multiple_of(worth) {
                core.wake(|wakes| &wakes.compact);
            }
        }
    }
}
