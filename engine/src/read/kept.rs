//! From which seq on keep-last shows entries of a timeline.
//!
//! ```text
//! seq      7   8   9   [ lost with the power: 1,000,000 ids ]   1,000,010   1,000,011
//!          keep last 4: ^ from here, not from 1,000,008
//! ```
//! Ids that a power loss took are not entries: at each epoch inside the window it is longer by what
//! was jumped over. Deleted entries count, so that no deletion brings an older entry back.

use super::View;
use super::source::{Bounds, Source};
use crate::entry::{Direction, TableId};
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
    let mut from = latest.saturating_add(1).saturating_sub(count);
    for epoch in view.epochs.iter().rev() {
        if from <= 1 {
            break;
        }
        let Some(first) = first_behind(view, table, key, *epoch, commit)? else {
            continue;
        };
        if first <= from {
            break;
        }
        from = from.saturating_sub(UNSYNCED_ENTRIES_MAX);
    }
    Ok(from)
}

/// The seq of the oldest entry that was committed behind `epoch` and that `commit` shows.
fn first_behind(
    view: &Arc<View>,
    table: TableId,
    key: &[u8],
    epoch: u64,
    commit: u64,
) -> Result<Option<u64>> {
    let key: Arc<[u8]> = key.into();
    let everything = Bounds { from: 0, to: u64::MAX, commit, alive_from_ms: 0, now_ms: 0 };
    let mut first = None;
    for source in Source::all(view, table, &key) {
        let source = source?;
        let before = source.indexes(&Bounds { commit: epoch.min(commit), ..everything })?.end;
        if before < source.indexes(&everything)?.end {
            let entry = source.cursor(before, Direction::Forward)?.next()?;
            first = entry.map(|entry| entry.seq).or(first);
        }
        if before > 0 {
            break;
        }
    }
    Ok(first)
}
