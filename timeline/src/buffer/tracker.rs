//! [`Tracker`]: which buffered messages and callbacks are not done yet, and what has failed.
//!
//! 1. Work takes a [`Ticket`]; tickets are numbered in the order of the calls.
//! 2. The ticket is closed when its future is answered and its callback has returned: by dropping
//!    it, so no path can forget.
//! 3. A flush waits until no ticket below the number at its call is open, and gets the failures of
//!    those tickets. A failure goes to every flush that waits for it; where none waits, it is kept
//!    for the next flush.
//!
//! # Concurrency
//! One lock, a leaf: no other lock is taken, and no user code runs, while it is held.

use crate::error::{Error, FlushFailure, Result};
use crate::sync::{Condvar, Mutex};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Failures named in one report; more are counted only.
const FAILURES_MAX: usize = 1024;
/// Panics told in one report.
const PANICS_MAX: usize = 16;

#[derive(Default)]
pub(crate) struct Tracker {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    next: u64,
    open: BTreeSet<u64>,
    /// Failures that no flush has waited for.
    unreported: Report,
    /// Flushes that wait: number of the flush, to the first ticket it does not wait for.
    flushes: BTreeMap<u64, (u64, Report)>,
    next_flush: u64,
    panic_count: u64,
}

#[derive(Default)]
struct Report {
    failed: u64,
    failures: Vec<FlushFailure>,
    panics: Vec<String>,
}

/// A piece of work that is not done. Dropping it says that it is.
pub(crate) struct Ticket {
    tracker: Arc<Tracker>,
    number: u64,
}

impl Tracker {
    pub(crate) fn open(self: &Arc<Self>) -> Ticket {
        let mut state = self.state.lock();
        let number = state.next;
        state.next += 1;
        state.open.insert(number);
        Ticket { tracker: Arc::clone(self), number }
    }

    /// The number that the next ticket gets.
    pub(crate) fn next_number(&self) -> u64 {
        self.state.lock().next
    }

    /// Waits until fewer than `limit` tickets are open.
    pub(crate) fn wait_below(&self, limit: usize) {
        let mut state = self.state.lock();
        while state.open.len() >= limit {
            state = self.changed.wait(state);
        }
    }

    /// Callbacks that panicked since the store was opened.
    pub(crate) fn panic_count(&self) -> u64 {
        self.state.lock().panic_count
    }

    /// Waits until every ticket below `through` is closed.
    pub(crate) fn flush(&self, through: u64) -> Result<()> {
        let mut state = self.state.lock();
        let number = state.next_flush;
        state.next_flush += 1;
        let report = std::mem::take(&mut state.unreported);
        state.flushes.insert(number, (through, report));
        while state.open.first().is_some_and(|first| *first < through) {
            state = self.changed.wait(state);
        }
        let (_, report) = state.flushes.remove(&number).expect("this flush was put in above");
        drop(state);
        if report.failed == 0 && report.panics.is_empty() {
            return Ok(());
        }
        Err(Error::flush_failed(report.failed, report.failures, &report.panics))
    }

    fn report(&self, ticket: u64, add: impl Fn(&mut Report)) {
        let mut state = self.state.lock();
        let mut heard = false;
        for (through, report) in state.flushes.values_mut() {
            if ticket < *through {
                add(report);
                heard = true;
            }
        }
        if !heard {
            add(&mut state.unreported);
        }
    }
}

impl Ticket {
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn failed(&self, failure: &FlushFailure) {
        self.tracker.report(self.number, |report| {
            report.failed += 1;
            if report.failures.len() < FAILURES_MAX {
                report.failures.push(failure.clone());
            }
        });
    }

    pub(crate) fn panicked(&self, text: &str) {
        self.tracker.state.lock().panic_count += 1;
        self.tracker.report(self.number, |report| {
            if report.panics.len() < PANICS_MAX {
                report.panics.push(text.to_owned());
            }
        });
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.tracker.state.lock().open.remove(&self.number);
        self.tracker.changed.notify_all();
    }
}
