//! The entries of many runs, read together: for the flush, which wants all of a frozen memtable,
//! run by run.
//!
//! ```text
//! runs ──► headers ──► newest chunks ──► chunks before them, one deeper each time ──► places
//!                                                              fronts of their messages ◄──┘
//! ```
//! What a run consists of lies all over the memtable, each piece is found by the one before, and
//! memory takes about as long for one as for ten that are asked for together. So a few dozen runs
//! go through these steps side by side.
//!
//! # Invariants
//! 1. Runs come in the order in which they were given, the entries of each from the oldest on.
//! 2. A group has at most [`ENTRIES_MAX`] entries: a long run is cut, and goes on in the next one.
//!
//! # Concurrency
//! One owner, who reads memtables that nobody writes to any more.

use super::cursor::Placed;
use super::run::{Chunk, Run};
use crate::sync::{AtomicU64, Ordering};
use std::hint::black_box;
use std::ops::Range;

/// Runs that are read together.
const RUNS_MAX: usize = 64;
/// Entries that are read together.
const ENTRIES_MAX: usize = 512;

/// Entries of a group that belong to one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// Index of the run.
    pub(crate) run: usize,
    /// Indexes in the group.
    pub(crate) entries: Range<usize>,
    /// No entry of the run comes behind these.
    pub(crate) ends: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Gatherer {
    /// The next run, and how many of its entries were in the groups so far.
    next: usize,
    taken: usize,
    /// The chunks of each run of the group that have wanted entries, the newest first.
    chunks: Vec<Vec<Chunk>>,
    bounds: Vec<Range<usize>>,
    entries: Vec<Placed>,
    parts: Vec<Part>,
}

impl Gatherer {
    /// Reads the next group; `bounds` says which entries of a run are wanted. Gives the number of
    /// runs that it is done with; none where there are no more.
    pub(crate) fn gather(
        &mut self,
        runs: &[Run],
        bounds: impl Fn(&Run) -> Range<usize>,
    ) -> Option<usize> {
        self.entries.clear();
        self.parts.clear();
        let first = self.next;
        let group = &runs[first..runs.len().min(first + RUNS_MAX)];
        if group.is_empty() {
            return None;
        }
        fetch(group.iter().flat_map(Run::header_ends));
        fetch(group.iter().flat_map(|run| run.chunk_ends(run.newest_chunk_index())));
        fetch_bytes(group.iter().filter_map(|run| run.key().first()));
        self.bounds.clear();
        self.bounds.extend(group.iter().map(bounds));
        self.bounds[0].start += self.taken;
        self.walk(group);
        self.place(group, first);
        fetch_bytes(self.parts.iter().flat_map(|part| {
            let entries = &self.entries[part.entries.clone()];
            entries.iter().flat_map(|placed| runs[part.run].message_front(placed.place))
        }));
        Some(self.next - first)
    }

    /// The parts of the group, each with at least one entry.
    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The entries of the group.
    pub(crate) fn entries(&self) -> &[Placed] {
        &self.entries
    }

    /// Finds the chunks that hold what is wanted: those of all runs that lie equally deep together.
    fn walk(&mut self, group: &[Run]) {
        self.chunks.resize_with(RUNS_MAX, Vec::new);
        self.chunks.iter_mut().for_each(Vec::clear);
        let mut is_over = false;
        while !std::mem::replace(&mut is_over, true) {
            let deeper = group.iter().zip(&self.bounds).zip(&self.chunks);
            fetch(
                deeper
                    .filter_map(|((run, wanted), chunks)| {
                        let last = chunks.last().filter(|last| last.base > wanted.start)?;
                        Some(run.chunk_ends(last.previous))
                    })
                    .flatten(),
            );
            for ((run, wanted), chunks) in group.iter().zip(&self.bounds).zip(&mut self.chunks) {
                let chunk = match chunks.last() {
                    _ if wanted.is_empty() => continue,
                    None => run.newest_chunk(),
                    Some(last) if last.base <= wanted.start => continue,
                    Some(last) => run.chunk(last.previous),
                };
                if chunks.last().is_some_and(|last| last.base >= wanted.end) {
                    // It leads to what is wanted, and has nothing of it.
                    chunks.clear();
                }
                chunks.push(chunk);
                is_over = false;
            }
        }
    }

    /// Takes the places of the entries, as many as a group may have.
    fn place(&mut self, group: &[Run], first: usize) {
        let wanted = group.iter().zip(&self.bounds).zip(&self.chunks);
        for (at, ((run, bounds), chunks)) in wanted.enumerate() {
            let begin = self.entries.len();
            let room = ENTRIES_MAX - begin;
            let end = bounds.end.min(bounds.start + room);
            for (index, chunk) in chunks.iter().enumerate().rev() {
                let newer = index.checked_sub(1).map(|newer| chunks[newer].base);
                let until = newer.map_or(end, |base| base.min(end));
                run.place_all(*chunk, chunk.base.max(bounds.start)..until, &mut self.entries);
            }
            let entries = begin..self.entries.len();
            let ends = end >= bounds.end;
            if !entries.is_empty() {
                self.parts.push(Part { run: first + at, entries, ends });
            }
            if !ends {
                let before = if at == 0 { self.taken } else { 0 };
                self.taken = before + (end - bounds.start);
                return;
            }
            self.next = first + at + 1;
            self.taken = 0;
        }
    }
}

/// Has memory bring all of these words into the processor's cache: their addresses are found
/// first, so that nothing stands between one load and the next.
pub(super) fn fetch<'a>(words: impl Iterator<Item = &'a AtomicU64>) {
    let words: Vec<&AtomicU64> = words.collect();
    black_box(words.iter().fold(0, |sum, word| sum ^ word.load(Ordering::Relaxed)));
}

/// The same of bytes.
pub(super) fn fetch_bytes<'a>(bytes: impl Iterator<Item = &'a u8>) {
    let bytes: Vec<&u8> = bytes.collect();
    black_box(bytes.iter().fold(0, |sum, byte| sum ^ **byte));
}
