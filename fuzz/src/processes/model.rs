//! What the store must hold: the operations that are there, done to plain maps.
//!
//! Which are there follows from the journals: all that were acknowledged, and of those that were
//! not at most what a writer had under way when it was killed, in order. An operation is in its
//! journal with everything that it did, or nothing of it is anywhere.

use super::payload::{Author, Payload};
use super::plan::{Action, Latest, Operation};
use super::setup::Setup;
use super::timeline::{Key, Timeline};
use std::collections::{BTreeMap, HashMap};

/// An entry's place: its timeline and sequence id.
pub(super) type Place = (Timeline, u64);

/// An entry that must be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) payload: Payload,
    pub(super) origin: Option<Place>,
    /// The commit that was acknowledged; `None` where none was.
    pub(super) commit: Option<u64>,
    /// The sequence id of an entry of a shared timeline, if it was acknowledged.
    pub(super) seq: Option<u64>,
}

/// What an amendment made of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Amended {
    Replaced(Payload),
    Retracted,
}

/// A value that must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    Payload(Payload),
    Counter(i64),
}

/// By what an entry of a shared timeline is known: its payload, or its origin, since amendments of
/// that change the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Identity {
    Payload(Payload),
    Origin(Place),
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// The newest sequence id of each timeline, by writer.
    latest: Vec<Latest>,
    /// Entries of the timelines that have one writer.
    pub(super) owned: HashMap<Timeline, BTreeMap<u64, Expected>>,
    pub(super) shared: HashMap<Timeline, HashMap<Identity, Expected>>,
    pub(super) amended: HashMap<Place, Amended>,
    pub(super) values: BTreeMap<Key, Value>,
    /// Operations done.
    pub(super) operations: u64,
}

impl Model {
    /// Nothing.
    pub(super) fn new(setup: &Setup) -> Model {
        let latest = (0..setup.writers).map(|_| Latest::new()).collect();
        Model { latest, ..Model::default() }
    }

    /// The newest sequence id of a timeline that has one writer.
    pub(super) fn latest(&self, timeline: Timeline) -> u64 {
        let of_writer = &self.latest[usize::from(timeline.writer)];
        of_writer.get(&timeline).copied().unwrap_or(0)
    }

    /// Does the next operation of a writer.
    ///
    /// # Errors
    /// What was acknowledged is not what such an operation is given.
    pub(super) fn apply(
        &mut self,
        setup: &Setup,
        author: Author,
        acknowledged: Option<&(u64, Vec<u64>)>,
    ) -> Result<(), String> {
        let latest = &mut self.latest[usize::from(author.writer)];
        let mut next = latest.clone();
        let operation = Operation::draw(setup, author, latest);
        let commit = acknowledged.map(|(commit, _)| *commit);
        let mut seqs = acknowledged.map(|(_, seqs)| seqs.iter().copied());
        for action in operation.actions {
            let Action::Append { targets, payload } = action else {
                self.change(action);
                continue;
            };
            let mut origin = None;
            for timeline in targets {
                let given = match &mut seqs {
                    None => None,
                    Some(seqs) => Some(seqs.next().ok_or(format!("{author:?}: too few seqs"))?),
                };
                let expected = Expected { payload, origin, commit, seq: given };
                if !timeline.is_owned() {
                    let identity = origin.map_or(Identity::Payload(payload), Identity::Origin);
                    let shared = self.shared.entry(timeline).or_default();
                    // The plan copies an entry to a timeline once.
                    shared.insert(identity, expected);
                    continue;
                }
                let seq = next.entry(timeline).or_default();
                *seq += 1;
                if given.is_some_and(|given| given != *seq) {
                    return Err(format!("{author:?} got {given:?} in {timeline}, not {seq}"));
                }
                self.owned.entry(timeline).or_default().insert(*seq, expected);
                origin = origin.or(Some((timeline, *seq)));
            }
        }
        self.operations += 1;
        match seqs.is_none_or(|mut seqs| seqs.next().is_none()) {
            true => Ok(()),
            false => Err(format!("{author:?}: too many seqs")),
        }
    }

    /// Does what is no append.
    fn change(&mut self, action: Action) {
        match action {
            Action::Append { .. } => {}
            Action::Put { key, payload } => _ = self.values.insert(key, Value::Payload(payload)),
            Action::Delete { key } => _ = self.values.remove(&key),
            Action::Add { key, amount } => {
                let value = self.values.entry(key).or_insert(Value::Counter(0));
                if let Value::Counter(sum) = value {
                    *sum = sum.wrapping_add(amount);
                }
            }
            Action::Trim { timeline, before } => {
                let entries = self.owned.entry(timeline).or_default();
                *entries = entries.split_off(&before);
            }
            Action::DeleteTimeline { timeline } => self.owned.entry(timeline).or_default().clear(),
            Action::DeleteEntry { timeline, seq } => {
                self.owned.entry(timeline).or_default().remove(&seq);
            }
            Action::Amend { timeline, seq, payload } => {
                self.amended.insert((timeline, seq), Amended::Replaced(payload));
            }
            Action::Retract { timeline, seq } => {
                self.amended.insert((timeline, seq), Amended::Retracted);
            }
        }
    }

    /// What amendments made of an entry at a place: its own, or those of its origin.
    pub(super) fn amended(&self, place: Place, expected: &Expected) -> Option<Amended> {
        let of_origin = expected.origin.and_then(|origin| self.amended.get(&origin));
        self.amended.get(&place).or(of_origin).copied()
    }
}
