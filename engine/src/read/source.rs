//! A source of one timeline: its run in a memtable, or its run in an SSTable, under one interface.

use super::View;
use crate::entry::{Direction, Entry, EntryView, Payload, TableId};
use crate::error::Result;
use crate::memtable::{Placed, Run, RunCursor};
use crate::planted::Planted;
use crate::sstable::{EntryCursor, Place, Rank, RunLocation, Sstable};
use crate::sync::Arc;

/// Entries of one timeline in one place, in the order of their seqs.
pub(super) enum Source {
    Memory { run: Run, count: u64 },
    Disk { level: u8, sstable: Arc<Sstable>, run: RunLocation },
}

/// What bounds a read: computed once, applied to each source.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Lowest and highest seq, inclusive.
    pub(super) from: u64,
    pub(super) to: u64,
    /// The snapshot: nothing committed later.
    pub(super) commit: u64,
    /// The fence of times to live: nothing committed earlier than this time.
    pub(super) alive_from_ms: u64,
    /// The expiry clock, for entries with a time to live of their own; 0: they are shown too.
    pub(super) now_ms: u64,
}

impl Source {
    /// Whether entries here may have a time to live of their own.
    pub(super) fn may_have_own_ttl(&self) -> bool {
        match self {
            Source::Memory { run, .. } => run.memtable().has_own_ttl(),
            Source::Disk { sstable, .. } => sstable.meta().own_ttl.entries() > 0,
        }
    }

    pub(super) fn first_seq(&self) -> u64 {
        match self {
            Source::Memory { run, .. } => run.first_seq(),
            Source::Disk { run, .. } => run.first_seq,
        }
    }

    pub(super) fn last_seq(&self) -> u64 {
        match self {
            Source::Memory { run, count } => run.seq(index(count - 1)),
            Source::Disk { run, .. } => run.last_seq,
        }
    }

    /// Commit time of the oldest entry here.
    pub(super) fn oldest_ms(&self) -> u64 {
        match self {
            Source::Memory { run, .. } => run.time_ms(0),
            Source::Disk { run, .. } => run.times_ms.0,
        }
    }

    /// Entries here, whatever their commit.
    pub(super) fn count(&self) -> u64 {
        match self {
            Source::Memory { count, .. } => *count,
            Source::Disk { run, .. } => run.count,
        }
    }

    /// Where it lies in the file; 0 where it is in memory.
    pub(super) fn place(&self) -> u64 {
        match self {
            Source::Memory { .. } => 0,
            Source::Disk { sstable, .. } => sstable.meta().extent.offset,
        }
    }

    /// The entries inside the bounds, as a range of indexes of this source.
    pub(super) fn indexes(&self, key: &[u8], bounds: &Bounds) -> Result<std::ops::Range<u64>> {
        match self {
            Source::Memory { run, count } => {
                let visible = run.count_at(bounds.commit).min(index(*count));
                let to = match bounds.to {
                    u64::MAX => visible,
                    to => run.lower_bound(to + 1, visible),
                };
                let from = match bounds.from {
                    0 | 1 => 0,
                    from => run.lower_bound(from, visible),
                };
                let alive = match bounds.alive_from_ms {
                    0 => 0,
                    time => run.rank_time(time, visible),
                };
                Ok(from.max(alive) as u64..to as u64)
            }
            Source::Disk { sstable, run, .. } => {
                let rank = |by| sstable.rank(key, run, by);
                let mut to = run.count;
                if bounds.to < run.last_seq {
                    to = rank(Rank::Seq(bounds.to + 1))?;
                }
                if bounds.commit < run.last_commit {
                    to = to.min(rank(Rank::Commit(bounds.commit + 1))?);
                }
                let mut from = 0;
                if bounds.from > run.first_seq {
                    from = rank(Rank::Seq(bounds.from))?;
                }
                if bounds.alive_from_ms > run.times_ms.0 {
                    from = from.max(rank(Rank::Time(bounds.alive_from_ms))?);
                }
                Ok(from..to)
            }
        }
    }

    /// A cursor that starts at entry `start` of this source.
    pub(super) fn cursor(&self, start: u64, direction: Direction) -> Cursor {
        match self {
            Source::Memory { run, .. } => Cursor::Memory(MemoryCursor {
                cursor: run.cursor(index(start), direction),
                placed: None,
                large: None,
                touched: (0, TOUCH_MIN / 2),
            }),
            Source::Disk { run, .. } => {
                Cursor::Disk(Box::new(Sstable::cursor(run, start, direction)))
            }
        }
    }

