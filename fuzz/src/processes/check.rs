//! The store against the model.

use super::model::{Amended, Expected, Identity, Model, Value};
use super::payload::Payload;
use super::setup::Setup;
use super::timeline::{Key, Timeline};
use super::witness::Witness;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use tidelog_engine::{Direction, Engine, Entry, Error, Snapshot, TableId};

/// Looks at everything in the store. Operations that are in their journals are done to the model
/// first; returns how many of them nobody had acknowledged.
///
/// # Errors
/// What is missing, invented or wrong.
pub(super) fn check(
    setup: &Setup,
    engine: &Engine,
    model: &mut Model,
    witness: &Witness,
) -> Result<u64, String> {
    let Some(tables) = Setup::find_tables(engine) else {
        return match witness.count() + model.operations {
            0 => Ok(0),
            count => Err(format!("{count} operations are there no more, nor are the tables")),
        };
    };
    let look = Look { setup, snapshot: &engine.snapshot(), tables };
    let doubtful = look.settle(model, witness)?;
    for timeline in Timeline::all(setup.writers) {
        let outcome = match timeline.is_owned() {
            true => look.owned(model, timeline),
            false => look.shared(model, timeline),
        };
        outcome.map_err(|what| format!("{timeline}: {what}"))?;
    }
    look.values(model)?;
    look.listing(model)?;
    Ok(doubtful)
}

fn text(error: Error) -> String {
    error.to_string()
}

struct Look<'a> {
    setup: &'a Setup,
    snapshot: &'a Snapshot,
    tables: [TableId; 3],
}

