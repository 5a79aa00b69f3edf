//! A simulated machine, the store on it, and the reference beside it: each operation is done to
//! both, and an error is either a crash that was arranged, or a failed test.

use super::images::{found, images};
use super::reference::{Contents, Reference, Step};
use super::world::{Process, World};
use std::time::Duration;
use tidelog_engine::inspect::Inspector;
use tidelog_engine::testing::{
    AfterFailedSync, CrashPolicy, Fault, FaultEffect, FaultOperation, FaultTimes, Random,
};
use tidelog_engine::{
    Clock, Durability, Engine, Error, ErrorKind, Options, Result, Snapshot, TableOptions,
};

/// What is the matter with the cold file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cold {
    Well,
    /// It cannot be read, written or synced, or is full.
    Failing,
    /// The store was opened without it.
    Absent,
}

/// See the module.
pub(crate) struct Sim {
    pub(crate) world: World,
    pub(crate) process: Option<Process>,
    pub(crate) reference: Reference,
    pub(crate) options: Options,
    pub(crate) cold: Cold,
    /// Snapshots, and what they must go on showing; none outlives its process.
    pub(crate) held: Vec<(Snapshot, Contents)>,
    /// Names the run in failures.
    pub(crate) context: String,
    pub(crate) seen: Seen,
    /// The disk fails now and then, so that what is due may not be done.
    pub(crate) faults: bool,
    /// At the last look since the store was opened.
    segment_bytes: u64,
    /// So many erased payloads were looked for since the store was opened.
    searched: usize,
}

/// Erased payloads are looked for by so many bytes at their front.
pub(crate) const PROBE: usize = 16;

/// What happened, so that a run cannot be idle unseen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) crashes: u64,
    /// Of them those that cut an opening off.
    pub(crate) crashes_in_recovery: u64,
    pub(crate) dropped: u64,
    pub(crate) moved: u64,
    pub(crate) segments: u64,
    /// Bytes of segments that went away.
    pub(crate) segments_gone: u64,
    pub(crate) degraded: u64,
    /// Payloads that were erased from the files.
    pub(crate) erased: u64,
}

impl Sim {
    /// A store with a keyed table and no other.
    ///
    /// # Errors
    /// The power is gone.
    pub(crate) fn start(world: World, options: Options, context: String) -> Result<Sim> {
        let process = world.open(&options)?;
        let values = process.engine.create_table("value", TableOptions::keyed());
        let reference = match values {
            Ok(values) => Reference::new(values, &world.clock),
            Err(error) => {
                process.kill();
                return Err(error);
            }
        };
        Ok(Sim { options, ..Sim::resume(world, process, reference, context) })
    }

    /// A store that was opened again, and what is known of it.
    pub(crate) fn resume(
        world: World,
        process: Process,
        reference: Reference,
        context: String,
    ) -> Sim {
        Sim {
            reference,
            world,
            process: Some(process),
            options: super::world::tiny(),
            cold: Cold::Well,
            held: Vec::new(),
            context,
            seen: Seen::default(),
            faults: false,
            segment_bytes: 0,
            searched: 0,
        }
    }

    /// Learns what a crash left.
    pub(crate) fn recover(&mut self, power_losses: u64) -> Result<()> {
        let engine = self.engine();
        self.reference.recover(&engine, &self.world.clock, power_losses, &self.context)
    }

    pub(crate) fn engine(&self) -> Engine {
        self.process.as_ref().expect("a process runs").engine.clone()
    }

    pub(crate) fn is_crashed(&self) -> bool {
        self.world.disk.crashed() || self.world.cold.as_ref().is_some_and(|cold| cold.crashed())
    }

    pub(crate) fn create(&mut self, name: &'static str, options: TableOptions) -> Result<()> {
        self.reference.create(&self.engine(), name, options).map(|_| ())
    }

    /// Gives a table other options.
    pub(crate) fn alter(&mut self, index: usize, options: TableOptions) -> Result<()> {
        self.reference.look(&self.world.clock);
        self.reference.alter(&self.engine(), index, options)
    }

    pub(crate) fn commit(&mut self, steps: &[Step], durability: Durability) -> Result<()> {
        let engine = self.engine();
        self.reference.commit(&engine, &self.world.clock, steps, durability).map(|_| ())
    }

    /// Time passes, and the workers do some steps.
    pub(crate) fn pass(&mut self, milliseconds: u64, steps: usize) {
        self.world.clock.advance(Duration::from_millis(milliseconds));
        let done = self.process.as_ref().expect("a process runs").scheduler.run_until_idle(steps);
        self.reference.look(&self.world.clock);
        if done < steps && !self.is_crashed() && !self.faults {
            self.reference.idle(&self.world.clock);
        }
        let bytes = self.process.as_ref().expect("a process runs").engine.stats().segment_bytes;
        self.seen.segments = self.seen.segments.max(bytes);
        self.seen.segments_gone += self.segment_bytes.saturating_sub(bytes);
        self.segment_bytes = bytes;
    }

