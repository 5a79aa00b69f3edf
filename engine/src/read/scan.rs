//! Scans of one timeline, both ways, and what is built from the same sources: get, latest, len.

use super::overlay::Overlay;
use super::pin::Pin;
use super::scattered::Scattered;
use super::source::{Bounds, Cursor, Source, Sources};
use super::{Fences, Snapshot, View};
use crate::engine::Core;
use crate::entry::{Direction, Entry, EntryView, TableId, expires_ms};
use crate::error::{Error, Result};
use crate::limits::UNSYNCED_ENTRIES_MAX;
use crate::marks::Hole;
use crate::sstable::Place;
use std::ops::Range;

/// Entries of one timeline in order; see [`Snapshot::scan`].
///
/// As an iterator it gives entries that share the bytes they lie in and may be kept;
/// [`Scan::next_view`] gives them borrowed, at a third of the cost.
///
/// Lazy: a source is opened when the scan reaches it. After an error it ends.
pub struct Scan {
    snapshot: Snapshot,
    table: TableId,
    key: Box<[u8]>,
    bounds: Bounds,
    /// Deleted ranges are stepped over.
    fences: Fences,
    direction: Direction,
    rest: Rest,
    /// Backward: of how many runs the sources so far were.
    scattered: Scattered,
    pin: Pin,
    current: Option<Current>,
    /// `None` where nothing has been amended.
    overlay: Option<Overlay>,
    /// The entry that the scan stands at, where it may have been amended.
    amended: Option<Entry>,
    /// The seq given last: order is checked across sources.
    last_seq: Option<u64>,
    ended: bool,
}

/// Sources that are still to come, in the order of the scan.
enum Rest {
    /// Backward: not opened yet.
    NewestFirst(Sources),
    /// Forward: the oldest last.
    Found(Vec<Source>),
}

