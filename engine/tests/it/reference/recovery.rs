//! Tables, what is durable, and what a crash left of the rest.
//!
//! # Invariants
//! 1. `states` are the contents that a power loss may leave, oldest first; the last is what readers
//!    see. After a mere kill it is the only one.
//! 2. At most one batch and one change of a table are in doubt: the process ends with them.

use super::check;
use super::clock::fence;
use super::timeline::Around;
use super::{
    BATCH_KEY, Contents, Erased, ExpiryClock, Id, Moment, Place, Range, Step, batch, targets,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tidelog_engine::limits::UNSYNCED_ENTRIES_MAX;
use tidelog_engine::{
    Clock, Committed, Durability, Engine, Result, Snapshot, TableId, TableOptions,
};

/// A timeline table.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// `None` while it is dropped.
    pub(crate) state: Option<TableState>,
    /// What it is if the change in doubt took place.
    doubt: Option<Option<TableState>>,
}

/// What is known of a table that is there.
#[derive(Debug, Clone)]
pub(crate) struct TableState {
    pub(crate) id: TableId,
    pub(crate) options: TableOptions,
    expired_before_ms: Range,
    keep_last_min: Option<u64>,
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Reference {
    pub(crate) tables: Vec<Table>,
    pub(crate) values: TableId,
    states: Vec<Contents>,
    /// By batch that was acknowledged with an interval: when the log is synced so far at the
    /// latest, in monotonic milliseconds.
    synced_by: Vec<(u64, u64)>,
    doubt: Option<(Vec<Step>, Moment)>,
    clock: ExpiryClock,
    losses: u64,
    /// The highest seq that was ever given to somebody.
    pub(crate) issued: BTreeMap<Id, u64>,
    last_time_ms: u64,
    /// Tables that have an erasure deadline, or had one.
    erasing: BTreeSet<TableId>,
}

impl Reference {
    /// Of a new store with one keyed table.
    pub(crate) fn new(values: TableId, clock: &dyn Clock) -> Reference {
        Reference {
            tables: Vec::new(),
            values,
            states: vec![Contents::default()],
            synced_by: Vec::new(),
            doubt: None,
            clock: ExpiryClock::new(clock.wall_ms(), clock.monotonic_ms()),
            losses: 0,
            issued: BTreeMap::new(),
            last_time_ms: 0,
            erasing: BTreeSet::new(),
        }
    }

    /// What readers see.
    pub(crate) fn contents(&self) -> &Contents {
        self.states.last().expect("there is always one")
    }

    /// Time has passed, or jumped.
    pub(crate) fn look(&mut self, clock: &dyn Clock) {
        self.clock.look(clock.wall_ms(), clock.monotonic_ms());
    }

    /// Everything that was acknowledged is durable.
    pub(crate) fn all_durable(&mut self) {
        self.states.drain(..self.states.len() - 1);
        self.synced_by.clear();
    }

    /// The workers have done all that was due: intervals that have passed were kept.
    pub(crate) fn idle(&mut self, clock: &dyn Clock) {
        let now_ms = clock.monotonic_ms();
        let due = self.synced_by.iter().filter(|(_, by_ms)| *by_ms <= now_ms);
        let Some(batch) = due.map(|(batch, _)| *batch).max() else { return };
        self.states.retain(|contents| contents.batch >= batch);
        self.synced_by.retain(|(later, _)| *later > batch);
    }

    /// Commits some steps. Time may pass while it waits for background work.
    pub(crate) fn commit(
        &mut self,
        engine: &Engine,
        clock: &dyn Clock,
        steps: &[Step],
        durability: Durability,
    ) -> Result<Committed> {
        self.look(clock);
        let number = self.contents().batch + 1;
        let writes = batch(self.values, number, steps)?;
        let time_ms = Range(self.last_time_ms, u64::MAX);
        let (clock_ms, losses) = (self.clock.now_ms(), self.losses);
        let mut moment = Moment { time_ms, clock_ms, losses, commit: u64::MAX };
        self.doubt = Some((steps.to_vec(), moment));
        let outcome = engine.commit(writes, durability);
        self.look(clock);
        moment.clock_ms.1 = self.clock.now_ms().1;
        if let Some((_, doubtful)) = &mut self.doubt {
            *doubtful = moment;
        }
        let committed = outcome?;
        self.doubt = None;
        moment.time_ms = Range(committed.time_ms, committed.time_ms);
        moment.commit = committed.commit;
        assert!(committed.time_ms >= self.last_time_ms, "commit times never fall");
        self.last_time_ms = committed.time_ms;
        self.take(steps, &committed.seqs, moment);
        match durability {
            Durability::Sync => self.all_durable(),
            Durability::Interval(delay) => {
                let by_ms = clock.monotonic_ms() + u64::try_from(delay.as_millis()).unwrap();
                self.synced_by.push((number, by_ms));
            }
            Durability::Buffered => {}
        }
        Ok(committed)
    }