impl Look<'_> {
    fn entries(&self, timeline: Timeline, from: u64) -> Result<Vec<Entry>, String> {
        let table = self.tables[timeline.table()];
        let scan = self.snapshot.scan(table, &timeline.key(), from, u64::MAX, Direction::Forward);
        scan.map_err(text)?.collect::<Result<_, _>>().map_err(text)
    }

    /// Does to the model what the journals say.
    fn settle(&self, model: &mut Model, witness: &Witness) -> Result<u64, String> {
        let mut doubtful = 0;
        for writer in 0..self.setup.writers {
            let journal = Timeline::journal(writer);
            let entries = self.entries(journal, model.latest(journal) + 1)?;
            let authors = entries.iter().map(|entry| self.read(&entry.payload));
            let authors = authors.map(|payload| payload.map(|payload| payload.author));
            let authors: Vec<_> = authors.collect::<Result<_, _>>()?;
            witness.judge(self.setup, writer, &authors)?;
            for author in authors {
                let acknowledged = witness.of(&author);
                doubtful += u64::from(acknowledged.is_none());
                model.apply(self.setup, author, acknowledged)?;
            }
        }
        Ok(doubtful)
    }

    fn read(&self, bytes: &[u8]) -> Result<Payload, String> {
        Payload::read(self.setup.seed, bytes)
    }

    fn owned(&self, model: &Model, timeline: Timeline) -> Result<(), String> {
        let nothing = BTreeMap::new();
        let expected = model.owned.get(&timeline).unwrap_or(&nothing);
        let found = self.entries(timeline, 0)?;
        let (table, key) = (self.tables[timeline.table()], timeline.key());
        for entry in &found {
            let Some(expected) = expected.get(&entry.seq) else {
                return Err(format!("seq {} must not be there", entry.seq));
            };
            self.entry(model, timeline, expected, entry)?;
        }
        if found.len() != expected.len() {
            let seqs: BTreeSet<u64> = found.iter().map(|entry| entry.seq).collect();
            let lost: Vec<_> = expected.keys().filter(|seq| !seqs.contains(seq)).collect();
            return Err(format!("lost: {lost:?}"));
        }
        let latest = self.snapshot.latest_seq(table, &key).map_err(text)?;
        if latest != model.latest(timeline) {
            return Err(format!("the newest seq is {latest}, not {}", model.latest(timeline)));
        }
        // The other way round, by other cursors.
        let newest = self.snapshot.latest(table, &key).map_err(text)?;
        match newest.as_ref() == found.last() {
            true => Ok(()),
            false => Err(format!("the newest is {newest:?}, behind {:?}", found.last())),
        }
    }

    fn shared(&self, model: &Model, timeline: Timeline) -> Result<(), String> {
        let found = self.entries(timeline, 0)?;
        let expected = model.shared.get(&timeline);
        let mut known = BTreeSet::new();
        for (seq, entry) in (1..).zip(&found) {
            if entry.seq != seq {
                return Err(format!("seq {} where {seq} belongs", entry.seq));
            }
            let identity = match &entry.origin {
                Some(origin) => Identity::Origin((self.timeline(&origin.key)?, origin.seq)),
                None => Identity::Payload(self.read(&entry.payload)?),
            };
            let Some(expected) = expected.and_then(|expected| expected.get(&identity)) else {
                return Err(format!("seq {seq} is invented: {identity:?}"));
            };
            if expected.seq.is_some_and(|given| given != seq) {
                return Err(format!("seq {seq} was acknowledged as {:?}", expected.seq));
            }
            let author = expected.payload.author;
            if !known.insert((author, expected.payload.index)) {
                return Err(format!("{author:?} is there twice, at {seq} too"));
            }
            self.entry(model, timeline, expected, entry)?;
        }
        match expected.map_or(0, |expected| expected.len()) {
            count if count == found.len() => Ok(()),
            count => Err(format!("{} entries, not {count}", found.len())),
        }
    }

    fn timeline(&self, key: &[u8]) -> Result<Timeline, String> {
        let all = Timeline::all(self.setup.writers);
        let found = all.into_iter().find(|timeline| timeline.key() == key);
        found.ok_or_else(|| format!("a timeline that nobody wrote: {key:?}"))
    }

    /// One entry: its bytes, its commit, its origin, its amendments.
    fn entry(
        &self,
        model: &Model,
        timeline: Timeline,
        expected: &Expected,
        entry: &Entry,
    ) -> Result<(), String> {
        let seq = entry.seq;
        let wrong = |what: &str| Err(format!("seq {seq} of {:?}: {what}", expected.payload.author));
        if expected.commit.is_some_and(|commit| commit != entry.commit) {
            return wrong("another commit than was acknowledged");
        }
        let origin = match &entry.origin {
            None => None,
            Some(origin) => Some((self.timeline(&origin.key)?, origin.seq)),
        };
        if origin != expected.origin {
            return wrong(&format!("the origin is {origin:?}, not {:?}", expected.origin));
        }
        let amended = model.amended((timeline, seq), expected);
        if entry.revision.map(|revision| revision.retracted)
            != amended.map(|amended| amended == Amended::Retracted)
        {
            return wrong(&format!("{:?}, not {amended:?}", entry.revision));
        }
        let payload = match amended {
            None => expected.payload,
            Some(Amended::Replaced(payload)) => payload,
            Some(Amended::Retracted) if entry.payload.is_empty() => return Ok(()),
            Some(Amended::Retracted) => return wrong("a retracted entry has a payload"),
        };
        match self.read(&entry.payload)? {
            found if found == payload => Ok(()),
            found => wrong(&format!("the payload is {found:?}, not {payload:?}")),
        }
    }

    fn values(&self, model: &Model) -> Result<(), String> {
        let values = self.snapshot.values(self.tables[2], Bound::Unbounded, Bound::Unbounded);
        let found: Result<BTreeMap<_, _>, _> = values
            .map_err(text)?
            .map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())))
            .collect();
        let bytes = |(key, value): (&Key, &Value)| match value {
            Value::Payload(payload) => (key.bytes(), payload.bytes(self.setup.seed)),
            Value::Counter(sum) => (key.bytes(), sum.to_le_bytes().to_vec()),
        };
        let expected: BTreeMap<_, _> = model.values.iter().map(bytes).collect();
        let found = found.map_err(text)?;
        let all: BTreeSet<_> = found.keys().chain(expected.keys()).collect();
        match all.into_iter().find(|key| found.get(*key) != expected.get(*key)) {
            None => Ok(()),
            Some(key) => Err(format!("the value of {} is wrong", String::from_utf8_lossy(key))),
        }
    }

    /// Timelines that were ever written, and no others.
    fn listing(&self, model: &Model) -> Result<(), String> {
        let written = |timeline: &Timeline| match timeline.is_owned() {
            true => model.latest(*timeline) > 0,
            false => model.shared.get(timeline).is_some_and(|entries| !entries.is_empty()),
        };
        for table in 0..2 {
            let all = Timeline::all(self.setup.writers).into_iter();
            let of_table = all.filter(|timeline| timeline.table() == table).filter(written);
            let expected: BTreeSet<_> = of_table.map(|timeline| timeline.key()).collect();
            let listed = self.snapshot.timelines(self.tables[table], b"", None).map_err(text)?;
            let keys = listed.map(|info| info.map(|info| info.key.to_vec()));
            let found: BTreeSet<_> = keys.collect::<Result<_, _>>().map_err(text)?;
            if found != expected {
                return Err(format!(
                    "{} timelines are listed, not {}",
                    found.len(),
                    expected.len()
                ));
            }
        }
        Ok(())
    }
}
