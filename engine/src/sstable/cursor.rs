//! Walks the entries of one run, either way, from any entry.
//!
//! ```text
//! run ─► block (index) ─► fragment (its number is in the directory) ─► entry k
//!                                                                       │
//!                          step: place and columns, nothing shared ─────┤
//!                          view: borrowed from the block or the segment ┤
//!                          entry: owned, sharing the bytes ─────────────┘
//! ```
//!
//! # Invariants
//! 1. Entry `i` comes from the fragment with base index <= i < base index + count, so what comes
//!    out is exactly entries start, start ± 1, … up to the end of the run: a missing fragment is
//!    corruption, never the end.
//! 2. After an error every call returns it again.
//! 3. Payloads share the bytes of the block, or of the segment; nothing is copied.
//! 4. An entry whose segment is damaged is an error; those that do not need it are not.
//! 5. It is used with the SSTable and the key that its run was found by: whoever made it has both.

use super::block::Block;
use super::directory::RunLocation;
use super::entry::{self, Shared};
use super::fragment::{FragmentLayout, FragmentView};
use super::reader::Sstable;
use super::timeline_block::RunFragments;
use crate::codec::DecodeError;
use crate::entry::{Direction, Entry, EntryView, Payload};
use crate::error::{Error, Result};
use crate::limits::PAYLOAD_LENGTH_MAX;
use crate::segment::Record;
use std::ops::Range;

/// The fragment that the cursor stands in.
#[derive(Debug)]
struct Current {
    block: Block,
    number: u32,
    /// The fragment in the content of the block.
    range: Range<usize>,
    layout: FragmentLayout,
}

impl Current {
    fn fragment(&self) -> FragmentView<'_> {
        FragmentView::with_layout(self.layout, &self.block.content()[self.range.clone()])
    }
}

/// What a walk goes by: an entry without what is of any length.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Place {
    pub(crate) seq: u64,
    pub(crate) commit: u64,
    pub(crate) time_ms: u64,
    /// The time to live that the entry has of its own.
    pub(crate) ttl_ms: Option<u64>,
}

/// A cursor over a run.
#[derive(Debug)]
pub(crate) struct EntryCursor {
    run: RunLocation,
    direction: Direction,
    /// Forward: the next entry. Backward: entries that are left.
    position: u64,
    current: Option<Current>,
    /// The entry that it stands at.
    place: Place,
    flags: u8,
    /// Its bytes in the fragment.
    bytes: Range<usize>,
    /// What it has in a segment.
    record: Option<Record>,
    failed: Option<Error>,
}

impl EntryCursor {
    pub(super) fn new(run: RunLocation, start: u64, direction: Direction) -> EntryCursor {
        let position = match direction {
            Direction::Forward => start,
            Direction::Backward => start.saturating_add(1).min(run.count),
        };
        EntryCursor {
            run,
            direction,
            position,
            current: None,
            place: Place::default(),
            flags: 0,
            bytes: 0..0,
            record: None,
            failed: None,
        }
    }

