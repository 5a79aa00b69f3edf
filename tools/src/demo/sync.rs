//! Reads inboxes from their cursors, as a device does, and checks what comes.

use super::World;
use super::play::Counts;
use super::random::mix;
use crate::failure::{Failure, Outcome};
use crate::text;
use indicatif::ProgressBar;
use tidelog_engine::{Direction, Engine, Snapshot, TableId};

/// The tables of the demonstration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tables {
    /// Conversations.
    pub(crate) message: TableId,
    /// Inboxes.
    pub(crate) sync: TableId,
    /// Keyed: how far each user has read, and the digest of what was read.
    pub(crate) cursor: TableId,
}

/// What the day is played on.
#[derive(Clone, Copy)]
pub(crate) struct Stage<'a> {
    /// The store.
    pub(crate) engine: &'a Engine,
    /// Its tables.
    pub(crate) tables: Tables,
    /// Users and conversations.
    pub(crate) world: &'a World,
}

/// The entries of an inbox, as a count and a digest of the payloads in order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Expected {
    count: u64,
    digest: u64,
}

impl Expected {
    /// One more entry.
    pub(crate) fn deliver(&mut self, payload: &[u8]) {
        let words = payload.chunks(8).map(|chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_le_bytes(word)
        });
        let length = payload.len() as u64;
        self.digest = words.fold(mix(self.digest ^ length), |digest, word| mix(digest ^ word));
        self.count += 1;
    }

    /// What differs from `sent`, in words.
    pub(crate) fn compare(&self, sent: &Expected) -> Result<(), String> {
        if self.count != sent.count {
            return Err(format!("{} entries were sent, {} were read", sent.count, self.count));
        }
        if self.digest != sent.digest {
            return Err(format!("the {} payloads read are not those sent", self.count));
        }
        Ok(())
    }

    /// The bytes of a cursor.
    pub(crate) fn encode(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.count.to_le_bytes());
        bytes[8..].copy_from_slice(&self.digest.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Expected> {
        let word = |range: std::ops::Range<usize>| {
            bytes.get(range)?.try_into().ok().map(u64::from_le_bytes)
        };
        (bytes.len() == 16).then_some(())?;
        Some(Expected { count: word(0..8)?, digest: word(8..16)? })
    }
}

/// A timeline that does not hold what was sent.
#[derive(Debug)]
pub(crate) struct Mismatch {
    timeline: String,
    what: String,
}

impl Mismatch {
    pub(super) fn new(key: &[u8], what: String) -> Mismatch {
        Mismatch { timeline: text::timeline_name(key), what }
    }
}

impl From<Mismatch> for Failure {
    fn from(mismatch: Mismatch) -> Failure {
        Failure::damage(format_args!("timeline {}: {}", mismatch.timeline, mismatch.what))
    }
}

/// Reads on from a cursor to the end of an inbox.
pub(super) fn sync_user(
    snapshot: &Snapshot,
    tables: &Tables,
    inbox: &[u8],
    cursor: Option<Expected>,
) -> Outcome<Expected> {
    let mut read = cursor.unwrap_or_default();
    let from = read.count + 1;
    for entry in snapshot.scan(tables.sync, inbox, from, u64::MAX, Direction::Forward)? {
        let entry = entry?;
        if entry.seq != read.count + 1 {
            let what = format!("sequence id {} follows {}", entry.seq, read.count);
            return Err(Mismatch::new(inbox, what).into());
        }
        let origin = entry.origin.as_ref().map(|origin| origin.table);
        if origin != Some(tables.message) {
            let what = format!("entry {} does not name the message it came from", entry.seq);
            return Err(Mismatch::new(inbox, what).into());
        }
        read.deliver(&entry.payload);
    }
    Ok(read)
}

/// Every user syncs from the cursor that was left, or from the beginning. Returns how many entries
/// were read.
pub(crate) fn sync_all(stage: &Stage<'_>, counts: &Counts, progress: &ProgressBar) -> Outcome<u64> {
    let Stage { engine, tables, world } = *stage;
    let snapshot = engine.snapshot();
    let mut entries = 0;
    for (inbox, sent) in world.inboxes.iter().zip(&counts.inboxes) {
        let cursor = match snapshot.value(tables.cursor, inbox)? {
            None => None,
            Some(bytes) => Some(Expected::decode(&bytes).ok_or_else(|| {
                Mismatch::new(inbox, "the cursor is not what was put".to_owned())
            })?),
        };
        let read = sync_user(&snapshot, &tables, inbox, cursor)?;
        read.compare(sent).map_err(|what| Mismatch::new(inbox, what))?;
        entries += read.count - cursor.map_or(0, |cursor| cursor.count);
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(entries)
}

/// Each conversation holds as many entries as were sent to it.
pub(crate) fn check_conversations(stage: &Stage<'_>, counts: &Counts) -> Outcome {
    let Stage { engine, tables, world } = *stage;
    let snapshot = engine.snapshot();
    for (conversation, sent) in world.conversations.iter().zip(&counts.conversations) {
        let key = &conversation.key;
        let latest = snapshot.latest_seq(tables.message, key)?;
        let length = snapshot.len(tables.message, key)?;
        if (latest, length) != (*sent, *sent) {
            let what = format!("{sent} were sent, {length} are there, the newest is {latest}");
            return Err(Mismatch::new(key, what).into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_contents_change_the_digest() {
        let digest = |payloads: &[&str]| {
            let mut expected = Expected::default();
            payloads.iter().for_each(|payload| expected.deliver(payload.as_bytes()));
            expected
        };
        assert_eq!(digest(&["a", "b"]).compare(&digest(&["a", "b"])), Ok(()));
        assert!(digest(&["a", "b"]).compare(&digest(&["b", "a"])).is_err());
        assert!(digest(&["a"]).compare(&digest(&["a\0"])).is_err());
        assert!(digest(&["a"]).compare(&digest(&["a", ""])).is_err());
    }

    #[test]
    fn cursors_are_read_back() {
        let mut expected = Expected::default();
        expected.deliver(b"x");
        assert_eq!(Expected::decode(&expected.encode()), Some(expected));
        assert_eq!(Expected::decode(&[0; 15]), None);
    }
}
