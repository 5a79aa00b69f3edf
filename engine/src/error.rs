//! The engine's one error type. Each kind says what the caller should do about it.

use std::io;
use std::sync::Arc;

/// Result of every fallible engine call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong. Cloneable, since one failed sync fails a whole commit group.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The disk refused an operation. Reads may be tried again; after a failed write the store
    /// poisons itself where durability is in doubt.
    #[error("I/O error: {operation} at offset {offset}: {source}")]
    Io {
        /// What the engine was doing.
        operation: &'static str,
        /// File offset of the operation, in bytes.
        offset: u64,
        /// The operating system's error.
        source: Arc<io::Error>,
    },
    /// Bytes in the file are not what was written there. Nothing of them was believed.
    #[error("{0}")]
    Corruption(Corruption),
    /// The file system is full. Nothing is lost; writing resumes when there is room.
    #[error("no space left: {needed} bytes needed for {what}")]
    NoSpace {
        /// What the space was for.
        what: &'static str,
        /// Bytes that could not be had.
        needed: u64,
    },
    /// Another handle or process has the store open for writing.
    #[error("the store is locked by another writer: {path}")]
    Locked {
        /// The store's path.
        path: String,
    },
    /// An earlier failed sync or write left durability in doubt: every write fails until the store
    /// is opened again. Reads go on.
    #[error("the store refuses writes since an earlier failure, open it again: {cause}")]
    Poisoned {
        /// The first failure.
        cause: Arc<str>,
    },
    /// The thing asked for does not exist.
    #[error("not found: {what}")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// The thing to be created exists already.
    #[error("exists already: {what}")]
    AlreadyExists {
        /// What was to be created.
        what: String,
    },
    /// A precondition of a batch did not hold; nothing of the batch was written.
    #[error("precondition failed: {what}: expected {expected}, found {found}")]
    Conflict {
        /// The precondition.
        what: String,
        /// What the batch demanded.
        expected: String,
        /// What the store holds.
        found: String,
    },
    /// A value is beyond its limit; nothing was written.
    #[error("too large: {what} is {value}, the limit is {limit}")]
    TooLarge {
        /// The value's name.
        what: &'static str,
        /// The value.
        value: u64,
        /// Its limit.
        limit: u64,
    },
    /// The call makes no sense as given.
    #[error("invalid use: {what}")]
    InvalidUse {
        /// Why.
        what: String,
    },
    /// The file was written by a version, or with features, that this build does not know.
    #[error("unsupported: {what}")]
    Unsupported {
        /// What is not supported.
        what: String,
    },
    /// A reader beside a live writer was overtaken: open the snapshot again.
    #[error("the snapshot is too old: the writer has reused {what} at offset {offset}")]
    SnapshotTooOld {
        /// Which structure was overwritten.
        what: &'static str,
        /// Its file offset.
        offset: u64,
    },
    /// The second file, that of the cold tier, cannot be used: what lies in it cannot be read.
    #[error("the cold file is {problem}: {detail}")]
    ColdFile {
        /// What is wrong with it.
        problem: ColdFileProblem,
        /// What was expected and what was found.
        detail: String,
    },
    /// The store has been closed, or opened for reading only.
    #[error("closed: {what}")]
    Closed {
        /// Which handle, and why.
        what: &'static str,
    },
}

/// Where damage was found, and what it looks like.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("corruption in {what} at offset {offset}: {detail}")]
pub struct Corruption {
    /// The damaged structure.
    pub what: &'static str,
    /// Its file offset, in bytes.
    pub offset: u64,
    /// What was expected and what was found.
    pub detail: String,
}

/// Why a cold file cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ColdFileProblem {
    /// The store has one, and its path was not given.
    #[error("not given")]
    NotGiven,
    /// There is no file, or an empty one, at the path.
    #[error("missing")]
    Missing,
    /// The file belongs to another store, or is something else.
    #[error("foreign")]
    Foreign,
    /// The file is of another moment than the store: one of them was restored, or cut short.
    #[error("stale")]
    Stale,
    /// A write to it failed: it is written again when the store is opened again.
    #[error("failing")]
    Failing,
}

