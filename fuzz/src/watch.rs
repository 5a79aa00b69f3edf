//! Events that do not end: nothing in their thread would see that it goes round in circles.
//!
//! A thread looks at the number of the event now and then. Where it stays the same for too long,
//! somebody is told, who ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, park_timeout, spawn};
use std::time::{Duration, Instant};

/// Looks in the time that an event may take.
const LOOKS: u32 = 20;

/// Watches the events of a run until it is dropped.
pub(crate) struct Watch {
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    number: AtomicU64,
    over: AtomicBool,
}

impl Watch {
    /// Tells `late` of an event that takes longer than `limit`, once, from a thread of its own.
    #[expect(clippy::disallowed_methods, reason = "nothing is simulated here")]
    pub(crate) fn new(limit: Duration, late: impl FnOnce(u64) + Send + 'static) -> Watch {
        let state = Arc::new(State::default());
        let seen = Arc::clone(&state);
        let thread = spawn(move || {
            let (mut number, mut since) = (0, Instant::now());
            while !seen.over.load(Ordering::Acquire) {
                park_timeout(limit / LOOKS);
                let now = seen.number.load(Ordering::Relaxed);
                if now != number {
                    (number, since) = (now, Instant::now());
                } else if since.elapsed() >= limit && !seen.over.load(Ordering::Acquire) {
                    late(number);
                    return;
                }
            }
        });
        Watch { state, thread: Some(thread) }
    }

    /// An event begins.
    pub(crate) fn begin(&self, number: u64) {
        self.state.number.store(number, Ordering::Relaxed);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It cannot fail but by `late`, which has told of it.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn an_event_that_takes_too_long_is_told_and_others_are_not() {
        let (tell, told) = channel();
        let watch = Watch::new(Duration::from_millis(200), move |number| {
            tell.send(number).unwrap();
        });
        for number in 0..40 {
            watch.begin(number);
            park_timeout(Duration::from_millis(10));
        }
        assert!(told.try_recv().is_err(), "twice the limit has passed, but not for one event");
        watch.begin(77);
        assert_eq!(told.recv_timeout(Duration::from_secs(60)), Ok(77));
    }

    #[test]
    fn a_run_that_is_over_is_watched_no_more() {
        let (tell, told) = channel();
        drop(Watch::new(Duration::from_secs(3600), move |number| tell.send(number).unwrap()));
        assert!(told.recv().is_err());
    }
}
