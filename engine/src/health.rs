//! The poison cell: after a failed sync or ring write, every write refuses until the store is
//! opened again.
//!
//! Why: after a failed sync the kernel may have marked the pages clean without writing them, so a
//! later sync that succeeds proves nothing about them. The first cause is kept for ever.

use crate::error::{Error, Result};
use crate::planted::Planted;
use std::sync::{Arc, OnceLock};

/// Shared by everything that writes.
#[derive(Debug, Default, Clone)]
pub(crate) struct Health {
    cause: Arc<OnceLock<Arc<str>>>,
}

impl Health {
    /// Fails with the first cause if the store is poisoned.
    pub(crate) fn check(&self) -> Result<()> {
        match self.cause.get().filter(|_| !Planted::PoisonForgotten.is_on()) {
            None => Ok(()),
            Some(cause) => Err(Error::Poisoned { cause: Arc::clone(cause) }),
        }
    }

    /// Runs what leaves the store in doubt if it is cut off by a panic: then it is poisoned, before
    /// anything that was locked around the call is free again.
    pub(crate) fn guard<T>(&self, what: &'static str, run: impl FnOnce() -> T) -> T {
        let armed = PoisonOnPanic { health: self, what };
        let outcome = run();
        std::mem::forget(armed);
        outcome
    }

    /// Poisons the store, unless it is poisoned already, and returns the error for the caller.
    pub(crate) fn poison(&self, what: &str, error: &Error) -> Error {
        let cause = self.cause.get_or_init(|| Arc::from(format!("{what}: {error}")));
        Error::Poisoned { cause: Arc::clone(cause) }
    }
}

/// Dropped by a panic alone.
struct PoisonOnPanic<'a> {
    health: &'a Health,
    what: &'static str,
}

impl Drop for PoisonOnPanic<'_> {
    fn drop(&mut self) {
        let _ = self.health.poison(self.what, &Error::invalid("a panic"));
    }
}
