//! Resolving a batch on its caller's thread: limits, tables, pinned state, value preconditions.
//!
//! All reading of the disk that a commit may need happens here, before the queue.

use super::{Request, StoredPayloads};
use crate::amendment::{AmendmentKind, decode_written};
use crate::batch::{Op, Precondition, Target, WriteBatch, decode};
use crate::engine::Core;
use crate::entry::TableId;
use crate::error::{Error, Result};
use crate::options::{Durability, Sequence, TableOptions};
use crate::read::View;
use crate::state::StateCell;
use crate::sync::{Arc, Ordering};
use crate::version::TableKind;
use std::collections::BTreeSet;

/// Checks everything that does not depend on other writers, and pins the state of all timelines.
pub(crate) fn resolve(
    core: &Core,
    mut batch: WriteBatch,
    durability: Durability,
) -> Result<Request> {
    core.check_writable()?;
    if batch.is_empty() {
        return Err(Error::invalid("an empty batch"));
    }
    check_size(core, &batch)?;
    // First of all: whatever is written from here on, the leader sees that it came later.
    let resolved_at = core.published.load(Ordering::Acquire);
    let now_ms = core.expiry_now();
    let view = core.views.current();
    check_keyed_tables(&view, &batch)?;
    let (cells, given) = pin_targets(core, &view, &batch)?;
    batch.widen_for(cells.iter().map(|cell| cell.next_seq()));
    check_size(core, &batch)?;
    let mark_cells = pin_marked(core, &view, &batch)?;
    let expected = check_preconditions(core, now_ms, &view, &batch)?;
    // The engine cannot jump over ids that a caller gives: what readers have seen of such a table
    // must never be lost, so that no lower id can come later.
    let durability = if given { Durability::Sync } else { durability };
    let (amended, retracted) = pin_amended(core, &view, &batch)?;
    let stored = StoredPayloads::default();
    Ok(Request {
        batch,
        cells,
        mark_cells,
        expected,
        amended,
        retracted,
        durability,
        resolved_at,
        stored,
    })
}

fn check_size(core: &Core, batch: &WriteBatch) -> Result<()> {
    let limit = core.options.batch_bytes_max() as u64;
    if batch.byte_count() as u64 > limit {
        return Err(Error::TooLarge {
            what: "batch bytes (16 MiB, or a quarter of the ring where that is less)",
            value: batch.byte_count() as u64,
            limit,
        });
    }
    Ok(())
}

/// Checks the tables of all targets and pins their timelines. Also tells whether ids are given.
fn pin_targets(
    core: &Core,
    view: &View,
    batch: &WriteBatch,
) -> Result<(Vec<Arc<StateCell>>, bool)> {
    let mut given = false;
    let mut known: Option<(TableId, Sequence)> = None;
    let timelines = batch.targets().map(|target| {
        let sequence = match known {
            Some((table, sequence)) if table == target.table => sequence,
            _ => table_of(view, target.table, TableKind::Timeline)?.sequence,
        };
        known = Some((target.table, sequence));
        given |= sequence == Sequence::Given;
        check_given(&target, sequence)?;
        Ok((target.table, target.key))
    });
    let cells = core.pin_all(timelines)?;
    Ok((cells, given))
}

/// Whether the caller has given a sequence id where the table wants one, and nowhere else.
fn check_given(target: &Target<'_>, sequence: Sequence) -> Result<()> {
    match (sequence, target.seq) {
        (Sequence::Assigned, 1..) => Err(Error::invalid(format!(
            "table {} assigns sequence ids itself, {} was given",
            target.table.0, target.seq
        ))),
        (Sequence::Given, 0) => {
            let what = format!("table {} needs a sequence id from the caller", target.table.0);
            Err(Error::InvalidUse { what })
        }
        _ => Ok(()),
    }
}

