//! Everything that a store can be asked, and its answers.
//!
//! The questions are those of the undamaged store: its tables, timelines, ids and keys. A damaged
//! store is asked the same; each of its answers is right, or an error.

use super::store::told;
use std::ops::Bound;
use tidelog_engine::{
    Direction, Engine, Entry, Error, Item, Result, Snapshot, TableId, TableInfo, TableKind,
    TimelineInfo,
};

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Tables(Vec<TableInfo>),
    Number(u64),
    Entry(Option<Entry>),
    Value(Option<Vec<u8>>),
    Timelines(Vec<TimelineInfo>),
    Entries(Vec<Entry>),
    Items(Vec<Item>),
    Values(Vec<(Vec<u8>, Vec<u8>)>),
}

/// What may be asked of a timeline or key.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Question {
    Tables,
    Timelines(TableId),
    Values(TableId, Bound<Vec<u8>>),
    Value(TableId, Vec<u8>),
    LatestSeq(TableId, Vec<u8>),
    Length(TableId, Vec<u8>),
    Latest(TableId, Vec<u8>),
    Get(TableId, Vec<u8>, u64),
    Versions(TableId, Vec<u8>, u64),
    Scan(TableId, Vec<u8>, (u64, u64), Direction),
    Items(TableId, Vec<u8>, Direction),
}

/// The questions, and what an undamaged store answers.
pub(crate) struct Truth {
    asked: Vec<(Question, Answer)>,
}

/// How a store's answers compare with the truth.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    /// Answers that are right.
    pub(crate) right: u64,
    /// Those that are errors.
    pub(crate) errors: Vec<Error>,
    /// The first that is neither.
    pub(crate) wrong: Option<String>,
}

impl Truth {
    /// Asks an undamaged store all that can be asked.
    ///
    /// # Errors
    /// Those of the engine.
    pub(crate) fn of(engine: &Engine) -> Result<Truth> {
        let mut asked = Vec::new();
        for question in questions(engine)? {
            let (answer, error) = ask(engine, &engine.snapshot(), &question);
            match error {
                Some(error) => return Err(error),
                None => asked.push((question, answer)),
            }
        }
        Ok(Truth { asked })
    }

    /// How many questions there are.
    pub(crate) fn count(&self) -> usize {
        self.asked.len()
    }

    /// The newest id of each timeline.
    pub(crate) fn latest_seq(&self, table: TableId, key: &[u8]) -> u64 {
        let is = |question: &Question| *question == Question::LatestSeq(table, key.to_vec());
        let found = self.asked.iter().find(|(question, _)| is(question));
        match found {
            Some((_, Answer::Number(seq))) => *seq,
            _ => 0,
        }
    }

    /// What scans over whole timelines and keyed tables have shown.
    #[cfg(test)]
    pub(crate) fn shown(&self) -> impl Iterator<Item = (TableId, &[u8], &Answer)> {
        self.asked.iter().filter_map(|(question, answer)| match question {
            Question::Scan(table, key, (0, u64::MAX), Direction::Forward) => {
                Some((*table, &key[..], answer))
            }
            Question::Values(table, Bound::Unbounded) => Some((*table, &b""[..], answer)),
            _ => None,
        })
    }

    /// Asks a store that lies the same, whose answers are its own affair. Gives the errors.
    pub(crate) fn errors(&self, engine: &Engine) -> Vec<Error> {
        let snapshot = engine.snapshot();
        let answers = self.asked.iter().map(|(question, _)| ask(engine, &snapshot, question));
        answers.filter_map(|(_, error)| error).collect()
    }

    /// Asks a store the same.
    pub(crate) fn compare(&self, engine: &Engine) -> Compared {
        let snapshot = engine.snapshot();
        let mut compared = Compared::default();
        for (question, right) in &self.asked {
            let (answer, error) = ask(engine, &snapshot, question);
            let is_right = match &error {
                None => answer == *right,
                Some(_) => answer.begins(right),
            };
            if !is_right {
                let error = error.as_ref().map(told);
                let what = format!("{question:?}: {answer:?}, {error:?}, not {right:?}");
                compared.wrong = Some(what);
                return compared;
            }
            match error {
                None => compared.right += 1,
                Some(error) => compared.errors.push(error),
            }
        }
        compared
    }
}

impl Answer {
    /// Whether this is the beginning of the right answer: what was given before an error.
    fn begins(&self, right: &Answer) -> bool {
        match (self, right) {
            (Answer::Timelines(part), Answer::Timelines(whole)) => whole.starts_with(part),
            (Answer::Entries(part), Answer::Entries(whole)) => whole.starts_with(part),
            (Answer::Items(part), Answer::Items(whole)) => whole.starts_with(part),
            (Answer::Values(part), Answer::Values(whole)) => whole.starts_with(part),
            // Nothing was given.
            _ => true,
        }
    }
}

