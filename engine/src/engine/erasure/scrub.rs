//! What is in no use keeps no old bytes: free space of both files, and the free part of the ring.
//!
//! 1. Two roots, so that what the pass has replaced is free.
//! 2. The ring: pieces between commits, of what older laps have left (`wal/writer.rs`).
//! 3. Free space, piece by piece (`file/allocator/scrubbing.rs`). What is reserved, waits for a
//!    root, or is held by a reader comes when it is free; that is waited for.
//! 4. A sync of the cold file. That of the first comes with the root that ends the pass.

use crate::engine::Core;
use crate::engine::root::Change;
use crate::error::Result;
use crate::file::{Allocator, Extent, disk};
use crate::limits::PUNCH_PAUSE_MS;
use crate::sync::Arc;
use std::time::Duration;

/// Roots after which what an earlier one was the last to name is free.
const ROOTS_UNTIL_FREE: u32 = 2;
/// Between two pieces of the ring, and between two roots that others' extents wait for.
const RING_REST_MS: u64 = 2;
const ROOT_REST_MS: u64 = 50;

/// See the module.
pub(super) struct Scrub {
    stage: Stage,
    allocators: Vec<Arc<Allocator>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Roots that are still to be written.
    Roots(u32),
    Ring,
    Space,
}

/// How a step went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scrubbed {
    Running,
    /// A rest of so many milliseconds: commits come first.
    Rests(u64),
    /// For whom is waited.
    Waits(String),
    All,
}

/// Live extents of the first file, and of the cold one.
struct Live {
    first: Vec<Extent>,
    cold: Vec<Extent>,
}

impl Scrub {
    pub(super) fn new(core: &Core) -> Scrub {
        Scrub {
            stage: Stage::Roots(ROOTS_UNTIL_FREE),
            allocators: core.allocators().cloned().collect(),
        }
    }

    pub(super) fn step(&mut self, core: &Core) -> Result<Scrubbed> {
        match self.stage {
            Stage::Roots(left) if left > 0 && core.released() > 0 => {
                core.commit_root(Change::default())?;
                self.stage = Stage::Roots(left - 1);
            }
            Stage::Roots(_) => {
                core.begin_wipe();
                self.stage = Stage::Ring;
            }
            Stage::Ring if !core.erasure.ask_for_wipe(core)? => {
                return Ok(Scrubbed::Rests(RING_REST_MS));
            }
            Stage::Ring => {
                core.begin_scrub();
                self.stage = Stage::Space;
            }
            Stage::Space => return core.scrub(),
        }
        Ok(Scrubbed::Running)
    }
}

impl Drop for Scrub {
    fn drop(&mut self) {
        self.allocators.iter().for_each(|allocator| allocator.end_scrub());
    }
}

impl Core {
    fn allocators(&self) -> impl Iterator<Item = &Arc<Allocator>> {
        let cold = self.output.cold.as_ref().map(|cold| &cold.allocator);
        std::iter::once(&self.allocator).chain(cold)
    }

    /// What older laps have left in the ring, up to what replay would need now.
    fn begin_wipe(&self) {
        let from = self.log.written_lsn();
        let end = self.log.released_lsn() + self.log.ring_bytes();
        self.erasure.begin_wipe(from, end);
    }

    fn begin_scrub(&self) {
        let live = self.live_extents();
        self.allocator.begin_scrub(&live.first);
        if let Some(cold) = &self.output.cold {
            cold.allocator.begin_scrub(&live.cold);
        }
    }

    /// What manifest and log name.
    fn live_extents(&self) -> Live {
        let root = self.root.lock();
        let view = self.views.current();
        let catalog = &root.catalog;
        let large = view.memtables().flat_map(|memtable| memtable.large_segments());
        let mut first: Vec<Extent> = large.map(|segment| segment.meta().extent).collect();
        first.push(root.superblock.manifest.extent);
        first.extend(catalog.segments.iter().map(|meta| meta.extent));
        let mut cold = Vec::new();
        for (_, _, meta) in catalog.version.iter() {
            match catalog.is_in_cold_file(meta) {
                true => cold.push(meta.extent),
                false => first.push(meta.extent),
            }
        }
        // A large payload may be in a memtable, and of a message that is being flushed.
        first.sort_unstable();
        first.dedup();
        Live { first, cold }
    }

    /// Scrubs a piece of free space, or looks what is left.
    fn scrub(&self) -> Result<Scrubbed> {
        for allocator in self.allocators() {
            if allocator.scrub(&self.pacer)? {
                // Commits that have waited for the hole are written first.
                self.scheduler.pause(Duration::from_millis(PUNCH_PAUSE_MS));
                return Ok(Scrubbed::Running);
            }
        }
        let live = self.live_extents();
        let cold = self.output.cold.as_ref();
        let left = self.allocator.unscrubbed(&live.first)
            + cold.map_or(0, |cold| cold.allocator.unscrubbed(&live.cold));
        if left == 0 {
            if let Some(cold) = cold {
                disk::sync(&*cold.disk, "sync the cold file")?;
            }
            return Ok(Scrubbed::All);
        }
        if self.released() > 0 {
            self.commit_root(Change::default())?;
            return Ok(Scrubbed::Rests(ROOT_REST_MS));
        }
        let held = self.allocators().map(|allocator| allocator.held()).sum::<u64>();
        Ok(Scrubbed::Waits(match held {
            0 => format!("background work that has {left} bytes of free space"),
            _ => format!("readers that hold {held} bytes which are live no more"),
        }))
    }
}
