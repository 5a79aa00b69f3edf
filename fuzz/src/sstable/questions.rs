//! What an SSTable can be asked, and what it should answer by a reference that is written to be
//! obvious and not fast.

use super::draw;
use std::ops::Bound;
use tidelog_engine::testing::Random;
use tidelog_engine::testing::fuzzing::segment::Record;
use tidelog_engine::testing::fuzzing::sstable::{
    Content, Contents, Open, Place, Row, Run, Version,
};
use tidelog_engine::{Direction, Entry, Error, KeyedOperation, Payload};

/// Most items of one answer: more than any table of a fuzzer has.
pub(super) const ITEMS_MAX: usize = 100_000;
/// Most entries, and most keys, that are looked up one by one.
const LOOKUPS_MAX: usize = 400;

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Question {
    /// The entry of a seq.
    Lookup(Vec<u8>, u64),
    /// How many entries lie before a seq, a commit and a time.
    Ranks(Vec<u8>, (u64, u64, u64)),
    /// The entries from the one of an index on.
    Walk(Vec<u8>, u64, Direction),
    /// Whether the filter lets a key pass that is there.
    Filter(Vec<u8>),
    /// The timelines by key.
    Timelines(Bound<Vec<u8>>),
    /// All timelines, as the directory has them.
    Directory,
    /// All entries from a key on.
    Scan(Option<Vec<u8>>),
    /// The versions of a key up to a commit; all of them, or those that matter.
    Versions(Vec<u8>, u64, bool),
    /// All versions from a key on; in one pass, or not.
    Keys(Bound<Vec<u8>>, bool),
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Entry(Option<Entry>),
    Ranks(Option<[u64; 3]>),
    Entries(Option<Vec<Entry>>),
    Passes(bool),
    Runs(Vec<Run>),
    Places(Vec<Place>),
    Versions(Vec<Version>),
}

/// Questions of every kind.
pub(super) fn some(random: &mut Random, contents: &Contents) -> Vec<Question> {
    let mut questions = Vec::new();
    match contents {
        Contents::Timelines { rows, .. } => {
            for _ in 0..12 {
                let row = &rows[random.index(rows.len())];
                of_row(random, row, &mut questions);
            }
            let absent = draw::key(random);
            questions.push(Question::Lookup(absent.clone(), 1));
            questions.push(Question::Walk(absent, 0, Direction::Forward));
            questions.push(Question::Timelines(bound(random, &rows[0].key)));
            questions.push(Question::Timelines(Bound::Unbounded));
            questions.push(Question::Directory);
            questions.push(Question::Scan(None));
            questions.push(Question::Scan(Some(draw::key(random))));
        }
        Contents::Keys(versions) => {
            for _ in 0..20 {
                let version = &versions[random.index(versions.len())];
                let (key, commit) = (version.key.clone(), version.commit);
                let most = [commit, commit.saturating_sub(1), u64::MAX][random.index(3)];
                questions.push(Question::Filter(key.clone()));
                questions.push(Question::Versions(key, most, random.chance(1, 2)));
            }
            let key = versions[random.index(versions.len())].key.clone();
            questions.push(Question::Versions(draw::key(random), u64::MAX, true));
            for pass in [false, true] {
                questions.push(Question::Keys(Bound::Unbounded, pass));
                questions.push(Question::Keys(bound(random, &key), pass));
            }
        }
    }
    questions
}

fn of_row(random: &mut Random, row: &Row, questions: &mut Vec<Question>) {
    let key = || row.key.clone();
    let mut near = |value: u64| value + random.below(2);
    let place = (near(row.seq), near(row.commit), near(row.time_ms));
    let direction = [Direction::Forward, Direction::Backward][random.index(2)];
    questions.push(Question::Filter(key()));
    questions.push(Question::Lookup(key(), row.seq));
    questions.push(Question::Lookup(key(), row.seq + 1));
    questions.push(Question::Ranks(key(), place));
    questions.push(Question::Walk(key(), random.below(6), direction));
    questions.push(Question::Walk(key(), u64::MAX, Direction::Backward));
    questions.push(Question::Timelines(bound(random, &row.key)));
}

