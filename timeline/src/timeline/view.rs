//! [`TimelineView`]: reads of one timeline at one moment.

use super::items::Items;
use super::scan::{Entries, Scan};
use super::{Timeline, TimelineEntry};
use crate::backend::BackendSnapshot;
use crate::error::{EntryPlace, Error, Result};
use crate::id::TimelineId;
use crate::message::Message;
use crate::store::Snapshot;
use crate::store::core::StoreNumber;
use std::marker::PhantomData;
use std::sync::Arc;
use tidelog_engine::{Entry, TableId};

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
    /// For errors.
    table_name: Arc<str>,
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

impl<M: Message> Place<M> {
    /// The entry with its message. An error says which entry it is.
    pub(super) fn decode(&self, entry: Entry) -> Result<TimelineEntry<M>> {
        let seq = entry.seq;
        TimelineEntry::decode(entry).map_err(|error| {
            let (table, timeline) = (self.table_name.to_string(), self.id.clone());
            error.at_entry(EntryPlace { table, timeline, seq })
        })
    }
}

impl<M> Clone for Place<M> {
    fn clone(&self) -> Place<M> {
        Place {
            snapshot: self.snapshot.clone(),
            table: self.table,
            table_name: Arc::clone(&self.table_name),
            id: self.id.clone(),
            store: self.store,
            message: PhantomData,
        }
    }
}

impl<M: Message> TimelineView<M> {
    pub(super) fn new(timeline: Timeline<M>, snapshot: Snapshot) -> TimelineView<M> {
        let place = Place {
            snapshot,
            table: timeline.table.id(),
            table_name: Arc::clone(&timeline.table.name),
            id: timeline.id.clone(),
            store: timeline.table.core.number,
            message: PhantomData,
        };
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
        entry.map(|entry| self.place.decode(entry)).transpose()
    }

    /// As [`Timeline::versions`].
    ///
    /// # Errors
    /// As [`Timeline::get`].
    pub fn versions(&self, seq: u64) -> Result<Vec<TimelineEntry<M>>> {
        let (snapshot, table, id) = self.place.parts()?;
        let versions = snapshot.versions(table, id, seq)?;
        versions.into_iter().map(|entry| self.place.decode(entry)).collect()
    }

    /// As [`Timeline::latest`].
    ///
    /// # Errors
    /// As [`Timeline::get`].
    pub fn latest(&self) -> Result<Option<TimelineEntry<M>>> {
        let (snapshot, table, id) = self.place.parts()?;
        let entry = snapshot.latest(table, id)?;
        entry.map(|entry| self.place.decode(entry)).transpose()
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