    pub(crate) fn jump(&mut self, milliseconds: i64) {
        self.world.clock.jump_wall(milliseconds);
        self.reference.look(&self.world.clock);
    }

    /// Whether the wall clock is far ahead of true time.
    pub(crate) fn is_ahead(&self) -> bool {
        let true_ms = super::world::START_MS + self.world.clock.monotonic_ms();
        self.world.clock.wall_ms() > true_ms + 1000
    }

    pub(crate) fn flush(&mut self) -> Result<()> {
        let outcome = self.engine().flush();
        let whole = outcome.is_ok();
        self.unless_cold_fails(outcome)?;
        if whole {
            self.reference.all_durable();
        }
        Ok(())
    }

    pub(crate) fn compact(&mut self) -> Result<()> {
        let outcome = self.engine().compact();
        self.unless_cold_fails(outcome)
    }

    pub(crate) fn sync(&mut self) -> Result<()> {
        self.engine().sync()?;
        self.reference.all_durable();
        Ok(())
    }

    /// With a cold file that fails, background work may too, and nothing is lost.
    fn unless_cold_fails(&self, outcome: Result<()>) -> Result<()> {
        let allowed = |error: &Error| {
            let kind = error.kind();
            let of_cold = matches!(kind, ErrorKind::Io | ErrorKind::NoSpace | ErrorKind::ColdFile);
            self.cold != Cold::Well && of_cold && !self.is_crashed()
        };
        match outcome {
            Err(error) if allowed(&error) => Ok(()),
            outcome => outcome,
        }
    }

    pub(crate) fn hold(&mut self) {
        self.held.push((self.engine().snapshot(), self.reference.contents().clone()));
    }

    /// Everything that can be read is read. With a cold file that fails, what is cold is not.
    pub(crate) fn check(&mut self) -> Result<()> {
        self.reference.look(&self.world.clock);
        let engine = self.engine();
        let outcome = self.reference.check(&engine, &self.context);
        self.unless_cold_fails(outcome)?;
        let mut held = std::mem::take(&mut self.held);
        for one in &mut held {
            let outcome =
                self.reference.check_held(&engine, one, &format!("{}, held", self.context));
            self.unless_cold_fails(outcome)?;
        }
        self.held = held;
        self.search();
        Ok(())
    }

    /// What was erased is in no image of the files.
    fn search(&mut self) {
        let gone = self.reference.gone(&self.engine());
        if self.is_crashed() || gone.len() == self.searched {
            return;
        }
        self.searched = gone.len();
        self.seen.erased = self.seen.erased.max(gone.len() as u64);
        let long = gone.iter().filter(|(_, payload)| payload.len() >= PROBE);
        let payloads: Vec<_> =
            long.clone().map(|(_, payload)| ("erased", payload[..PROBE].to_vec())).collect();
        for (number, image) in images(&self.world).iter().enumerate() {
            if found(image, &payloads).is_empty() {
                continue;
            }
            let at =
                |payload: &[u8]| image.windows(PROBE).position(|bytes| bytes == &payload[..PROBE]);
            let leak = long.clone().find_map(|(place, payload)| Some((at(payload)?, place)));
            let story = leak.map(|(_, place)| self.reference.story(&self.engine(), place));
            panic!("{}: image {number} has {leak:?}, {story:?}", self.context);
        }
    }

    /// Lets workers go on until nothing retracted is older than its deadline, or the power is gone.
    pub(crate) fn erase(&mut self, deadline: Duration) {
        let half = deadline / 2 + Duration::from_secs(1);
        self.pass(u64::try_from(half.as_millis()).unwrap(), 100);
        if self.erase_for(2_000) {
            return;
        }
        let erasure = self.engine().stats().erasure;
        let waits = erasure
            .oldest_pending_ms
            .is_some_and(|age_ms| u128::from(age_ms) > deadline.as_millis());
        let excused = self.cold != Cold::Well || !self.held.is_empty();
        assert!(!waits || excused || self.is_crashed(), "{}: {erasure:?}", self.context);
    }

    /// Lets workers go on for some rounds. Whether nothing retracted is left, or the power is gone.
    pub(crate) fn erase_for(&mut self, rounds: usize) -> bool {
        for _ in 0..rounds {
            if self.is_crashed() || self.engine().stats().erasure.oldest_pending_ms.is_none() {
                return true;
            }
            self.pass(20, 50);
        }
        false
    }

