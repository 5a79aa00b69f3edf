//! [`TimelineView`]: reads of one timeline at one moment.

use super::items::Items;
use super::scan::{Entries, Scan};
use super::{Timeline, TimelineEntry};
use crate::error::Result;
use crate::id::TimelineId;
use crate::message::Message;
use crate::store::Snapshot;
use std::marker::PhantomData;
use std::sync::Arc;
use tidelog_engine::TableId;

/// One timeline at one moment; see [`Timeline::at`].
pub struct TimelineView<M> {
    place: Place<M>,
    /// What asynchronous reads of a scan go through; none on the store's own threads.
    timeline: Option<Timeline<M>>,
}

/// Which timeline, and which moment: all that a blocking read needs.
pub(super) struct Place<M> {
    pub(super) snapshot: Snapshot,
    pub(super) table: TableId,
    pub(super) id: TimelineId,
    message: PhantomData<fn() -> M>,
}

impl<M> Clone for Place<M> {
    fn clone(&self) -> Place<M> {
        let (snapshot, id) = (self.snapshot.clone(), self.id.clone());
        Place { snapshot, table: self.table, id, message: PhantomData }
    }
}

impl<M: Message> TimelineView<M> {
    pub(super) fn new(timeline: Timeline<M>, snapshot: Snapshot) -> TimelineView<M> {
        let (table, id) = (timeline.table.id(), timeline.id.clone());
        let place = Place { snapshot, table, id, message: PhantomData };
        TimelineView { place, timeline: Some(timeline) }
    }

    /// The view without its hold on the store.
    pub(super) fn detached(self) -> TimelineView<M> {
        TimelineView { timeline: None, ..self }
    }

    /// As [`Timeline::get`], at this moment. So for the other reads.
    ///
    /// # Errors
    /// As [`Timeline::get`].
    pub fn get(&self, seq: u64) -> Result<Option<TimelineEntry<M>>> {
        let Place { snapshot, table, id, .. } = &self.place;
        let entry = snapshot.inner.get(*table, id.as_bytes(), seq)?;
        entry.map(TimelineEntry::decode).transpose()
    }

    /// As [`Timeline::latest`].
    ///
    /// # Errors
    /// As [`Timeline::get`].
    pub fn latest(&self) -> Result<Option<TimelineEntry<M>>> {
        let Place { snapshot, table, id, .. } = &self.place;
        let entry = snapshot.inner.latest(*table, id.as_bytes())?;
        entry.map(TimelineEntry::decode).transpose()
    }

    /// As [`Timeline::latest_seq`].
    ///
    /// # Errors
    /// As [`Timeline::get`].
    pub fn latest_seq(&self) -> Result<u64> {
        let Place { snapshot, table, id, .. } = &self.place;
        snapshot.inner.latest_seq(*table, id.as_bytes())
    }

    /// As [`Timeline::len`].
    ///
    /// # Errors
    /// As [`Timeline::get`].
    pub fn len(&self) -> Result<u64> {
        let Place { snapshot, table, id, .. } = &self.place;
        snapshot.inner.len(*table, id.as_bytes())
    }

    /// As [`Timeline::is_empty`].
    ///
    /// # Errors
    /// As [`Timeline::get`].
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// As [`Timeline::scan_items`].
    ///
    /// # Errors
    /// As [`Timeline::scan_items`].
    pub fn scan_items(&self, scan: Scan) -> Result<Items<M>> {
        Items::new(self.place.clone(), scan)
    }

    /// As [`Timeline::scan`].
    ///
    /// # Errors
    /// As [`Timeline::scan`].
    pub fn scan(&self, scan: Scan) -> Result<Entries<M>> {
        let core = self.timeline.as_ref().map(|timeline| Arc::clone(&timeline.table.core));
        Entries::new(self.place.clone(), scan, core)
    }
}
