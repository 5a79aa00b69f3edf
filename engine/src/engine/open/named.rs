//! The large payloads that the log names: a first pass over it, before anything is allocated.
//!
//! Recovery may flush, and so allocate, before it has replayed the whole log. What the rest of the
//! log names must not be given out then. So opening for writing reads the log twice: first for the
//! extents alone, which then count as live like those in the manifest.
//!
//! # Invariants
//! 1. Every segment that replay opens for a writer was found by the first pass: its extent is
//!    reserved.
//! 2. No two of them, and none and a live SSTable or segment, have one number. That no two extents
//!    meet is for the allocator to check.

use crate::batch::{Op, decode};
use crate::error::{Error, Result};
use crate::file::Disk;
use crate::file::superblock::Superblock;
use crate::segment::LargePayload;
use crate::sync::{Arc, AtomicU64};
use crate::version::Catalog;
use crate::wal::{self, Group, WalPosition};
use std::collections::BTreeMap;

/// By the numbers of their segments.
pub(super) type Named = BTreeMap<u64, LargePayload>;

/// What the log names.
pub(super) fn in_log(
    disk: &dyn Disk,
    superblock: &Superblock,
    catalog: &Catalog,
    group_bytes_max: u64,
) -> Result<Named> {
    let head = WalPosition { lsn: superblock.wal.lsn, previous: superblock.wal.previous };
    let mut named = Named::new();
    let mut each = |group: Group<'_>| {
        let place = superblock.ring.offset + group.lsn % superblock.ring.length;
        for (_, body) in group.frames {
            for large in large_payloads(body) {
                let known = catalog.is_number_used(large.number)
                    || named.insert(large.number, large).is_some();
                if known {
                    let detail = format!("segment {} is there already", large.number);
                    return Err(Error::corruption("WAL", place, detail));
                }
            }
        }
        Ok(())
    };
    wal::replay(
        disk,
        superblock.file,
        superblock.ring,
        head,
        superblock.wal.salt,
        superblock.synced_lsn,
        group_bytes_max,
        &mut each,
    )?;
    Ok(named)
}

/// The number of the next SSTable or segment: behind all that manifest and log know.
pub(super) fn next_number(catalog: &Catalog, named: &Named) -> Arc<AtomicU64> {
    let behind = named.keys().next_back().map_or(0, |last| last + 1);
    Arc::new(AtomicU64::new(catalog.next_sstable.max(behind)))
}

/// The large payloads of a body, up to what cannot be decoded.
fn large_payloads(body: &[u8]) -> impl Iterator<Item = LargePayload> {
    decode(body).map_while(std::result::Result::ok).filter_map(|op| match op {
        Op::Message(message) => message.large,
        Op::Keyed { .. } | Op::Amend { .. } | Op::Mark { .. } => None,
    })
}
