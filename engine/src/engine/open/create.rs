//! Creating a store in an empty file.
//!
//! The ring is written with zeros once, since the first write into allocated but unwritten space
//! costs a journal commit of the file system. The superblock comes last: a crash before it leaves a
//! file that `superblock::is_unfinished` recognises by the mark made first (a torn write of zeros
//! may leave anything in the ring), and creation begins again.

use super::Parts;
use crate::error::{Error, Result};
use crate::file::disk::{sync, write_all_at};
use crate::file::superblock::{self, Superblock, WalHead};
use crate::file::{AlignedBuffer, Allocator, Extent, FileId, Flush};
use crate::limits;
use crate::manifest::Manifest;
use crate::options::Options;
use crate::sync::Arc;
use crate::version::Catalog;

pub(super) fn create(parts: &Parts, options: &Options) -> Result<()> {
    let disk = &parts.disk;
    let ring = Extent { offset: limits::RING_OFFSET, length: options.ring_bytes };
    disk.allocate(0, ring.end()).map_err(|error| {
        match Error::io("creating the store", 0, error) {
            Error::NoSpace { .. } => Error::NoSpace { what: "the WAL ring", needed: ring.end() },
            other => other,
        }
    })?;
    superblock::mark_creation(&**disk)?;
    write_zeros(parts, ring)?;
    sync(&**disk, "creating the store")?;
    let mut file = [0; 16];
    parts.entropy.fill(&mut file)?;
    let file = FileId(file);
    let allocator = Arc::new(Allocator::new(Arc::clone(disk), ring.end(), ring.end(), &[])?);
    let manifest =
        Manifest::create(Arc::clone(disk), file, Arc::clone(&allocator), &Catalog::new())?
            .reference();
    sync(&**disk, "creating the store")?;
    let now = parts.clock.wall_ms().min(limits::COUNTER_MAX);
    let superblock = Superblock {
        sequence: 1,
        file,
        incarnation: 1,
        format_version: superblock::FORMAT_VERSION,
        compatible: 0,
        read_only_compatible: 0,
        incompatible: 0,
        file_length: allocator.file_length(),
        ring,
        manifest,
        wal: WalHead { lsn: 0, previous: 0, salt: parts.entropy.random()? },
        synced_lsn: 0,
        commit: 0,
        clock_high_water_ms: now,
        clean: true,
        unsynced: false,
        identity: disk.identity(),
        created_ms: now,
        cold: None,
    };
    superblock::write(&**disk, &superblock)
}

fn write_zeros(parts: &Parts, ring: Extent) -> Result<()> {
    let piece = limits::OUTPUT_PIECE_BYTES;
    let mut zeros = AlignedBuffer::with_capacity(piece);
    zeros.extend(&vec![0; piece]);
    let mut offset = ring.offset;
    while offset < ring.end() {
        let length = usize::try_from(ring.end() - offset).unwrap_or(piece).min(piece);
        let bytes = &zeros.as_slice()[..length];
        write_all_at(&*parts.disk, "writing the WAL ring", offset, bytes, Flush::Later)?;
        offset += length as u64;
    }
    Ok(())
}
