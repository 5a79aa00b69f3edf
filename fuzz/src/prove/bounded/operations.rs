//! What can be done to a store in a workload: each operation is done to the store and to the
//! reference, and depends on nothing but what is there, and on its place in the workload.

use crate::prove::whole::reference::{self, Id, Step, send};
use crate::prove::whole::sim::Sim;
use std::time::Duration;
use tidelog_engine::testing::Random;
use tidelog_engine::{Durability, Result, TableOptions};

/// The tables, by their number in the reference: one that keeps everything, one that expires.
pub(super) const CHAT: usize = 0;
/// See [`CHAT`].
pub(super) const INBOX: usize = 1;
/// The key of a value that is replaced where it is what it was.
pub(super) const GUARDED: u8 = 1;
/// The key of a value that is there and not there in turn.
pub(super) const IN_TURN: u8 = 2;
/// The key of a counter.
const COUNTER: u8 = 3;
/// The times to live of the table that expires.
pub(super) const TTLS: [Duration; 2] = [Duration::from_secs(8), Duration::from_secs(16)];
/// Bytes of a payload that stays in its record, and of one that gets an extent of its own.
pub(super) const SMALL: usize = 100;
pub(super) const LARGE: usize = reference::LARGE_FROM + 1800;
/// A commit that waits for no sync is synced so much later.
const INTERVAL: Duration = Duration::from_millis(5);
/// So much time passes at once: more than [`INTERVAL`], less than a time to live.
const WAIT_MS: u64 = 5000;
/// More steps than the workers ever have to do in that time.
const WAIT_STEPS: usize = 1000;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Operation {
    /// An entry that may be lost.
    AppendBuffered,
    /// An entry that is durable when it is acknowledged.
    AppendDurable,
    /// One payload in an extent of its own, to two timelines, durable.
    AppendLarge,
    /// An entry and a value, if the value before is the one that is known; durable soon.
    AppendRequired,
    /// A value is deleted or comes back, and a counter grows.
    Keyed,
    /// One entry is retracted, and another gets a new payload.
    Amend,
    /// The front of one timeline is trimmed, and an entry of another deleted; durable.
    Trim,
    Sync,
    Flush,
    Compact,
    /// The store is closed in order, and opened by another process.
    Reopen,
    /// A table gets another time to live, which the manifest and the root must say.
    Alter,
    /// Time passes, and the workers do what is due: they sync, expire, compact.
    Wait,
}

/// All of them. Their order is that of the workloads' numbers.
pub(super) const OPERATIONS: [Operation; 13] = [
    Operation::AppendBuffered,
    Operation::AppendDurable,
    Operation::AppendLarge,
    Operation::AppendRequired,
    Operation::Keyed,
    Operation::Amend,
    Operation::Trim,
    Operation::Sync,
    Operation::Flush,
    Operation::Compact,
    Operation::Reopen,
    Operation::Alter,
    Operation::Wait,
];

impl Operation {
    /// Does it; `place` is its place in the workload.
    ///
    /// # Errors
    /// The power is gone.
    pub(super) fn perform(self, sim: &mut Sim, place: u64) -> Result<()> {
        match self {
            Operation::AppendBuffered => {
                let step = send(vec![timeline(sim, CHAT)], payload(place, SMALL));
                sim.commit(&[step], Durability::Buffered)
            }
            Operation::AppendDurable => {
                let step = send(vec![timeline(sim, CHAT)], payload(place, SMALL));
                sim.commit(&[step], Durability::Sync)
            }
            Operation::AppendLarge => {
                let targets = vec![timeline(sim, CHAT), timeline(sim, INBOX)];
                sim.commit(&[send(targets, payload(place, LARGE))], Durability::Sync)
            }
            Operation::AppendRequired => append_required(sim, place),
            Operation::Keyed => keyed(sim, place),
            Operation::Amend => amend(sim, place),
            Operation::Trim => trim(sim),
            Operation::Sync => sim.sync(),
            Operation::Flush => sim.flush(),
            Operation::Compact => sim.compact(),
            Operation::Reopen => reopen(sim),
            Operation::Alter => alter(sim),
            Operation::Wait => {
                sim.pass(WAIT_MS, WAIT_STEPS);
                Ok(())
            }
        }
    }
}

/// The timeline of a table that everything is about.
pub(super) fn timeline(sim: &Sim, table: usize) -> Id {
    let state = sim.reference.tables[table].state.as_ref().expect("it was created");
    (state.id, b"timeline".to_vec())
}

/// Bytes that cannot be compressed, and are those of no other place.
pub(super) fn payload(place: u64, length: usize) -> Vec<u8> {
    let mut payload = vec![0; length];
    Random::new(place).fill(&mut payload);
    payload
}

fn latest(sim: &Sim, id: &Id) -> u64 {
    sim.reference.contents().timelines[id].latest
}

fn append_required(sim: &mut Sim, place: u64) -> Result<()> {
    let replaced = reference::replace(sim.reference.contents(), GUARDED, payload(place, 20));
    let mut steps = replaced.to_vec();
    steps.push(send(vec![timeline(sim, INBOX)], payload(place, SMALL)));
    sim.commit(&steps, Durability::Interval(INTERVAL))
}

fn keyed(sim: &mut Sim, place: u64) -> Result<()> {
    let is_there = sim.reference.contents().values.contains_key(&vec![IN_TURN]);
    let in_turn = match is_there {
        true => Step::Delete { key: IN_TURN },
        false => Step::Put { key: IN_TURN, value: payload(place, 20) },
    };
    let steps = [in_turn, Step::Add { key: COUNTER, amount: 1 }];
    sim.commit(&steps, Durability::Buffered)
}

fn amend(sim: &mut Sim, place: u64) -> Result<()> {
    let id = timeline(sim, CHAT);
    let newest = (id.clone(), latest(sim, &id));
    let steps = [
        Step::Amend { place: (id, 1), payload: None },
        Step::Amend { place: newest, payload: Some(payload(place, SMALL)) },
    ];
    sim.commit(&steps, Durability::Buffered)
}

/// Of the first timeline the two newest entries stay.
fn trim(sim: &mut Sim) -> Result<()> {
    let (chat, inbox) = (timeline(sim, CHAT), timeline(sim, INBOX));
    let (before, newest) = (latest(sim, &chat) - 1, latest(sim, &inbox));
    let steps = [
        Step::Trim { id: chat, before },
        Step::DeleteRange { id: inbox, from: newest, to: newest },
    ];
    sim.commit(&steps, Durability::Sync)
}

fn reopen(sim: &mut Sim) -> Result<()> {
    sim.engine().close()?;
    // Whatever becomes of the opening.
    sim.reference.all_durable();
    sim.reopen(true)
}

fn alter(sim: &mut Sim) -> Result<()> {
    let state = sim.reference.tables[INBOX].state.as_ref().expect("it was created");
    let ttl_ms = state.options.ttl_ms.expect("it expires");
    let is_first = Duration::from_millis(ttl_ms) == TTLS[0];
    sim.alter(INBOX, TableOptions::timeline().ttl(TTLS[usize::from(is_first)]))
}
