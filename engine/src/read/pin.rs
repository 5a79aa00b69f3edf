//! When a long iterator opens its sources anew, so that it holds no old version for ever.
//!
//! An open iterator keeps the memtables and the extents of the SSTables that it stands in. While
//! they are live that costs nothing. Once the version has changed, the iterator goes on for at most
//! [`ITEMS`] items, or until its sources are [`AGE_MS`] old, and then opens the sources of the
//! present view behind the place that it has reached, at the commit of its snapshot. That is exact:
//! entries are never overwritten, and a registered snapshot keeps the versions of keys that it
//! shows.

use super::View;
use crate::engine::Core;

/// Items that an iterator still takes from a version that was replaced.
const ITEMS: u32 = 1024;
/// Age from which the sources of a version that was replaced are not used any more.
const AGE_MS: u64 = 1000;

/// What an iterator remembers of the moment at which it opened its sources.
pub(super) struct Pin {
    /// Number of the version.
    version: u64,
    /// Items taken since the replacement was seen.
    items: u32,
    since_ms: u64,
}

impl Pin {
    /// A pin on the sources of `view`.
    pub(super) fn new(core: &Core, view: &View) -> Pin {
        Pin { version: view.version_number, items: 0, since_ms: core.raw_clock.monotonic_ms() }
    }

    /// Whether the sources should be opened anew before the next item. Asked once an item.
    pub(super) fn is_stale(&mut self, core: &Core) -> bool {
        if core.views.version_number() == self.version {
            return false;
        }
        self.items += 1;
        let age_ms = core.raw_clock.monotonic_ms().saturating_sub(self.since_ms);
        self.items > ITEMS || age_ms >= AGE_MS
    }
}