    /// Takes a batch in behind the newest state.
    fn take(&mut self, steps: &[Step], seqs: &[u64], moment: Moment) {
        let mut next = self.contents().clone();
        let mut latest = BTreeMap::new();
        for (id, seq) in targets(steps).zip(seqs) {
            let (before, losses) = latest.get(id).copied().unwrap_or_else(|| {
                let timeline = next.timelines.get(id);
                timeline.map_or((0, 0), |timeline| (timeline.latest, timeline.losses))
            });
            let epochs = (seq - before - 1) / UNSYNCED_ENTRIES_MAX;
            let is_next = seq - before == 1 + epochs * UNSYNCED_ENTRIES_MAX;
            assert!(is_next && epochs <= self.losses - losses, "{id:?}: {seq} after {before}");
            let issued = self.issued.entry(id.clone()).or_default();
            assert!(seq > issued, "{id:?}: {seq} is given out again");
            *issued = *seq;
            latest.insert(id.clone(), (*seq, self.losses));
        }
        next.apply(steps, seqs, moment);
        self.states.push(next);
    }

    /// Creates a table.
    pub(crate) fn create(
        &mut self,
        engine: &Engine,
        name: &'static str,
        options: TableOptions,
    ) -> Result<TableId> {
        let known = self.tables.iter().position(|table| table.name == name);
        let index = known.unwrap_or_else(|| {
            self.tables.push(Table { name, state: None, doubt: None });
            self.tables.len() - 1
        });
        let state = |id| TableState {
            id,
            options: options.clone(),
            expired_before_ms: Range(0, 0),
            keep_last_min: options.keep_last,
        };
        // Its id is known when it is found.
        self.tables[index].doubt = Some(Some(state(TableId(0))));
        let id = engine.create_table(name, options.clone())?;
        self.note_erasing(id, &options);
        self.tables[index].doubt = None;
        self.tables[index].state = Some(state(id));
        Ok(id)
    }

    /// Drops a table.
    pub(crate) fn drop_table(&mut self, engine: &Engine, index: usize) -> Result<()> {
        let Some(state) = self.tables[index].state.clone() else { return Ok(()) };
        self.tables[index].doubt = Some(None);
        engine.drop_table(state.id)?;
        self.tables[index].doubt = None;
        self.tables[index].state = None;
        self.states.iter_mut().for_each(|contents| contents.drop_table(state.id));
        Ok(())
    }

    /// Gives a table other options.
    pub(crate) fn alter(
        &mut self,
        engine: &Engine,
        index: usize,
        options: TableOptions,
    ) -> Result<()> {
        let Some(state) = self.tables[index].state.clone() else { return Ok(()) };
        let expired_before_ms = self.alive_from_ms(&state);
        let keep_last_min = options.keep_last.into_iter().chain(state.keep_last_min).min();
        let options_of = options.clone();
        let altered = TableState { options: options_of, expired_before_ms, keep_last_min, ..state };
        self.tables[index].doubt = Some(Some(altered.clone()));
        self.note_erasing(altered.id, &altered.options);
        engine.alter_table(altered.id, options)?;
        self.tables[index].doubt = None;
        self.tables[index].state = Some(altered);
        Ok(())
    }

    fn alive_from_ms(&self, state: &TableState) -> Range {
        let ttl_ms = state.options.ttl_ms;
        let Range(low, high) = ttl_ms.map_or(Range(0, 0), |ttl| fence(self.clock.now_ms(), ttl));
        Range(low.max(state.expired_before_ms.0), high.max(state.expired_before_ms.1))
    }

    /// Compares everything with what `contents` must look like now.
    fn compare(
        &self,
        snapshot: &Snapshot,
        contents: &mut Contents,
        (held, erased): (bool, &Erased),
        context: &str,
    ) -> Result<()> {
        for state in self.tables.iter().filter_map(|table| table.state.as_ref()) {
            let alive_from_ms = self.alive_from_ms(state);
            let own_ttl = contents.timelines.iter().any(|(id, timeline)| {
                id.0 == state.id && timeline.entries.values().any(|entry| entry.ttl_ms.is_some())
            });
            let around = Around {
                clock_ms: self.clock.now_ms(),
                alive_from_ms,
                keep_last: state.options.keep_last,
                keep_last_min: state.keep_last_min,
                // A snapshot of before is read by what the table may have got since.
                expires: held || own_ttl || alive_from_ms.1 > 0,
                held,
            };
            check::timelines(snapshot, contents, (state.id, around), erased, context)?;
        }
        check::values(snapshot, contents, self.values, context)
    }

    /// Compares what the store shows with what it must show.
    pub(crate) fn check(&mut self, engine: &Engine, context: &str) -> Result<()> {
        let mut contents = self.contents().clone();
        let erased = self.erased(engine);
        let outcome = self.compare(&engine.snapshot(), &mut contents, (false, &erased), context);
        *self.states.last_mut().expect("there is always one") = contents;
        outcome
    }

