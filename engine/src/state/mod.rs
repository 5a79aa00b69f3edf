//! Timeline state: id → next seq, last commit. The home of "no gap" and "dense".
//!
//! ```text
//! pin(table, id) ──► cache hit: the cell
//!               └──► miss: newest memtable run, else the newer of the newest run in an SSTable and
//!                    the state table's record, else a new timeline
//! ```
//! The durable home is the directories of SSTables, and a keyed table of the engine's own for what
//! they do not tell: it has a record of every timeline, brought up to date before the last SSTable
//! that knows as much goes. So it outlives every entry. The cache holds the cells of timelines in
//! use.
//!
//! # Invariants
//! I1. At most one cell of a timeline is reachable: a cell leaves the cache only while nobody has
//!     it pinned, and a loader that was overtaken by an eviction loads again.
//! I2. Only the commit leader changes a cell; it changes only cells pinned by a waiting batch.
//! I3. A cell that nobody has pinned says what memtables, SSTables and the state table say.
//!
//! # Concurrency
//! Any thread pins. Shards are locked for a look-up, or for those of a batch that fall into them,
//! never across a read of the disk, and never two at a time.

mod cache;
mod cell;
mod name;
mod record;
#[cfg(test)]
mod tests;

pub(crate) use cache::StateCache;
pub(crate) use cell::StateCell;
pub(crate) use record::{StateRecord, state_key};
