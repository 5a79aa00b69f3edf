//! How a command ends: its exit code, and what it says then.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | good |
//! | 1 | damage or a mismatch was found |
//! | 2 | wrong use |
//! | 3 | anything else: I/O, locked, no space, a snapshot that is too old |

use anyhow::anyhow;
use std::fmt::Display;
use std::io;
use tidelog_engine::{Error, ErrorKind};

/// Result of a command.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// Why a command did not end well.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The store or what was read of it is not what it should be.
    Damage(anyhow::Error),
    /// The arguments or the input make no sense.
    Usage(anyhow::Error),
    /// The world was in the way.
    Other(anyhow::Error),
    /// Nobody reads the output any more: a pipe into `head`.
    Unread,
}

impl Failure {
    /// Wrong use.
    pub(crate) fn usage(text: impl Display) -> Failure {
        Failure::Usage(anyhow!("{text}"))
    }

    /// Damage or a mismatch.
    pub(crate) fn damage(text: impl Display) -> Failure {
        Failure::Damage(anyhow!("{text}"))
    }

    /// What a report came to that was printed: where nobody reads on, what it found still counts.
    pub(crate) fn of_report(printed: Outcome) -> Outcome {
        match printed {
            Err(Failure::Unread) => Ok(()),
            outcome => outcome,
        }
    }

    /// With what was being done, in front.
    pub(crate) fn context(self, what: impl Display) -> Failure {
        let what = what.to_string();
        match self {
            Failure::Damage(error) => Failure::Damage(error.context(what)),
            Failure::Usage(error) => Failure::Usage(error.context(what)),
            Failure::Other(error) => Failure::Other(error.context(what)),
            Failure::Unread => Failure::Unread,
        }
    }

    /// The exit code, and the complaint.
    pub(crate) fn report(&self) -> (u8, Option<String>) {
        match self {
            Failure::Damage(error) => (1, Some(format!("{error:#}"))),
            Failure::Usage(error) => (2, Some(format!("{error:#}"))),
            Failure::Other(error) => (3, Some(format!("{error:#}"))),
            Failure::Unread => (0, None),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error.kind() {
            ErrorKind::Corruption => Failure::Damage(error.into()),
            ErrorKind::InvalidUse
            | ErrorKind::TooLarge
            | ErrorKind::NotFound
            | ErrorKind::AlreadyExists
            | ErrorKind::Conflict
            | ErrorKind::Unsupported => Failure::Usage(error.into()),
            _ => Failure::Other(error.into()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::Unread,
            _ => Failure::Other(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: Error, code: u8) {
        let failure: Failure = error.into();
        assert_eq!(failure.context("doing it").report().0, code);
    }

    #[test]
    fn each_kind_has_its_exit_code() {
        check(Error::NotFound { what: "table x".to_owned() }, 2);
        check(Error::Locked { path: "a.tide".to_owned() }, 3);
        check(Error::SnapshotTooOld { what: "an SSTable", offset: 1 }, 3);
        check(Error::NoSpace { what: "a flush", needed: 1 }, 3);
        let broken: Failure = io::Error::from(io::ErrorKind::BrokenPipe).into();
        assert_eq!(broken.report(), (0, None));
    }

    #[test]
    fn what_a_report_found_counts_where_nobody_reads_on() {
        let broken: Failure = io::Error::from(io::ErrorKind::BrokenPipe).into();
        assert!(Failure::of_report(Err(broken)).is_ok());
        let full: Failure = io::Error::from(io::ErrorKind::StorageFull).into();
        assert_eq!(Failure::of_report(Err(full)).unwrap_err().report().0, 3);
    }
}