/// Timelines of amended entries, pinned, with the amended seqs; and tables with retracted ones.
type Amended = (Vec<(Arc<StateCell>, u64)>, BTreeSet<TableId>);

/// Pins the timelines of amended entries: the leader checks that these have been written.
fn pin_amended(core: &Core, view: &View, batch: &WriteBatch) -> Result<Amended> {
    let (mut amended, mut retracted) = (Vec::new(), BTreeSet::new());
    if !batch.has_amendments() {
        return Ok((amended, retracted));
    }
    for op in decode(batch.body()) {
        if let Op::Amend { target, value, .. } = op.expect("the batch wrote its own body") {
            table_of(view, target.table, TableKind::Timeline)?;
            if decode_written(&batch.body()[value]) == Some(AmendmentKind::Retracted) {
                retracted.insert(target.table);
            }
            amended.push((core.pin(target.table, target.key)?, target.seq));
        }
    }
    Ok((amended, retracted))
}

/// Pins the timelines that are marked: a mark is cut off at the end that its timeline has.
fn pin_marked(core: &Core, view: &View, batch: &WriteBatch) -> Result<Vec<Arc<StateCell>>> {
    let marks = (0..batch.mark_count()).map(|index| batch.mark_at(index).0);
    marks
        .map(|mark| {
            let options = table_of(view, mark.table, TableKind::Timeline)?;
            if options.sequence == Sequence::Given && batch.keeps_last(&mark) {
                return Err(Error::invalid(format!(
                    "keep_last counts sequence ids, which the caller gives in table {}",
                    mark.table.0
                )));
            }
            core.pin(mark.table, mark.key)
        })
        .collect()
}

fn check_keyed_tables(view: &View, batch: &WriteBatch) -> Result<()> {
    if !batch.has_keyed_writes() {
        return Ok(());
    }
    for op in decode(batch.body()) {
        if let Op::Keyed { table, .. } = op.expect("the batch wrote its own body") {
            table_of(view, table, TableKind::Keyed)?;
        }
    }
    Ok(())
}

/// Pins what sequence preconditions speak of, and looks at the values that value preconditions
/// name.
fn check_preconditions(
    core: &Core,
    now_ms: u64,
    view: &Arc<View>,
    batch: &WriteBatch,
) -> Result<Vec<(Arc<StateCell>, u64)>> {
    let mut expected = Vec::new();
    for precondition in batch.preconditions() {
        match precondition {
            Precondition::NextSeq { table, key, seq } => {
                crate::batch::check_key(key)?;
                table_of(view, *table, TableKind::Timeline)?;
                expected.push((core.pin(*table, key)?, *seq));
            }
            Precondition::Value { table, key, value } => {
                crate::batch::check_key(key)?;
                table_of(view, *table, TableKind::Keyed)?;
                let found = core.newest_value(view, *table, key, now_ms)?;
                if found.as_deref() != value.as_deref() {
                    return Err(Error::Conflict {
                        what: format!("value of {}", String::from_utf8_lossy(key)),
                        expected: describe(value.as_deref()),
                        found: describe(found.as_deref()),
                    });
                }
            }
        }
    }
    Ok(expected)
}

fn table_of(view: &View, id: TableId, kind: TableKind) -> Result<&TableOptions> {
    let record = view.tables.get(&id).filter(|_| !id.is_engine_owned());
    let record = record.ok_or_else(|| Error::NotFound { what: format!("table {}", id.0) })?;
    if record.options.kind != kind {
        return Err(Error::invalid(format!(
            "table {} holds {:?} data, the batch writes {kind:?} data to it",
            record.name, record.options.kind
        )));
    }
    Ok(&record.options)
}

fn describe(value: Option<&[u8]>) -> String {
    match value {
        None => "nothing".to_owned(),
        Some(value) => {
            let shown = &value[..value.len().min(64)];
            format!("{} bytes: {}", value.len(), String::from_utf8_lossy(shown))
        }
    }
}