fn questions(engine: &Engine) -> Result<Vec<Question>> {
    let snapshot = engine.snapshot();
    let mut questions = vec![Question::Tables];
    for table in engine.tables() {
        let id = table.id;
        if table.options.kind == TableKind::Keyed {
            questions.push(Question::Values(id, Bound::Unbounded));
            questions.push(Question::Value(id, b"not there".to_vec()));
            for pair in snapshot.values(id, Bound::Unbounded, Bound::Unbounded)? {
                let key = pair?.0.to_vec();
                questions.push(Question::Values(id, Bound::Excluded(key.clone())));
                questions.push(Question::Value(id, key));
            }
            continue;
        }
        questions.push(Question::Timelines(id));
        let known: Vec<TimelineInfo> = snapshot.timelines(id, b"", None)?.collect::<Result<_>>()?;
        for timeline in known {
            of_timeline(&snapshot, id, &timeline.key, &mut questions)?;
        }
        questions.push(Question::LatestSeq(id, b"not there".to_vec()));
    }
    Ok(questions)
}

fn of_timeline(
    snapshot: &Snapshot,
    table: TableId,
    key: &[u8],
    questions: &mut Vec<Question>,
) -> Result<()> {
    let key = || key.to_vec();
    questions.push(Question::LatestSeq(table, key()));
    questions.push(Question::Length(table, key()));
    questions.push(Question::Latest(table, key()));
    let latest = snapshot.latest_seq(table, &key())?;
    for direction in [Direction::Forward, Direction::Backward] {
        let scan = |range| Question::Scan(table, key(), range, direction);
        questions.push(scan((0, u64::MAX)));
        questions.push(scan((latest / 3, latest - latest / 4)));
        questions.push(Question::Items(table, key(), direction));
    }
    // Ids that the caller gives lie far apart.
    let step = if latest < 100 { 1 } else { 500 };
    for seq in (0..=latest + 1).step_by(step) {
        questions.push(Question::Get(table, key(), seq));
        questions.push(Question::Versions(table, key(), seq));
    }
    Ok(())
}

/// The answer, and the error that ended it.
fn ask(engine: &Engine, snapshot: &Snapshot, question: &Question) -> (Answer, Option<Error>) {
    let value = |payload: Option<tidelog_engine::Payload>| payload.map(|bytes| bytes.to_vec());
    match question {
        Question::Tables => (Answer::Tables(engine.tables()), None),
        Question::LatestSeq(table, key) => one(snapshot.latest_seq(*table, key), Answer::Number),
        Question::Length(table, key) => one(snapshot.len(*table, key), Answer::Number),
        Question::Latest(table, key) => one(snapshot.latest(*table, key), Answer::Entry),
        Question::Get(table, key, seq) => one(snapshot.get(*table, key, *seq), Answer::Entry),
        Question::Versions(table, key, seq) => {
            one(snapshot.versions(*table, key, *seq), Answer::Entries)
        }
        Question::Value(table, key) => {
            one(snapshot.value(*table, key), |found| Answer::Value(value(found)))
        }
        Question::Timelines(table) => {
            many(snapshot.timelines(*table, b"", None), |found| found, Answer::Timelines)
        }
        Question::Values(table, from) => {
            let from = from.as_ref().map(|key| &key[..]);
            let owned = |(key, value): (_, tidelog_engine::Payload)| {
                let key: Box<[u8]> = key;
                (key.into_vec(), value.to_vec())
            };
            many(snapshot.values(*table, from, Bound::Unbounded), owned, Answer::Values)
        }
        Question::Scan(table, key, (from, to), direction) => {
            let scan = snapshot.scan(*table, key, *from, *to, *direction);
            many(scan, |entry| entry, Answer::Entries)
        }
        Question::Items(table, key, direction) => {
            let items = snapshot.scan_items(*table, key, 0, u64::MAX, *direction);
            many(items, |item| item, Answer::Items)
        }
    }
}

fn one<T>(outcome: Result<T>, answer: impl FnOnce(T) -> Answer) -> (Answer, Option<Error>) {
    match outcome {
        Ok(found) => (answer(found), None),
        Err(error) => (Answer::Number(0), Some(error)),
    }
}

/// Takes all items up to the first error, behind which there must be no other item.
///
/// # Panics
/// If an iterator goes on behind an error.
fn many<T, U>(
    outcome: Result<impl Iterator<Item = Result<T>>>,
    own: impl Fn(T) -> U,
    answer: impl FnOnce(Vec<U>) -> Answer,
) -> (Answer, Option<Error>) {
    let mut items = match outcome {
        Ok(items) => items,
        Err(error) => return (answer(Vec::new()), Some(error)),
    };
    let mut found = Vec::new();
    while let Some(item) = items.next() {
        match item {
            Ok(item) => found.push(own(item)),
            Err(error) => {
                let behind = items.by_ref().take(3).find(Result::is_ok);
                assert!(behind.is_none(), "an iterator goes on behind {}", told(&error));
                return (answer(found), Some(error));
            }
        }
    }
    (answer(found), None)
}
