//! The time of whoever gave none: it passes only while somebody waits, and nobody waits for it.

use crate::error::{Error, Result};
use crate::runtime::{Clock, Scheduler, Wake, Worker};
use crate::sync::{Arc, AtomicU64, Ordering};
use std::time::Duration;

/// See the module.
#[derive(Default)]
pub(super) struct UnhurriedTime {
    now_ms: AtomicU64,
}

impl Clock for UnhurriedTime {
    fn wall_ms(&self) -> u64 {
        self.monotonic_ms()
    }

    fn monotonic_ms(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }
}

impl Scheduler for UnhurriedTime {
    fn spawn(
        &self,
        name: &str,
        _: Box<dyn Worker>,
        _: Box<dyn FnOnce(String) + Send>,
    ) -> Result<Arc<dyn Wake>> {
        Err(Error::invalid(format!("the worker {name} has nobody to run it")))
    }

    fn pause(&self, limit: Duration) {
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        self.now_ms.fetch_add(limit_ms.max(1), Ordering::Relaxed);
    }

    fn single_threaded(&self) -> bool {
        true
    }
}