/// The kinds of [`Error`], for callers that branch on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// See [`Error::Io`].
    Io,
    /// See [`Error::Corruption`].
    Corruption,
    /// See [`Error::NoSpace`].
    NoSpace,
    /// See [`Error::Locked`].
    Locked,
    /// See [`Error::Poisoned`].
    Poisoned,
    /// See [`Error::NotFound`].
    NotFound,
    /// See [`Error::AlreadyExists`].
    AlreadyExists,
    /// See [`Error::Conflict`].
    Conflict,
    /// See [`Error::TooLarge`].
    TooLarge,
    /// See [`Error::InvalidUse`].
    InvalidUse,
    /// See [`Error::Unsupported`].
    Unsupported,
    /// See [`Error::SnapshotTooOld`].
    SnapshotTooOld,
    /// See [`Error::ColdFile`].
    ColdFile,
    /// See [`Error::Closed`].
    Closed,
}

impl Error {
    /// The kind, without its details.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Io { .. } => ErrorKind::Io,
            Error::Corruption(_) => ErrorKind::Corruption,
            Error::NoSpace { .. } => ErrorKind::NoSpace,
            Error::Locked { .. } => ErrorKind::Locked,
            Error::Poisoned { .. } => ErrorKind::Poisoned,
            Error::NotFound { .. } => ErrorKind::NotFound,
            Error::AlreadyExists { .. } => ErrorKind::AlreadyExists,
            Error::Conflict { .. } => ErrorKind::Conflict,
            Error::TooLarge { .. } => ErrorKind::TooLarge,
            Error::InvalidUse { .. } => ErrorKind::InvalidUse,
            Error::Unsupported { .. } => ErrorKind::Unsupported,
            Error::SnapshotTooOld { .. } => ErrorKind::SnapshotTooOld,
            Error::ColdFile { .. } => ErrorKind::ColdFile,
            Error::Closed { .. } => ErrorKind::Closed,
        }
    }

    /// An I/O error with its place. A full disk becomes [`Error::NoSpace`]; where the disk has an
    /// error of the engine to tell, it is that one.
    pub(crate) fn io(operation: &'static str, offset: u64, source: io::Error) -> Error {
        if let Some(inner) = source.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            return inner.clone();
        }
        let full = matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        );
        if full {
            return Error::NoSpace { what: operation, needed: 0 };
        }
        Error::Io { operation, offset, source: Arc::new(source) }
    }

    /// Damage at a place.
    pub(crate) fn corruption(what: &'static str, offset: u64, detail: impl Into<String>) -> Error {
        Error::Corruption(Corruption { what, offset, detail: detail.into() })
    }

    /// Where bytes are not what was written, or are not there any more. Beside a live writer that
    /// may be the writer's work.
    pub(crate) fn damaged_place(&self) -> Option<(&'static str, u64)> {
        match self {
            Error::Corruption(corruption) => Some((corruption.what, corruption.offset)),
            Error::Io { operation, offset, source }
                if source.kind() == io::ErrorKind::UnexpectedEof =>
            {
                Some((operation, *offset))
            }
            _ => None,
        }
    }

    /// Whether something could not be read: it is damaged, of another build, or on a disk that
    /// fails or is away.
    pub(crate) fn is_unreadable(&self) -> bool {
        let kind = self.kind();
        self.is_damage() || matches!(kind, ErrorKind::Io | ErrorKind::ColdFile)
    }

    /// Whether reading it again would find the same. What this build cannot read is for it what
    /// nobody can read.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(self.kind(), ErrorKind::Corruption | ErrorKind::Unsupported)
    }

    /// A call that makes no sense.
    pub(crate) fn invalid(what: impl Into<String>) -> Error {
        Error::InvalidUse { what: what.into() }
    }
}
