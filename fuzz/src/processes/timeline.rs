//! The timelines and keys of the store that is killed, and who may write them.

use std::fmt;

/// Names of the tables, in the order of their creation.
pub(super) const TABLES: [&str; 3] = ["plain", "tiered", "value"];
/// Timelines of each kind for each writer, and shared ones.
pub(super) const EACH: u8 = 4;

/// What a timeline is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    /// One entry for each operation of its writer: it says which of them are there.
    Journal,
    /// Appended to, amended, trimmed, deleted from: by its writer alone.
    Direct,
    /// Where copies of direct entries go: of its writer alone.
    Copies,
    /// All writers append, nothing is ever taken out.
    Shared,
}

/// A timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Timeline {
    pub(super) kind: Kind,
    pub(super) writer: u8,
    pub(super) index: u8,
}

impl Timeline {
    /// The journal of a writer.
    pub(super) fn journal(writer: u8) -> Timeline {
        Timeline { kind: Kind::Journal, writer, index: 0 }
    }

    /// A timeline that everybody writes to.
    pub(super) fn shared(index: u8) -> Timeline {
        Timeline { kind: Kind::Shared, writer: 0, index }
    }

    /// Whether only one writer writes to it, so that it knows its sequence ids.
    pub(super) fn is_owned(&self) -> bool {
        self.kind != Kind::Shared
    }

    /// Index of its table: half of the timelines go to the cold tier when they are old.
    pub(super) fn table(&self) -> usize {
        usize::from(self.kind != Kind::Journal && self.index % 2 == 1)
    }

    /// Its id.
    pub(super) fn key(&self) -> Vec<u8> {
        self.to_string().into_bytes()
    }

    /// Those of a writer.
    pub(super) fn of_writer(writer: u8) -> Vec<Timeline> {
        let each = |kind| (0..EACH).map(move |index| Timeline { kind, writer, index });
        let journal = std::iter::once(Timeline::journal(writer));
        journal.chain(each(Kind::Direct)).chain(each(Kind::Copies)).collect()
    }

    /// All of so many writers.
    pub(super) fn all(writers: u8) -> Vec<Timeline> {
        let owned = (0..writers).flat_map(Timeline::of_writer);
        owned.chain((0..EACH).map(Timeline::shared)).collect()
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Journal => "journal",
            Kind::Direct => "direct",
            Kind::Copies => "copies",
            Kind::Shared => "shared",
        };
        write!(f, "{kind}-{}-{}", self.writer, self.index)
    }
}

/// A key of a keyed table; only its writer writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) writer: u8,
    /// Counters are added to; the others hold payloads.
    pub(super) counter: bool,
    pub(super) index: u8,
}

impl Key {
    /// Its bytes.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let kind = if self.counter { "counter" } else { "value" };
        format!("{kind}-{}-{}", self.writer, self.index).into_bytes()
    }
}
