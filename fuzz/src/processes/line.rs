//! What the child tells its parent, a line each, through a pipe. What it says has happened: an
//! acknowledgement is written behind the commit that it speaks of.
//!
//! A line that has no end is no line: the child was killed while it wrote it.

use super::payload::Author;
use std::fmt::Write as _;
use std::io::{self, Write};

/// What the process is at, beside its commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    Opening,
    Opened,
    Flushing,
    Flushed,
    Compacting,
    Compacted,
    Closing,
    Closed,
}

const STAGES: [(Stage, &str); 8] = [
    (Stage::Opening, "opening"),
    (Stage::Opened, "opened"),
    (Stage::Flushing, "flushing"),
    (Stage::Flushed, "flushed"),
    (Stage::Compacting, "compacting"),
    (Stage::Compacted, "compacted"),
    (Stage::Closing, "closing"),
    (Stage::Closed, "closed"),
];

/// What background work has done since the store was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Work {
    pub(super) flushes: u64,
    pub(super) compactions: u64,
    pub(super) moved_bytes: u64,
    /// Moves to the cold tier that are due or being done.
    pub(super) moves: u64,
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    Stage(Stage),
    /// A bulk commit that nobody wants synced is handed to the store.
    Bulk {
        writer: u8,
        number: u64,
    },
    /// An operation was acknowledged.
    Acknowledged {
        writer: u8,
        number: u64,
        commit: u64,
        seqs: Vec<u64>,
    },
    Work(Work),
    /// All was done, in order.
    Done,
    /// Something went wrong that nobody did on purpose.
    Failed(String),
}

impl Line {
    /// The acknowledgement of an operation.
    pub(super) fn acknowledged(author: Author, commit: u64, seqs: Vec<u64>) -> Line {
        Line::Acknowledged { writer: author.writer, number: author.number, commit, seqs }
    }

    /// As text, with its end.
    pub(super) fn encode(&self) -> String {
        let mut text = match self {
            Line::Stage(stage) => {
                let name = STAGES.iter().find(|(other, _)| other == stage).map(|(_, name)| name);
                (*name.expect("every stage has a name")).to_owned()
            }
            Line::Bulk { writer, number } => format!("bulk {writer} {number}"),
            Line::Acknowledged { writer, number, commit, seqs } => {
                let mut text = format!("ack {writer} {number} {commit}");
                for seq in seqs {
                    let _ = write!(text, " {seq}");
                }
                text
            }
            Line::Work(work) => {
                let Work { flushes, compactions, moved_bytes, moves } = work;
                format!("work {flushes} {compactions} {moved_bytes} {moves}")
            }
            Line::Done => "done".to_owned(),
            Line::Failed(what) => format!("failed {}", what.replace('\n', "; ")),
        };
        text.push('\n');
        text
    }

    /// The line that a text without its end is; `None` for nonsense.
    pub(super) fn decode(text: &str) -> Option<Line> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        if let Some((stage, _)) = STAGES.iter().find(|(_, name)| *name == text) {
            return Some(Line::Stage(*stage));
        }
        if word == "failed" {
            return Some(Line::Failed(rest.to_owned()));
        }
        let numbers: Option<Vec<u64>> =
            rest.split_whitespace().map(|number| number.parse().ok()).collect();
        match (word, numbers?.as_slice()) {
            ("done", []) => Some(Line::Done),
            ("bulk", [writer, number]) => {
                Some(Line::Bulk { writer: u8::try_from(*writer).ok()?, number: *number })
            }
            ("ack", [writer, number, commit, seqs @ ..]) => Some(Line::Acknowledged {
                writer: u8::try_from(*writer).ok()?,
                number: *number,
                commit: *commit,
                seqs: seqs.to_vec(),
            }),
            ("work", &[flushes, compactions, moved_bytes, moves]) => {
                Some(Line::Work(Work { flushes, compactions, moved_bytes, moves }))
            }
            _ => None,
        }
    }

    /// Writes it to the parent.
    ///
    /// # Errors
    /// The parent has gone.
    pub(super) fn tell(&self) -> io::Result<()> {
        let mut output = io::stdout().lock();
        output.write_all(self.encode().as_bytes())?;
        output.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_were_written() {
        let work = Work { flushes: 1, compactions: 2, moved_bytes: 3, moves: 4 };
        let lines = [
            Line::Bulk { writer: 3, number: 9 },
            Line::Acknowledged { writer: 0, number: 1, commit: 7, seqs: vec![4, 5] },
            Line::Acknowledged { writer: 0, number: 1, commit: 7, seqs: Vec::new() },
            Line::Work(work),
            Line::Done,
            Line::Failed("no luck".to_owned()),
        ];
        let stages = STAGES.iter().map(|(stage, _)| Line::Stage(*stage));
        for line in lines.into_iter().chain(stages) {
            let text = line.encode();
            assert_eq!(Line::decode(text.strip_suffix('\n').unwrap()), Some(line));
        }
        assert_eq!(Line::decode("ack 1"), None);
        assert_eq!(Line::decode("ack 300 1 1"), None);
        assert_eq!(Line::decode("what"), None);
    }
}
