//! [`TimelineEntry`]: a message with its place in its timeline.

use crate::backend::Committed;
use crate::error::{Error, Result};
use crate::id::TimelineId;
use crate::message::Message;
use std::time::Duration;
use tidelog_engine::{Entry, TableId};

/// The entry that an inbox entry was fanned out from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Origin {
    /// Its table.
    pub table: TableId,
    /// Its timeline.
    pub timeline: TimelineId,
    /// Its sequence id.
    pub seq: u64,
}

/// What an amendment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Revision {
    /// The commit that amended the entry.
    pub commit: u64,
    /// When it was committed, in milliseconds since 1970 (UTC).
    pub time: u64,
    /// Whether the entry was retracted: it stays in its place, its message is
    /// [`Message::retracted`].
    pub retracted: bool,
}

/// A message with its place in its timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TimelineEntry<M> {
    /// Its sequence id: 1, 2, 3, … where ids are assigned.
    pub seq: u64,
    /// The commit that wrote it. Entries of one commit, in any timelines, have one number.
    pub commit: u64,
    /// When it was committed, in milliseconds since 1970 (UTC). Never falls inside a timeline.
    pub time: u64,
    /// When it happened, if the writer said so, in milliseconds since 1970 (UTC).
    pub event_time: Option<i64>,
    /// The time to live that the writer gave it of its own.
    pub ttl: Option<Duration>,
    /// The entry it was fanned out from.
    pub origin: Option<Origin>,
    /// The newest amendment of the entry, or of its origin: the message is what that made it.
    pub revision: Option<Revision>,
    /// The message of this version was erased, since a later retraction took it back
    /// ([`TableBuilder::erase_after`](crate::TableBuilder::erase_after)): it is what
    /// [`Message::retracted`] says. Only [`Timeline::versions`](crate::Timeline::versions) shows
    /// such versions.
    pub erased: bool,
    /// The message.
    pub message: M,
}

impl<M: Message> TimelineEntry<M> {
    pub(super) fn decode(entry: Entry) -> Result<TimelineEntry<M>> {
        let origin = match entry.origin {
            None => None,
            Some(origin) => Some(Origin {
                table: origin.table,
                timeline: TimelineId::from_encoded(&origin.key)
                    .map_err(|error| Error::decode(format!("its origin: {error}")))?,
                seq: origin.seq,
            }),
        };
        let revision = entry.revision.map(|revision| Revision {
            commit: revision.commit,
            time: revision.time_ms,
            retracted: revision.retracted,
        });
        let retracted = revision.is_some_and(|revision| revision.retracted);
        let message = match retracted || entry.erased {
            true => M::retracted()?,
            false => M::from_payload(entry.payload)?,
        };
        Ok(TimelineEntry {
            seq: entry.seq,
            commit: entry.commit,
            time: entry.time_ms,
            event_time: entry.event_ms,
            ttl: entry.ttl_ms.map(Duration::from_millis),
            origin,
            revision,
            erased: entry.erased,
            message,
        })
    }

    /// What a write answers.
    pub(super) fn stored(
        committed: &Committed,
        event_time: Option<i64>,
        ttl: Option<Duration>,
        message: M,
    ) -> Self {
        TimelineEntry {
            seq: first_seq(committed),
            commit: committed.commit,
            time: committed.time_ms,
            event_time,
            ttl,
            origin: None,
            revision: None,
            erased: false,
            message,
        }
    }
}

/// The sequence id of a batch's first target.
pub(crate) fn first_seq(committed: &Committed) -> u64 {
    *committed.seqs.first().expect("a backend answers a sequence id for each target")
}
