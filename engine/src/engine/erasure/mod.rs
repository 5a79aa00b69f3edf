//! Erasure: once a retraction is older than its table's deadline, what it took back is in the file
//! no more.
//!
//! ```text
//! commit C ── flush ──► retractions ──► SSTables with payloads   ──► written anew, without them
//! of the pass           up to C         amendments taken back    ──► written anew: "was erased"
//!                       in rounds       records of segments      ──► segments replaced
//!                                       ring, free space         ──► zeros, holes
//!                       one root: each table is erased through C
//! ```
//! A pass begins when half of the deadline of the oldest retraction has passed, and takes all there
//! are. It goes up to the oldest snapshot: what a snapshot shows stays.
//!
//! - `pending.rs`: which retractions wait. `scan.rs`: retractions in the table of amendments.
//! - `gather.rs`: what a round erases. `examine.rs`: SSTables. `shared.rs`: records of segments.
//!   `orphans.rs`: those of them that no entry refers to.
//! - `scrub.rs`: the ring and free space. `state.rs`: what others see of it.
//! - `held_up.rs`: what cannot be read holds up the tables that it concerns, and no others.
//!
//! # Invariants
//! 1. Nothing is persisted but, for each table, the commit up to which all has been erased. What
//!    waits are the retractions above it, which compaction keeps (`compaction/keep_amendments.rs`).
//!    A pass that is cut off, by a crash or an error, is made anew from its beginning, and finds
//!    less to do.
//! 2. All up to C is in SSTables before the first is examined; an entry that came later was not
//!    taken back by a retraction up to C. So nothing is added to what a round looks for.
//! 3. At the end of the last round nothing live holds anything of it, and no job at work has an
//!    input that does. What is in no use is scrubbed after that, whoever gives it back and when.
//!
//! # Concurrency
//! One worker, in bounded steps. It waits for nobody inside a step.

mod examine;
mod gather;
mod held_up;
mod orphans;
mod pending;
mod scan;
mod scrub;
mod segments;
mod shared;
mod state;

use super::Core;
use super::burial::erased_through;
use super::root::Change;
use super::workers::Task;
use crate::entry::TableId;
use crate::error::Result;
use crate::runtime::Progress;
use crate::sync::{Arc, Ordering};
use crate::version::{Edit, TableRecord};
use examine::{Examination, Examined};
use gather::{Gather, Originals, Round};
use held_up::HeldUp;
use orphans::{Looked, Orphans, Rest};
use pending::Oldest;
use scan::{Next, RetractionScan};
use scrub::{Scrub, Scrubbed};
use segments::SegmentErasure;
use shared::{SharedPayloads, Sharers};
pub(crate) use state::Erasure;
pub use state::ErasureStats;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Longest rest before the worker looks again, while something waits.
const LOOK_MS: u64 = 60_000;
/// Rest while something keeps a pass from beginning that tells nobody when it goes: a snapshot, a
/// full disk.
const HINDERED_REST_MS: u64 = 1000;
/// Rests while a flush, a compaction or a reader is waited for.
const FLUSH_REST_MS: u64 = 5;
const JOB_REST_MS: u64 = 20;
const READER_REST_MS: u64 = 100;
/// After a failure, the rest before the next try.
const RETRY_MS: u64 = 5000;

/// See the module.
#[derive(Default)]
pub(super) struct EraseWorker {
    /// Looks for retractions from before a table was followed.
    search: Option<Search>,
    pass: Option<Pass>,
    held_up: HeldUp,
}

/// A scan for what waits.
struct Search {
    scan: RetractionScan,
    /// By table: the first and the last commit, and the oldest time.
    found: BTreeMap<TableId, ((u64, u64), u64)>,
    tables: Vec<TableId>,
}

struct Pass {
    /// All retractions up to this commit are for this pass.
    commit: u64,
    /// Its tables, with the commit up to which each has been erased before.
    tables: BTreeMap<TableId, u64>,
    stage: Stage,
    /// Some round has found a retraction.
    found_any: bool,
}