impl Rest {
    fn next(&mut self, key: &[u8]) -> Result<Option<Source>> {
        match self {
            Rest::NewestFirst(sources) => sources.next(key),
            Rest::Found(sources) => Ok(sources.pop()),
        }
    }
}

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
        view: &View,
        table: TableId,
        key: &[u8],
        (bounds, fences): (Bounds, Fences),
        direction: Direction,
    ) -> Result<Scan> {
        let pin = Pin::new(snapshot.core(), view);
        let rest = sources(snapshot.core(), view, (table, key), &bounds, direction)?;
        Ok(Scan {
            snapshot: snapshot.clone(),
            table,
            key: key.into(),
            bounds,
            fences,
            direction,
            rest,
            scattered: Scattered::default(),
            pin,
            current: None,
            overlay: Overlay::new(view, snapshot.commit()),
            amended: None,
            last_seq: None,
            ended: false,
        })
    }

    /// The next entry, borrowed from where it lies until the next step; `None` behind the last.
    ///
    /// ```
    /// # use tidelog_engine::{Direction, Durability, Engine, Options, TableOptions, WriteBatch};
    /// # let folder = tempfile::tempdir()?;
    /// # let engine = Engine::open(folder.path().join("chat.tide"), Options::default())?;
    /// let table = engine.create_table("inbox", TableOptions::timeline())?;
    /// let mut batch = WriteBatch::new();
    /// batch.append(table, b"alice", b"hello", None)?;
    /// batch.append(table, b"alice", b"world", None)?;
    /// engine.commit(batch, Durability::Sync)?;
    ///
    /// let snapshot = engine.snapshot();
    /// let mut newest = snapshot.scan(table, b"alice", 1, u64::MAX, Direction::Backward)?;
    /// let mut answer = Vec::new();
    /// while let Some(entry) = newest.next_view()? {
    ///     answer.extend_from_slice(entry.payload);
    /// }
    /// assert_eq!(answer, b"worldhello");
    /// # drop((newest, snapshot));
    /// # engine.close()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Snapshot::get`]. After an error the scan has ended.
    pub fn next_view(&mut self) -> Result<Option<EntryView<'_>>> {
        if self.ended {
            return Ok(None);
        }
        // Until the entry is at hand, so that an error ends the scan.
        self.ended = true;
        match self.advance() {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(error) => return Err(self.snapshot.explain(error)),
        }
        self.ended = false;
        self.view().map(Some).map_err(|error| self.snapshot.explain(error))
    }

    pub(super) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Opens the sources of the present view behind the entry given last. See `pin.rs`.
    #[cold]
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
        let key = (self.table, &*self.key);
        self.rest = sources(core, &view, key, &self.bounds, self.direction)?;
        Ok(())
    }

    /// Goes to the next entry, and amends it; whether there is one.
    fn advance(&mut self) -> Result<bool> {
        self.amended = None;
        if !self.next_original()? {
            return Ok(false);
        }
        if let Some(overlay) = &mut self.overlay {
            let current = self.current.as_ref().expect("the scan stands at an entry");
            let mut entry = current.cursor.entry()?;
            overlay.apply(self.table, &self.key, &mut entry)?;
            self.amended = Some(entry);
        }
        Ok(true)
    }

    /// The entry that the scan stands at, borrowed.
    fn view(&self) -> Result<EntryView<'_>> {
        match &self.amended {
            Some(entry) => Ok(entry.view()),
            None => self.current.as_ref().expect("the scan stands at an entry").cursor.view(),
        }
    }

    /// The entry that the scan stands at, whole.
    fn entry(&mut self) -> Result<Entry> {
        match self.amended.take() {
            Some(entry) => Ok(entry),
            None => self.current.as_ref().expect("the scan stands at an entry").cursor.entry(),
        }
    }

    /// Goes to the next entry that is shown, as it was written; whether there is one.
    fn next_original(&mut self) -> Result<bool> {
        if self.pin.is_stale(self.snapshot.core()) {
            self.open_anew()?;
        }
        loop {
            if let Some(current) = self.current.as_mut().filter(|current| current.left > 0) {
                current.left -= 1;
                let at = current.cursor.step(&current.source, &self.key)?;
                let at = at.ok_or_else(|| shorter_than_promised(current.source.place()))?;
                check_order(self.last_seq.replace(at.seq), at.seq, self.direction)
                    .map_err(|detail| overlapping(current.source.place(), detail))?;
                if is_expired(&at, self.bounds.now_ms) {
                    continue;
                }
                match self.fences.hole_at(at.seq) {
                    None => return Ok(true),
                    Some(hole) => self.step_over(at.seq, hole)?,
                }
                continue;
            }
            let Some(source) = self.rest.next(&self.key)? else {
                return Ok(false);
            };
            if self.direction == Direction::Backward {
                self.scattered.meet(self.snapshot.core(), &source);
            }
            let indexes = source.indexes(&self.key, &self.bounds)?;
            if !indexes.is_empty() {
                self.current = Some(Current::new(source, &indexes, self.direction));
            } else if self.direction == Direction::Backward && self.is_before_all(&source) {
                return Ok(false);
            }
        }
    }

    /// The next entry as it was written, and as each amendment made it, oldest first.
    pub(super) fn next_versions(&mut self) -> Result<Vec<Entry>> {
        if !self.next_original()? {
            return Ok(Vec::new());
        }
        let original = self.entry()?;
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
            let indexes = source.indexes(&self.key, &bounds)?;
            if !indexes.is_empty() {
                self.current = Some(Current::new(source, &indexes, self.direction));
            }
        }
        Ok(())
    }

    /// Backward: whether this source, and so every older one, lies below the bounds.
    fn is_before_all(&self, source: &Source) -> bool {
        source.first_seq() <= self.bounds.from || source.oldest_ms() < self.bounds.alive_from_ms
    }
}

