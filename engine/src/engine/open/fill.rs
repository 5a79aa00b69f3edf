//! Memtables are filled with the front of the log while the first pass reads on.
//!
//! ```text
//! one thread     read ─► verify ─► copy the bodies ─► … ─► look behind the end
//!                                    └─► belt
//! the opener                              └─► memtable, its successor, what is left for replay
//! ```
//! Half of the time of a replay is the one, half the other. Nothing but memory is touched here, so
//! that all of it can be thrown away where the first pass finds damage.
//!
//! # Invariants
//! 1. Only plain groups go in, and no more memtables are filled than may wait: neither the view nor
//!    the disk is needed for that. From the first other group on, all is left for replay.
//! 2. The belt ends when the first pass does, also where that fails.

use super::Parts;
use super::first_pass::{self, FirstPass};
use super::replay::{LogEnd, Replayed};
use crate::error::Result;
use crate::file::superblock::Superblock;
use crate::limits::FROZEN_MEMTABLES_MAX;
use crate::memtable::Memtable;
use crate::options::Options;
use crate::sync::{Arc, Condvar, Mutex};
use crate::version::Catalog;
use std::collections::VecDeque;

/// What the front of the log has become.
pub(super) struct Filled {
    /// Memtables with the groups that they hold, the oldest first.
    pub(super) memtables: Vec<(Arc<Memtable>, Vec<Replayed>)>,
    /// The groups behind them, as many as were kept.
    pub(super) rest: Vec<Replayed>,
}

/// Reads the log, and fills memtables meanwhile.
///
/// # Errors
/// Those of the first pass before those of filling.
pub(super) fn read_and_fill(
    parts: &Parts,
    superblock: &Superblock,
    catalog: &Catalog,
    options: &Options,
) -> Result<(FirstPass, Filled)> {
    let belt = Belt::default();
    let (mut first, mut filled) = (None, None);
    let mut read = || {
        let _end = EndOnDrop(&belt);
        let mut keep = |group| belt.push(group);
        first = Some(first_pass::read(&*parts.disk, superblock, catalog, options, &mut keep));
    };
    let mut fill = || filled = Some(fill(&belt, superblock, options));
    parts.scheduler.together("tidelog-open", &mut read, &mut fill);
    let first = first.expect("the first pass has run")?;
    let filled = filled.expect("filling has run")?;
    Ok((first, filled))
}

fn fill(belt: &Belt, superblock: &Superblock, options: &Options) -> Result<Filled> {
    let mut end = LogEnd::at_head(superblock);
    let mut memtables: Vec<(Arc<Memtable>, Vec<Replayed>)> = Vec::new();
    let mut rest = Vec::new();
    while let Some(group) = belt.take() {
        if !rest.is_empty() || !group.plain {
            rest.push(group);
            continue;
        }
        let next = end.behind(&group)?;
        let last = memtables.last();
        let takes = last.is_some_and(|(memtable, _)| group.fits(memtable, options, &end));
        if !takes && memtables.len() > FROZEN_MEMTABLES_MAX {
            rest.push(group);
            continue;
        }
        if !takes {
            // Its base is the oldest commit and time that it will hold.
            let fresh = Memtable::new(group.first_commit, group.time_ms);
            memtables.push((Arc::new(fresh), Vec::new()));
        }
        let (memtable, groups) = memtables.last_mut().expect("one was there, or was made");
        group.apply(memtable)?;
        groups.push(group);
        end = next;
    }
    Ok(Filled { memtables, rest })
}

/// Groups on their way from one thread to the other.
#[derive(Default)]
struct Belt {
    state: Mutex<BeltState>,
    moved: Condvar,
}

#[derive(Default)]
struct BeltState {
    groups: VecDeque<Replayed>,
    ended: bool,
}

/// Whoever waits at the belt must not wait for a thread that has failed.
struct EndOnDrop<'a>(&'a Belt);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.state.lock().ended = true;
        self.0.moved.notify_all();
    }
}

impl Belt {
    fn push(&self, group: Replayed) {
        self.state.lock().groups.push_back(group);
        self.moved.notify_all();
    }

    /// The next group, waited for; `None` at the end.
    fn take(&self) -> Option<Replayed> {
        let mut state = self.state.lock();
        loop {
            if let Some(group) = state.groups.pop_front() {
                return Some(group);
            }
            if state.ended {
                return None;
            }
            state = self.moved.wait(state);
        }
    }
}