enum Stage {
    Flush,
    /// What the next round erases; its keys lie behind this one.
    Begin(Option<Box<[u8]>>),
    Gather(Box<Gather>),
    Originals(Originals, Option<Box<[u8]>>),
    Examine(Box<Examination>),
    Orphans(SharedPayloads, Rest),
    Sharers(Box<Sharers>, Rest),
    Segments(Box<SegmentErasure>, Rest),
    Scrub(Scrub),
    Record,
}

/// How a step of a pass went.
enum Step {
    To(Stage),
    Rests(Stage, u64),
    Waits(Stage, u64, String),
    Over,
}

impl Task for EraseWorker {
    fn step(&mut self, core: &Arc<Core>) -> Progress {
        if core.health.check().is_err() {
            return Progress::Idle(None);
        }
        self.try_step(core).unwrap_or_else(|error| {
            self.end_pass(core);
            if let Some(search) = self.search.take() {
                search.tables.iter().for_each(|table| core.erasure.pending.forget(*table));
            }
            core.free_released(&error);
            core.after_failure();
            *core.erasure.problem.lock() = Some(error);
            Progress::Idle(Some(Duration::from_millis(RETRY_MS)))
        })
    }

    fn gives_way(&self) -> bool {
        true
    }
}

impl EraseWorker {
    fn try_step(&mut self, core: &Arc<Core>) -> Result<Progress> {
        if let Some(search) = &mut self.search {
            if search.step(core)? {
                self.search = None;
            }
            return Ok(Progress::Busy);
        }
        if let Some(pass) = self.pass.take() {
            return self.step_pass(core, pass);
        }
        let deadlines = core.erasure_deadlines();
        let new = core.erasure.pending.follow(&deadlines);
        self.held_up.keep(|table| deadlines.contains_key(&table));
        if !new.is_empty() {
            self.search = Some(Search::new(core, new));
            return Ok(Progress::Busy);
        }
        self.begin_pass(core)
    }

    /// Begins a pass, if it is time.
    fn begin_pass(&mut self, core: &Core) -> Result<Progress> {
        let erasure = &core.erasure;
        let monotonic_ms = core.raw_clock.monotonic_ms();
        let held_up = self.held_up.tables(monotonic_ms);
        let Some(Oldest { half_ms, .. }) = erasure.pending.oldest(u64::MAX, &held_up) else {
            *erasure.waits_for.lock() = None;
            let rest_ms = self.held_up.rest_ms(monotonic_ms).filter(|_| !held_up.is_empty());
            return Ok(Progress::Idle(rest_ms.map(Duration::from_millis)));
        };
        let now_ms = core.clock.commit_now();
        if now_ms < half_ms {
            let rest_ms = (half_ms - now_ms).min(LOOK_MS);
            return Ok(Progress::Idle(Some(Duration::from_millis(rest_ms))));
        }
        if core.without_log.check().is_err() {
            // What the old log holds is overwritten only once a new one has begun behind it.
            *erasure.waits_for.lock() = Some("room for a new log".to_owned());
            return Ok(Progress::Idle(Some(Duration::from_millis(HINDERED_REST_MS))));
        }
        // The published commit first: a snapshot that is not in the list is not older than it.
        let through = core.moments()[0];
        // Who waits for a snapshot keeps nobody else waiting: it may be of another table.
        let due = erasure.pending.oldest(through, &held_up).filter(|due| due.half_ms <= now_ms);
        let Some(due) = due else {
            *erasure.waits_for.lock() = Some(format!("a snapshot of commit {through}"));
            return Ok(Progress::Idle(Some(Duration::from_millis(HINDERED_REST_MS))));
        };
        let mut tables = erased_through(&core.views.current().tables);
        tables.retain(|table, _| !self.held_up.one_by_one() || *table == due.table);
        erasure.running.store(true, Ordering::Relaxed);
        *erasure.waits_for.lock() = None;
        self.pass = Some(Pass { commit: through, tables, stage: Stage::Flush, found_any: false });
        Ok(Progress::Busy)
    }