fn bound(random: &mut Random, key: &[u8]) -> Bound<Vec<u8>> {
    match random.below(3) {
        0 => Bound::Included(draw::key(random)),
        1 => Bound::Included(key.to_vec()),
        _ => Bound::Excluded(key.to_vec()),
    }
}

/// Every entry by lookup and by both scans of its timeline, as far as there are not too many; every
/// key.
pub(super) fn every(contents: &Contents) -> Vec<Question> {
    let mut questions = Vec::new();
    match contents {
        Contents::Timelines { rows, .. } => {
            for row in rows.iter().step_by(rows.len().div_ceil(LOOKUPS_MAX)) {
                questions.push(Question::Lookup(row.key.clone(), row.seq));
            }
            for run in runs(rows, &Bound::Unbounded) {
                questions.push(Question::Walk(run.0.clone(), 0, Direction::Forward));
                questions.push(Question::Walk(run.0, u64::MAX, Direction::Backward));
            }
        }
        Contents::Keys(versions) => {
            for version in versions.iter().step_by(versions.len().div_ceil(LOOKUPS_MAX)) {
                questions.push(Question::Versions(version.key.clone(), version.commit, false));
            }
        }
    }
    questions
}

impl Question {
    /// Asks an SSTable.
    ///
    /// # Errors
    /// What the SSTable says.
    pub(super) fn ask(&self, open: &Open) -> Result<Answer, Error> {
        Ok(match self {
            Question::Lookup(key, seq) => Answer::Entry(open.lookup(key, *seq)?),
            Question::Ranks(key, place) => Answer::Ranks(open.ranks(key, *place)?),
            Question::Walk(key, start, direction) => {
                Answer::Entries(open.walk(key, *start, *direction, ITEMS_MAX)?)
            }
            Question::Filter(key) => Answer::Passes(open.may_have(key)?),
            Question::Timelines(from) => {
                Answer::Runs(open.timelines(from.as_ref().map(Vec::as_slice), ITEMS_MAX)?)
            }
            Question::Directory => {
                let mut runs = open.directory()?;
                runs.sort();
                Answer::Runs(runs)
            }
            Question::Scan(from) => Answer::Places(open.scan(from.as_deref(), ITEMS_MAX)?),
            Question::Versions(key, most, all) => {
                Answer::Versions(open.versions(key, *most, *all)?)
            }
            Question::Keys(from, pass) => {
                let from = from.as_ref().map(Vec::as_slice);
                Answer::Versions(open.keys(from, *pass, ITEMS_MAX)?)
            }
        })
    }

    /// What an undamaged SSTable of these contents answers.
    ///
    /// # Panics
    /// If a timeline is asked of keys, or the other way round.
    pub(super) fn expected(&self, contents: &Contents) -> Answer {
        match contents {
            Contents::Timelines { rows, records } => self.of_timelines(rows, records),
            Contents::Keys(versions) => self.of_keys(versions),
        }
    }

