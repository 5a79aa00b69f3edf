//! Scans of one timeline, both ways, and what is built from the same sources: get, latest, len.

use super::overlay::Overlay;
use super::pin::Pin;
use super::scattered::Scattered;
use super::source::{Bounds, Cursor, Source};
use super::{Fences, Snapshot, View};
use crate::engine::Core;
use crate::entry::{Direction, Entry, TableId};
use crate::error::{Error, Result};
use crate::limits::UNSYNCED_ENTRIES_MAX;
use crate::marks::Hole;
use crate::sync::Arc;
use std::ops::Range;

/// Entries of one timeline in order; see [`Snapshot::scan`].
///
/// Lazy: a source is opened when the scan reaches it. After an error it ends.
pub struct Scan {
    snapshot: Snapshot,
    table: TableId,
    key: Arc<[u8]>,
    bounds: Bounds,
    /// Deleted ranges are stepped over.
    fences: Fences,
    direction: Direction,
    /// Backward: the sources not yet opened, newest first.
    rest: Rest,
    /// Backward: of how many runs the sources so far were.
    scattered: Scattered,
    pin: Pin,
    current: Option<Current>,
    /// `None` where nothing has been amended.
    overlay: Option<Overlay>,
    /// The seq given last: order is checked across sources.
    last_seq: Option<u64>,
    ended: bool,
}

/// Sources that are still to come, in the order of the scan.
type Rest = Box<dyn Iterator<Item = Result<Source>> + Send>;

/// The source that the scan stands in.
struct Current {
    source: Source,
    cursor: Cursor,
    /// Entries inside the bounds that are still to come.
    left: u64,
}

/// A hole of fewer entries is read through; over a longer one a new cursor is opened.
const HOLE_READ_MAX: u64 = 64;

impl Scan {
    pub(super) fn new(
        snapshot: &Snapshot,
        view: &Arc<View>,
        table: TableId,
        key: &[u8],
        (bounds, fences): (Bounds, Fences),
        direction: Direction,
    ) -> Result<Scan> {
        let key: Arc<[u8]> = key.into();
        let pin = Pin::new(snapshot.core(), view);
        let rest = sources(snapshot.core(), view, (table, &key), &bounds, direction)?;
        Ok(Scan {
            snapshot: snapshot.clone(),
            table,
            key,
            bounds,
            fences,
            direction,
            rest,
            scattered: Scattered::default(),
            pin,
            current: None,
            overlay: Overlay::new(view, snapshot.commit()),
            last_seq: None,
            ended: false,
        })
    }

    pub(super) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Opens the sources of the present view behind the entry given last. See `pin.rs`.
    fn open_anew(&mut self) -> Result<()> {
        match (self.last_seq, self.direction) {
            (None, _) => {}
            (Some(last), Direction::Forward) => self.bounds.from = last.saturating_add(1),
            (Some(last), Direction::Backward) => self.bounds.to = last.saturating_sub(1),
        }
        let core = self.snapshot.core();
        let view = core.views.current();
        self.pin = Pin::new(core, &view);
        self.overlay = Overlay::new(&view, self.snapshot.commit());
        self.current = None;
        self.scattered = Scattered::default();
        let key = (self.table, &self.key);
        self.rest = sources(core, &view, key, &self.bounds, self.direction)?;
        Ok(())
    }

    fn advance(&mut self) -> Result<Option<Entry>> {
        let Some(mut entry) = self.next_original()? else {
            return Ok(None);
        };
        if let Some(overlay) = &mut self.overlay {
            overlay.apply(self.table, &self.key, &mut entry)?;
        }
        Ok(Some(entry))
    }

    /// The next entry as it was written.
    fn next_original(&mut self) -> Result<Option<Entry>> {
        if self.pin.is_stale(self.snapshot.core()) {
            self.open_anew()?;
        }
        loop {
            if let Some(current) = self.current.as_mut().filter(|current| current.left > 0) {
                current.left -= 1;
                let (entry, place) = (current.cursor.next()?, current.source.place());
                let entry = entry.ok_or_else(|| shorter_than_promised(place))?;
                self.check_order(&entry, place)?;
                if entry.is_expired(self.bounds.now_ms) {
                    continue;
                }
                match self.fences.hole_at(entry.seq) {
                    None => return Ok(Some(entry)),
                    Some(hole) => self.step_over(entry.seq, hole)?,
                }
                continue;
            }
            let Some(source) = self.rest.next().transpose()? else {
                return Ok(None);
            };
            if self.direction == Direction::Backward {
                self.scattered.meet(self.snapshot.core(), &source);
            }
            let indexes = source.indexes(&self.bounds)?;
            if !indexes.is_empty() {
                self.current = Some(Current::new(source, &indexes, self.direction)?);
            } else if self.direction == Direction::Backward && self.is_before_all(&source) {
                return Ok(None);
            }
        }
    }