impl Current {
    /// Stands before the first of these entries of a source.
    fn new(source: Source, indexes: &Range<u64>, direction: Direction) -> Current {
        let start = match direction {
            Direction::Forward => indexes.start,
            Direction::Backward => indexes.end - 1,
        };
        let cursor = source.cursor(start, direction);
        Current { source, cursor, left: indexes.end - indexes.start }
    }
}

impl Iterator for Scan {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Result<Entry>> {
        if self.ended {
            return None;
        }
        let stepped = self.advance();
        let next = match stepped {
            Ok(true) => self.entry().map(Some),
            Ok(false) => Ok(None),
            Err(error) => Err(error),
        };
        self.ended = !matches!(next, Ok(Some(_)));
        match next {
            Ok(entry) => entry.map(Ok),
            Err(error) => Some(Err(self.snapshot.explain(error))),
        }
    }
}

/// Refuses what a file made by somebody else may hold: two sources that share seqs.
fn check_order(last: Option<u64>, seq: u64, direction: Direction) -> Result<(), (u64, u64)> {
    match (last, direction) {
        (Some(last), Direction::Forward) if seq <= last => Err((seq, last)),
        (Some(last), Direction::Backward) if seq >= last => Err((seq, last)),
        _ => Ok(()),
    }
}

#[cold]
fn overlapping(place: u64, (seq, last): (u64, u64)) -> Error {
    let detail = format!("sources of a timeline overlap: {seq} comes after {last}");
    Error::corruption("timeline", place, detail)
}

/// Whether an entry has outlived the time to live that it was given of its own.
fn is_expired(at: &Place, now_ms: u64) -> bool {
    at.ttl_ms.is_some_and(|ttl_ms| expires_ms(at.time_ms, ttl_ms) <= now_ms)
}

/// The sources of a timeline in the order of a scan.
fn sources(
    core: &Core,
    view: &View,
    (table, key): (TableId, &[u8]),
    bounds: &Bounds,
    direction: Direction,
) -> Result<Rest> {
    let newest_first = Sources::of(view, table, key);
    match direction {
        Direction::Backward => Ok(Rest::NewestFirst(newest_first)),
        Direction::Forward => down_to(core, newest_first, key, bounds).map(Rest::Found),
    }
}

/// The sources that may hold something inside the bounds, newest first.
fn down_to(
    core: &Core,
    mut newest_first: Sources,
    key: &[u8],
    bounds: &Bounds,
) -> Result<Vec<Source>> {
    let (mut sources, mut scattered) = (Vec::new(), Scattered::default());
    while let Some(source) = newest_first.next(key)? {
        scattered.meet(core, &source);
        let reached =
            source.first_seq() <= bounds.from || source.oldest_ms() < bounds.alive_from_ms;
        sources.push(source);
        if reached {
            // Every older source ends below the bounds.
            break;
        }
    }
    Ok(sources)
}

