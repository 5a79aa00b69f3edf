//! Timeline state: id → next seq, last commit. The home of "no gap" and "dense".
//!
//! ```text
//! pin(table, id) ──► cache hit: the cell
//!               └──► miss: newest memtable run, else the state table's record, else a new timeline
//! ```
//! The durable home is a keyed table of the engine's own, upserted at every flush and never
//! dropped, so it outlives every entry of the timeline. The cache holds the cells of timelines in
//! use.
//!
//! # Invariants
//! I1. At most one cell of a timeline is reachable: a cell leaves the cache only while nobody has
//!     it pinned, and a loader that was overtaken by an eviction loads again.
//! I2. Only the commit leader changes a cell; it changes only cells pinned by a waiting batch.
//! I3. A cell that nobody has pinned says what the memtables and the state table say.
//!
//! # Concurrency
//! Any thread pins. Shards are locked for a look-up, never across a read of the disk.

mod cache;
mod cell;
mod record;
#[cfg(test)]
mod tests;

pub(crate) use cache::StateCache;
pub(crate) use cell::StateCell;
pub(crate) use record::{StateRecord, state_key};