    /// Entry `start` of this source, alone.
    pub(super) fn entry(&self, key: &[u8], start: u64) -> Result<Option<Entry>> {
        let mut cursor = self.cursor(start, Direction::Forward);
        match cursor.step(self, key)? {
            Some(_) => cursor.entry().map(Some),
            None => Ok(None),
        }
    }
}

/// The sources of a timeline, newest first, found one by one.
///
/// It holds the memtables and SSTables that may have the timeline, and nothing else of the view.
pub(super) struct Sources {
    /// Runs in memtables, the newest last.
    runs: Vec<Run>,
    /// SSTables that may hold the timeline, with their levels, and how many were looked into.
    sstables: Vec<(u8, Arc<Sstable>)>,
    next: usize,
}

impl Sources {
    /// All sources of a timeline.
    pub(super) fn of(view: &View, table: TableId, key: &[u8]) -> Sources {
        let mut runs: Vec<Run> =
            view.memtables().filter_map(|memtable| memtable.run(table, key)).collect();
        runs.reverse();
        let sstables = view.version.leveled_candidates(table, key);
        let sstables = sstables.map(|(level, sstable)| (level, Arc::clone(sstable))).collect();
        let mut sstables: Vec<_> = sstables;
        if Planted::LevelsTurned.is_on() {
            sstables.reverse();
        }
        Sources { runs, sstables, next: 0 }
    }

    /// The next older source.
    pub(super) fn next(&mut self, key: &[u8]) -> Result<Option<Source>> {
        while let Some(run) = self.runs.pop() {
            let count = run.count() as u64;
            if count > 0 {
                return Ok(Some(Source::Memory { run, count }));
            }
        }
        while let Some((level, sstable)) = self.sstables.get(self.next) {
            self.next += 1;
            if let Some(run) = sstable.find(key)? {
                let (level, sstable) = (*level, Arc::clone(sstable));
                return Ok(Some(Source::Disk { level, sstable, run }));
            }
        }
        Ok(None)
    }
}

/// Walks the entries of a source. Used with the source that it was made of.
pub(super) enum Cursor {
    Memory(MemoryCursor),
    Disk(Box<EntryCursor>),
}

/// A cursor over a run in a memtable, and where it stands.
pub(super) struct MemoryCursor {
    cursor: RunCursor,
    placed: Option<Placed>,
    /// The payload of the entry, where it is large.
    large: Option<Payload>,
    /// Entries whose messages memory was asked for: those left of them, and of how many.
    touched: (usize, usize),
}

/// Messages that memory is asked for at once: at first, and at most.
const TOUCH_MIN: usize = 4;
const TOUCH_MAX: usize = 8;

impl Cursor {
    /// Goes to the next entry; `None` behind the last.
    pub(super) fn step(&mut self, source: &Source, key: &[u8]) -> Result<Option<Place>> {
        match (self, source) {
            (Cursor::Memory(cursor), _) => cursor.step(),
            (Cursor::Disk(cursor), Source::Disk { sstable, .. }) => cursor.step(sstable, key),
            (Cursor::Disk(_), Source::Memory { .. }) => {
                unreachable!("a cursor is used with the source that it was made of")
            }
        }
    }

    /// The entry that it stands at, borrowed.
    pub(super) fn view(&self) -> Result<EntryView<'_>> {
        match self {
            Cursor::Memory(cursor) => Ok(cursor.view()),
            Cursor::Disk(cursor) => cursor.view(),
        }
    }

    /// The entry that it stands at, whole.
    pub(super) fn entry(&self) -> Result<Entry> {
        match self {
            Cursor::Memory(cursor) => cursor.cursor.run().build(cursor.placed()),
            Cursor::Disk(cursor) => cursor.entry(),
        }
    }
}

impl MemoryCursor {
    fn step(&mut self) -> Result<Option<Place>> {
        if self.touched.0 == 0 {
            let more = (self.touched.1 * 2).min(TOUCH_MAX);
            self.touched = (self.cursor.touch_ahead(more), more);
        }
        self.touched.0 = self.touched.0.saturating_sub(1);
        self.placed = self.cursor.next_placed();
        let Some(placed) = self.placed else {
            return Ok(None);
        };
        let Placed { seq, commit, time_ms, place } = placed;
        let run = self.cursor.run();
        self.large = run.large_payload(place)?;
        Ok(Some(Place { seq, commit, time_ms, ttl_ms: run.own_ttl(place) }))
    }

    fn placed(&self) -> Placed {
        self.placed.expect("it stands at an entry")
    }

    fn view(&self) -> EntryView<'_> {
        self.cursor.run().view(self.placed(), self.large.as_ref())
    }
}

fn index(value: u64) -> usize {
    usize::try_from(value).expect("runs are far shorter than the address space")
}