    fn of_timelines(&self, rows: &[Row], records: &[Record]) -> Answer {
        match self {
            Question::Lookup(key, seq) => {
                let row = run(rows, key).into_iter().find(|row| row.seq == *seq);
                Answer::Entry(row.map(|row| entry(row, records)))
            }
            Question::Ranks(key, place) => {
                let run = run(rows, key);
                let below = |is_below: &dyn Fn(&Row) -> bool| -> u64 {
                    run.iter().filter(|row| is_below(row)).count() as u64
                };
                let ranks = [
                    below(&|row| row.seq < place.0),
                    below(&|row| row.commit < place.1),
                    below(&|row| row.time_ms < place.2),
                ];
                Answer::Ranks((!run.is_empty()).then_some(ranks))
            }
            Question::Walk(key, start, direction) => {
                let run = run(rows, key);
                let mut entries: Vec<Entry> = run.iter().map(|row| entry(row, records)).collect();
                let start = usize::try_from(*start).unwrap_or(usize::MAX);
                match direction {
                    Direction::Forward => drop(entries.drain(..start.min(run.len()))),
                    Direction::Backward => {
                        entries.truncate(start.saturating_add(1));
                        entries.reverse();
                    }
                }
                Answer::Entries((!run.is_empty()).then_some(entries))
            }
            Question::Filter(_) => Answer::Passes(true),
            Question::Timelines(from) => Answer::Runs(runs(rows, from)),
            Question::Directory => Answer::Runs(runs(rows, &Bound::Unbounded)),
            Question::Scan(from) => {
                let behind = |row: &&Row| from.as_ref().is_none_or(|from| row.key >= *from);
                Answer::Places(rows.iter().filter(behind).map(place).collect())
            }
            Question::Versions(..) | Question::Keys(..) => unreachable!("it is no table of keys"),
        }
    }

    fn of_keys(&self, versions: &[Version]) -> Answer {
        match self {
            Question::Filter(_) => Answer::Passes(true),
            Question::Versions(key, most, all) => {
                let mut found = Vec::new();
                for version in versions.iter().filter(|version| version.key == *key) {
                    if version.commit > *most {
                        continue;
                    }
                    found.push(version.clone());
                    let base = [KeyedOperation::Put, KeyedOperation::Delete];
                    if !all && base.contains(&version.operation) {
                        break;
                    }
                }
                Answer::Versions(found)
            }
            Question::Keys(from, _) => {
                let behind = |version: &&Version| is_behind(from, &version.key);
                Answer::Versions(versions.iter().filter(behind).cloned().collect())
            }
            _ => unreachable!("it is no table of timelines"),
        }
    }
}

/// The place of an entry in a listing.
pub(super) fn place(row: &Row) -> Place {
    (row.key.clone(), row.seq, row.commit, row.time_ms)
}

/// The entries of one timeline.
fn run<'a>(rows: &'a [Row], key: &[u8]) -> Vec<&'a Row> {
    rows.iter().filter(|row| row.key == key).collect()
}

/// The timelines from a key on.
fn runs(rows: &[Row], from: &Bound<Vec<u8>>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for row in rows.iter().filter(|row| is_behind(from, &row.key)) {
        match runs.last_mut() {
            Some(run) if run.0 == row.key => (run.2, run.3) = (row.seq, run.3 + 1),
            _ => runs.push((row.key.clone(), row.seq, row.seq, 1)),
        }
    }
    runs
}

fn is_behind(from: &Bound<Vec<u8>>, key: &[u8]) -> bool {
    match from {
        Bound::Included(from) => key >= from.as_slice(),
        Bound::Excluded(from) => key > from.as_slice(),
        Bound::Unbounded => true,
    }
}

/// What is read of an entry.
fn entry(row: &Row, records: &[Record]) -> Entry {
    let mut entry = Entry {
        seq: row.seq,
        commit: row.commit,
        time_ms: row.time_ms,
        event_ms: row.event_ms,
        ttl_ms: row.ttl_ms,
        origin: row.origin.clone(),
        payload: Payload::from_vec(Vec::new()),
        revision: None,
        erased: row.content == Content::Erased,
    };
    match &row.content {
        Content::Erased => {}
        Content::Own(payload) => entry.payload = Payload::from_vec(payload.clone()),
        Content::Shared { record, is_origin } => {
            let record = &records[*record];
            entry.payload = Payload::from_vec(record.payload.clone());
            entry.event_ms = row.event_ms.or(record.event_ms);
            if row.origin.is_none() && !is_origin {
                entry.origin.clone_from(&record.origin);
            }
        }
    }
    entry
}
