//! A few seeds do everything that can be done to a store, and all of it has shown when they end.

use super::operation::{Operation, WEIGHTS};
use super::run::Run;
use super::setup::PLAIN;
use crate::prove::Counts;
use crate::prove::whole::sim::Sim;
use std::collections::BTreeMap;
use tidelog_engine::testing::Random;
use tidelog_engine::{Direction, Entry, GapReason, Item, Result};

/// A few dozen: what is drawn least often is drawn in many of them.
const SEEDS: u64 = 36;
/// All kinds of writes.
const WRITES: [&str; 14] = [
    "send",
    "send for a time",
    "replace",
    "retract",
    "trim",
    "delete a range",
    "delete a timeline",
    "keep the last",
    "let a timeline expire",
    "put",
    "delete",
    "add",
    "raise",
    "require",
];
/// What can be seen of them in the end, or has happened on the way.
const EFFECTS: [&str; 18] = [
    "entries",
    "entries with a time to live of their own",
    "replaced entries",
    "retracted entries",
    "entries of their own time to live that have expired",
    "entries that have expired",
    "trimmed entries",
    "deleted entries",
    "lost ids",
    "timelines longer than their table keeps",
    "bytes in the cold tier",
    "bytes moved to the cold tier",
    "SSTables dropped when they had expired",
    "bytes in segments",
    "cold disks that failed or were absent",
    "crashes",
    "crashes in recovery",
    "lost batches",
];

#[test]
fn a_few_runs_do_everything_and_all_of_it_shows() {
    let mut operations: BTreeMap<Operation, u64> = BTreeMap::new();
    let mut writes: BTreeMap<&str, u64> = BTreeMap::new();
    let mut effects = Counts::default();
    for seed in 0..SEEDS {
        let mut run = Run::live(&mut Random::new(seed)).unwrap();
        look(&run.sim, &mut effects);
        let done = std::mem::take(&mut run.done);
        for (operation, count) in done.operations {
            *operations.entry(operation).or_default() += count;
        }
        for (write, count) in done.writes {
            *writes.entry(write).or_default() += count;
        }
        let seen = run.end();
        effects.add("lost batches", done.lost);
        effects.add("bytes moved to the cold tier", seen.moved);
        effects.add("SSTables dropped when they had expired", seen.dropped);
        effects.add("bytes in segments", seen.segments);
        effects.add("cold disks that failed or were absent", seen.degraded);
        effects.add("crashes", seen.crashes);
        effects.add("crashes in recovery", seen.crashes_in_recovery);
    }
    for (operation, _) in WEIGHTS {
        assert!(operations.contains_key(&operation), "{operation:?} is not of {operations:?}");
    }
    for write in WRITES {
        assert!(writes.contains_key(write), "{write:?} is not of {writes:?}");
    }
    for effect in EFFECTS {
        assert!(effects.get(effect) > 0, "{effect:?} is not of {effects:?}");
    }
}

/// Counts what a store shows in the end. Timelines that cannot be read without a cold file that
/// fails or is absent are passed over.
fn look(sim: &Sim, effects: &mut Counts) {
    let engine = sim.engine();
    effects.add("bytes in the cold tier", engine.stats().cold_bytes);
    let snapshot = engine.snapshot();
    for table in &sim.reference.tables {
        let Some(state) = &table.state else { continue };
        let kept = state.options.keep_last.unwrap_or(u64::MAX);
        let timelines = sim.reference.contents().timelines.iter();
        for (id, timeline) in timelines.filter(|(id, _)| id.0 == state.id) {
            let is_longer = timeline.entries.len() as u64 > kept;
            effects.add("timelines longer than their table keeps", u64::from(is_longer));
            let items = snapshot.scan_items(state.id, &id.1, 0, u64::MAX, Direction::Forward);
            let items = items.and_then(|items| items.collect::<Result<Vec<Item>>>());
            for item in items.unwrap_or_default() {
                count(&item, table.name, effects);
            }
        }
    }
}

fn count(item: &Item, table: &str, effects: &mut Counts) {
    match item {
        Item::Entry(Entry { ttl_ms, revision, .. }) => {
            effects.add("entries", 1);
            let of_own = u64::from(ttl_ms.is_some());
            effects.add("entries with a time to live of their own", of_own);
            match revision {
                Some(revision) if revision.retracted => effects.add("retracted entries", 1),
                Some(_) => effects.add("replaced entries", 1),
                None => {}
            }
        }
        Item::Gap(gap) => {
            let what = match gap.reason {
                // Nothing else lets an entry of this table expire, nor pushes it out.
                GapReason::Expired if table == PLAIN => {
                    "entries of their own time to live that have expired"
                }
                GapReason::Expired => "entries that have expired",
                GapReason::Trimmed if table == PLAIN => "trimmed entries",
                GapReason::Trimmed => "trimmed entries, or entries pushed out",
                GapReason::Deleted => "deleted entries",
                _ => "lost ids",
            };
            effects.add(what, gap.to - gap.from + 1);
        }
    }
}
