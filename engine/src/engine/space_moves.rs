//! Moving what lies highest in the file to a lower place, so that its end can be cut off.
//!
//! An SSTable and a payload segment are moved as bytes: they name themselves and places in
//! themselves, not their place in the file. One root takes the old extent out and the new one in,
//! under the same number; readers hold the old one as long as they need it. The records of a
//! segment are verified on the way (`segment_copy.rs`). The manifest moves by beginning a new base.
//!
//! The cold file is not made shorter this way, only at its end.
//!
//! # Invariants
//! 1. What cannot be read stays where it is, and is left alone as `unreadable.rs` says: a wish for
//!    all of it ends, whatever is damaged.

use super::Core;
use super::root::Change;
use super::segment_copy::SegmentReplacement;
use super::unreadable::Unreadable;
use crate::error::{Error, Result};
use crate::file::disk::read_exact_at;
use crate::file::{Extent, ExtentGuard, ExtentWriter, Reservation};
use crate::limits::OUTPUT_PIECE_BYTES;
use crate::sstable::Sstable;
use crate::sync::Arc;
use crate::version::SstableMeta;
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// What the space of a move is asked for.
const MOVED: &str = "an extent that is moved down";

/// See the module.
#[derive(Default)]
pub(super) struct Mover {
    moving: Option<Moving>,
    /// By number of SSTable or segment: they stay where they are.
    unreadable: Unreadable,
    /// Extents that may still be moved.
    left: usize,
}

/// What is on its way to a lower place.
enum Moving {
    Sstable(SstableMove),
    Segment(SegmentReplacement),
}

/// What may be moved.
enum Movable {
    Sstable(Arc<Sstable>),
    /// By its number.
    Segment(u64),
}

impl Movable {
    fn number(&self) -> u64 {
        match self {
            Movable::Sstable(sstable) => sstable.meta().number,
            Movable::Segment(number) => *number,
        }
    }
}

impl Mover {
    /// From now on so many extents may be moved.
    pub(super) fn allow(&mut self, moves: usize) {
        self.left = moves;
    }

    /// What was begun is given up.
    pub(super) fn give_up(&mut self) {
        self.moving = None;
    }

    /// What could not be read for a while is tried again; or, where a user asks, everything.
    pub(super) fn try_again(&mut self, now_ms: u64, asked: bool) {
        self.unreadable.end_rests(now_ms);
        if asked {
            self.unreadable.clear();
        }
    }

