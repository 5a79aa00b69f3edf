//! The one error type of the timeline library: what happened, and what the caller should do.
//!
//! The original library has four types of error (retry, invalid use, abort, unknown). They are the
//! [`Action`]s here; [`ErrorKind`] refines them.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// Result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller should do about an [`Error`]: the four types of the original library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Nothing was written. The same call may succeed later, unchanged.
    Retry,
    /// Nothing was written. The call is wrong, or does not fit what the store holds: change it.
    InvalidUse,
    /// The store, or what it holds, cannot serve this call. Repeating it does not help; look at the
    /// store (open it again, verify it, restore it).
    Abort,
    /// It is not known whether the write took effect. Read before writing again, or write again
    /// with the same message id where readers drop duplicates.
    Unknown,
}

/// What went wrong, for callers that branch on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The call makes no sense as given: fix the program. [`Action::InvalidUse`].
    InvalidUse,
    /// A value is beyond its limit, which the text names: send less. [`Action::InvalidUse`].
    TooLarge,
    /// The table does not exist: create it first; or no entry was ever written that an amendment
    /// names. [`Action::InvalidUse`].
    NotFound,
    /// The table exists already, with other options: open it, or name another.
    /// [`Action::InvalidUse`].
    AlreadyExists,
    /// A condition of the write does not hold, or a given sequence id is not above the last one.
    /// Nothing was written: read the state again and decide anew. [`Action::InvalidUse`].
    Conflict,
    /// The store has been closed, or is open for reading only. [`Action::InvalidUse`].
    Closed,
    /// The stored bytes are whole, but they are not a message, or an id, of the type asked for:
    /// open the table with the type it was written with. [`Error::entry`] says which entry it is.
    /// [`Action::Abort`].
    Decode,
    /// The file system is full. Nothing is lost; writing resumes when there is room.
    /// [`Action::Retry`].
    NoSpace,
    /// Another process has the store open for writing: wait for it to close. [`Action::Retry`].
    Locked,
    /// The system, or a queue, is short of something (threads, say). [`Action::Retry`].
    Overloaded,
    /// A reader beside a live writer was overtaken: take a new snapshot. [`Action::Retry`].
    SnapshotTooOld,
    /// Bytes in the file are not what was written there, and nothing of them was believed: verify
    /// the file, restore what is damaged. Other timelines stay readable. [`Action::Abort`].
    Corruption,
    /// The file of the cold tier is missing, foreign, or older than the store: what lies in it
    /// cannot be read, and is not lost. Give its path, or put it back. [`Action::Abort`].
    ColdFile,
    /// An earlier failed write left durability in doubt: every write fails until the store is
    /// opened again. Reads go on. [`Action::Abort`].
    Poisoned,
    /// The file was written by a version, or with features, that this build does not know.
    /// [`Action::Abort`].
    Unsupported,
    /// The disk refused an operation. A read may be tried again; of a write it is not known whether
    /// it took effect. [`Action::Unknown`].
    Io,
    /// Messages of the batch buffer were not written: [`Error::failures`] names each.
    /// [`Action::Unknown`], since each has its own.
    FlushFailed,
    /// User code called by the library (an encoder, a decoder) panicked. [`Action::Unknown`].
    Panicked,
    /// Anything else. [`Action::Unknown`].
    Unknown,
}

impl ErrorKind {
    /// What the caller should do.
    pub fn action(self) -> Action {
        match self {
            ErrorKind::InvalidUse
            | ErrorKind::TooLarge
            | ErrorKind::NotFound
            | ErrorKind::AlreadyExists
            | ErrorKind::Conflict
            | ErrorKind::Closed => Action::InvalidUse,
            ErrorKind::NoSpace
            | ErrorKind::Locked
            | ErrorKind::Overloaded
            | ErrorKind::SnapshotTooOld => Action::Retry,
            ErrorKind::Decode
            | ErrorKind::Corruption
            | ErrorKind::ColdFile
            | ErrorKind::Poisoned
            | ErrorKind::Unsupported => Action::Abort,
            ErrorKind::Io | ErrorKind::FlushFailed | ErrorKind::Panicked | ErrorKind::Unknown => {
                Action::Unknown
            }
        }
    }
}

/// One message that the batch buffer could not write.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FlushFailure {
    /// Name of the table of the message's (first) timeline.
    pub table: String,
    /// The message's (first) timeline.
    pub timeline: crate::TimelineId,
    /// Why.
    pub error: Error,
}

/// Where an entry lies that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct EntryPlace {
    /// Name of its table.
    pub table: String,
    /// Its timeline.
    pub timeline: crate::TimelineId,
    /// Its sequence id.
    pub seq: u64,
}

/// What went wrong. Cloneable: one failed write of the batch buffer fails many messages.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
    failures: Vec<FlushFailure>,
    entry: Option<EntryPlace>,
}