    fn step_pass(&mut self, core: &Arc<Core>, mut pass: Pass) -> Result<Progress> {
        let wanted = core.erasure_deadlines();
        let tables: BTreeSet<TableId> = pass.tables.keys().copied().collect();
        if !tables.iter().any(|table| wanted.contains_key(table)) {
            // Nobody has the option any more.
            self.held_up.ended(&tables);
            self.end_pass(core);
            return Ok(Progress::Busy);
        }
        let stage = std::mem::replace(&mut pass.stage, Stage::Flush);
        let step = pass.step(core, stage).inspect_err(|error| {
            self.held_up.failed(&tables, error, core.raw_clock.monotonic_ms());
        });
        let (stage, rest_ms, waits_for) = match step? {
            Step::To(stage) => (stage, None, None),
            Step::Rests(stage, rest_ms) => (stage, Some(rest_ms), None),
            Step::Waits(stage, rest_ms, whom) => (stage, Some(rest_ms), Some(whom)),
            Step::Over => {
                core.erasure.passes.fetch_add(1, Ordering::Relaxed);
                if self.held_up.ended(&tables) {
                    *core.erasure.problem.lock() = None;
                }
                self.end_pass(core);
                return Ok(Progress::Busy);
            }
        };
        if waits_for.is_some() || rest_ms.is_none() {
            *core.erasure.waits_for.lock() = waits_for;
        }
        pass.stage = stage;
        self.pass = Some(pass);
        Ok(match rest_ms {
            None => Progress::Busy,
            Some(rest_ms) => Progress::Idle(Some(Duration::from_millis(rest_ms))),
        })
    }

    fn end_pass(&mut self, core: &Core) {
        self.pass = None;
        core.erasure.running.store(false, Ordering::Relaxed);
        *core.erasure.waits_for.lock() = None;
    }
}

impl Search {
    fn new(core: &Core, tables: Vec<TableId>) -> Search {
        let view = core.views.current();
        let above = erased_through(&view.tables);
        let above = above.into_iter().filter(|(table, _)| tables.contains(table)).collect();
        let scan = RetractionScan::new(&view, above, None, true);
        Search { scan, found: BTreeMap::new(), tables }
    }

    /// Whether it was the last step.
    fn step(&mut self, core: &Core) -> Result<bool> {
        let Search { scan, found, .. } = self;
        let ended = scan.step(|version| {
            let table = version.key.first_chunk().map(|id| TableId(u32::from_be_bytes(*id)));
            let (commit, time_ms) = (version.commit, version.time_ms);
            let table = table.expect("a key names a table");
            let (commits, since_ms) = found.entry(table).or_insert(((commit, commit), time_ms));
            *commits = (commits.0.min(commit), commits.1.max(commit));
            *since_ms = time_ms.min(*since_ms);
            Next::Go
        })?;
        if ended {
            for (table, (commits, since_ms)) in &self.found {
                core.erasure.pending.found(*table, *commits, *since_ms);
            }
        }
        Ok(ended)
    }
}

impl Pass {
    fn step(&mut self, core: &Arc<Core>, stage: Stage) -> Result<Step> {
        Ok(Step::To(match stage {
            Stage::Flush if core.is_flushed(self.commit) => Stage::Begin(None),
            Stage::Flush => {
                let whom = "the flush of what was retracted".to_owned();
                return Ok(Step::Waits(Stage::Flush, FLUSH_REST_MS, whom));
            }
            Stage::Begin(after) => {
                let (view, above) = (core.views.current(), self.tables.clone());
                Stage::Gather(Box::new(Gather::new(&view, above, self.commit, after)))
            }
            Stage::Gather(mut gather) => match gather.step()? {
                None => Stage::Gather(gather),
                Some((retracted, _)) if retracted.is_empty() => self.after_rounds(core),
                Some((retracted, after)) => {
                    self.found_any = true;
                    Stage::Originals(Originals::new(Arc::new(retracted)), after)
                }
            },
            Stage::Originals(mut originals, after) => match originals.step(core)? {
                None => Stage::Originals(originals, after),
                Some((retracted, since)) => {
                    let round = Round { retracted, since, after };
                    Stage::Examine(Box::new(Examination::new(round)))
                }
            },
            Stage::Examine(examination) => return self.examine(core, examination),
            Stage::Orphans(shared, rest) => self.find_orphans(core, shared, rest)?,
            Stage::Sharers(mut sharers, rest) => match sharers.step(core)? {
                None => Stage::Sharers(sharers, rest),
                Some(records) => Stage::Segments(Box::new(SegmentErasure::new(records)), rest),
            },
            Stage::Segments(mut segments, rest) => match segments.step(core)? {
                false => Stage::Segments(segments, rest),
                true if rest.orphans.is_some() => Stage::Orphans(SharedPayloads::default(), rest),
                true if rest.after.is_some() => Stage::Begin(rest.after),
                true => self.after_rounds(core),
            },
            Stage::Scrub(scrub) => return Pass::scrub(core, scrub),
            Stage::Record => {
                self.record(core)?;
                return Ok(Step::Over);
            }
        }))
    }

