//! The whole engine over a simulated machine, against a list of what was committed.
//!
//! What is simulated: commits of every kind, background work in any order, flushes, compactions,
//! snapshots that are held, orderly closings, kills, and loss of power at any operation of the
//! disk, in recovery as well. What must hold:
//! 1. The store holds the commits that were acknowledged as durable, in order and whole, and a
//!    prefix of the others; after a mere kill it holds all.
//! 2. A seq is never given out twice, even if the first entry was lost; and seqs are dense as long
//!    as no power was lost.
//! 3. A snapshot goes on showing its moment.

mod contents;
mod machine;

use crate::harness::{each, ensure};
use crate::mutation::length;
use contents::{Change, Contents, Tables};
use machine::Machine;
use std::collections::BTreeMap;
use tidelog_engine::testing::{CrashPolicy, Random};
use tidelog_engine::{Durability, Error, Snapshot, TableOptions};

/// A run: the machine, and what it should hold.
struct Run {
    machine: Machine,
    tables: Tables,
    /// The contents that must be there.
    expected: Contents,
    /// Commits behind `expected` that a loss of power may take.
    unsynced: Vec<Vec<Change>>,
    /// The contents with the unsynced commits: what readers see.
    current: Contents,
    /// The highest seq that a timeline was ever given.
    issued: BTreeMap<Vec<u8>, u64>,
    /// Power was lost: seqs may jump.
    lost_power: bool,
    /// Snapshots, and what they must show.
    held: Vec<(Snapshot, Contents)>,
}

/// Random histories of a small store.
pub(crate) fn run(seed: u64, events: u64) -> Result<(), String> {
    each(seed, events, 256 << 20, |random| {
        let machine = Machine::start(random).map_err(|error| error.to_string())?;
        let create = |name, options| machine.engine().create_table(name, options);
        let messages = create("message", TableOptions::timeline());
        let values = create("value", TableOptions::keyed());
        let tables = Tables {
            messages: messages.map_err(|error| error.to_string())?,
            values: values.map_err(|error| error.to_string())?,
        };
        let mut run = Run {
            machine,
            tables,
            expected: Contents::default(),
            unsynced: Vec::new(),
            current: Contents::default(),
            issued: BTreeMap::new(),
            lost_power: false,
            held: Vec::new(),
        };
        for number in 0..20 + random.below(200) {
            run.step(random).map_err(|what| format!("step {number}: {what}"))?;
        }
        run.check()?;
        run.held.clear();
        run.machine.end();
        Ok(())
    })
}

impl Run {
    fn step(&mut self, random: &mut Random) -> Result<(), String> {
        let engine = self.machine.engine().clone();
        let text = |error: Error| error.to_string();
        match random.below(100) {
            0..70 => self.commit(random),
            70..82 => {
                self.machine.run_background(random.index(40));
                Ok(())
            }
            82..86 => {
                engine.flush().map_err(text)?;
                // The log is empty now: everything is in synced SSTables.
                self.all_durable();
                Ok(())
            }
            86 => engine.compact().map_err(text).map(|()| self.all_durable()),
            87 | 88 => engine.sync().map_err(text).map(|()| self.all_durable()),
            89 | 90 => {
                self.machine.pass_time(random);
                Ok(())
            }
            91 | 92 => self.check(),
            93 | 94 => {
                self.held.push((engine.snapshot(), self.current.clone()));
                Ok(())
            }
            95 => {
                self.held.clear();
                drop(engine);
                self.machine.close_and_open().map_err(text)?;
                self.all_durable();
                self.check()
            }
            _ => {
                drop(engine);
                self.crash(random)
            }
        }
    }

    fn commit(&mut self, random: &mut Random) -> Result<(), String> {
        let changes: Vec<Change> = (0..=length(random, 3)).map(|_| change(random)).collect();
        let durability = match random.chance(1, 2) {
            true => Durability::Sync,
            false => Durability::Buffered,
        };
        let batch = self.tables.batch(&changes).map_err(|error| error.to_string())?;
        let committed = self.machine.engine().commit(batch, durability);
        let committed = committed.map_err(|error| format!("a commit failed: {error}"))?;
        let changes = self.numbered(changes, &committed.seqs)?;
        self.current.apply(&changes);
        self.unsynced.push(changes);
        if durability == Durability::Sync {
            self.all_durable();
        }
        Ok(())
    }

