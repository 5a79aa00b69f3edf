//! The state records that a flush writes.
//!
//! The directories of SSTables say what a timeline's state is, so most timelines need no record.
//! One is written where they do not:
//! 1. a timeline that may be new: its record makes it listed for ever. The engine gives the first
//!    entry of a timeline a seq that is one more than a multiple of the jump of an epoch;
//! 2. a table whose caller gives the seqs, where nothing tells a new timeline;
//! 3. a timeline whose newest entry has expired already, and is written nowhere;
//! 4. a timeline whose run goes to the cold tier, which nobody asks for states.
//!
//! # Concurrency
//! A part of its flush.

use super::flush::{ENTRY_OVERHEAD, FlushTable, STEP_BYTES, Stepped};
use super::output::SstableSink;
use crate::error::{Error, Result};
use crate::limits::UNSYNCED_ENTRIES_MAX;
use crate::memtable::{Memtable, Run};
use crate::options::Sequence;
use crate::state::StateRecord;
use crate::version::TableKind;
use std::ops::Bound;
use std::sync::Arc;

/// Writes the state of the timelines that need it.
#[derive(Debug)]
pub(super) struct StateStage {
    memtable: Arc<Memtable>,
    /// Timeline tables that are still to come, by id.
    tables: std::vec::IntoIter<FlushTable>,
    /// The present one, and its runs that are still to come.
    table: Option<FlushTable>,
    runs: std::vec::IntoIter<Run>,
    pub(super) sink: SstableSink,
    pub(super) records: u64,
}

impl StateStage {
    pub(super) fn new(
        memtable: &Arc<Memtable>,
        tables: &[FlushTable],
        sink: SstableSink,
    ) -> StateStage {
        let here = memtable.tables();
        let timelines = tables.iter().filter(|table| {
            table.kind == TableKind::Timeline && here.iter().any(|(id, _)| *id == table.id)
        });
        StateStage {
            memtable: Arc::clone(memtable),
            tables: timelines.cloned().collect::<Vec<_>>().into_iter(),
            table: None,
            runs: Vec::new().into_iter(),
            sink,
            records: 0,
        }
    }

    /// A bounded piece.
    pub(super) fn step(&mut self) -> Result<Stepped> {
        let mut bytes = 0;
        while bytes < STEP_BYTES {
            let Some((table, run)) = self.table.as_ref().zip(self.runs.next()) else {
                self.table = self.tables.next();
                let Some(table) = &self.table else {
                    return Ok(Stepped { bytes, finished: true });
                };
                self.runs = self.memtable.runs_sorted(table.id, Bound::Unbounded).into_iter();
                continue;
            };
            bytes += ENTRY_OVERHEAD;
            let state = state_of(&run)?;
            if needs_record(table, &run, &state) {
                let version = state.version(run.table(), run.key());
                bytes += version.key.len() + version.value.len();
                self.sink.add_versions(&[version])?;
                self.records += 1;
            }
        }
        Ok(Stepped { bytes, finished: false })
    }
}

fn needs_record(table: &FlushTable, run: &Run, state: &StateRecord) -> bool {
    let may_be_new = run.first_seq() % UNSYNCED_ENTRIES_MAX == 1;
    let newest = run.count().saturating_sub(1);
    may_be_new
        || table.sequence == Sequence::Given
        || table.cold_from.is_some()
        || state.last_time_ms < table.alive_from_ms
        || run.is_expired(newest, table.now_ms)
}

/// What the newest entry of a run says.
fn state_of(run: &Run) -> Result<StateRecord> {
    let newest = run.count().checked_sub(1);
    let newest = newest.ok_or_else(|| Error::corruption("memtable", 0, "a run without entries"))?;
    Ok(StateRecord {
        next_seq: run.seq(newest).saturating_add(1),
        last_commit: run.commit(newest),
        last_time_ms: run.time_ms(newest),
    })
}
