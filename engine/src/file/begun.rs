//! A write that goes on while its caller does something else.
//!
//! # Invariants
//! 1. The buffer belongs to the write until it has ended: nobody can change or free it before.
//! 2. A write that was begun is waited for, at the latest when it is dropped: nothing reaches the
//!    disk behind the back of whoever gives the place to somebody else.
//!
//! # Concurrency
//! One owner.

use super::AlignedBuffer;
use super::disk::{Disk, Flush, write_all_at};
use crate::error::{Error, Result};
use std::io;

/// See the module.
#[must_use = "a write that was begun is ended"]
pub struct Begun {
    buffer: AlignedBuffer,
    end: Option<End>,
}

enum End {
    Ended(io::Result<usize>),
    Waits(Box<dyn FnOnce() -> io::Result<usize> + Send + Sync>),
}

impl Begun {
    /// A write that has ended already.
    pub(crate) fn ended(buffer: AlignedBuffer, outcome: io::Result<usize>) -> Begun {
        Begun { buffer, end: Some(End::Ended(outcome)) }
    }

    /// A write of what `buffer` holds. `wait` returns when it has ended, in any way.
    pub(super) fn going(
        buffer: AlignedBuffer,
        wait: Box<dyn FnOnce() -> io::Result<usize> + Send + Sync>,
    ) -> Begun {
        Begun { buffer, end: Some(End::Waits(wait)) }
    }

    fn wait(&mut self) -> io::Result<usize> {
        match self.end.take() {
            Some(End::Ended(outcome)) => outcome,
            // Linux 5.4 and 5.5 have rings that do not know this write: it was not begun.
            Some(End::Waits(wait)) => wait().map_err(|error| match error.kind() {
                io::ErrorKind::InvalidInput => io::ErrorKind::Interrupted.into(),
                _ => error,
            }),
            None => Err(io::Error::other("the write was waited for already")),
        }
    }

    /// Waits until all of the buffer was written to `disk` at `offset`, where it was begun, and
    /// gives it back. After a failure any part of it may be on the disk.
    pub(crate) fn finish(
        mut self,
        disk: &dyn Disk,
        operation: &'static str,
        offset: u64,
    ) -> (AlignedBuffer, Result<()>) {
        let outcome = self.wait();
        let buffer = std::mem::take(&mut self.buffer);
        let rest = match outcome {
            Ok(0) if !buffer.is_empty() => Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => Ok(&buffer.as_slice()[count.min(buffer.len())..]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(buffer.as_slice()),
            Err(error) => Err(error),
        };
        let outcome = match rest {
            Ok([]) => Ok(()),
            Ok(rest) => {
                let done = (buffer.len() - rest.len()) as u64;
                write_all_at(disk, operation, offset + done, rest, Flush::Later)
            }
            Err(error) => Err(Error::io(operation, offset, error)),
        };
        (buffer, outcome)
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if self.end.is_some() {
            // Whoever drops it wants no outcome.
            let _ = self.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{SimDisk, SimOptions};

    /// A kernel that knew the rings, but not the write, poisoned the store with the first large
    /// group.
    #[test]
    fn a_write_that_the_kernel_does_not_know_is_done_by_the_caller() {
        let disk = SimDisk::from_bytes(SimOptions::default(), &[0; 8192]);
        let mut buffer = AlignedBuffer::default();
        buffer.extend(&[7; 4096]);
        let unknown = Box::new(|| Err(io::ErrorKind::InvalidInput.into()));
        let (buffer, outcome) = Begun::going(buffer, unknown).finish(&disk, "write", 4096);
        outcome.unwrap();
        assert_eq!(buffer.as_slice(), [7; 4096]);
        assert_eq!(disk.bytes()[4096..], [7; 4096]);
        let mut buffer = AlignedBuffer::default();
        buffer.extend(&[8; 4096]);
        let failed = Box::new(|| Err(io::Error::from_raw_os_error(5)));
        Begun::going(buffer, failed).finish(&disk, "write", 4096).1.unwrap_err();
        assert_eq!(disk.bytes()[4096..], [7; 4096], "a failed write is not tried again");
    }
}