    /// Moves on, a piece a step; with `all` whatever there is a lower place for, otherwise the
    /// highest extent or none. Returns whether there is more.
    pub(super) fn step(&mut self, core: &Arc<Core>, all: bool) -> Result<bool> {
        let Some(moving) = self.moving.take() else {
            return self.begin(core, all);
        };
        let number = moving.number();
        match moving.step(core) {
            Ok(moving) => self.moving = moving,
            // Readers will tell of it, each its own user.
            Err(error) if error.is_unreadable() && core.health.check().is_ok() => {
                let now_ms = core.raw_clock.monotonic_ms();
                self.unreadable.met(&BTreeSet::from([number]), &error, true, now_ms);
            }
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    fn begin(&mut self, core: &Arc<Core>, all: bool) -> Result<bool> {
        if self.left == 0 || !(all || core.has_much_cold()) {
            return Ok(false);
        }
        self.left -= 1;
        let (manifest, movable) = core.movable();
        let mut above_manifest = true;
        for (extent, movable) in movable {
            if self.unreadable.numbers().contains(&movable.number()) {
                continue;
            }
            if above_manifest && extent.offset < manifest.offset {
                above_manifest = false;
                if core.lower_manifest(manifest)? {
                    return Ok(true);
                }
            }
            let lower = core.allocator.reserve_before(extent.length, extent.offset, MOVED)?;
            if let Some(reservation) = lower {
                self.moving = Moving::begin(core, movable, extent, reservation);
                return Ok(true);
            }
            if !all {
                return Ok(false);
            }
        }
        if above_manifest { core.lower_manifest(manifest) } else { Ok(false) }
    }
}

impl Moving {
    /// `None` where it is not at `extent` any more.
    fn begin(
        core: &Core,
        movable: Movable,
        extent: Extent,
        reservation: Reservation,
    ) -> Option<Moving> {
        match movable {
            Movable::Sstable(sstable) => {
                let (disk, pacer) = (Arc::clone(&core.disk), Arc::clone(&core.pacer));
                let writer = ExtentWriter::new(disk, reservation.extent(), pacer);
                Some(Moving::Sstable(SstableMove { sstable, reservation, writer }))
            }
            Movable::Segment(number) => {
                let open = core.open_segment(number);
                let segment = open.filter(|segment| segment.meta().extent == extent)?;
                let erase = BTreeSet::new();
                let replacement = SegmentReplacement::begin(core, segment, reservation, erase);
                Some(Moving::Segment(replacement))
            }
        }
    }

    fn number(&self) -> u64 {
        match self {
            Moving::Sstable(moving) => moving.sstable.meta().number,
            Moving::Segment(replacement) => replacement.number(),
        }
    }

    /// Copies a piece, and publishes behind the last; `None` then.
    fn step(self, core: &Core) -> Result<Option<Moving>> {
        match self {
            Moving::Sstable(mut moving) => match moving.step(core)? {
                false => Ok(Some(Moving::Sstable(moving))),
                true => moving.publish(core).map(|()| None),
            },
            Moving::Segment(mut replacement) => match replacement.step()? {
                false => Ok(Some(Moving::Segment(replacement))),
                // One that was dropped or replaced meanwhile is as good as moved.
                true => replacement.publish(core).map(|_| None),
            },
        }
    }
}

/// An SSTable on its way to a lower place.
struct SstableMove {
    sstable: Arc<Sstable>,
    reservation: Reservation,
    writer: ExtentWriter,
}

impl SstableMove {
    /// Copies a piece; the last one is told by `true`.
    fn step(&mut self, core: &Core) -> Result<bool> {
        let meta = self.sstable.meta();
        let done = self.writer.position();
        let length = (meta.bytes - done).min(OUTPUT_PIECE_BYTES as u64);
        let length = usize::try_from(length).expect("it is at most a piece");
        let mut piece = vec![0; length];
        let place = meta.extent.offset + done;
        read_exact_at(&*core.disk, "read an SSTable to move it", place, &mut piece)?;
        self.writer.write(&piece)?;
        Ok(self.writer.position() == meta.bytes)
    }

    /// Makes the new place the SSTable's, unless it was taken out of the version meanwhile.
    fn publish(self, core: &Core) -> Result<()> {
        let SstableMove { sstable, reservation, writer } = self;
        let extent = reservation.commit(writer.finish()?);
        let meta = SstableMeta { extent, ..sstable.meta().clone() };
        let (number, old) = (meta.number, sstable.meta().extent);
        let guard = ExtentGuard::new(extent, Arc::clone(&core.allocator));
        let source = core.output.source.clone();
        let moved = Sstable::new(meta, source, Some(Arc::new(guard)));
        let moved = Arc::new(moved.with_segments(sstable.segments().clone()));
        let mut gone = false;
        let outcome = core.commit_root_with(|root| {
            let live = root.catalog.version.find(number);
            let Some((level, _)) = live.filter(|(_, meta)| meta.extent == old) else {
                gone = true;
                return Err(Error::invalid("the SSTable is live no more"));
            };
            let added = vec![(level, Arc::clone(&moved))];
            Ok(Change { removed: vec![number], added, ..Change::default() })
        });
        if gone {
            core.output.discard(vec![moved], Vec::new());
            return Ok(());
        }
        outcome
    }
}

impl Core {
    /// The extent of the manifest, and what lies in this file besides, the highest first.
    fn movable(&self) -> (Extent, Vec<(Extent, Movable)>) {
        let root = self.root.lock();
        let segments = root.catalog.segments.iter();
        let mut movable: Vec<(Extent, Movable)> =
            segments.map(|meta| (meta.extent, Movable::Segment(meta.number))).collect();
        let (manifest, cold_from) = (root.superblock.manifest.extent, root.catalog.cold_file_from);
        drop(root);
        let view = self.views.current();
        for (_, _, sstable) in view.version.iter() {
            // Places in the cold file are no places in this one.
            if !sstable.meta().is_in_cold_file(cold_from) {
                movable.push((sstable.meta().extent, Movable::Sstable(Arc::clone(sstable))));
            }
        }
        movable.sort_unstable_by_key(|(extent, _)| Reverse(extent.offset));
        (manifest, movable)
    }

    /// Begins the manifest anew, if there is a place for it below its extent.
    fn lower_manifest(&self, extent: Extent) -> Result<bool> {
        let lower = self.allocator.reserve_before(extent.length, extent.offset, MOVED)?;
        if lower.is_none() {
            return Ok(false);
        }
        drop(lower);
        self.commit_root(Change { manifest_anew: true, ..Change::default() })?;
        Ok(self.root.lock().superblock.manifest.extent.offset < extent.offset)
    }
}
