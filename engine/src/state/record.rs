//! The durable form of a timeline's state: a value of the engine's state table.
//!
//! ```text
//! offset  size  field          notes
//!      0     1  version        1
//!      1     8  next_seq       little-endian
//!      9     8  last_commit    commit number of the newest entry
//!     17     8  last_time_ms   commit time of the newest entry
//!     25    16  reserved       zero, checked; low-water mark and its commit later
//! ```

use crate::batch::KeyedOperation;
use crate::codec::{DecodeError, Decoder, Encode};
use crate::entry::{KeyedVersion, Payload, TableId};

/// Version byte of the record.
pub(crate) const STATE_RECORD_VERSION: u8 = 1;

/// What is known of a timeline, for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StateRecord {
    /// The sequence id of the next entry, epochs not yet counted in.
    pub(crate) next_seq: u64,
    /// Commit number of the newest entry; 0 where there was none.
    pub(crate) last_commit: u64,
    /// Commit time of the newest entry, in milliseconds since 1970.
    pub(crate) last_time_ms: u64,
}

impl StateRecord {
    /// A timeline that was never written.
    pub(crate) const NEW: StateRecord =
        StateRecord { next_seq: 1, last_commit: 0, last_time_ms: 0 };

    /// Whether it tells of a later moment of the same timeline.
    pub(crate) fn is_newer_than(&self, other: &StateRecord) -> bool {
        (self.last_commit, self.next_seq) > (other.last_commit, other.next_seq)
    }

    /// The record of the timeline as the state table keeps it.
    pub(crate) fn version(&self, table: TableId, key: &[u8]) -> KeyedVersion {
        KeyedVersion {
            key: state_key(table, key).into(),
            commit: self.last_commit,
            index: 0,
            time_ms: self.last_time_ms,
            operation: KeyedOperation::Put,
            value: Payload::from_vec(self.encode()),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(41);
        bytes.put_u8(STATE_RECORD_VERSION);
        bytes.put_u64(self.next_seq);
        bytes.put_u64(self.last_commit);
        bytes.put_u64(self.last_time_ms);
        bytes.put(&[0; 16]);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<StateRecord, DecodeError> {
        let mut decoder = Decoder::new(bytes);
        if decoder.u8("state record version")? != STATE_RECORD_VERSION {
            return Err(decoder.error("state record version"));
        }
        let record = StateRecord {
            next_seq: decoder.u64("next seq")?,
            last_commit: decoder.u64("last commit")?,
            last_time_ms: decoder.u64("last time")?,
        };
        decoder.zeros(16, "state record reserved")?;
        if record.next_seq == 0 || !decoder.is_empty() {
            return Err(decoder.error("state record"));
        }
        Ok(record)
    }
}

/// The key of a timeline's record: its table, big-endian so that tables stay together, and its id.
pub(crate) fn state_key(table: TableId, key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 + key.len());
    bytes.put(&table.0.to_be_bytes());
    bytes.put(key);
    bytes
}
