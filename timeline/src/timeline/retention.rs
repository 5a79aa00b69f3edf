//! Trims, deletions and retention of one timeline.

use super::Timeline;
use crate::backend::{Batch, MarkChange};
use crate::error::Result;
use crate::message::Message;
use crate::store::core::Request;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Trimming, deleting, keeping. Each is one write of constant size, however many entries it
/// concerns, with the store's durability; sequence ids go on as if nothing had happened, and what
/// is missing is told with its reason by [`Timeline::scan_items`].
impl<M: Message> Timeline<M> {
    /// Hides the entries below `seq`, for ever. Entries that come later are not hidden, however
    /// large `seq` is; a lower `seq` than an earlier one changes nothing.
    ///
    /// # Errors
    /// As [`Timeline::store`].
    pub fn trim_before(&self, seq: u64) -> Result<()> {
        self.mark(MarkChange::TrimBefore(seq))
    }

    /// Deletes one entry, if it is there.
    ///
    /// # Errors
    /// As [`Timeline::delete_range`].
    pub fn delete(&self, seq: u64) -> Result<()> {
        self.delete_range(seq..=seq)
    }

    /// Deletes the entries from one sequence id to another, as far as they are there.
    ///
    /// # Errors
    /// As [`Timeline::store`]; also for an empty range and for sequence id 0.
    pub fn delete_range(&self, seqs: RangeInclusive<u64>) -> Result<()> {
        self.mark(MarkChange::DeleteRange(*seqs.start(), *seqs.end()))
    }

    /// Deletes all entries there are. The timeline stays listed, and its next sequence id goes on.
    ///
    /// ```
    /// # let store = tidelog::Store::in_memory();
    /// # let room = store.table::<String>("message").create()?.timeline("room")?;
    /// room.store(&"one".to_string())?;
    /// room.clear()?;
    /// assert!(room.is_empty()?);
    /// assert_eq!(room.store(&"two".to_string())?.seq, 2);
    /// # Ok::<(), tidelog::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Timeline::store`].
    pub fn clear(&self) -> Result<()> {
        self.mark(MarkChange::DeleteAll)
    }

    /// Gives the timeline a time to live of its own, at least 1 ms, or takes it away. The shorter
    /// of it and the table's holds; what has expired stays expired.
    ///
    /// # Errors
    /// As [`Timeline::store`].
    pub fn set_ttl(&self, ttl: Option<Duration>) -> Result<()> {
        self.mark(MarkChange::TimeToLive(ttl))
    }

    /// Shows only the newest `count` entries, at least 1, whatever the table says; with `None` the
    /// table's number holds again. Deleted entries count. Raised again, it may show entries that it
    /// hid: [`Timeline::trim_before`] hides for ever.
    ///
    /// # Errors
    /// As [`Timeline::store`]; [`InvalidUse`](crate::ErrorKind::InvalidUse) on a table of given
    /// ids.
    pub fn keep_last(&self, count: Option<u64>) -> Result<()> {
        self.mark(MarkChange::KeepLast(count))
    }

    fn mark(&self, change: MarkChange) -> Result<()> {
        let table = &self.table;
        let request = Request {
            batch: Batch::mark(table.id(), self.id.as_bytes(), change),
            durability: table.core.durability,
            table: table.name.clone(),
            timeline: self.id.clone(),
        };
        table.core.commit(request).map(drop)
    }
}