impl Error {
    /// An error of `kind` with a text for people.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error::build(kind, message.into(), None, Vec::new())
    }

    /// An error of `kind` that was caused by another one.
    pub fn with_source(
        kind: ErrorKind,
        message: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Error {
        Error::build(kind, message.into(), Some(source.into()), Vec::new())
    }

    /// A message's bytes that do not decode: what a [`Message`](crate::Message) implementation
    /// returns for them.
    pub fn decode(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Decode, message)
    }

    /// The kind.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What the caller should do: one of the four types of the original library.
    pub fn action(&self) -> Action {
        self.0.kind.action()
    }

    /// The messages that were not written, for [`ErrorKind::FlushFailed`]; empty otherwise. At most
    /// 1,024 are kept, the text says how many there were.
    pub fn failures(&self) -> &[FlushFailure] {
        &self.0.failures
    }

    /// The entry that could not be read, where the error is of one: it is there, but what is stored
    /// is no message of the type asked for. Its neighbours are not concerned.
    ///
    /// ```
    /// # let store = tidelog::Store::in_memory();
    /// use tidelog::{Row, Scan};
    /// store.table::<String>("t").create()?.timeline("room")?.store(&"no row".to_string())?;
    /// let rows = store.table::<Row>("t").open()?.timeline("room")?;
    /// let error = rows.scan(Scan::forward())?.next().expect("an item").unwrap_err();
    /// assert_eq!(error.entry().map(|entry| entry.seq), Some(1)); // a reader goes on behind it
    /// # Ok::<(), tidelog::Error>(())
    /// ```
    pub fn entry(&self) -> Option<&EntryPlace> {
        self.0.entry.as_ref()
    }

    /// The same error, said of an entry.
    pub(crate) fn at_entry(self, entry: EntryPlace) -> Error {
        let EntryPlace { table, timeline, seq } = &entry;
        let message = format!("table {table}, timeline {timeline}, entry {seq}: {self}");
        let (kind, failures) = (self.kind(), Vec::new());
        let source: Box<dyn StdError + Send + Sync> = Box::new(self);
        Error(Arc::new(Inner { kind, message, source: Some(source), failures, entry: Some(entry) }))
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::InvalidUse, message)
    }

    pub(crate) fn conflict(what: &str, expected: &str, found: &str) -> Error {
        let text = format!("conflict: {what}: expected {expected}, found {found}");
        Error::new(ErrorKind::Conflict, text)
    }

    pub(crate) fn closed() -> Error {
        Error::new(ErrorKind::Closed, "the store is closed")
    }

    pub(crate) fn of_another_process() -> Error {
        Error::new(ErrorKind::Closed, "another process opened the store: open it anew")
    }

    pub(crate) fn too_large(what: &str, value: usize, limit: usize) -> Error {
        let text = format!("too large: {what} is {value}, the limit is {limit}");
        Error::new(ErrorKind::TooLarge, text)
    }

    pub(crate) fn flush_failed(
        count: u64,
        failures: Vec<FlushFailure>,
        panics: &[String],
    ) -> Error {
        let mut text = format!("{count} buffered messages were not written");
        if let Some(first) = failures.first() {
            text.push_str(&format!(", the first of {}: {}", first.timeline, first.error));
        }
        if let Some(first) = panics.first() {
            text.push_str(&format!("; {} callbacks panicked, the first: {first}", panics.len()));
        }
        Error::build(ErrorKind::FlushFailed, text, None, failures)
    }

    fn build(
        kind: ErrorKind,
        message: String,
        source: Option<Box<dyn StdError + Send + Sync>>,
        failures: Vec<FlushFailure>,
    ) -> Error {
        Error(Arc::new(Inner { kind, message, source, failures, entry: None }))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({:?}: {})", self.0.kind, self.0.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<tidelog_engine::Error> for Error {
    fn from(error: tidelog_engine::Error) -> Error {
        use tidelog_engine::ErrorKind as Engine;
        let kind = match error.kind() {
            Engine::Io => ErrorKind::Io,
            Engine::Corruption => ErrorKind::Corruption,
            Engine::NoSpace => ErrorKind::NoSpace,
            Engine::Locked => ErrorKind::Locked,
            Engine::Poisoned => ErrorKind::Poisoned,
            Engine::NotFound => ErrorKind::NotFound,
            Engine::AlreadyExists => ErrorKind::AlreadyExists,
            Engine::Conflict => ErrorKind::Conflict,
            Engine::TooLarge => ErrorKind::TooLarge,
            Engine::InvalidUse => ErrorKind::InvalidUse,
            Engine::Unsupported => ErrorKind::Unsupported,
            Engine::SnapshotTooOld => ErrorKind::SnapshotTooOld,
            Engine::Closed => ErrorKind::Closed,
            Engine::ColdFile => ErrorKind::ColdFile,
            _ => ErrorKind::Unknown,
        };
        Error::build(kind, error.to_string(), Some(Box::new(error)), Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engine_errors_keep_their_source() {
        let engine = tidelog_engine::Error::NoSpace { what: "a table", needed: 7 };
        let error = Error::from(engine);
        assert_eq!(error.kind(), ErrorKind::NoSpace);
        assert_eq!(error.action(), Action::Retry);
        let source = error.source().expect("kept");
        assert!(source.downcast_ref::<tidelog_engine::Error>().is_some());
    }

    #[test]
    fn a_cold_file_that_is_not_there_is_no_doubt_about_a_write() {
        let problem = tidelog_engine::ColdFileProblem::Missing;
        let engine = tidelog_engine::Error::ColdFile { problem, detail: "gone".to_owned() };
        let error = Error::from(engine);
        assert_eq!((error.kind(), error.action()), (ErrorKind::ColdFile, Action::Abort));
    }
}