    /// The next entry as it was written, and as each amendment made it, oldest first.
    pub(super) fn next_versions(&mut self) -> Result<Vec<Entry>> {
        let Some(original) = self.next_original()? else {
            return Ok(Vec::new());
        };
        match &mut self.overlay {
            Some(overlay) => overlay.versions(self.table, &self.key, original),
            None => Ok(vec![original]),
        }
    }

    /// Goes on behind a long hole that the entry at `seq` lies in.
    fn step_over(&mut self, seq: u64, hole: Hole) -> Result<()> {
        let (far, bounds) = match self.direction {
            Direction::Forward => (hole.to - seq, Bounds { from: hole.to + 1, ..self.bounds }),
            Direction::Backward => (seq - hole.from, Bounds { to: hole.from - 1, ..self.bounds }),
        };
        if far < HOLE_READ_MAX {
            return Ok(());
        }
        let Some(Current { source, .. }) = self.current.take() else {
            return Ok(());
        };
        // What the source holds of the bounds before this place has been given.
        let bounds = match self.direction {
            Direction::Forward => Bounds { from: bounds.from.max(self.bounds.from), ..bounds },
            Direction::Backward => Bounds { to: bounds.to.min(self.bounds.to), ..bounds },
        };
        if bounds.from <= bounds.to {
            let indexes = source.indexes(&bounds)?;
            if !indexes.is_empty() {
                self.current = Some(Current::new(source, &indexes, self.direction)?);
            }
        }
        Ok(())
    }

    /// Refuses what a file made by somebody else may hold: two sources that share seqs.
    fn check_order(&mut self, entry: &Entry, place: u64) -> Result<()> {
        let last = self.last_seq.replace(entry.seq);
        let ordered = last.is_none_or(|last| match self.direction {
            Direction::Forward => entry.seq > last,
            Direction::Backward => entry.seq < last,
        });
        if ordered {
            return Ok(());
        }
        let detail = format!("sources of a timeline overlap: {} comes after {last:?}", entry.seq);
        Err(Error::corruption("timeline", place, detail))
    }

    /// Backward: whether this source, and so every older one, lies below the bounds.
    fn is_before_all(&self, source: &Source) -> bool {
        source.first_seq() <= self.bounds.from || source.oldest_ms() < self.bounds.alive_from_ms
    }
}

impl Current {
    /// Stands before the first of these entries of a source.
    fn new(source: Source, indexes: &Range<u64>, direction: Direction) -> Result<Current> {
        let start = match direction {
            Direction::Forward => indexes.start,
            Direction::Backward => indexes.end - 1,
        };
        let cursor = source.cursor(start, direction)?;
        Ok(Current { source, cursor, left: indexes.end - indexes.start })
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
            Ok(entry) => entry.map(Ok),
            Err(error) => Some(Err(self.snapshot.explain(error))),
        }
    }
}

/// The sources of a timeline in the order of a scan.
fn sources(
    core: &Core,
    view: &Arc<View>,
    (table, key): (TableId, &Arc<[u8]>),
    bounds: &Bounds,
    direction: Direction,
) -> Result<Rest> {
    let newest_first = Source::all(view, table, key);
    Ok(match direction {
        Direction::Backward => Box::new(newest_first),
        Direction::Forward => {
            Box::new(oldest_first(core, newest_first, bounds)?.into_iter().map(Ok))
        }
    })
}

