//! The engine, seen from outside, over the simulated world and over the real one.
//!
//! One binary, so that the engine is linked once. Topics:
//! - `amendments`: edit and recall, through every copy, at every stage
//! - `basic`: what each call promises, on the simulated disk
//! - `amplification`: bytes written for each byte of payload and id
//! - `commit_pace`: futures are held back as callers are while compaction is behind
//! - `history`: random histories of every operation, over tiers, crashes, and clocks that jump;
//!   `histories`: a few of them
//! - `locality`: timelines that are read much come to lie together
//! - `lookups`: how many reads a first append costs
//! - `images`: what can be found on the disks
//! - `reference`: what a store must show; `sim` does each operation to both, `draw` draws batches
//! - `crash_sweep`: power is lost at any disk operation of a small workload, and again in recovery
//! - `power_loss`: the sweeps of `crash_sweep` that a test run does
//! - `faults`: the k-th operation fails, the disk is full, and what must still hold
//! - `full_disk`: opening without room for a log
//! - `groups`: groups of several batches, which one thread does not make
//! - `group_delay`: few callers share their syncs
//! - `panics`: seams that panic at their k-th call (`fuse`), workers that die, threads that are
//!   not to be had
//! - `recovered`: what an opening after a kill reads, and leaves for later
//! - `regression`: defects that were mended, each with its story; what other such tests share
//! - `regression_close`: those of closing, and of commits that nobody led
//! - `regression_durability`: those by which something did not survive
//! - `regression_full_disk`: those of full disks
//! - `regression_leader`: those of leaders that panic, and of wakers
//! - `regression_cold`: those of the cold tier, and of disks that cannot be read or are full
//! - `erasure`: what was retracted is in the file no more once its deadline has passed
//! - `erasure_crash`: power is lost while a pass erases
//! - `erasure_real`: the same in a real file, with real threads
//! - `expiry`: times to live: altered, over restarts, and under clocks that jump
//! - `expiry_crash`: power is lost while entries expire
//! - `moves`: windows that move to the cold tier piece by piece
//! - `own_ttl`: entries with a time to live of their own
//! - `marks`: trims, deletions, retention, gaps, dropped tables
//! - `policy`: long background jobs are cut short
//! - `damage`: flipped, truncated, empty and foreign files
//! - `regression_reads`: defects that were found in reading, opening and compacting, one test each
//! - `large_payloads`: payloads that are written to extents before their commit
//! - `regression_retention`: defects of expiry and retention, one test each
//! - `regression_stores`: those of groups that are stored into the page cache
//! - `scrub`: scrubs and verifications beside writers find all damage, and nothing else
//! - `salvage`: what is left of a damaged store; `salvage_cases` and `salvage_sweep` damage that of
//!   `salvage_store`, and `salvage_judge` says what must have been kept
//! - `segments`: shared payloads on the disk: bytes, damage, crashes
//! - `stats`: what a store counts, against its file and its disk
//! - `tiers`: zstd and the cold tier
//! - `moved_segments`: segments that move down in the file, under crashes too
//! - `space`: what is free is reused, punched and cut off, and no crash and no reader suffers
//! - `real`: real file, real threads: no gap, locks, readers beside a writer
//!
//! `tidelog-fuzz` includes `crash_sweep`, `draw`, `history`, `images`, `linked_disk`, `reference`,
//! `sim` and `world` as they are, for the long forms of what is short here: they hold no tests.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::disallowed_methods, reason = "real.rs looks at what lies beside the file")]

mod amendments;
mod amplification;
mod basic;
mod commit_pace;
mod crash_sweep;
mod damage;
mod draw;
mod erasure;
mod erasure_crash;
mod erasure_real;
mod expiry;
mod expiry_crash;
mod extremes;
mod faults;
mod flush_pace;
mod full_disk;
mod fuse;
mod group_delay;
mod groups;
mod histories;
mod history;
mod hooked_disk;
mod images;
mod large_payloads;
mod linked_disk;
mod locality;
mod lookups;
mod marks;
mod moved_segments;
mod moves;
mod own_ttl;
mod panics;
mod policy;
mod power_loss;
mod real;
mod recovered;
mod reference;
mod regression;
mod regression_close;
mod regression_cold;
mod regression_durability;
mod regression_epoch;
mod regression_erasure;
mod regression_full_disk;
mod regression_leader;
mod regression_reads;
mod regression_retention;
mod regression_stores;
mod salvage;
mod salvage_cases;
mod salvage_judge;
mod salvage_store;
mod salvage_sweep;
mod scrub;
mod segments;
mod sim;
mod space;
mod stats;
mod tiers;
mod world;
