//! What one round erases: retracted entries by their keys, and since which commit there can have
//! been anything of them.
//!
//! Rounds follow the order of the keys. What is found of all SSTables together is cut off where it
//! would take too much memory, and the next round begins there.
//!
//! A copy of an entry that names it as its origin is not older than the entry: so SSTables that are
//! older than all the originals need not be looked at. Where an original is gone its commit is not
//! known, and all are.

use super::scan::{Next, RetractionScan};
use crate::compaction::{Place, Retracted};
use crate::engine::Core;
use crate::entry::{Direction, TableId};
use crate::error::Result;
use crate::limits::{ERASE_ROUND_BYTES_MAX, ERASE_ROUND_MAX};
use crate::read::View;
use crate::sstable::{Rank, Sstable};
use crate::sync::Arc;
use std::collections::BTreeMap;

/// Originals that a step looks for.
const STEP_ORIGINALS: usize = 256;
/// What a key takes in memory beside its bytes.
const KEY_OVERHEAD: usize = 64;

/// Finds what a round erases.
pub(super) struct Gather {
    scan: RetractionScan,
    through: u64,
    /// By key the newest retraction, up to `through`.
    found: BTreeMap<Box<[u8]>, (u64, u32)>,
    bytes: usize,
    /// Keys behind this one are for the next round.
    limit: Option<Box<[u8]>>,
}

/// What a round erases.
pub(super) struct Round {
    pub(super) retracted: Arc<Retracted>,
    /// Nothing that was committed before this is concerned.
    pub(super) since: u64,
    /// Where the next round begins, if there is one.
    pub(super) after: Option<Box<[u8]>>,
}

/// What a round erases, and the key behind which the next one begins, if there is more.
pub(super) type Gathered = (Retracted, Option<Box<[u8]>>);

impl Gather {
    /// Retractions of these tables, above a commit in each and up to `through`; all of them are in
    /// SSTables.
    pub(super) fn new(
        view: &View,
        above: BTreeMap<TableId, u64>,
        through: u64,
        after: Option<Box<[u8]>>,
    ) -> Gather {
        let scan = RetractionScan::new(view, above, after, false);
        Gather { scan, through, found: BTreeMap::new(), bytes: 0, limit: None }
    }

    /// Gives what was found with the last step.
    pub(super) fn step(&mut self) -> Result<Option<Gathered>> {
        let Gather { scan, through, found, bytes, limit } = self;
        let ended = scan.step(|version| {
            if limit.as_ref().is_some_and(|limit| version.key > *limit) {
                return Next::SkipSource;
            }
            if version.commit <= *through {
                let order = (version.commit, version.index);
                found
                    .entry(version.key.clone())
                    .and_modify(|newest| *newest = order.max(*newest))
                    .or_insert_with(|| {
                        *bytes += version.key.len() + KEY_OVERHEAD;
                        order
                    });
            }
            while found.len() > ERASE_ROUND_MAX || *bytes > ERASE_ROUND_BYTES_MAX {
                let (key, _) = found.pop_last().expect("there is too much");
                *bytes -= key.len() + KEY_OVERHEAD;
                *limit = found.last_key_value().map(|(key, _)| key.clone());
            }
            Next::Go
        })?;
        if !ended {
            return Ok(None);
        }
        let mut retracted = Retracted::default();
        found.iter().for_each(|(key, order)| retracted.add(key, *order));
        Ok(Some((retracted, limit.take())))
    }
}

/// Looks since when there can have been something of what was retracted.
pub(super) struct Originals {
    retracted: Arc<Retracted>,
    /// Still to be looked for, as keys of the table of amendments.
    places: Vec<(TableId, Box<[u8]>, u64)>,
    since: u64,
}

impl Originals {
    pub(super) fn new(retracted: Arc<Retracted>) -> Originals {
        let places = retracted
            .places()
            .map(|place| (place.table, Box::from(place.key), place.seq))
            .collect();
        Originals { retracted, places, since: u64::MAX }
    }

    /// Gives the entries and the commit with the last step.
    pub(super) fn step(&mut self, core: &Core) -> Result<Option<(Arc<Retracted>, u64)>> {
        let view = core.views.current();
        for _ in 0..STEP_ORIGINALS {
            let Some((table, key, seq)) = self.places.pop() else {
                return Ok(Some((Arc::clone(&self.retracted), self.since)));
            };
            let commit = commit_of(&view, Place { table, key: &key, seq })?.unwrap_or(0);
            self.since = self.since.min(commit);
            if self.since == 0 {
                self.places.clear();
            }
        }
        Ok(None)
    }
}

/// The commit of an entry, if an SSTable has it.
fn commit_of(view: &View, place: Place<'_>) -> Result<Option<u64>> {
    for sstable in view.sstables(place.table, place.key) {
        let Some(run) = sstable.find(place.key)? else { continue };
        if !(run.first_seq..=run.last_seq).contains(&place.seq) {
            continue;
        }
        let index = sstable.rank(place.key, &run, Rank::Seq(place.seq))?;
        let mut cursor = Sstable::cursor(&run, index, Direction::Forward);
        let found = cursor.step(sstable, place.key)?.filter(|found| found.seq == place.seq);
        return Ok(found.map(|found| found.commit));
    }
    Ok(None)
}