/// The sources that may hold something inside the bounds, oldest first.
fn oldest_first(
    core: &Core,
    newest_first: impl Iterator<Item = Result<Source>>,
    bounds: &Bounds,
) -> Result<Vec<Source>> {
    let (mut sources, mut scattered) = (Vec::new(), Scattered::default());
    for source in newest_first {
        let source = source?;
        scattered.meet(core, &source);
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

/// Entries inside the bounds and outside the holes.
pub(super) fn count(
    view: &Arc<View>,
    table: TableId,
    key: &[u8],
    (bounds, fences): &(Bounds, Fences),
) -> Result<u64> {
    let key: Arc<[u8]> = key.into();
    let mut total = 0;
    for source in Source::all(view, table, &key) {
        let source = source?;
        let indexes = source.indexes(bounds)?;
        let inside = indexes.end.saturating_sub(indexes.start);
        if inside > 0 {
            total += match source.may_have_own_ttl() {
                true => shown(&source, indexes, bounds, fences)?,
                false => inside - hidden(&source, bounds, fences)?,
            };
        }
        if source.oldest_ms() < bounds.alive_from_ms || source.first_seq() <= bounds.from {
            break;
        }
    }
    Ok(total)
}

/// Entries of a source among these that are neither in holes nor have outlived a time to live of
/// their own: they must be looked at.
fn shown(source: &Source, indexes: Range<u64>, bounds: &Bounds, fences: &Fences) -> Result<u64> {
    let mut cursor = source.cursor(indexes.start, Direction::Forward)?;
    let mut total = 0;
    for _ in indexes {
        let entry = cursor.next()?.ok_or_else(|| shorter_than_promised(source.place()))?;
        let is_shown = !entry.is_expired(bounds.now_ms) && fences.hole_at(entry.seq).is_none();
        total += u64::from(is_shown);
    }
    Ok(total)
}

/// Entries of a source inside the bounds that lie in holes.
fn hidden(source: &Source, bounds: &Bounds, fences: &Fences) -> Result<u64> {
    let mut total = 0;
    let mut next = bounds.from.max(source.first_seq());
    while let Some(hole) = fences.hole_from(next).filter(|hole| hole.from <= source.last_seq()) {
        let from = hole.from.max(bounds.from);
        let to = hole.to.min(bounds.to);
        if from <= to {
            let indexes = source.indexes(&Bounds { from, to, ..*bounds })?;
            total += indexes.end.saturating_sub(indexes.start);
        }
        next = hole.to + 1;
    }
    Ok(total)
}

/// The newest entry at a commit, expired entries included.
pub(super) fn newest_at(
    view: &Arc<View>,
    table: TableId,
    key: &[u8],
    commit: u64,
) -> Result<Option<Entry>> {
    let bounds = Bounds { from: 0, to: u64::MAX, commit, alive_from_ms: 0, now_ms: 0 };
    newest_within(view, table, key, &bounds)
}

/// The newest entry inside some bounds.
pub(super) fn newest_within(
    view: &Arc<View>,
    table: TableId,
    key: &[u8],
    bounds: &Bounds,
) -> Result<Option<Entry>> {
    let key: Arc<[u8]> = key.into();
    for source in Source::all(view, table, &key) {
        let source = source?;
        let indexes = source.indexes(bounds)?;
        if !indexes.is_empty() {
            let entry = source.cursor(indexes.end - 1, Direction::Backward)?.next()?;
            return match entry {
                Some(entry) => Ok(Some(entry)),
                None => Err(shorter_than_promised(source.place())),
            };
        }
    }
    Ok(None)
}

/// The highest seq at a commit, expired entries included; 0 if there is none. Where what the
/// snapshot saw was dropped since, the seq before the oldest that is left: it never goes back.
pub(crate) fn latest_seq_at(
    view: &Arc<View>,
    table: TableId,
    key: &[u8],
    commit: u64,
    may_be_dropped: bool,
) -> Result<u64> {
    if let Some(entry) = newest_at(view, table, key, commit)? {
        return match view.own_ttl.contains(&table) {
            true => latest_beside(view, table, key, commit, entry.seq),
            false => Ok(entry.seq),
        };
    }
    if !may_be_dropped {
        return Ok(0);
    }
    let key: Arc<[u8]> = key.into();
    let mut oldest = 1;
    for source in Source::all(view, table, &key) {
        oldest = source?.first_seq();
    }
    match oldest % UNSYNCED_ENTRIES_MAX {
        // Its first entry of all: it was written later.
        1 => Ok(0),
        _ => Ok(oldest - 1),
    }
}

/// The highest seq at a commit where the newest entry that is left has the seq `newest`: one with a
/// time to live of its own may have gone before it. Then it lay below the oldest that was committed
/// later.
fn latest_beside(
    view: &Arc<View>,
    table: TableId,
    key: &[u8],
    commit: u64,
    newest: u64,
) -> Result<u64> {
    let key: Arc<[u8]> = key.into();
    let bounds = Bounds { from: 0, to: u64::MAX, commit, alive_from_ms: 0, now_ms: 0 };
    let mut later = newest + 1;
    for source in Source::all(view, table, &key) {
        let source = source?;
        let indexes = source.indexes(&bounds)?;
        let behind = indexes.end;
        if behind < source.count() {
            let next = source.cursor(behind, Direction::Forward)?.next()?;
            later = next.ok_or_else(|| shorter_than_promised(source.place()))?.seq;
        }
        if !indexes.is_empty() {
            break;
        }
    }
    // What epochs jumped over was given to nobody.
    let missing = later.saturating_sub(newest + 1);
    Ok(newest + missing % UNSYNCED_ENTRIES_MAX)
}

fn shorter_than_promised(place: u64) -> Error {
    Error::corruption("timeline", place, "a run ends before its last entry")
}