    /// Goes to the next entry; `None` behind the last one of the run.
    pub(crate) fn step(&mut self, sstable: &Sstable, key: &[u8]) -> Result<Option<Place>> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = self.try_step(sstable, key);
        if let Err(error) = &result {
            self.failed = Some(error.clone());
            self.current = None;
        }
        result
    }

    fn try_step(&mut self, sstable: &Sstable, key: &[u8]) -> Result<Option<Place>> {
        let index = match self.direction {
            Direction::Forward if self.position < self.run.count => self.position,
            Direction::Backward if self.position > 0 => self.position - 1,
            _ => return Ok(None),
        };
        let inside = self.current.as_ref().and_then(|current| current.layout.place_of(index));
        let k = match inside {
            Some(k) => k,
            None => {
                let found = self.fragment_with(sstable, key, index)?;
                let k = found.layout.place_of(index).expect("it was found by the index");
                self.current = Some(found);
                k
            }
        };
        self.stand_at(sstable, k)?;
        self.position = match self.direction {
            Direction::Forward => index + 1,
            Direction::Backward => index,
        };
        Ok(Some(self.place))
    }

    /// Reads what the walk goes by of entry `k` of the fragment at hand.
    fn stand_at(&mut self, sstable: &Sstable, k: usize) -> Result<()> {
        let current = self.current.as_ref().expect("a fragment is at hand");
        let fragment = current.fragment();
        let placed = place(&fragment, k).map_err(|error| current.block.damage(&error));
        let shared;
        (self.place, self.flags, self.bytes, shared) = placed?;
        self.record = match shared {
            Some(shared) => Some(sstable.record(shared.reference)?),
            None => None,
        };
        Ok(())
    }

    /// The entry that it stands at, borrowed from where it lies.
    pub(crate) fn view(&self) -> Result<EntryView<'_>> {
        let current = self.current.as_ref().expect("it stands at an entry");
        let bytes = &current.block.content()[current.range.clone()][self.bytes.clone()];
        let Place { seq, commit, time_ms, ttl_ms } = self.place;
        let mut view = EntryView {
            seq,
            commit,
            time_ms,
            event_ms: None,
            ttl_ms,
            origin: None,
            payload: bytes,
            revision: None,
            erased: false,
        };
        if self.flags != 0 {
            let own = entry::decode(self.flags, bytes).map_err(|e| current.block.damage(&e))?;
            view.event_ms = own.event_ms;
            view.origin = own.origin;
            view.payload = own.payload;
            view.erased = own.erased;
            if let (Some(record), Some(shared)) = (&self.record, own.shared) {
                share(&mut view, record, shared)?;
            }
        }
        Ok(view)
    }

    /// The entry that it stands at, with shared bytes.
    pub(crate) fn entry(&self) -> Result<Entry> {
        let view = self.view()?;
        let payload = match &self.record {
            Some(record) => record.payload(),
            None => {
                let current = self.current.as_ref().expect("it stands at an entry");
                let start = current.block.content_start() + current.range.start;
                let end = start + self.bytes.end;
                Payload::in_region(current.block.region().clone(), end - view.payload.len()..end)
            }
        };
        Ok(view.to_entry(payload))
    }

    /// Finds the fragment with entry `index`: in the block at hand or in its neighbour.
    fn fragment_with(&mut self, sstable: &Sstable, key: &[u8], index: u64) -> Result<Current> {
        let Some(Current { block, number, .. }) = self.current.take() else {
            return self.enter(sstable, key, index);
        };
        if let Some((range, layout)) = self.find(&block, number, key, index)? {
            return Ok(Current { block, number, range, layout });
        }
        let neighbour = match self.direction {
            Direction::Forward => number.checked_add(1),
            Direction::Backward => number.checked_sub(1),
        };
        let run = self.run.first_block..=self.run.last_block;
        let number = neighbour
            .filter(|neighbour| run.contains(neighbour))
            .ok_or_else(|| block.corruption("the run is shorter than the directory says"))?;
        self.fragment_in(sstable, number, key, index)
    }

    /// Finds the fragment with entry `index` when nothing is at hand: in the block where it would
    /// be if entries were of one size, or else by the index.
    fn enter(&self, sstable: &Sstable, key: &[u8], index: u64) -> Result<Current> {
        let blocks = u64::from(self.run.last_block - self.run.first_block);
        let share = index * (blocks + 1) / self.run.count;
        let guess = self.run.first_block + u32::try_from(share.min(blocks)).expect("of its blocks");
        if blocks == 0 {
            return self.fragment_in(sstable, guess, key, index);
        }
        let block = sstable.fetcher()?.data_block(guess)?;
        if let Some((range, layout)) = self.find(&block, guess, key, index)? {
            return Ok(Current { block, number: guess, range, layout });
        }
        let number = sstable.run_block(&self.run, guess, |entry| entry.base_index <= index)?;
        self.fragment_in(sstable, number, key, index)
    }

    fn fragment_in(
        &self,
        sstable: &Sstable,
        number: u32,
        key: &[u8],
        index: u64,
    ) -> Result<Current> {
        let block = sstable.fetcher()?.data_block(number)?;
        match self.find(&block, number, key, index)? {
            Some((range, layout)) => Ok(Current { block, number, range, layout }),
            None => Err(block.corruption(format!("entry {index} of the run is not here"))),
        }
    }

    /// The fragment with entry `index`, if it is in this block of the run.
    fn find(
        &self,
        block: &Block,
        number: u32,
        key: &[u8],
        index: u64,
    ) -> Result<Option<(Range<usize>, FragmentLayout)>> {
        let mut fragments =
            RunFragments::new(block.content(), block.items(), key, self.run.offset_in(number))
                .map_err(|error| block.damage(&error))?;
        while let Some(found) = fragments.next().map_err(|error| block.damage(&error))? {
            if found.1.place_of(index).is_some() {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// What lies in the columns of entry `k`, its flags, its bytes, and what it has in a segment. What
/// is read here is valid wherever it is read again.
fn place(
    fragment: &FragmentView<'_>,
    k: usize,
) -> Result<(Place, u8, Range<usize>, Option<Shared>), DecodeError> {
    let (flags, bytes) = (fragment.flags(k), fragment.entry_range(k)?);
    let mut place = Place {
        seq: fragment.seq(k)?,
        commit: fragment.commit(k)?,
        time_ms: fragment.time_ms(k)?,
        ttl_ms: None,
    };
    if flags == 0 && bytes.len() <= PAYLOAD_LENGTH_MAX {
        // Nothing but a payload: most entries.
        return Ok((place, flags, bytes, None));
    }
    let own = entry::decode(flags, fragment.entry_bytes(k)?)?;
    place.ttl_ms = own.ttl_ms;
    Ok((place, flags, bytes, own.shared))
}

/// Adds what the entry has in its segment, and not itself.
fn share<'a>(view: &mut EntryView<'a>, record: &'a Record, shared: Shared) -> Result<()> {
    let (event_ms, origin) = record.shared()?;
    view.event_ms = view.event_ms.or(event_ms);
    if view.origin.is_none() && !shared.is_origin {
        view.origin = origin;
    }
    view.payload = record.payload_bytes();
    view.erased = record.is_erased();
    Ok(())
}

/// A cursor with what it is used with: for tests.
#[cfg(test)]
pub(crate) struct OwnedCursor {
    sstable: std::sync::Arc<Sstable>,
    key: Box<[u8]>,
    cursor: EntryCursor,
}

#[cfg(test)]
impl Sstable {
    /// A cursor that owns what it needs.
    #[expect(clippy::unnecessary_wraps, reason = "to open a run could fail, as tests see it")]
    pub(crate) fn walk(
        self: &std::sync::Arc<Self>,
        key: &[u8],
        run: &RunLocation,
        start: u64,
        direction: Direction,
    ) -> Result<OwnedCursor> {
        let cursor = EntryCursor::new(*run, start, direction);
        Ok(OwnedCursor { sstable: std::sync::Arc::clone(self), key: key.into(), cursor })
    }
}

#[cfg(test)]
impl OwnedCursor {
    /// The next entry; `None` behind the last one of the run.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>> {
        match self.cursor.step(&self.sstable, &self.key)? {
            Some(_) => self.cursor.entry().map(Some),
            None => Ok(None),
        }
    }
}