    /// The same for a snapshot of an earlier moment.
    pub(crate) fn check_held(
        &self,
        engine: &Engine,
        held: &mut (Snapshot, Contents),
        context: &str,
    ) -> Result<()> {
        let (snapshot, contents) = held;
        let table_ids: Vec<TableId> =
            self.tables.iter().filter_map(|table| Some(table.state.as_ref()?.id)).collect();
        contents.timelines.retain(|id, _| table_ids.contains(&id.0));
        self.compare(snapshot, contents, (true, &self.erased(engine)), context)
    }

    fn erased(&self, engine: &Engine) -> Erased {
        Erased::of(engine, &self.erasing)
    }

    /// Payloads that no byte of the file may hold any more.
    pub(crate) fn gone(&self, engine: &Engine) -> Vec<(Place, Arc<[u8]>)> {
        if self.erasing.is_empty() {
            return Vec::new();
        }
        self.contents().gone(&self.erased(engine))
    }

    /// All that is known of an entry, and of erasure.
    pub(crate) fn story(&self, engine: &Engine, place: &Place) -> String {
        format!("{}; {:?}", self.contents().story(place), self.erased(engine))
    }

    /// The tables are kept for what they have erased, whether or not they stay.
    fn note_erasing(&mut self, id: TableId, options: &TableOptions) {
        if options.erase_after_ms.is_some() {
            self.erasing.insert(id);
        }
    }

    /// The store was closed in order and opened again.
    pub(crate) fn reopened(&mut self, clock: &dyn Clock) {
        self.look(clock);
        self.clock.opened(clock.wall_ms(), false);
        self.last_time_ms = 0;
        self.all_durable();
    }

    /// The store was opened after a crash: learns what became of what was in doubt. Where the
    /// machine lived on there were no power losses, and nothing may be lost.
    pub(crate) fn recover(
        &mut self,
        engine: &Engine,
        clock: &dyn Clock,
        power_losses: u64,
        context: &str,
    ) -> Result<()> {
        self.look(clock);
        self.clock.opened(clock.wall_ms(), true);
        // Only in a timeline do commit times never fall over openings.
        self.last_time_ms = 0;
        self.losses += power_losses;
        if power_losses == 0 {
            self.all_durable();
        }
        self.settle_tables(engine, context);
        let snapshot = engine.snapshot();
        let value = snapshot.value(self.values, BATCH_KEY)?;
        let newest = value.map_or(0, |value| u64::from_le_bytes(value[..].try_into().unwrap()));
        if let Some((steps, mut moment)) = self.doubt.take()
            && newest == self.contents().batch + 1
        {
            let seqs = self.seqs_of(&steps, &snapshot)?;
            moment.commit = snapshot.commit();
            self.take(&steps, &seqs, moment);
        }
        let found = self.states.iter().position(|contents| contents.batch == newest);
        let possible = || self.states.iter().map(|contents| contents.batch).collect::<Vec<_>>();
        let index = found.unwrap_or_else(|| {
            panic!("{context}: the newest batch is {newest}, it must be of {:?}", possible())
        });
        self.states = vec![self.states.swap_remove(index)];
        self.synced_by.clear();
        Ok(())
    }

    /// The seqs that a batch got which nobody was told of.
    fn seqs_of(&self, steps: &[Step], snapshot: &Snapshot) -> Result<Vec<u64>> {
        let mut left: BTreeMap<&Id, u64> = BTreeMap::new();
        for id in targets(steps) {
            *left.entry(id).or_default() += 1;
        }
        let seqs = targets(steps).map(|id| {
            let left = left.get_mut(id).expect("it was counted");
            *left -= 1;
            Ok(snapshot.latest_seq(id.0, &id.1)? - *left)
        });
        seqs.collect()
    }

    /// Learns which changes of tables took place.
    fn settle_tables(&mut self, engine: &Engine, context: &str) {
        for index in 0..self.tables.len() {
            let table = &mut self.tables[index];
            let info = engine.table(table.name);
            let found = info.as_ref().map(|info| (info.id, info.options.clone()));
            let is = |state: &Option<TableState>| match (state, &found) {
                (None, None) => true,
                (Some(state), Some((id, options))) => {
                    (state.id == *id || state.id == TableId(0)) && state.options == *options
                }
                _ => false,
            };
            let was = table.state.clone();
            let mut doubt = table.doubt.take().filter(is);
            if let (Some(Some(state)), Some((id, _))) = (&mut doubt, &found) {
                state.id = *id;
                if state.options.erase_after_ms.is_some() {
                    self.erasing.insert(*id);
                }
            }
            match doubt {
                Some(state) => table.state = state,
                None => assert!(is(&was), "{context}: {was:?} has become {found:?}"),
            }
            if let (Some(was), None) = (was, &table.state) {
                self.states.iter_mut().for_each(|contents| contents.drop_table(was.id));
            }
        }
    }
}
