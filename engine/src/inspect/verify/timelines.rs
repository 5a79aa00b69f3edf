//! What SSTables say together, and what the engine's own tables hold.

use super::super::marks::mark_faults;
use super::Fault;
use crate::amendment::{decode_key, decode_value};
use crate::batch::KeyedOperation;
use crate::entry::TableId;
use crate::error::Result;
use crate::sstable::{RunLocation, Sstable, TimelineCursor};
use crate::sync::Arc;
use crate::version::{AMENDMENT_TABLE, MARK_TABLE, Shard};
use std::ops::Bound;

/// What is wrong with the contents of an SSTable of the engine's own.
pub(super) fn verify_contents(sstable: &Arc<Sstable>) -> Result<Vec<Fault>> {
    match sstable.meta().table {
        AMENDMENT_TABLE => verify_amendments(sstable),
        MARK_TABLE => mark_faults(sstable),
        _ => Ok(Vec::new()),
    }
}

/// Every key names an entry, and every value is an amendment.
fn verify_amendments(sstable: &Arc<Sstable>) -> Result<Vec<Fault>> {
    let mut faults = Vec::new();
    let mut versions = sstable.keyed_scan(Bound::Unbounded)?;
    while let Some(version) = versions.next()? {
        let sound = decode_key(&version.key).is_some()
            && version.operation == KeyedOperation::Put
            && decode_value(&version.value).is_some();
        if !sound {
            let meta = sstable.meta();
            let detail =
                format!("SSTable {}: commit {} is no amendment", meta.number, version.commit);
            faults.push(Fault { what: "amendment", offset: meta.extent.offset, detail });
        }
    }
    Ok(faults)
}

/// A cursor over the timelines of one SSTable, with its next one at hand.
struct Runs {
    level: u8,
    sstable: Arc<Sstable>,
    cursor: TimelineCursor,
    next: Option<(Box<[u8]>, RunLocation)>,
}

/// One run of a timeline, and where it lies.
struct Run {
    location: RunLocation,
    shard: Shard,
    level: u8,
    number: u64,
    offset: u64,
}

/// Merges the timelines of all sound SSTables of a table: how many there are, and what is wrong.
pub(super) fn verify_timelines(
    table: TableId,
    sstables: &[(u8, Arc<Sstable>)],
) -> Result<(u64, Vec<Fault>)> {
    let mut sources = Vec::with_capacity(sstables.len());
    for (level, sstable) in sstables {
        let mut cursor = sstable.timelines(Bound::Unbounded)?;
        let next = cursor.next()?;
        sources.push(Runs { level: *level, sstable: Arc::clone(sstable), cursor, next });
    }
    let (mut timelines, mut faults) = (0, Vec::new());
    loop {
        let heads = sources.iter().filter_map(|source| source.next.as_ref().map(|(key, _)| key));
        let Some(key) = heads.min().cloned() else {
            return Ok((timelines, faults));
        };
        timelines += 1;
        let mut runs = Vec::new();
        for source in &mut sources {
            let Some((_, location)) = source.next.take_if(|(head, _)| *head == key) else {
                continue;
            };
            let meta = source.sstable.meta();
            let (number, offset, shard) = (meta.number, meta.extent.offset, meta.shard);
            runs.push(Run { location, shard, level: source.level, number, offset });
            source.next = source.cursor.next()?;
        }
        verify_runs(table, &key, runs, &mut faults);
    }
}

/// The runs of one timeline hold disjoint ranges of sequence ids; commits rise with them, and newer
/// ones never lie in shards that are read later, nor in deeper levels of the same.
fn verify_runs(table: TableId, key: &[u8], mut runs: Vec<Run>, faults: &mut Vec<Fault>) {
    runs.sort_by_key(|run| run.location.first_seq);
    for pair in runs.windows(2) {
        let [older, newer] = pair else { unreachable!("windows of two") };
        let ordered = newer.location.first_seq > older.location.last_seq
            && newer.location.last_commit >= older.location.last_commit
            && (newer.shard, newer.level) <= (older.shard, older.level);
        if !ordered {
            let detail = format!(
                "table {}, timeline {:?}: {} does not go before {}",
                table.0,
                String::from_utf8_lossy(key),
                describe(older),
                describe(newer),
            );
            faults.push(Fault { what: "timeline", offset: newer.offset, detail });
        }
    }
}

fn describe(run: &Run) -> String {
    let RunLocation { first_seq, last_seq, last_commit, .. } = run.location;
    format!(
        "SSTable {} of {:?} window {}, level {} with seqs {first_seq} to {last_seq} up to commit \
         {last_commit}",
        run.number, run.shard.tier, run.shard.window, run.level
    )
}
