//! A walk along one run, entry by entry, that steps from chunk to chunk instead of searching.
//!
//! Chunks are linked from new to old. Backward that is the way; forward the cursor first notes the
//! chunks from the newest back to where it starts.

use super::gather::fetch_bytes;
use super::messages::MessagePlace;
use super::run::{Chunk, Run};
use crate::entry::{Direction, Entry};
use crate::error::Result;

/// An entry, and the message that it is of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placed {
    pub(crate) seq: u64,
    pub(crate) commit: u64,
    pub(crate) time_ms: u64,
    pub(crate) place: MessagePlace,
}

/// See the module. Owns what it needs; entries appended after it was made are not met.
#[derive(Debug)]
pub(crate) struct RunCursor {
    run: Run,
    direction: Direction,
    /// The chunk of entry `index`.
    chunk: Chunk,
    index: usize,
    /// Entries still to come.
    remaining: usize,
    /// Forward only: the chunks after `chunk`, the nearest last.
    ahead: Vec<Chunk>,
}

impl RunCursor {
    pub(super) fn new(run: Run, from_index: usize, direction: Direction) -> RunCursor {
        let count = run.count();
        let remaining = match direction {
            Direction::Forward => count.saturating_sub(from_index),
            Direction::Backward if from_index < count => from_index + 1,
            Direction::Backward => 0,
        };
        let mut chunk = run.newest_chunk();
        let mut ahead = Vec::new();
        while remaining > 0 && chunk.base > from_index {
            if direction == Direction::Forward {
                ahead.push(chunk);
            }
            chunk = run.chunk(chunk.previous);
        }
        RunCursor { run, direction, chunk, index: from_index, remaining, ahead }
    }

    /// The next entry without what it shares with others of its message.
    pub(crate) fn next_placed(&mut self) -> Option<Placed> {
        if self.remaining == 0 {
            return None;
        }
        let words = self.chunk.entry(self.run.memtable(), self.index);
        self.step();
        Some(self.run.placed(words))
    }

    /// Asks memory for the messages of the next entries, at most `count`, which lie in as many
    /// places; tells how many it asked for. For whoever will read them one by one.
    pub(crate) fn touch_ahead(&self, count: usize) -> usize {
        let here = match self.direction {
            Direction::Forward => {
                self.ahead.last().map_or(usize::MAX, |next| next.base) - self.index
            }
            Direction::Backward => self.index - self.chunk.base + 1,
        };
        let count = count.min(self.remaining).min(here);
        let memtable = self.run.memtable();
        let index = |step| match self.direction {
            Direction::Forward => self.index + step,
            Direction::Backward => self.index - step,
        };
        fetch_bytes((0..count).flat_map(|step| {
            let words = self.chunk.entry(memtable, index(step));
            memtable.message_front(MessagePlace(words.place))
        }));
        count
    }

    /// The run that it walks.
    pub(crate) fn run(&self) -> &Run {
        &self.run
    }

    fn step(&mut self) {
        self.remaining -= 1;
        if self.remaining == 0 {
            return;
        }
        match self.direction {
            Direction::Forward => {
                self.index += 1;
                if self.ahead.last().is_some_and(|next| next.base == self.index) {
                    self.chunk = self.ahead.pop().expect("looked at just now");
                }
            }
            Direction::Backward => {
                self.index -= 1;
                if self.index < self.chunk.base {
                    self.chunk = self.run.chunk(self.chunk.previous);
                }
            }
        }
    }
}

impl Iterator for RunCursor {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Result<Entry>> {
        let placed = self.next_placed()?;
        Some(self.run.build(placed))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining, Some(self.remaining))
    }
}

impl ExactSizeIterator for RunCursor {}