/// Entries inside the bounds and outside the holes.
pub(super) fn count(
    view: &View,
    table: TableId,
    key: &[u8],
    (bounds, fences): &(Bounds, Fences),
) -> Result<u64> {
    let mut total = 0;
    let mut sources = Sources::of(view, table, key);
    while let Some(source) = sources.next(key)? {
        let indexes = source.indexes(key, bounds)?;
        let inside = indexes.end.saturating_sub(indexes.start);
        if inside > 0 {
            total += match source.may_have_own_ttl() {
                true => shown(&source, key, indexes, (bounds, fences))?,
                false => inside - hidden(&source, key, bounds, fences)?,
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
fn shown(
    source: &Source,
    key: &[u8],
    indexes: Range<u64>,
    (bounds, fences): (&Bounds, &Fences),
) -> Result<u64> {
    let mut cursor = source.cursor(indexes.start, Direction::Forward);
    let mut total = 0;
    for _ in indexes {
        let at = cursor.step(source, key)?;
        let at = at.ok_or_else(|| shorter_than_promised(source.place()))?;
        let is_shown = !is_expired(&at, bounds.now_ms) && fences.hole_at(at.seq).is_none();
        total += u64::from(is_shown);
    }
    Ok(total)
}

/// Entries of a source inside the bounds that lie in holes.
fn hidden(source: &Source, key: &[u8], bounds: &Bounds, fences: &Fences) -> Result<u64> {
    let mut total = 0;
    let mut next = bounds.from.max(source.first_seq());
    while let Some(hole) = fences.hole_from(next).filter(|hole| hole.from <= source.last_seq()) {
        let from = hole.from.max(bounds.from);
        let to = hole.to.min(bounds.to);
        if from <= to {
            let indexes = source.indexes(key, &Bounds { from, to, ..*bounds })?;
            total += indexes.end.saturating_sub(indexes.start);
        }
        next = hole.to + 1;
    }
    Ok(total)
}

/// The newest entry at a commit, expired entries included.
pub(super) fn newest_at(
    view: &View,
    table: TableId,
    key: &[u8],
    commit: u64,
) -> Result<Option<Entry>> {
    let bounds = Bounds { from: 0, to: u64::MAX, commit, alive_from_ms: 0, now_ms: 0 };
    newest_within(view, table, key, &bounds)
}

/// The newest entry inside some bounds.
pub(super) fn newest_within(
    view: &View,
    table: TableId,
    key: &[u8],
    bounds: &Bounds,
) -> Result<Option<Entry>> {
    let mut sources = Sources::of(view, table, key);
    while let Some(source) = sources.next(key)? {
        let indexes = source.indexes(key, bounds)?;
        if !indexes.is_empty() {
            return match source.entry(key, indexes.end - 1)? {
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
    view: &View,
    table: TableId,
    key: &[u8],
    commit: u64,
    may_be_dropped: bool,
) -> Result<u64> {
    if let Some(entry) = newest_at(view, table, key, commit)? {
        return match may_be_dropped && view.own_ttl.contains(&table) {
            true => latest_beside(view, table, key, commit, entry.seq),
            false => Ok(entry.seq),
        };
    }
    if !may_be_dropped {
        return Ok(0);
    }
    let mut oldest = 1;
    let mut sources = Sources::of(view, table, key);
    while let Some(source) = sources.next(key)? {
        oldest = source.first_seq();
    }
    let before = oldest - 1;
    match before == jumped(view, before) {
        // Its first entry of all: it was written later.
        true => Ok(0),
        false => Ok(before),
    }
}

/// How many of so many ids at most epochs have jumped over, so that they were given to nobody.
fn jumped(view: &View, ids: u64) -> u64 {
    let jumps = (ids / UNSYNCED_ENTRIES_MAX).min(view.epochs.len() as u64);
    jumps * UNSYNCED_ENTRIES_MAX
}

/// The highest seq at a commit where the newest entry that is left has the seq `newest`: one with a
/// time to live of its own may have gone before it. Then it lay below the oldest that was committed
/// later.
fn latest_beside(view: &View, table: TableId, key: &[u8], commit: u64, newest: u64) -> Result<u64> {
    let bounds = Bounds { from: 0, to: u64::MAX, commit, alive_from_ms: 0, now_ms: 0 };
    let mut later = newest + 1;
    let mut sources = Sources::of(view, table, key);
    while let Some(source) = sources.next(key)? {
        let indexes = source.indexes(key, &bounds)?;
        let behind = indexes.end;
        if behind < source.count() {
            let next = source.entry(key, behind)?;
            later = next.ok_or_else(|| shorter_than_promised(source.place()))?.seq;
        }
        if !indexes.is_empty() {
            break;
        }
    }
    let missing = later.saturating_sub(newest + 1);
    Ok(newest + missing - jumped(view, missing))
}

fn shorter_than_promised(place: u64) -> Error {
    Error::corruption("timeline", place, "a run ends before its last entry")
}
