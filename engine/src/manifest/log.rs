//! The writer of the manifest.
//!
//! # Invariants
//! 1. Everything before `tail.length` was written by this writer, or was verified by `open`.
//! 2. A failed append leaves the tail as it was: what it wrote lies behind the tail, does not
//!    exist, and is written over by the next one.
//! 3. A record is never written over bytes that a superblock covers.
//! 4. What lies behind the records of an extent is zero, or was left there by a failed append.
//!
//! # Concurrency
//! One owner, the manifest worker; `&mut self`.

use super::format::{self, Body, Header, KIND_BASE, KIND_EDITS};
use super::replay;
use crate::error::{Error, Result};
use crate::file::disk::{self, Disk, Flush};
use crate::file::{AlignedBuffer, Allocator, Extent, FileId, ManifestRef, Reservation};
use crate::limits::{MANIFEST_EXTENT_BYTES_MIN, OUTPUT_PIECE_BYTES};
use crate::version::{Catalog, Edit};
use std::sync::Arc;

/// The open manifest.
pub(crate) struct Manifest {
    disk: Arc<dyn Disk>,
    file: FileId,
    allocator: Arc<Allocator>,
    tail: Tail,
    /// Extents that hold no part of the manifest any more.
    replaced: Vec<Extent>,
}

/// The end of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tail {
    extent: Extent,
    length: u64,
    /// Checksum of the last record.
    checksum: u32,
    /// Number of the last record.
    number: u64,
}

impl Manifest {
    /// The manifest of a new store, in an extent of its own: its base, `catalog`, is the first
    /// record ever. Nothing is synced.
    pub(crate) fn create(
        disk: Arc<dyn Disk>,
        file: FileId,
        allocator: Arc<Allocator>,
        catalog: &Catalog,
    ) -> Result<Manifest> {
        let tail = write_base(&*disk, file, &allocator, catalog, 0)?;
        Ok(Manifest { disk, file, allocator, tail, replaced: Vec::new() })
    }

    /// The same for a store that was there before. Of a first record ever a salvage believes that
    /// it says nothing, and reads on behind it where it is damaged: so this base is a later one.
    pub(crate) fn create_anew(
        disk: Arc<dyn Disk>,
        file: FileId,
        allocator: Arc<Allocator>,
        catalog: &Catalog,
    ) -> Result<Manifest> {
        let tail = write_base(&*disk, file, &allocator, catalog, 1)?;
        Ok(Manifest { disk, file, allocator, tail, replaced: Vec::new() })
    }

    /// The manifest that `reference` names, and the catalog in it. The allocator must know its
    /// extent as live.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        file: FileId,
        allocator: Arc<Allocator>,
        reference: &ManifestRef,
    ) -> Result<(Manifest, Catalog)> {
        let (catalog, number) = replay::replay_numbered(&*disk, file, reference)?;
        let ManifestRef { extent, length, checksum } = *reference;
        let tail = Tail { extent, length, checksum, number };
        Ok((Manifest { disk, file, allocator, tail, replaced: Vec::new() }, catalog))
    }

    /// What the next superblock must say, once everything is synced.
    pub(crate) fn reference(&self) -> ManifestRef {
        let Tail { extent, length, checksum, .. } = self.tail;
        ManifestRef { extent, length, checksum }
    }

    /// Logs `edits`; `catalog_after` is the catalog with them applied. Nothing is synced. All edits
    /// of one call happen with the same superblock, however many records they take.
    ///
    /// # Errors
    /// `NoSpace` where a new extent is needed and cannot be had: nothing has changed, and the call
    /// may be made again. After an I/O error it may be made again as well.
    pub(crate) fn append(
        &mut self,
        edits: &[Edit],
        catalog_after: &Catalog,
    ) -> Result<ManifestRef> {
        let bodies = format::encode_bodies(edits);
        let needed: u64 = bodies.iter().map(Body::padded_length).sum();
        if needed <= self.tail.extent.length - self.tail.length {
            self.tail = write_records(&*self.disk, self.file, self.tail, &bodies)?;
            return Ok(self.reference());
        }
        self.begin_anew(catalog_after)
    }

    /// Writes the whole catalog to a new extent, and goes on there. Nothing is synced.
    ///
    /// # Errors
    /// As [`Manifest::append`].
    pub(crate) fn begin_anew(&mut self, catalog: &Catalog) -> Result<ManifestRef> {
        let number = self.tail.number;
        let tail = write_base(&*self.disk, self.file, &self.allocator, catalog, number)?;
        self.replaced.push(self.tail.extent);
        self.tail = tail;
        Ok(self.reference())
    }

    /// The extents that appends have replaced since the last call. Release each, with the sequence
    /// of the superblock before, when the superblock with the new reference is durable.
    pub(crate) fn take_replaced(&mut self) -> Vec<Extent> {
        std::mem::take(&mut self.replaced)
    }
}

