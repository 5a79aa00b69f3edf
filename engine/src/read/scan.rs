//! Scans of one timeline, both ways, and what is built from the same sources: get, latest, len.

use super::source::{Bounds, Cursor, Source};
use super::{Snapshot, View};
use crate::entry::{Direction, Entry, TableId};
use crate::error::Result;
use crate::sync::Arc;

/// Entries of one timeline in order; see [`Snapshot::scan`].
///
/// Lazy: a source is opened when the scan reaches it. After an error it ends.
pub struct Scan {
    snapshot: Snapshot,
    bounds: Bounds,
    direction: Direction,
    /// Backward: the sources not yet opened, newest first.
    rest: Box<dyn Iterator<Item = Result<Source>> + Send>,
    current: Option<(Cursor, u64)>,
    /// The seq given last: order is asserted across sources.
    last_seq: Option<u64>,
    ended: bool,
}

impl Scan {
    pub(super) fn new(
        snapshot: &Snapshot,
        view: &Arc<View>,
        table: TableId,
        key: &[u8],
        bounds: Bounds,
        direction: Direction,
    ) -> Result<Scan> {
        let key: Arc<[u8]> = key.into();
        let newest_first = Source::all(view, table, &key);
        let rest: Box<dyn Iterator<Item = Result<Source>> + Send> = match direction {
            Direction::Backward => Box::new(newest_first),
            Direction::Forward => {
                Box::new(oldest_first(newest_first, &bounds)?.into_iter().map(Ok))
            }
        };
        Ok(Scan {
            snapshot: snapshot.clone(),
            bounds,
            direction,
            rest,
            current: None,
            last_seq: None,
            ended: false,
        })
    }

    fn advance(&mut self) -> Result<Option<Entry>> {
        loop {
            if let Some((cursor, left)) = &mut self.current {
                if *left > 0 {
                    *left -= 1;
                    if let Some(entry) = cursor.next()? {
                        return Ok(Some(entry));
                    }
                }
                self.current = None;
            }
            let Some(source) = self.rest.next().transpose()? else {
                return Ok(None);
            };
            let indexes = source.indexes(&self.bounds)?;
            if !indexes.is_empty() {
                let start = match self.direction {
                    Direction::Forward => indexes.start,
                    Direction::Backward => indexes.end - 1,
                };
                let count = indexes.end - indexes.start;
                self.current = Some((source.cursor(start, self.direction)?, count));
            } else if self.direction == Direction::Backward && self.is_before_all(&source) {
                return Ok(None);
            }
        }
    }

    /// Backward: whether this source, and so every older one, lies below the bounds.
    fn is_before_all(&self, source: &Source) -> bool {
        source.first_seq() <= self.bounds.from || source.oldest_ms() < self.bounds.alive_from_ms
    }
}

impl Iterator for Scan {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Result<Entry>> {
        if self.ended {
            return None;
        }
        let next = self.advance();
        self.ended = !matches!(next, Ok(Some(_)));
        match next {
            Ok(Some(entry)) => {
                if let Some(last) = self.last_seq {
                    let ordered = match self.direction {
                        Direction::Forward => entry.seq > last,
                        Direction::Backward => entry.seq < last,
                    };
                    assert!(
                        ordered,
                        "sources of a timeline overlap: {} after {last}",
                        entry.seq
                    );
                }
                self.last_seq = Some(entry.seq);
                Some(Ok(entry))
            }
            Ok(None) => None,
            Err(error) => Some(Err(self.snapshot.explain(error))),
        }
    }
}

/// The sources that may hold something inside the bounds, oldest first.
fn oldest_first(
    newest_first: impl Iterator<Item = Result<Source>>,
    bounds: &Bounds,
) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for source in newest_first {
        let source = source?;
        let reached =
            source.first_seq() <= bounds.from || source.oldest_ms() < bounds.alive_from_ms;
        sources.push(source);
        if reached {
            // Every older source ends below the bounds.
            break;
        }
    }
    sources.reverse();
    Ok(sources)
}

/// Entries inside the bounds.
pub(super) fn count(view: &Arc<View>, table: TableId, key: &[u8], bounds: &Bounds) -> Result<u64> {
    let key: Arc<[u8]> = key.into();
    let mut total = 0;
    for source in Source::all(view, table, &key) {
        let source = source?;
        let indexes = source.indexes(bounds)?;
        total += indexes.end.saturating_sub(indexes.start);
        if source.oldest_ms() < bounds.alive_from_ms {
            break;
        }
    }
    Ok(total)
}

/// The highest seq at a commit, expired entries included; 0 if there is none.
pub(crate) fn latest_seq_at(
    view: &Arc<View>,
    table: TableId,
    key: &[u8],
    commit: u64,
) -> Result<u64> {
    let key: Arc<[u8]> = key.into();
    let bounds = Bounds {
        from: 0,
        to: u64::MAX,
        commit,
        alive_from_ms: 0,
    };
    for source in Source::all(view, table, &key) {
        let source = source?;
        let indexes = source.indexes(&bounds)?;
        if !indexes.is_empty() {
            let entry = source
                .cursor(indexes.end - 1, Direction::Backward)?
                .next()?;
            return Ok(entry.map_or(0, |entry| entry.seq));
        }
    }
    Ok(0)
}
