//! From which seq on keep-last shows entries of a timeline.
//!
//! ```text
//! seq      7   8   9   [ lost with the power: 1,000,000 ids ]   1,000,010   1,000,011
//!          keep last 4: ^ from here, not from 1,000,008
//! ```
//! Ids that a power loss took are not entries: with each epoch between an entry and the newest one,
//! the window is longer by what was jumped over. Deleted and expired entries count, so that none of
//! them brings an older entry back.
//!
//! Where the window begins is not looked for at the entry behind an epoch: that one may be out of
//! the file, since its own time to live was short, while older ones are alive. Epochs have commit
//! numbers, as entries have, so of each entry that is left it is known how much was jumped over
//! since; only of what came behind the newest one that is left it is reckoned from the seqs.

use super::View;
use super::scan::newest_at;
use super::source::{Bounds, Sources};
use crate::entry::TableId;
use crate::error::Result;
use crate::limits::UNSYNCED_ENTRIES_MAX;
use crate::sync::Arc;

/// The lowest seq of the newest `count` at a commit, of a timeline that has come to `latest`.
pub(crate) fn kept_from(
    view: &Arc<View>,
    table: TableId,
    key: &[u8],
    commit: u64,
    (latest, count): (u64, u64),
) -> Result<u64> {
    let unjumped = latest.saturating_add(1).saturating_sub(count);
    if unjumped <= 1 || view.epochs.is_empty() {
        return Ok(unjumped);
    }
    let Some(newest) = newest_at(view, table, key, commit)? else {
        return Ok(unjumped);
    };
    let behind = view.epochs.iter().filter(|epoch| **epoch >= newest.commit).count() as u64;
    let jumps = behind.min((latest - newest.seq.min(latest)) / UNSYNCED_ENTRIES_MAX);
    let mut from = unjumped.saturating_sub(jumps * UNSYNCED_ENTRIES_MAX);
    let mut kept = unjumped;
    let mut upper = commit;
    // From the newest stretch between two epochs to the oldest one that has something to show.
    let older = view.epochs.iter().rev().filter(|epoch| **epoch < newest.commit);
    for epoch in older.copied().chain([0]) {
        let stretch = Stretch::read(view, table, key, (epoch, upper), from)?;
        if stretch.is_kept {
            kept = from;
        }
        if stretch.is_pushed_out || stretch.is_oldest {
            break;
        }
        from = from.saturating_sub(UNSYNCED_ENTRIES_MAX);
        upper = epoch;
    }
    Ok(kept)
}

/// What is left of a timeline between two epochs.
#[derive(Default)]
struct Stretch {
    /// Something from the asked seq on.
    is_kept: bool,
    /// Something below it.
    is_pushed_out: bool,
    /// Nothing is left of before.
    is_oldest: bool,
}

impl Stretch {
    /// The entries with commits above `lower`, up to `upper`.
    fn read(
        view: &Arc<View>,
        table: TableId,
        key: &[u8],
        (lower, upper): (u64, u64),
        from: u64,
    ) -> Result<Stretch> {
        let everything =
            Bounds { from: 0, to: u64::MAX, commit: upper, alive_from_ms: 0, now_ms: 0 };
        let mut stretch = Stretch { is_oldest: true, ..Stretch::default() };
        let mut sources = Sources::of(view, table, key);
        while let Some(source) = sources.next(key)? {
            let before = source.indexes(key, &Bounds { commit: lower, ..everything })?.end;
            let kept = source.indexes(key, &Bounds { from, ..everything })?;
            stretch.is_kept |= kept.start.max(before) < kept.end;
            stretch.is_pushed_out |= before < kept.start.min(kept.end);
            if before > 0 {
                stretch.is_oldest = false;
                break;
            }
        }
        Ok(stretch)
    }
}
