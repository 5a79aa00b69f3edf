//! What the file knows of a timeline's state.
//!
//! 1. The directory of the newest SSTable that has the timeline tells its last entry: one page,
//!    which filters find without a read.
//! 2. Where no SSTable has it, the record in the state table is asked: a timeline that never was,
//!    mostly.
//! 3. Where compaction may have left newer entries out and older ones in (a table that has marks,
//!    or has had a TTL), a directory may tell of an older one: there the record alone is believed.
//!    No seq is ever given out twice.

use super::View;
use crate::entry::TableId;
use crate::error::{Error, Result};
use crate::state::{StateRecord, state_key};
use crate::version::STATE_TABLE;

/// The newest durable state of a timeline, if it was ever flushed.
pub(crate) fn newest_state(view: &View, table: TableId, key: &[u8]) -> Result<Option<StateRecord>> {
    for sstable in view.sstables(table, key).filter(|_| keeps_newest(view, table)) {
        if let Some(run) = sstable.find(key)? {
            return Ok(Some(StateRecord {
                next_seq: run.last_seq.saturating_add(1),
                last_commit: run.last_commit,
                last_time_ms: run.times_ms.1,
            }));
        }
    }
    recorded_state(view, table, key, u64::MAX)
}

/// Whether the newest entry of a timeline is never left out while an older one is there.
fn keeps_newest(view: &View, table: TableId) -> bool {
    let never_expired = view
        .tables
        .get(&table)
        .is_some_and(|record| record.options.ttl_ms.is_none() && record.expired_before_ms == 0);
    never_expired && !view.marked.contains(&table)
}

/// The newest record of a timeline up to a commit, if it has one in the state table.
pub(crate) fn recorded_state(
    view: &View,
    table: TableId,
    key: &[u8],
    commit: u64,
) -> Result<Option<StateRecord>> {
    let key = state_key(table, key);
    for sstable in view.sstables(STATE_TABLE, &key) {
        if let Some(version) = sstable.versions(&key, commit)?.first() {
            let record = StateRecord::decode(&version.value).map_err(|error| {
                let place = sstable.meta().extent.offset;
                Error::corruption("timeline state", place, error.to_string())
            })?;
            return Ok(Some(record));
        }
    }
    Ok(None)
}
