//! The highest anonymous memory: the kernel keeps no high-water mark of it, so a thread looks
//! often.

use super::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Watches from its start to its finish.
#[derive(Debug)]
pub struct MemoryWatch {
    state: Arc<State>,
    thread: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    peak: AtomicU64,
    is_over: AtomicBool,
}

impl State {
    fn look(&self) {
        if let Ok(bytes) = process::anonymous_bytes() {
            self.peak.fetch_max(bytes, Ordering::Relaxed);
        }
    }
}

impl MemoryWatch {
    /// Begins to watch.
    pub fn start() -> MemoryWatch {
        let state = Arc::new(State::default());
        let watched = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            while !watched.is_over.load(Ordering::Relaxed) {
                watched.look();
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        MemoryWatch { state, thread }
    }

    /// The highest that was seen so far.
    pub fn peak(&self) -> u64 {
        self.state.look();
        self.state.peak.load(Ordering::Relaxed)
    }

    /// The highest that was seen, the end included.
    pub fn finish(self) -> u64 {
        self.state.is_over.store(true, Ordering::Relaxed);
        self.state.look();
        self.thread.join().expect("the watch does not panic");
        self.state.peak.load(Ordering::Relaxed)
    }
}