/// Writes the whole catalog to a new extent. `number` is that of the last record before.
fn write_base(
    disk: &dyn Disk,
    file: FileId,
    allocator: &Arc<Allocator>,
    catalog: &Catalog,
    number: u64,
) -> Result<Tail> {
    let bodies = format::encode_bodies(&catalog.edits());
    let needed: u64 = bodies.iter().map(Body::padded_length).sum();
    let reservation = reserve(allocator, needed)?;
    let extent = reservation.extent();
    let empty = Tail { extent, length: 0, checksum: 0, number };
    let tail = write_records(disk, file, empty, &bodies)?;
    write_zeros(disk, tail)?;
    assert_eq!(reservation.commit(extent.length), extent);
    Ok(tail)
}

/// Overwrites what is left of a new extent: what lay there before may be something that is to be
/// erased, and nobody looks for that in an extent that is in use.
fn write_zeros(disk: &dyn Disk, tail: Tail) -> Result<()> {
    let mut zeros = AlignedBuffer::default();
    let mut offset = tail.length;
    while offset < tail.extent.length {
        let length = (tail.extent.length - offset).min(OUTPUT_PIECE_BYTES as u64);
        let length = usize::try_from(length).expect("at most a piece");
        if zeros.is_empty() {
            zeros.extend(&[0]);
            zeros.pad_to(length);
        }
        let (place, bytes) = (tail.extent.offset + offset, &zeros.as_slice()[..length]);
        disk::write_all_at(disk, "write the manifest", place, bytes, Flush::Later)?;
        offset += length as u64;
    }
    Ok(())
}

/// Room for a base of `needed` bytes and as much again for edits, so that bases cost no more than
/// edits do. Where there is less room, as little as will do.
fn reserve(allocator: &Arc<Allocator>, needed: u64) -> Result<Reservation> {
    let what = "a manifest extent";
    let roomy = needed.saturating_mul(2).max(MANIFEST_EXTENT_BYTES_MIN);
    match allocator.reserve(roomy, what) {
        Err(Error::NoSpace { .. }) if needed < roomy => allocator.reserve(needed, what),
        result => result,
    }
}

/// Writes records behind `tail`, which must have room for them, and returns the tail behind them.
fn write_records(disk: &dyn Disk, file: FileId, tail: Tail, bodies: &[Body]) -> Result<Tail> {
    let mut tail = tail;
    for body in bodies {
        let length = u32::try_from(format::HEADER_SIZE + body.bytes.len());
        let header = Header {
            kind: if tail.length == 0 { KIND_BASE } else { KIND_EDITS },
            length: length.expect("records are short"),
            previous: tail.checksum,
            number: tail.number + 1,
            count: body.count,
        };
        let (buffer, checksum) =
            format::encode_record(file, tail.extent, tail.length, header, body);
        let end = tail.length + buffer.len() as u64;
        assert!(end <= tail.extent.length, "no record leaves the extent");
        let offset = tail.extent.offset + tail.length;
        let bytes = buffer.as_slice();
        disk::write_all_at(disk, "write the manifest", offset, bytes, Flush::Later)?;
        tail = Tail { length: end, checksum, number: header.number, ..tail };
    }
    Ok(tail)
}
