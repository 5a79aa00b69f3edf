//! The manifest: the log of catalog edits. It says which extents are SSTables.
//!
//! ```text
//! extent   | base | edits | edits | edits | (does not exist) … |
//!          0      each record a multiple of 4 KiB     ▲ ManifestRef.length, in the superblock
//! ```
//!
//! 1. `append` writes edit records behind the last one, past the page cache, and does not sync.
//! 2. The caller syncs once, output of the flush included, and writes a superblock with the new
//!    [`ManifestRef`](crate::file::ManifestRef). Now, and only now, the edits have happened.
//! 3. When the extent is full, a new one gets a base record (with more records behind it where the
//!    catalog is large), which makes the whole catalog out of nothing. The old extent is released
//!    after the superblock of step 2.
//!
//! So what the superblock covers was synced before it was covered, and must verify: there are no
//! torn records, and everything that does not verify is damage.
//!
//! - `format.rs`: bytes of records and edits.
//! - `table.rs`: bytes of the record of a table.
//! - `log.rs`: the writer.
//! - `segment.rs`: the edit that adds a payload segment.
//! - `replay.rs`: the reader.

#[cfg(test)]
mod crash_tests;
mod format;
mod log;
mod replay;
mod segment;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use log::Manifest;
pub(crate) use replay::{Prefix, records_until_damage, replay, replay_prefix};
