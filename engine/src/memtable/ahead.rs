//! Asks memory for what the entries of a body will be written to, at once and not one by one.
//!
//! An entry goes behind the last one of its run, which lies anywhere. By a hint (`hint.rs`) that is
//! two lines of memory away; without one it is the slot of the index, the header of the run, the
//! key in its frame, and the room behind the last entry, each of which says where the next lies. As
//! many targets as are looked up together wait for each of the four once.
//!
//! # Concurrency
//! The writer's. Nothing is changed, and nothing depends on what is loaded here.

use super::Memtable;
use super::hint::RunHint;
use super::layout::{touch_header, touch_key, touch_room};
use crate::batch::Target;
use std::hint::black_box;

/// Targets that are looked up together.
pub(super) const TOGETHER: usize = 32;

/// Loads what the entries of timelines with these hints will touch.
pub(super) fn touch_hinted<'a>(
    memtable: &Memtable,
    hints: impl Iterator<Item = &'a RunHint> + Clone,
) {
    touch_runs(memtable, hints.filter_map(|hint| hint.run(memtable.base_commit)));
}

/// Loads what the look-up of these targets will touch, of which there are at most [`TOGETHER`].
pub(super) fn touch_targets<'a>(
    memtable: &Memtable,
    targets: impl ExactSizeIterator<Item = Target<'a>>,
) {
    debug_assert!(targets.len() <= TOGETHER);
    let mut tags = [0; TOGETHER];
    let mut count = 0;
    let mut loaded = 0;
    for (tag, target) in tags.iter_mut().zip(targets) {
        *tag = memtable.tag(target.table, target.key);
        loaded ^= memtable.index.touch(*tag);
        count += 1;
    }
    black_box(loaded);
    let mut runs = [0; TOGETHER];
    for (run, tag) in runs.iter_mut().zip(&tags[..count]) {
        // Another run of the same tag is so rare that it need not be told from this one.
        *run = memtable.index.find(*tag, |_| true).unwrap_or_default();
    }
    let known = || runs[..count].iter().copied().filter(|run| *run != 0);
    touch_runs(memtable, known());
    let keys = known().filter_map(|run| {
        let (frame, offset) = touch_key(&memtable.arena, run);
        memtable.frames.get(frame).get(offset as usize)
    });
    black_box(keys.fold(0, |sum, byte| sum ^ byte));
}

fn touch_runs(memtable: &Memtable, runs: impl Iterator<Item = u32> + Clone) {
    let arena = &memtable.arena;
    let headers = runs.clone().fold(0, |sum, run| sum ^ touch_header(arena, run));
    let rooms = runs.fold(0, |sum, run| sum ^ touch_room(arena, run));
    black_box(headers ^ rooms);
}
