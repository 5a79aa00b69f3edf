//! Which SSTables of a hot window go to the cold tier next. Pure: no I/O, no locks, no clock.
//!
//! ```text
//! level 0            [b .......... q]                     ready when all it meets below has gone
//! level 1   [a....f]      [k....m]
//! level 2   [a..c][d..g][h..l][m..p]                      ready from the left on
//!            \_______________/
//!              one piece: as many SSTables, in the order of their keys, as it may read
//! ```
//! 1. A window goes in pieces of bounded size, each a job and a root of its own, so that other
//!    compactions wait for a piece, never for a window. A window that is no larger than a piece
//!    goes whole, which merges its levels in passing.
//! 2. An SSTable is *ready* when nothing in the window is older than it in any of its timelines:
//!    nothing deeper shares keys with it, its left neighbour does not end with the key with which
//!    it begins, and in level 0 nothing older shares keys with it. What the piece has already taken
//!    does not count.
//! 3. Of what is ready the smallest key comes first. So neighbours go together, those of a lower
//!    level with those above them, and pieces lie side by side in the cold tier.
//! 4. What is busy stays, and with it what is newer; all else goes on.
//!
//! # Invariants
//! 1. A piece holds, of every timeline that it touches, the oldest entries of the window without a
//!    gap. So after each piece all that is cold of a timeline is older than all that is hot: of the
//!    older windows nothing is left, and in this one by 2. Compactions inside the window between
//!    two pieces change nothing of it: they keep entries, and the order of levels.
//! 2. The piece is not empty unless something is busy: of the SSTables in the deepest level the
//!    first is always ready.

use super::picker::shares_keys;
use crate::limits::LEVEL_COUNT;
use crate::version::{HasMeta, Levels, SstableMeta};
use std::collections::BTreeSet;

/// The numbers of the SSTables that go next: of at most `most_bytes`, or one SSTable.
pub(super) fn piece<T: HasMeta>(
    window: &Levels<T>,
    most_bytes: u64,
    busy: &BTreeSet<u64>,
) -> BTreeSet<u64> {
    let mut piece = Piece { window, taken: BTreeSet::new() };
    let mut bytes = 0u64;
    while let Some(next) = piece.next(busy) {
        bytes = bytes.saturating_add(next.bytes);
        if bytes > most_bytes && !piece.taken.is_empty() {
            break;
        }
        piece.taken.insert(next.number);
    }
    piece.taken
}

struct Piece<'a, T> {
    window: &'a Levels<T>,
    taken: BTreeSet<u64>,
}

impl<'a, T: HasMeta> Piece<'a, T> {
    /// What is ready and begins with the smallest key; of equals the older one.
    fn next(&self, busy: &BTreeSet<u64>) -> Option<&'a SstableMeta> {
        let mut next: Option<&SstableMeta> = None;
        for level in (0..LEVEL_COUNT).rev() {
            let Some(found) = self.ready_of(level, busy) else {
                continue;
            };
            if next.is_none_or(|next| found.first.0 < next.first.0) {
                next = Some(found);
            }
        }
        next
    }

    /// The first of a level that is ready: by place, in level 0 by age.
    fn ready_of(&self, level: usize, busy: &BTreeSet<u64>) -> Option<&'a SstableMeta> {
        let items = self.window.level(level);
        let ready = |index: &usize| {
            let meta = items[*index].meta();
            let stays = self.taken.contains(&meta.number) || busy.contains(&meta.number);
            !stays && self.is_ready(level, *index)
        };
        let found = match level {
            0 => (0..items.len()).rev().find(ready),
            _ => (0..items.len()).find(ready),
        };
        found.map(|index| items[index].meta())
    }

    fn is_ready(&self, level: usize, index: usize) -> bool {
        let items = self.window.level(level);
        let meta = items[index].meta();
        let older = match level {
            // Newest first.
            0 => &items[index + 1..],
            _ => &items[index.saturating_sub(1)..index],
        };
        let deeper = (level + 1..LEVEL_COUNT).map(|level| met_by(self.window.level(level), meta));
        let mut before = deeper.flatten().chain(older);
        before.all(|older| {
            self.taken.contains(&older.meta().number) || !shares_keys(older.meta(), meta)
        })
    }
}

/// The SSTables of a level below 0 that share keys with `meta`.
fn met_by<'a, T: HasMeta>(level: &'a [T], meta: &SstableMeta) -> &'a [T] {
    let start = level.partition_point(|item| item.meta().last.0 < meta.first.0);
    let count = level[start..].partition_point(|item| item.meta().first.0 <= meta.last.0);
    &level[start..start + count]
}
