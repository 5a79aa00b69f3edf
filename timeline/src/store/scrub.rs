//! [`Scrub`]: what the store holds, read from the device and verified.

use crate::error::Result;
use tidelog_engine::{ScrubCancel, ScrubProgress, ScrubReport};

/// A pass over all that a store holds, past every cache, at a pace, while the store is used. See
/// [`Store::scrub`](crate::Store::scrub).
///
/// It runs on the thread that steps it, and reads nothing between two steps. Dropping it ends it.
#[derive(Debug)]
pub struct Scrub {
    pub(super) inner: tidelog_engine::Scrub,
}

impl Scrub {
    /// Checks the next structure, and says whether there are more. Takes as long as the pace says:
    /// by default four seconds for an SSTable of 64 MiB.
    ///
    /// # Errors
    /// [`Closed`](crate::ErrorKind::Closed) once the store was closed, also while a step waits or
    /// reads: it ends at once. Faults are no errors: see [`Scrub::report`].
    pub fn step(&mut self) -> Result<bool> {
        Ok(self.inner.step()?)
    }

    /// Checks all that is left.
    ///
    /// # Errors
    /// As [`Scrub::step`].
    pub fn run(self) -> Result<ScrubReport> {
        Ok(self.inner.run()?)
    }

    /// What was found so far.
    pub fn report(&self) -> &ScrubReport {
        self.inner.report()
    }

    /// How far it is.
    pub fn progress(&self) -> ScrubProgress {
        self.inner.progress()
    }

    /// A way to end it from another thread.
    pub fn cancel(&self) -> ScrubCancel {
        self.inner.cancel()
    }
}
