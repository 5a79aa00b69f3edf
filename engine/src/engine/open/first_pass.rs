//! The first pass over the log, before anything is allocated: it verifies all of it, finds where it
//! ends, and which large payloads it names.
//!
//! Replay may flush, and so allocate, before it has come to the end of the log. What the rest of
//! the log names must not be given out then. So opening for writing reads the log before it
//! replays it: the extents that it names then count as live like those in the manifest.
//!
//! What it reads it hands on, as far as two memtables will hold it anyway: replay then reads
//! nothing.
//!
//! # Invariants
//! 1. Every segment that replay opens for a writer was found by the first pass: its extent is
//!    reserved.
//! 2. No two of them, and none and a live SSTable or segment, have one number. That no two extents
//!    meet is for the allocator to check.
//! 3. What is handed on is the front of the log, without a gap, and at most as long as two
//!    memtables and one group.

use super::replay::{Replayed, group_bytes_max};
use crate::batch::{Op, decode};
use crate::error::{Error, Result};
use crate::file::Disk;
use crate::file::superblock::Superblock;
use crate::options::Options;
use crate::segment::LargePayload;
use crate::sync::{Arc, AtomicU64};
use crate::version::Catalog;
use crate::wal::{self, Group, WalPosition};
use std::collections::BTreeMap;

/// By the numbers of their segments.
pub(super) type Named = BTreeMap<u64, LargePayload>;

/// What the log holds.
pub(super) struct FirstPass {
    /// The large payloads that it names.
    pub(super) named: Named,
    /// Behind its last group.
    pub(super) end: WalPosition,
    /// Whether groups behind that have arrived without one before them.
    pub(super) gap: bool,
}

/// Reads the log. `keep` takes its groups from the head on, as many as are kept.
pub(super) fn read(
    disk: &dyn Disk,
    superblock: &Superblock,
    catalog: &Catalog,
    options: &Options,
    keep: &mut dyn FnMut(Replayed),
) -> Result<FirstPass> {
    let head = WalPosition { lsn: superblock.wal.lsn, previous: superblock.wal.previous };
    let kept_end = head.lsn.saturating_add(2 * options.memtable_bytes as u64);
    let mut named = Named::new();
    let mut each = |group: Group<'_>| {
        let mut plain = true;
        for (_, body) in group.frames.clone() {
            for special in specials(body) {
                plain = false;
                let Some(large) = special else { continue };
                let known = catalog.is_number_used(large.number)
                    || named.insert(large.number, large).is_some();
                if known {
                    let place = superblock.ring.offset + group.lsn % superblock.ring.length;
                    let detail = format!("segment {} is there already", large.number);
                    return Err(Error::corruption("WAL", place, detail));
                }
            }
        }
        if group.lsn < kept_end {
            keep(Replayed::of(&group, superblock, plain)?);
        }
        Ok(())
    };
    let end = wal::replay(
        disk,
        superblock.file,
        superblock.ring,
        head,
        superblock.wal.salt,
        superblock.synced_lsn,
        group_bytes_max(options),
        &mut each,
    )?;
    Ok(FirstPass { named, end: end.end, gap: end.gap })
}

/// The number of the next SSTable or segment: behind all that manifest and log know.
pub(super) fn next_number(catalog: &Catalog, named: &Named) -> Arc<AtomicU64> {
    let behind = named.keys().next_back().map_or(0, |last| last + 1);
    Arc::new(AtomicU64::new(catalog.next_sstable.max(behind)))
}

/// The records of a body, up to what cannot be decoded, that replay does more about than to put
/// them into a memtable; for each its payload, where that is large.
fn specials(body: &[u8]) -> impl Iterator<Item = Option<LargePayload>> {
    decode(body).map_while(std::result::Result::ok).filter_map(|op| match op {
        Op::Message(message) => {
            let special = message.large.is_some() || message.ttl_ms.is_some();
            special.then_some(message.large)
        }
        Op::Mark { .. } => Some(None),
        Op::Keyed { .. } | Op::Amend { .. } => None,
    })
}
