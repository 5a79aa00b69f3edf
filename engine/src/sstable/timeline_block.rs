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

use super::fragment::{FragmentHead, FragmentLayout};
use crate::codec::DecodeError;
use std::ops::Range;

/// Bytes of one start.
pub(super) const START_SIZE: usize = 4;

type Result<T> = std::result::Result<T, DecodeError>;

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

    /// The key of fragment `index`.
    pub(super) fn key(&self, index: usize) -> Result<&'a [u8]> {
        Ok(self.head(index)?.key)
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

    /// The last fragment of a run, the first of which here is `first`, for which `before` holds;
    /// `None` where there is none.
    pub(super) fn last_of_run(
        &self,
        key: &[u8],
        first: usize,
        before: impl Fn(&FragmentHead<'a>) -> bool,
    ) -> Result<Option<usize>> {
        let is_before = |index: usize| -> Result<bool> {
            if index >= self.count {
                return Ok(false);
            }
            let head = self.head(index)?;
            Ok(head.key == key && before(&head))
        };
        if !is_before(first)? {
            return Ok(None);
        }
        // Most runs have one fragment in a block, so the search begins small.
        let (mut low, mut step) = (first, 1);
        while is_before(low + step)? {
            low += step;
            step *= 2;
        }
        let mut high = low + step;
        while low + 1 < high {
            let middle = low + (high - low) / 2;
            if is_before(middle)? {
                low = middle;
            } else {
                high = middle;
            }
        }
        Ok(Some(low))
    }

    fn start(&self, index: usize) -> usize {
        let at = self.starts + index * START_SIZE;
        let bytes = self.content[at..].first_chunk::<START_SIZE>();
        u32::from_le_bytes(*bytes.expect("parse counted the starts")) as usize
    }
}
