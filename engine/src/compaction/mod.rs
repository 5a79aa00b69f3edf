//! Flush and compaction: how what was written gets into levels, and levels get into order.
//!
//! ```text
//!   frozen memtable                     version (levels of SSTables)      live snapshots
//!         │                                   │                                 │
//!         │ flush.rs                          │ picker.rs: which, pure          │
//!         ▼                                   ▼                                 │
//!    FlushJob ──────────┐               CompactionJob ── source.rs: inputs      │
//!         │             │                     │                                 │
//!         │        keep.rs: which versions of a key survive, pure ◄─────────────┘
//!         ▼                                   ▼
//!   output.rs: SSTables of bounded size, in extents that belong to the job
//! ```
//!
//! A flush writes payload segments (`sharing.rs`) before the SSTables that refer to them;
//! compaction copies the references. Where readers have warmed up its inputs, it brings its outputs
//! into memory (`warm_up.rs`).
//!
//! `tiering.rs`, pure, says what goes to the cold tier: a job as any other, from levels of a hot
//! shard to level 0 of a cold one, piece by piece (`move_piece.rs`).
//!
//! 1. A worker of the engine makes a job and steps it; a step is a bounded piece of work.
//! 2. The last step hands over SSTables that nobody knows of. The worker syncs once, appends one
//!    edit to the manifest, writes the superblock, and swaps the view.
//! 3. Only then are the inputs obsolete, and their extents free when the last reader lets go.
//!
//! # Invariants
//! 1. No data are lost or doubled: entries are counted in and out (`flush.rs`, `job.rs`).
//! 2. For one timeline, what is in a deeper level is older (`picker.rs`).
//! 3. Every live snapshot, and now, see the same before and after (`keep.rs`,
//!    `keep_amendments.rs`).
//! 4. A job that fails or is dropped changes nothing and gives all space back (`output.rs`).
//! 5. Flushes follow each other in the order of their memtables; a job's inputs are busy until its
//!    outcome is live, and no other job has them.
//!
//! # Concurrency
//! No threads, no locks here. A job belongs to its worker; what it reads is immutable.

mod dead;
mod dead_share;
mod erase;
mod flush;
mod flush_state;
mod flush_timelines;
mod job;
mod keep;
mod keep_amendments;
mod key_ranges;
mod locality;
mod move_piece;
mod output;
mod picker;
mod sharing;
mod source;
#[cfg(test)]
mod tests;
mod tiering;
mod warm_up;

pub(crate) use dead::{Dead, DeadEntries};
pub(crate) use dead_share::{DEAD_SHARE, pick_dead};
pub(crate) use erase::{EntryFate, Place, Retracted, pick_erase};
pub(crate) use flush::{FlushJob, FlushOutput, FlushTable};
pub(crate) use job::{CompactionJob, JobOutput, Kept};
pub(crate) use keep::fold;
#[cfg(test)]
pub(crate) use keep_amendments::AmendmentKeeper;
pub(crate) use keep_amendments::{AmendmentFences, is_to_be_erased};
pub(crate) use locality::pick_scattered;
pub(crate) use output::{ColdPlace, OutputContext, OutputMemory, SstableSink};
pub(crate) use picker::{Job, JobKind, PickerOptions, debt_bytes, pick};
pub(crate) use tiering::{cold_flush, due_moves, next_move_ms, pick_move};
pub(crate) use warm_up::WarmUp;
