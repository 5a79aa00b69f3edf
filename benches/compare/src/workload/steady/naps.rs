//! What the machine itself adds to latencies: a thread that does nothing but sleep, and how late
//! it wakes.
//!
//! It asks for one millisecond at a time, and is given a processor as late as anybody else who
//! waits for nothing but that: whatever it is late by is the scheduler's and the hypervisor's
//! doing, under the load of the run, and no engine could have been quicker.

use super::Result;
use crate::measure::Latencies;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const NAP: Duration = Duration::from_millis(1);

/// How late the naps of a run ended.
pub struct Naps {
    late: Mutex<Late>,
}

struct Late {
    all: Latencies,
    /// The latest since [`Naps::take_latest`].
    latest: Duration,
}

impl Naps {
    /// None yet.
    pub fn new() -> Naps {
        Naps { late: Mutex::new(Late { all: Latencies::new(), latest: Duration::ZERO }) }
    }

    /// Naps until the run is over.
    pub fn go_on(&self, is_over: &AtomicBool) {
        while !is_over.load(Ordering::Relaxed) {
            let start = Instant::now();
            std::thread::sleep(NAP);
            self.note(start.elapsed().saturating_sub(NAP));
        }
    }

    fn note(&self, late: Duration) {
        if let Ok(mut noted) = self.late.lock() {
            noted.all.record(late);
            noted.latest = noted.latest.max(late);
        }
    }

    /// By how much the latest nap since the last call was late.
    pub fn take_latest(&self) -> Result<Duration> {
        let mut noted = self.late.lock().map_err(|_| "the napping thread has panicked")?;
        Ok(std::mem::take(&mut noted.latest))
    }

    /// By how much the naps were late, in microseconds: p99.9 and the latest of all.
    pub fn quantiles(&self) -> Result<(f64, f64)> {
        let noted = self.late.lock().map_err(|_| "the napping thread has panicked")?;
        Ok((noted.all.quantile(0.999), noted.all.quantile(1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_is_taken_once_and_the_quantiles_keep_it() {
        let naps = Naps::new();
        naps.note(Duration::from_millis(3));
        naps.note(Duration::from_millis(1));
        assert_eq!(naps.take_latest().unwrap(), Duration::from_millis(3));
        assert_eq!(naps.take_latest().unwrap(), Duration::ZERO);
        let (_, latest) = naps.quantiles().unwrap();
        assert!((3_000.0..3_010.0).contains(&latest), "{latest}");
    }
}