    fn examine(&self, core: &Arc<Core>, mut examination: Box<Examination>) -> Result<Step> {
        Ok(match examination.step(core)? {
            Examined::Running => Step::To(Stage::Examine(examination)),
            Examined::Waits(whom) => {
                Step::Waits(Stage::Examine(examination), JOB_REST_MS, whom.to_owned())
            }
            Examined::All => {
                let (shared, round) = examination.finish();
                let orphans = Some(Box::new(Orphans::new(core, round.retracted)));
                Step::To(Stage::Orphans(shared, Rest { orphans, after: round.after }))
            }
        })
    }

    fn find_orphans(
        &self,
        core: &Core,
        mut shared: SharedPayloads,
        mut rest: Rest,
    ) -> Result<Stage> {
        let looked = match &mut rest.orphans {
            Some(orphans) => orphans.step(core, &mut shared)?,
            None => Looked::All,
        };
        if looked == Looked::Running {
            return Ok(Stage::Orphans(shared, rest));
        }
        if looked == Looked::All {
            rest.orphans = None;
        }
        // Others may share a payload with what this pass is for.
        let tables = core.erasure_deadlines().into_keys().collect();
        let sharers = Sharers::new(core, shared, tables, self.commit);
        Ok(Stage::Sharers(Box::new(sharers), rest))
    }

    /// Where nothing was retracted there is nothing to scrub.
    fn after_rounds(&self, core: &Core) -> Stage {
        if self.found_any { Stage::Scrub(Scrub::new(core)) } else { Stage::Record }
    }

    fn scrub(core: &Core, mut scrub: Scrub) -> Result<Step> {
        Ok(match scrub.step(core)? {
            Scrubbed::Running => Step::To(Stage::Scrub(scrub)),
            Scrubbed::Rests(rest_ms) => Step::Rests(Stage::Scrub(scrub), rest_ms),
            Scrubbed::Waits(whom) => Step::Waits(Stage::Scrub(scrub), READER_REST_MS, whom),
            Scrubbed::All => Step::To(Stage::Record),
        })
    }

    /// One root, whose sync covers all that was scrubbed: the tables are erased through the commit
    /// of the pass. One that has lost the option is not concerned any more.
    fn record(&self, core: &Core) -> Result<()> {
        core.commit_root_with(|root| {
            let records = self.tables.keys().filter_map(|table| root.catalog.tables.get(table));
            let erasing = records.filter(|record| record.options.erase_after_ms.is_some());
            let edits = erasing.map(|record| {
                let erased_through = self.commit.max(record.erased_through);
                Edit::TableAltered(TableRecord { erased_through, ..record.clone() })
            });
            Ok(Change { edits: edits.collect(), ..Change::default() })
        })?;
        self.tables.keys().for_each(|table| core.erasure.pending.erased(*table, self.commit));
        Ok(())
    }
}

impl Core {
    /// Tables with an erasure deadline.
    fn erasure_deadlines(&self) -> BTreeMap<TableId, u64> {
        let view = self.views.current();
        let deadlines = view.tables.values();
        deadlines.filter_map(|record| Some((record.id, record.options.erase_after_ms?))).collect()
    }

    /// Whether all up to a commit is in SSTables; has it flushed otherwise.
    fn is_flushed(&self, commit: u64) -> bool {
        if self.flushed_through.load(Ordering::Acquire) >= commit {
            return true;
        }
        self.freeze_active();
        self.wake(|wakes| &wakes.flush);
        false
    }
}
