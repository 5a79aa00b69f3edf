//! Chats from outside: rows of a text file, read line by line, gzip or not.

pub(crate) mod irc;
pub(crate) mod jsonl;
mod lines;

pub(crate) use lines::Lines;

/// One entry to import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// Encoded timeline id.
    pub(crate) timeline: Vec<u8>,
    /// Sequence id given by the source.
    pub(crate) seq: Option<u64>,
    /// When it happened, in milliseconds since 1970 (UTC).
    pub(crate) event_ms: Option<i64>,
    /// The entry's bytes.
    pub(crate) payload: Vec<u8>,
}