    pub(crate) fn note_seen(&mut self) {
        let Some(process) = &self.process else { return };
        let stats = process.engine.stats();
        self.seen.dropped += stats.dropped_sstables;
        self.seen.moved += stats.moved_bytes;
        self.segment_bytes = 0;
        self.searched = 0;
    }

    /// Closes the store and opens it again.
    pub(crate) fn reopen(&mut self, with_cold: bool) -> Result<()> {
        self.note_seen();
        self.held.clear();
        let closed = self.engine().close();
        let orderly = closed.is_ok();
        self.unless_cold_fails(closed)?;
        let process = self.process.take().expect("a process runs");
        // Where something could not be flushed the log keeps it, as for a killed process.
        process.kill();
        self.mend_cold();
        self.process = Some(self.open(with_cold)?);
        match orderly {
            true => self.reference.reopened(&self.world.clock),
            false => self.recover(0)?,
        }
        self.check()
    }

    fn open(&mut self, with_cold: bool) -> Result<Process> {
        match with_cold || self.world.cold.is_none() {
            true => {
                self.cold = Cold::Well;
                self.world.open(&self.options)
            }
            false => {
                self.cold = Cold::Absent;
                self.seen.degraded += 1;
                self.world.open_without_cold(&self.options)
            }
        }
    }

    /// The cold file fails in one way or another from now on.
    pub(crate) fn fail_cold(&mut self, random: &mut Random) {
        let Some(cold) = self.world.cold.as_ref().filter(|_| self.cold == Cold::Well) else {
            return;
        };
        let (times, at) = (FaultTimes::Forever, random.below(3));
        let fault = |operation, effect| Fault { operation, at, times, effect };
        match random.below(4) {
            0 => cold.fail(fault(FaultOperation::Read, FaultEffect::Error)),
            1 => cold.fail(fault(FaultOperation::Write, FaultEffect::Error)),
            2 => {
                let effect = FaultEffect::FailedSync(AfterFailedSync::LostOnlyAfterCrash);
                cold.fail(fault(FaultOperation::Sync, effect));
            }
            _ => cold.set_capacity(Some(cold.used_bytes())),
        }
        self.cold = Cold::Failing;
        self.seen.degraded += 1;
    }

    /// The cold file is well again; a store that was opened without it does not know.
    pub(crate) fn mend_cold(&mut self) {
        if let Some(cold) = &self.world.cold {
            cold.clear_faults();
            cold.set_capacity(None);
        }
    }

    /// The process is gone; the machine too, unless all policies are `Kill`. Each opening may be
    /// arranged to be cut off as well, and the next policy says what is left then.
    pub(crate) fn crash(
        &mut self,
        policies: &mut dyn FnMut() -> (CrashPolicy, CrashPolicy),
        arrange: &mut dyn FnMut(&World),
    ) -> Result<()> {
        self.note_seen();
        self.held.clear();
        if let Some(process) = self.process.take() {
            process.kill();
        }
        let mut power_losses = 0;
        loop {
            self.seen.crashes += 1;
            let (main, cold) = policies();
            power_losses += u64::from(main != CrashPolicy::Kill);
            let mut after = self.world.after(&main);
            after.cold = self.world.cold.as_ref().map(|disk| disk.crash_image(&cold));
            self.world = after;
            self.mend_cold();
            arrange(&self.world);
            match self.open(true) {
                Ok(process) => self.process = Some(process),
                Err(error) => {
                    assert!(self.is_crashed(), "{}: it does not open: {error}", self.context);
                    self.seen.crashes_in_recovery += 1;
                    continue;
                }
            }
            let before = self.reference.clone();
            let Err(error) = self.recover(power_losses) else {
                return self.check();
            };
            assert!(self.is_crashed(), "{}: {error}", self.context);
            self.reference = before;
            self.process.take().expect("it was opened").kill();
        }
    }

    /// Looks at everything once more, closes the store, and verifies its files.
    pub(crate) fn end(mut self) -> Seen {
        for disk in [Some(&self.world.disk), self.world.cold.as_ref()].into_iter().flatten() {
            disk.crash_at(u64::MAX);
        }
        self.mend_cold();
        let context = self.context.clone();
        self.reopen(true).unwrap_or_else(|error| panic!("{context}: {error}"));
        let mut inspector = Inspector::over(std::sync::Arc::new(self.world.disk.reopen()));
        if let Some(cold) = &self.world.cold {
            inspector = inspector.with_cold(std::sync::Arc::new(cold.reopen()));
        }
        assert_eq!(inspector.verify().unwrap().faults, vec![], "{context}");
        self.seen
    }
}
