//! What a salvage must have kept, and must have said of what it has not:
//!
//! 1. The new store is without damage.
//! 2. What it shows was written so. What was hidden by a mark, or amended, is seen as before only
//!    where the report says that marks or amendments are lost.
//! 3. Whatever is not there is named in the report, or was in the torn end of the log; so is every
//!    value of a keyed table that is another one now.
//! 4. No sequence id that was told of is given again.

use super::salvage_store::{Shown, Store};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tidelog_engine::inspect::Inspector;
use tidelog_engine::salvage::{Loss, Report};
use tidelog_engine::testing::SimDisk;
use tidelog_engine::{Durability, Engine, Sequence, TableId, WriteBatch};

/// Whether a report explains that the entry may be missing.
fn explains(report: &Report, place: &(TableId, Vec<u8>, u64), commit: u64) -> bool {
    let (table, key, seq) = place;
    report.lost.iter().any(|loss| match loss {
        Loss::Entries { table: of, key: named, seqs: (from, to), .. } => {
            of == table && **named == **key && (*from..=*to).contains(seq)
        }
        Loss::UnknownEntries { table: of, keys: (from, to), .. } => {
            of == table && (&**from..=&**to).contains(&&key[..])
        }
        Loss::Commits { first, last, .. } => {
            *first <= commit && last.is_none_or(|last| commit <= last)
        }
        Loss::Manifest { commit: read, .. } => commit > *read,
        _ => false,
    })
}

/// Whether a report says that something is lost by itself, or with one of the commits that wrote
/// such things, or those from `cut` on may be gone with the end of the log.
fn is_said(report: &Report, commits: &BTreeSet<u64>, cut: u64, is: impl Fn(&Loss) -> bool) -> bool {
    let any = |first: u64, last: u64| commits.iter().any(|it| (first..=last).contains(it));
    let of_commits = |loss: &Loss| match loss {
        Loss::Commits { first, last, .. } => any(*first, last.unwrap_or(u64::MAX)),
        Loss::Manifest { commit, .. } => any(*commit + 1, u64::MAX),
        _ => false,
    };
    any(cut, u64::MAX) || report.lost.iter().any(|loss| of_commits(loss) || is(loss))
}

/// Holds what was salvaged from a file of these bytes against the truth.
pub(crate) fn judge(
    store: &Store,
    bytes: &[u8],
    (report, target): (&Report, &SimDisk),
    context: &str,
) {
    let verified = Inspector::over(Arc::new(target.clone())).verify().unwrap();
    assert!(verified.faults.is_empty(), "{context}: {:?}", verified.faults);
    let process = store.open(target);
    let found = Shown::read(&process.engine).unwrap();
    let (beside, cut) = (&store.beside, store.cut(bytes));
    assert!(report.torn_tail.is_none() || cut < u64::MAX, "{context}: {:?}", report.torn_tail);
    let of_marks = |loss: &Loss| matches!(loss, Loss::Marks { .. });
    let marks = is_said(report, &beside.marks, cut, of_marks);
    let of_amendments = |loss: &Loss| matches!(loss, Loss::Amendments { .. });
    let amended = is_said(report, &beside.amendments, cut, of_amendments);
    for ((table, key), (_, entries)) in &found.timelines {
        let truth = store.shown.timelines.get(&(*table, key.clone()));
        for entry in entries {
            let place = (*table, key.clone(), entry.seq);
            let true_entry =
                truth.and_then(|(_, entries)| entries.iter().find(|truth| truth.seq == entry.seq));
            if true_entry == Some(entry) {
                continue;
            }
            let (commit, payload) =
                store.written.get(&place).unwrap_or_else(|| panic!("{context}: {place:?}"));
            assert_eq!(entry.commit, *commit, "{context}: {place:?}");
            assert!(true_entry.is_some() || marks, "{context}: {place:?} was hidden");
            let amended_since = true_entry.is_some_and(|truth| truth.revision != entry.revision);
            let as_written = entry.revision.is_none() && *payload == *entry.payload;
            assert!(!amended_since || amended, "{context}: {place:?} {entry:?} {true_entry:?}");
            assert!(as_written || entry.revision.is_some(), "{context}: {place:?} is wrong");
        }
    }
    for ((table, key), (_, entries)) in &store.shown.timelines {
        let left = found.timelines.get(&(*table, key.clone()));
        for entry in entries {
            let is_left =
                left.is_some_and(|(_, left)| left.iter().any(|left| left.seq == entry.seq));
            let place = (*table, key.clone(), entry.seq);
            let said = is_left || entry.commit >= cut || explains(report, &place, entry.commit);
            assert!(said, "{context}: {place:?} of commit {} is gone: {report:#?}", entry.commit);
        }
    }
    for place in store.shown.values.keys().chain(found.values.keys()) {
        let said = store.shown.values.get(place) == found.values.get(place)
            || is_said(report, &beside.values[place], cut, |loss| match loss {
                Loss::Versions { table, keys: (from, to), .. } => {
                    *table == place.0 && (&**from..=&**to).contains(&&place.1[..])
                }
                _ => false,
            });
        assert!(said, "{context}: the value of {place:?} is not what it was: {report:#?}");
    }
    // Where the log has a torn end, ids jump: no id of what was there is given again either.
    let known = if report.torn_tail.is_some() { u64::MAX } else { cut };
    no_id_is_given_again(store, known, &process.engine, context);
    process.kill();
}

/// Each timeline is appended to. The commits before `known` were told of.
fn no_id_is_given_again(store: &Store, known: u64, engine: &Engine, context: &str) {
    let mut newest: BTreeMap<(TableId, &[u8]), u64> = BTreeMap::new();
    let told = store.written.iter().filter(|(_, (commit, _))| *commit < known);
    for ((table, key, seq), _) in told {
        let known = newest.entry((*table, key)).or_default();
        *known = (*known).max(*seq);
    }
    let tables = engine.tables();
    for ((table, key), newest) in newest {
        let Some(info) = tables.iter().find(|info| info.id == table) else { continue };
        if info.options.sequence == Sequence::Given {
            continue;
        }
        let mut batch = WriteBatch::new();
        batch.append(table, key, b"more", None).unwrap();
        let done = engine.commit(batch, Durability::Sync).unwrap();
        assert!(done.seqs[0] > newest, "{context}: {key:?} got {} again", done.seqs[0]);
    }
}