    /// The changes with the seqs that the engine gave, which must be new, and dense unless power
    /// was lost.
    fn numbered(&mut self, changes: Vec<Change>, seqs: &[u64]) -> Result<Vec<Change>, String> {
        let mut seqs = seqs.iter().copied();
        let mut numbered = changes;
        for change in &mut numbered {
            let Change::Send { targets, .. } = change else {
                continue;
            };
            for (key, place) in targets {
                let seq = seqs.next().ok_or("a seq for each entry")?;
                let issued = self.issued.entry(key.clone()).or_default();
                let dense = seq == *issued + 1;
                ensure(dense || (self.lost_power && seq > *issued), || {
                    format!("seq {seq} of {key:?} behind {issued}")
                })?;
                *issued = seq;
                *place = seq;
            }
        }
        ensure(seqs.next().is_none(), || "more seqs than entries".to_owned())?;
        Ok(numbered)
    }

    fn all_durable(&mut self) {
        self.expected.clone_from(&self.current);
        self.unsynced.clear();
    }

    fn check(&self) -> Result<(), String> {
        let text = |error: Error| error.to_string();
        let now = self.machine.engine().snapshot();
        let found = Contents::read(&now, self.tables).map_err(text)?;
        found.compare(&self.current)?;
        for (snapshot, expected) in &self.held {
            let found = Contents::read(snapshot, self.tables).map_err(text)?;
            found.compare(expected).map_err(|what| format!("a held snapshot: {what}"))?;
        }
        Ok(())
    }

    /// The process dies, alone or with the machine; perhaps in the middle of work, perhaps again in
    /// recovery.
    fn crash(&mut self, random: &mut Random) -> Result<(), String> {
        self.held.clear();
        self.machine.crash_soon(random.below(12));
        let mut doubtful = None;
        while doubtful.is_none() && random.chance(5, 6) {
            let before = self.unsynced.len();
            let changes = vec![change(random), change(random)];
            let batch = self.tables.batch(&changes).map_err(|error| error.to_string())?;
            match self.machine.engine().commit(batch, Durability::Buffered) {
                Ok(committed) => {
                    let changes = self.numbered(changes, &committed.seqs)?;
                    self.current.apply(&changes);
                    self.unsynced.push(changes);
                }
                Err(_) => doubtful = Some(changes),
            }
            assert!(self.unsynced.len() - before <= 1);
            self.machine.run_background(random.index(6));
        }
        let kill = random.chance(1, 3);
        let policy = match kill {
            true => CrashPolicy::Kill,
            false => CrashPolicy::Random { seed: random.next_u64() },
        };
        self.machine.crash(&policy);
        if random.chance(1, 3) {
            // Recovery is cut off as well. What the next crash keeps is anybody's guess again.
            self.machine.crash_in_recovery(random.below(15), &policy);
        }
        let described = |what: String| format!("{policy:?}: {what}");
        self.machine.open().map_err(|error| described(error.to_string()))?;
        self.lost_power |= !kill;
        self.settle(kill, doubtful).map_err(described)
    }

    /// Finds how many of the unsynced commits are there, and goes on from them.
    fn settle(&mut self, kill: bool, doubtful: Option<Vec<Change>>) -> Result<(), String> {
        let snapshot = self.machine.engine().snapshot();
        let found = Contents::read(&snapshot, self.tables).map_err(|error| error.to_string())?;
        let mut candidate = std::mem::take(&mut self.expected);
        let least = if kill { self.unsynced.len() } else { 0 };
        let mut matching = (least == 0 && candidate == found).then_some(0);
        for (index, changes) in std::mem::take(&mut self.unsynced).iter().enumerate() {
            if matching.is_none() {
                candidate.apply(changes);
                matching = (index + 1 >= least && candidate == found).then_some(index + 1);
            }
        }
        if let (None, Some(changes)) = (matching, &doubtful) {
            candidate.apply(&found.numbered_like(&candidate, changes));
            matching = (candidate == found).then_some(usize::MAX);
        }
        if matching.is_none() {
            found.compare(&candidate)?;
        }
        for (key, entries) in &found.timelines {
            let last = entries.last().map_or(0, |(seq, _)| *seq);
            let issued = self.issued.entry(key.clone()).or_default();
            *issued = last.max(*issued);
        }
        self.current = found;
        self.all_durable();
        Ok(())
    }
}

/// One change of a batch; some payloads are long enough to fill blocks.
fn change(random: &mut Random) -> Change {
    let key = vec![b'k', random.next_u64().to_le_bytes()[0] % 8];
    let number = i64::from_le_bytes(random.next_u64().to_le_bytes());
    match random.below(10) {
        0 => Change::Put { key, value: number.to_le_bytes()[..random.index(9)].to_vec() },
        1 => Change::Delete { key },
        2 => Change::Add { key, amount: number },
        3 => Change::Max { key, value: number },
        _ => {
            let targets = (0..=length(random, 5)).map(|_| {
                let name = random.next_u64().to_le_bytes()[0] % 12;
                (vec![b't'; 1 + usize::from(name)], 0)
            });
            let targets = targets.collect();
            let mut payload = vec![0; length(random, 2000)];
            random.fill(&mut payload);
            Change::Send { targets, payload }
        }
    }
}
