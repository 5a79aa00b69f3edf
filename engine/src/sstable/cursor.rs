//! Walks the entries of one run, either way, from any entry.
//!
//! # Invariants
//! 1. Entry `i` comes from the fragment with base index <= i < base index + count, so what comes
//!    out is exactly entries start, start ± 1, … up to the end of the run: a missing fragment is
//!    corruption, never the end.
//! 2. After an error every call returns it again.
//! 3. Payloads share the bytes of the block, or of the segment; nothing is copied.
//! 4. An entry whose segment is damaged is an error; those that do not need it are not.

use super::block::Block;
use super::directory::RunLocation;
use super::entry::{OriginRef, Shared};
use super::fragment::{FragmentLayout, FragmentView};
use super::reader::Sstable;
use super::timeline_block::TimelineBlock;
use crate::codec::DecodeError;
use crate::entry::{Direction, Entry, Payload};
use crate::error::{Error, Result};
use std::ops::Range;
use std::sync::Arc;

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

    fn holds(&self, index: u64) -> bool {
        let fragment = self.fragment();
        let base = fragment.base_index();
        base <= index && index - base < fragment.count() as u64
    }
}

/// A cursor over a run. It owns what it needs.
#[derive(Debug)]
pub(crate) struct EntryCursor {
    sstable: Arc<Sstable>,
    key: Box<[u8]>,
    run: RunLocation,
    direction: Direction,
    /// Forward: the next entry. Backward: entries that are left.
    position: u64,
    current: Option<Current>,
    failed: Option<Error>,
}

impl EntryCursor {
    pub(super) fn new(
        sstable: Arc<Sstable>,
        key: &[u8],
        run: RunLocation,
        start: u64,
        direction: Direction,
    ) -> Result<EntryCursor> {
        sstable.fetcher()?;
        let position = match direction {
            Direction::Forward => start,
            Direction::Backward => start.saturating_add(1).min(run.count),
        };
        let (current, failed) = (None, None);
        Ok(EntryCursor { sstable, key: key.into(), run, direction, position, current, failed })
    }

    /// The next entry; `None` behind the last one of the run.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = self.step();
        if let Err(error) = &result {
            self.failed = Some(error.clone());
            self.current = None;
        }
        result
    }

    fn step(&mut self) -> Result<Option<Entry>> {
        let index = match self.direction {
            Direction::Forward if self.position < self.run.count => self.position,
            Direction::Backward if self.position > 0 => self.position - 1,
            _ => return Ok(None),
        };
        if !self.current.as_ref().is_some_and(|current| current.holds(index)) {
            self.current = Some(self.fragment_with(index)?);
        }
        let current = self.current.as_ref().expect("just found");
        let (mut entry, shared) =
            entry(current, index).map_err(|error| current.block.damage(&error))?;
        if let Some(shared) = shared {
            resolve(&self.sstable, &mut entry, shared)?;
        }
        self.position = match self.direction {
            Direction::Forward => index + 1,
            Direction::Backward => index,
        };
        Ok(Some(entry))
    }

    /// Finds the fragment with entry `index`: in the block at hand, in its neighbour, or by the
    /// index.
    fn fragment_with(&mut self, index: u64) -> Result<Current> {
        let number = match self.current.take() {
            None => self.sstable.run_block(&self.run, |entry| entry.base_index <= index)?,
            Some(Current { block, number, .. }) => {
                let place = find(&block, &self.key, index).map_err(|error| block.damage(&error))?;
                if let Some((range, layout)) = place {
                    return Ok(Current { block, number, range, layout });
                }
                let neighbour = match self.direction {
                    Direction::Forward => number.checked_add(1),
                    Direction::Backward => number.checked_sub(1),
                };
                let run = self.run.first_block..=self.run.last_block;
                neighbour
                    .filter(|neighbour| run.contains(neighbour))
                    .ok_or_else(|| block.corruption("the run is shorter than the directory says"))?
            }
        };
        let block = self.sstable.fetcher()?.data_block(number)?;
        let place = find(&block, &self.key, index).map_err(|error| block.damage(&error))?;
        match place {
            Some((range, layout)) => Ok(Current { block, number, range, layout }),
            None => Err(block.corruption(format!("entry {index} of the run is not here"))),
        }
    }
}

fn find(
    block: &Block,
    key: &[u8],
    index: u64,
) -> Result<Option<(Range<usize>, FragmentLayout)>, DecodeError> {
    let fragments = TimelineBlock::parse(block.content(), block.items())?;
    let behind = fragments
        .partition(|head| head.key < key || (head.key == key && head.base_index <= index))?;
    if behind == 0 || fragments.head(behind - 1)?.key != key {
        return Ok(None);
    }
    let range = fragments.range(behind - 1)?;
    let layout = FragmentLayout::parse(&block.content()[range.clone()])?;
    let fragment = FragmentView::with_layout(layout, &block.content()[range.clone()]);
    let inside = index - fragment.base_index() < fragment.count() as u64;
    Ok(inside.then_some((range, layout)))
}

/// Entry `index` as it lies in the block, and what it has in a segment.
fn entry(current: &Current, index: u64) -> Result<(Entry, Option<Shared>), DecodeError> {
    let fragment = current.fragment();
    let k = usize::try_from(index - fragment.base_index()).expect("less than the count");
    let entry = fragment.entry(k)?;
    let start = current.block.content_start() + current.range.start;
    let end = start + fragment.entry_range(k)?.end;
    let payload =
        Payload::in_region(current.block.region().clone(), end - entry.payload.len()..end);
    let own = Entry {
        seq: entry.seq,
        commit: entry.commit,
        time_ms: entry.time_ms,
        event_ms: entry.event_ms,
        ttl_ms: entry.ttl_ms,
        origin: entry.origin.map(|origin| origin.to_origin()),
        payload,
        revision: None,
        erased: entry.erased,
    };
    Ok((own, entry.shared))
}

/// Takes from the segment what the entry has not itself.
fn resolve(sstable: &Sstable, entry: &mut Entry, shared: Shared) -> Result<()> {
    let record = sstable.record(shared.reference)?;
    let (event_ms, origin) = record.shared()?;
    entry.event_ms = entry.event_ms.or(event_ms);
    if entry.origin.is_none() && !shared.is_origin {
        entry.origin = origin.map(OriginRef::to_origin);
    }
    entry.payload = record.payload();
    entry.erased = record.is_erased();
    Ok(())
}
