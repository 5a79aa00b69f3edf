//! Edit and recall: what becomes of an entry that is there already, wherever it is read.
//!
//! An amendment is a write of its own, directly to the backend, and behind what waits in the batch
//! buffer for the timeline of the entry that it names.

use super::{Origin, Revision, Timeline, TimelineEntry};
use crate::backend::{Amendment, Batch, Committed};
use crate::error::{Error, ErrorKind, Result};
use crate::id::TimelineId;
use crate::message::{Message, encoded};
use crate::pending::Pending;
use crate::store::Table;
use crate::store::core::Request;
use tidelog_engine::{Payload, TableId};

/// Edit and recall.
impl<M: Message> Timeline<M> {
    /// Replaces the message of an entry: here, and in every inbox that it was fanned out to before,
    /// at once and by this one write. Sequence id, times and origin stay as they are; the earlier
    /// messages stay readable, see [`Timeline::versions`].
    ///
    /// An entry that has expired can be amended: inboxes may keep copies that have not. What is
    /// fanned out from the entry later shows the message given then.
    ///
    /// ```
    /// # let store = tidelog::Store::in_memory();
    /// # let rooms = store.table::<String>("message").create()?;
    /// # let inboxes = store.table::<String>("sync").create()?;
    /// let room = rooms.timeline("room")?;
    /// let sent = rooms.fan_out("room", &"helo".to_string())?.to(&inboxes, ["ann"])?.commit()?;
    /// room.amend(sent.seq, &"hello".to_string())?;
    /// let entry = inboxes.timeline("ann")?.latest()?.expect("one entry");
    /// assert_eq!((entry.message.as_str(), entry.revision.is_some()), ("hello", true));
    /// room.retract(sent.seq)?;
    /// let entry = inboxes.timeline("ann")?.latest()?.expect("it stays in its place");
    /// assert!(entry.revision.is_some_and(|revision| revision.retracted));
    /// assert_eq!(room.versions(sent.seq)?.len(), 3);
    /// # Ok::<(), tidelog::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Timeline::store`]; [`NotFound`](crate::ErrorKind::NotFound) where no entry with this
    /// sequence id was ever written.
    pub fn amend(&self, seq: u64, message: &M) -> Result<Revision> {
        amend(&self.table, &self.place(seq), Some(message))
    }

    /// Takes an entry back, here and in every inbox that it was fanned out to, as
    /// [`Timeline::amend`]: it stays in its place, without its message.
    ///
    /// # Errors
    /// As [`Timeline::amend`]; [`InvalidUse`](crate::ErrorKind::InvalidUse) where no message of
    /// this type can stand for one that was taken back (see [`Message::retracted`]): no reader
    /// could read the entry any more.
    pub fn retract(&self, seq: u64) -> Result<Revision> {
        amend(&self.table, &self.place(seq), None)
    }

    /// As [`Timeline::amend`], without waiting.
    ///
    /// # Errors
    /// As [`Timeline::amend`], by the future.
    #[must_use = "the answer, and its error, is lost with the future"]
    pub fn amend_async(&self, seq: u64, message: &M) -> Pending<Revision> {
        amend_async(&self.table, &self.place(seq), Some(message))
    }

    /// As [`Timeline::retract`], without waiting.
    ///
    /// # Errors
    /// As [`Timeline::amend`], by the future.
    #[must_use = "the answer, and its error, is lost with the future"]
    pub fn retract_async(&self, seq: u64) -> Pending<Revision> {
        amend_async(&self.table, &self.place(seq), None)
    }

    /// An entry as it was written, then as each amendment of it, or of its origin, made it, oldest
    /// first; nothing where [`Timeline::get`] gives nothing. A message that was erased
    /// ([`TableBuilder::erase_after`](crate::TableBuilder::erase_after)) is said to be.
    ///
    /// The engine keeps for ever what the entry was written with, and of its amendments the newest
    /// 1,000, of at most 64 MiB together: older ones go with a compaction, unless a snapshot shows
    /// them. That is no choice: they are merged in memory. All are answered at once.
    ///
    /// # Errors
    /// As [`Timeline::get`]; one version that does not decode fails the call.
    pub fn versions(&self, seq: u64) -> Result<Vec<TimelineEntry<M>>> {
        self.now()?.versions(seq)
    }

    /// As [`Timeline::versions`].
    ///
    /// # Errors
    /// As [`Timeline::get`], by the future.
    #[must_use = "the answer is lost with the future"]
    pub fn versions_async(&self, seq: u64) -> Pending<Vec<TimelineEntry<M>>> {
        self.read_async(move |view| view.versions(seq))
    }

    fn place(&self, seq: u64) -> Origin {
        Origin { table: self.table.id(), timeline: self.id.clone(), seq }
    }
}

/// Edit and recall by the origin that an inbox entry names.
impl<M: Message> Table<M> {
    /// As [`Timeline::amend`], of the entry that an inbox entry came from, whatever table of this
    /// store that lies in.
    ///
    /// # Errors
    /// As [`Timeline::amend`].
    pub fn amend_origin(&self, origin: &Origin, message: &M) -> Result<Revision> {
        amend(self, origin, Some(message))
    }

    /// As [`Timeline::retract`], of the entry that an inbox entry came from.
    ///
    /// # Errors
    /// As [`Timeline::amend`].
    pub fn retract_origin(&self, origin: &Origin) -> Result<Revision> {
        amend(self, origin, None)
    }
}

fn amend<M: Message>(table: &Table<M>, place: &Origin, message: Option<&M>) -> Result<Revision> {
    let committed = table.core.commit(request(table, place, message)?)?;
    Ok(revision(&committed, message.is_none()))
}

fn amend_async<M: Message>(
    table: &Table<M>,
    place: &Origin,
    message: Option<&M>,
) -> Pending<Revision> {
    match request(table, place, message) {
        Err(error) => Pending::ready(Err(error)),
        Ok(request) => {
            let retracted = message.is_none();
            let future = table.core.commit_async(request);
            Pending::commit(future, move |committed| revision(&committed, retracted))
        }
    }
}

pub(crate) fn request<M: Message>(
    table: &Table<M>,
    place: &Origin,
    message: Option<&M>,
) -> Result<Request> {
    let (id, timeline): (TableId, &TimelineId) = (place.table, &place.timeline);
    if message.is_none() {
        M::retracted().map_err(|error| {
            let text = format!(
                "timeline {timeline}, entry {}: a message of this type cannot be taken back, since \
                 none stands for it then: {error}",
                place.seq
            );
            Error::with_source(ErrorKind::InvalidUse, text, error)
        })?;
    }
    let payload = message.map(encoded).transpose()?.map(Payload::from_vec);
    let key = timeline.as_bytes().into();
    Ok(Request {
        batch: Batch::amend(Amendment { table: id, key, seq: place.seq, payload }),
        durability: table.core.durability,
        table: table.name.clone(),
        timeline: timeline.clone(),
    })
}

fn revision(committed: &Committed, retracted: bool) -> Revision {
    Revision { commit: committed.commit, time: committed.time_ms, retracted }
}
