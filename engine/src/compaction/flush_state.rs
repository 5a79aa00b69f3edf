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
use crate::entry::TableId;
use crate::error::{Error, Result};
use crate::limits::UNSYNCED_ENTRIES_MAX;
use crate::memtable::Run;
use crate::options::Sequence;
use crate::planted::Planted;
use crate::state::StateRecord;
use std::sync::Arc;

/// Writes the state of the timelines that need it.
#[derive(Debug)]
pub(super) struct StateStage {
    /// Timeline tables that are still to come, by id.
    tables: std::vec::IntoIter<FlushTable>,
    /// The runs of those that were written to.
    runs: Vec<(TableId, Arc<[Run]>)>,
    /// The present table, its runs, and how many of these are done.
    present: Option<(FlushTable, Arc<[Run]>)>,
    done: usize,
    pub(super) sink: SstableSink,
    pub(super) records: u64,
}

impl StateStage {
    pub(super) fn new(
        runs: Vec<(TableId, Arc<[Run]>)>,
        tables: Vec<FlushTable>,
        sink: SstableSink,
    ) -> StateStage {
        let tables = tables.into_iter();
        StateStage { tables, runs, present: None, done: 0, sink, records: 0 }
    }

    /// A bounded piece.
    pub(super) fn step(&mut self) -> Result<Stepped> {
        let mut bytes = 0;
        while bytes < STEP_BYTES {
            let present = self.present.as_ref();
            let Some((table, run)) =
                present.and_then(|(table, runs)| Some((table, runs.get(self.done)?)))
            else {
                let Some(table) = self.tables.next() else {
                    return Ok(Stepped { bytes, finished: true });
                };
                let runs = self.runs.iter().find(|(id, _)| *id == table.id);
                self.present = runs.map(|(_, runs)| (table, Arc::clone(runs)));
                self.done = 0;
                continue;
            };
            self.done += 1;
            bytes += ENTRY_OVERHEAD;
            if may_need_record(table, run) {
                let state = state_of(run)?;
                if needs_record(table, run, &state) && !Planted::FlushedSeqForgotten.is_on() {
                    let version = state.version(run.table(), run.key());
                    bytes += version.key.len() + version.value.len();
                    self.sink.add_versions(&[version])?;
                    self.records += 1;
                }
            }
        }
        Ok(Stepped { bytes, finished: false })
    }
}

/// Whether the newest entry has to be looked at: of most runs it has not.
fn may_need_record(table: &FlushTable, run: &Run) -> bool {
    let memtable = run.memtable();
    is_needed_by_all(table)
        || may_be_new(run)
        || table.alive_from_ms > memtable.base_time_ms()
        || memtable.has_own_ttl()
}

fn needs_record(table: &FlushTable, run: &Run, state: &StateRecord) -> bool {
    let newest = run.count().saturating_sub(1);
    is_needed_by_all(table)
        || may_be_new(run)
        || state.last_time_ms < table.alive_from_ms
        || run.is_expired(newest, table.now_ms)
}

fn is_needed_by_all(table: &FlushTable) -> bool {
    table.sequence == Sequence::Given || table.cold_from.is_some()
}

fn may_be_new(run: &Run) -> bool {
    run.first_seq() % UNSYNCED_ENTRIES_MAX == 1
}

/// What the newest entry of a run says.
fn state_of(run: &Run) -> Result<StateRecord> {
    let newest = run.newest();
    let newest = newest.ok_or_else(|| Error::corruption("memtable", 0, "a run without entries"))?;
    Ok(StateRecord {
        next_seq: newest.seq.saturating_add(1),
        last_commit: newest.commit,
        last_time_ms: newest.time_ms,
    })
}
