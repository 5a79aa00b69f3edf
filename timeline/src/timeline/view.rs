//! [`TimelineView`]: reads of one timeline at one moment.

use super::items::Items;
use super::scan::{Entries, Scan};
use super::{Timeline, TimelineEntry};
use crate::backend::BackendSnapshot;
use crate::error::{Error, Result};
use crate::id::TimelineId;
use crate::message::Message;
use crate::store::Snapshot;
use crate::store::core::StoreNumber;
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
    table: TableId,
    id: TimelineId,
    /// The store that the timeline is of.
    store: StoreNumber,
    message: PhantomData<fn() -> M>,
}

impl<M> Place<M> {
    /// What a read is told: the moment, the table, and the encoded id.
    pub(super) fn parts(&self) -> Result<(&dyn BackendSnapshot, TableId, &[u8])> {
        match self.store == self.snapshot.store {
            true => Ok((&*self.snapshot.inner, self.table, self.id.as_bytes())),
            false => {
                let text = format!("timeline {}: the snapshot is of another store", self.id);
                Err(Error::invalid(text))
            }
        }
    }
}

impl<M> Clone for Place<M> {
    fn clone(&self) -> Place<M> {
        let (snapshot, id) = (self.snapshot.clone(), self.id.clone());
        Place { snapshot, table: self.table, id, store: self.store, message: PhantomData }
    }
}

impl<M: Message> TimelineView<M> {
    pub(super) fn new(timeline: Timeline<M>, snapshot: Snapshot) -> TimelineView<M> {
        let (table, id) = (timeline.table.id(), timeline.id.clone());
        let store = timeline.table.core.number;
        let place = Place { snapshot, table, id, store, message: PhantomData };
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
        let (snapshot, table, id) = self.place.parts()?;
        let entry = snapshot.get(table, id, seq)?;
        entry.map(TimelineEntry::decode).transpose()
    }

    /// As [`Timeline::versions`].
    ///
    /// # Errors
    /// As [`Timeline::get`].
    pub fn versions(&self, seq: u64) -> Result<Vec<TimelineEntry<M>>> {
        let (snapshot, table, id) = self.place.parts()?;
        let versions = snapshot.versions(table, id, seq)?;
        versions.into_iter().map(TimelineEntry::decode).collect()
    }

    /// As [`Timeline::latest`].
    ///
    /// # Errors
    /// As [`Timeline::get`].
    pub fn latest(&self) -> Result<Option<TimelineEntry<M>>> {
        let (snapshot, table, id) = self.place.parts()?;
        let entry = snapshot.latest(table, id)?;
        entry.map(TimelineEntry::decode).transpose()
    }

    /// As [`Timeline::latest_seq`].
    ///
    /// # Errors
    /// As [`Timeline::get`].
    pub fn latest_seq(&self) -> Result<u64> {
        let (snapshot, table, id) = self.place.parts()?;
        snapshot.latest_seq(table, id)
    }

    /// As [`Timeline::len`].
    ///
    /// # Errors
    /// As [`Timeline::get`].
    pub fn len(&self) -> Result<u64> {
        let (snapshot, table, id) = self.place.parts()?;
        snapshot.len(table, id)
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
