//! A source of one timeline: its run in a memtable, or its run in an SSTable, under one interface.

use super::View;
use crate::entry::{Direction, Entry, TableId};
use crate::error::Result;
use crate::memtable::{Run, RunCursor};
use crate::sstable::{EntryCursor, Rank, RunLocation, Sstable};
use crate::sync::Arc;

/// Entries of one timeline in one place, in the order of their seqs.
pub(super) enum Source {
    Memory { run: Run, count: u64 },
    Disk { level: u8, sstable: Arc<Sstable>, key: Arc<[u8]>, run: RunLocation },
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
    /// The timeline's run in an SSTable, if it has one.
    fn on_disk(level: u8, sstable: &Arc<Sstable>, key: &Arc<[u8]>) -> Result<Option<Source>> {
        let Some(run) = sstable.find(key)? else {
            return Ok(None);
        };
        let (sstable, key) = (Arc::clone(sstable), Arc::clone(key));
        Ok(Some(Source::Disk { level, sstable, key, run }))
    }

    /// All sources of a timeline, newest first, found one by one as the iterator goes on.
    pub(super) fn all(
        view: &Arc<View>,
        table: TableId,
        key: &Arc<[u8]>,
    ) -> impl Iterator<Item = Result<Source>> + use<> {
        let runs: Vec<_> = view
            .memtables()
            .filter_map(|memtable| memtable.run(table, key))
            .filter_map(|run| {
                let count = run.count_at(u64::MAX) as u64;
                (count > 0).then_some(Ok(Source::Memory { run, count }))
            })
            .collect();
        let sstables = view.version.leveled_candidates(table, key);
        let sstables: Vec<_> =
            sstables.map(|(level, sstable)| (level, Arc::clone(sstable))).collect();
        let key = Arc::clone(key);
        let disk = sstables
            .into_iter()
            .filter_map(move |(level, sstable)| Source::on_disk(level, &sstable, &key).transpose());
        runs.into_iter().chain(disk)
    }

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
    pub(super) fn indexes(&self, bounds: &Bounds) -> Result<std::ops::Range<u64>> {
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
            Source::Disk { sstable, key, run, .. } => {
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
    pub(super) fn cursor(&self, start: u64, direction: Direction) -> Result<Cursor> {
        Ok(match self {
            Source::Memory { run, .. } => Cursor::Memory(run.cursor(index(start), direction)),
            Source::Disk { sstable, key, run, .. } => {
                Cursor::Disk(Box::new(sstable.cursor(key, run, start, direction)?))
            }
        })
    }
}

/// Walks the entries of a source.
pub(super) enum Cursor {
    Memory(RunCursor),
    Disk(Box<EntryCursor>),
}

impl Cursor {
    pub(super) fn next(&mut self) -> Result<Option<Entry>> {
        match self {
            Cursor::Memory(cursor) => cursor.next().transpose(),
            Cursor::Disk(cursor) => cursor.next(),
        }
    }
}

fn index(value: u64) -> usize {
    usize::try_from(value).expect("runs are far shorter than the address space")
}
