//! A data block of a timeline table: fragments in order, and where each begins.
//!
//! ```text
//! offset  size  field      notes
//!      0     …  fragments  items of them, by (key, base index) rising
//!      …   4·n  starts     offset of each fragment in the content
//! ```
//!
//! A content is valid if and only if: (1) it holds `items` starts behind the fragments, the first
//! is 0, they rise, and the last fragment ends where the starts begin; (2) each fragment is valid;
//! (3) fragments rise by (key, base index).

use super::fragment::{FragmentHead, FragmentLayout, FragmentView};
use crate::codec::{DecodeError, touch};
use std::ops::Range;

/// Bytes of one start.
pub(super) const START_SIZE: usize = 4;

type Result<T> = std::result::Result<T, DecodeError>;

/// The fragments of one run in a block, from the first one on. It is told where that begins, and
/// each tells where it ends, so that nothing else of the block is looked at.
pub(super) struct RunFragments<'a> {
    /// The fragments of the block.
    content: &'a [u8],
    key: &'a [u8],
    at: usize,
}

impl<'a> RunFragments<'a> {
    /// Those of `key`, of which the first begins at `at`, in a block of `items` fragments.
    pub(super) fn new(
        content: &'a [u8],
        items: usize,
        key: &'a [u8],
        at: usize,
    ) -> Result<RunFragments<'a>> {
        let error = DecodeError { what: "fragments of a block", offset: 0 };
        let table = items.checked_mul(START_SIZE).ok_or(error)?;
        let fragments = content.len().checked_sub(table).ok_or(error)?;
        Ok(RunFragments { content: &content[..fragments], key, at })
    }

    /// The next fragment of the run, and where it lies in the content.
    pub(super) fn next(&mut self) -> Result<Option<(Range<usize>, FragmentLayout)>> {
        let rest = self.content.get(self.at..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(None);
        }
        // Head and columns, about.
        touch(rest, [0, 64, 128, 192, 256, 320, 384, 448]);
        let layout = FragmentLayout::parse_front(rest)?;
        let range = self.at..self.at + layout.length();
        let fragment = FragmentView::with_layout(layout, &self.content[range.clone()]);
        if fragment.key() != self.key {
            return Ok(None);
        }
        self.at = range.end;
        Ok(Some((range, layout)))
    }
}

/// The content of a block, seen as fragments.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimelineBlock<'a> {
    content: &'a [u8],
    count: usize,
    starts: usize,
}

impl<'a> TimelineBlock<'a> {
    pub(super) fn parse(content: &'a [u8], items: usize) -> Result<TimelineBlock<'a>> {
        let error = DecodeError { what: "fragments of a block", offset: 0 };
        let table = items.checked_mul(START_SIZE).ok_or(error)?;
        let starts = content.len().checked_sub(table).ok_or(error)?;
        let block = TimelineBlock { content, count: items, starts };
        if items == 0 || block.start(0) != 0 {
            return Err(error);
        }
        Ok(block)
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Where fragment `index` lies in the content.
    pub(super) fn range(&self, index: usize) -> Result<Range<usize>> {
        let start = self.start(index);
        let end = if index + 1 < self.count { self.start(index + 1) } else { self.starts };
        if start >= end || end > self.starts {
            return Err(DecodeError { what: "start of a fragment", offset: self.starts });
        }
        Ok(start..end)
    }

    pub(super) fn head(&self, index: usize) -> Result<FragmentHead<'a>> {
        FragmentHead::parse(&self.content[self.range(index)?])
    }

    pub(super) fn layout(&self, index: usize) -> Result<FragmentLayout> {
        FragmentLayout::parse(&self.content[self.range(index)?])
    }

    /// The number of fragments at the front for which `before` holds.
    pub(super) fn partition(
        &self,
        mut before: impl FnMut(&FragmentHead<'a>) -> bool,
    ) -> Result<usize> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if before(&self.head(middle)?) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    fn start(&self, index: usize) -> usize {
        let at = self.starts + index * START_SIZE;
        let bytes = self.content[at..].first_chunk::<START_SIZE>();
        u32::from_le_bytes(*bytes.expect("parse counted the starts")) as usize
    }
}
