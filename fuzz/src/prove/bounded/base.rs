//! The store that every workload begins with, and a workload that is run on it.

use super::operations::{
    CHAT, GUARDED, IN_TURN, INBOX, LARGE, Operation, SMALL, TTLS, payload, timeline,
};
use crate::prove::whole::crash_sweep::{Reached, options};
use crate::prove::whole::reference::{Reference, Step, send};
use crate::prove::whole::sim::{Seen, Sim};
use crate::prove::whole::world::{START_MS, World};
use std::time::Duration;
use tidelog_engine::testing::{CrashPolicy, SimClock};
use tidelog_engine::{Clock, Durability, Result, TableOptions};

/// Payloads of the base are those of places that no workload has.
const PLACES: u64 = 1000;

/// A machine whose process was killed: of what it has written, a part lies in SSTables and
/// segments, and the rest in the log, all of it durable.
pub(super) struct Base {
    world: World,
    reference: Reference,
}

/// A workload that was run to its end, or until the power was gone.
pub(super) struct Run {
    /// The machine without a process.
    pub(super) world: World,
    pub(super) reached: Reached,
    /// The number of the first disk operation of the last operation of the workload.
    pub(super) begins: u64,
}

impl Base {
    pub(super) fn new(seed: u64) -> Base {
        let world = World::new(seed);
        let context = format!("seed {seed}, the store that workloads begin with");
        let sim = Sim::start(world.clone(), options(&world), context.clone());
        let mut sim = sim.unwrap_or_else(|error| panic!("{context}: {error}"));
        fill(&mut sim).unwrap_or_else(|error| panic!("{context}: {error}"));
        sim.process.take().expect("a process runs").kill();
        Base { world, reference: sim.reference }
    }

    /// Opens the store and does the operations; the disk operation `crash_at` is the last one.
    pub(super) fn run(&self, workload: &[Operation], crash_at: u64) -> Run {
        let world = with_own_clock(self.world.after(&CrashPolicy::Kill), &self.world.clock);
        world.disk.crash_at(crash_at);
        let context = format!("seed {}, {workload:?}", self.world.seed);
        let of_store = options(&world);
        let process = match world.open(&of_store) {
            Ok(process) => process,
            Err(error) => {
                assert!(world.disk.crashed(), "{context}: it does not open: {error}");
                let reference = Some(self.reference.clone());
                let reached = Reached { reference, seen: Seen::default(), is_whole: false };
                return Run { world, reached, begins: 0 };
            }
        };
        let reference = self.reference.clone();
        let mut sim = Sim::resume(world.clone(), process, reference, context.clone());
        sim.options = of_store;
        let mut begins = 0;
        let outcome = sim.recover(0).and_then(|()| {
            for (place, operation) in (0..).zip(workload) {
                begins = sim.world.disk.operation_count();
                operation.perform(&mut sim, place)?;
            }
            Ok(())
        });
        if let Err(error) = &outcome {
            assert!(world.disk.crashed(), "{context}: nothing was arranged, yet {error}");
        }
        // An opening that was cut off leaves none.
        if let Some(process) = sim.process.take() {
            process.kill();
        }
        let (reference, is_whole) = (Some(sim.reference), outcome.is_ok());
        Run { world, reached: Reached { reference, seen: sim.seen, is_whole }, begins }
    }
}

/// The same machine with a clock that shows the same time: what passes on one is not felt by
/// others. Nobody has moved the wall clock.
pub(super) fn with_own_clock(world: World, shows: &SimClock) -> World {
    let clock = SimClock::new(START_MS);
    clock.advance(Duration::from_millis(shows.monotonic_ms()));
    World { clock, ..world }
}

/// Entries, values and a large payload, flushed; and some that are in the log alone.
fn fill(sim: &mut Sim) -> Result<()> {
    sim.create("chat", TableOptions::timeline())?;
    sim.create("inbox", TableOptions::timeline().ttl(TTLS[0]))?;
    let (chat, inbox) = (timeline(sim, CHAT), timeline(sim, INBOX));
    let both = vec![chat.clone(), inbox.clone()];
    for place in PLACES..PLACES + 3 {
        let steps = [
            send(both.clone(), payload(place, SMALL)),
            Step::Put { key: GUARDED, value: payload(place, 20) },
            Step::Put { key: IN_TURN, value: payload(place, 20) },
        ];
        sim.commit(&steps, Durability::Buffered)?;
    }
    sim.commit(&[send(both, payload(PLACES + 3, LARGE))], Durability::Sync)?;
    sim.flush()?;
    sim.commit(&[send(vec![chat], payload(PLACES + 4, SMALL))], Durability::Buffered)?;
    sim.commit(&[send(vec![inbox], payload(PLACES + 5, LARGE))], Durability::Sync)?;
    sim.sync()
}
