//! One pass over the data blocks, in order: for compaction and listing.
//!
//! Where blocks are read with `pread`, many are read at once, and past the cache, since what is
//! read once should not push out what is read often.
//!
//! # Invariants
//! 1. Every block is delivered, in order, or an error; after an error every call returns it again.
//! 2. A piece is at most [`OUTPUT_PIECE_BYTES`] and one block long.

use super::block::Block;
use super::fetch::Handle;
use super::fragment::{FragmentLayout, FragmentView};
use super::read_ahead::ReadAhead;
use super::reader::Sstable;
use super::timeline_block::TimelineBlock;
use crate::error::{Error, Result};
use crate::file::Region;
use crate::limits::OUTPUT_PIECE_BYTES;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// Data blocks in order, from one on.
#[derive(Debug)]
pub(super) struct BlockScan {
    sstable: Arc<Sstable>,
    next: u32,
    /// A piece of the file, and the blocks in it that have not been delivered yet.
    piece: Option<(Region, u64)>,
    handles: VecDeque<Handle>,
    /// What is asked for where there is a map: all of it is read, whether verified or not.
    ahead: ReadAhead,
}

impl BlockScan {
    pub(super) fn new(sstable: Arc<Sstable>, first: u32) -> BlockScan {
        BlockScan {
            sstable,
            next: first,
            piece: None,
            handles: VecDeque::new(),
            ahead: ReadAhead::pass(),
        }
    }

    /// The next block, verified; `None` behind the last.
    pub(super) fn next_block(&mut self) -> Result<Option<Block>> {
        let sstable = Arc::clone(&self.sstable);
        let fetcher = sstable.fetcher()?;
        if self.handles.is_empty() {
            if self.next >= self.sstable.block_count()? {
                return Ok(None);
            }
            let handle = fetcher.data_handle(self.next, &fetcher.index_entry_of_pass(self.next)?);
            fetcher.will_need(&handle, &self.ahead);
            if let Some(mapped) = fetcher.fetch_mapped(&handle) {
                self.next += 1;
                return mapped.map(Some);
            }
            self.read_piece()?;
        }
        let handle = self.handles.pop_front().expect("a piece has a block");
        let (piece, offset) = self.piece.as_ref().expect("blocks come with their piece");
        let start = usize::try_from(handle.offset - offset).expect("inside a piece in memory");
        fetcher.open_piece(piece, start, &handle).map(Some)
    }

    /// Reads the next blocks that lie one behind the other.
    fn read_piece(&mut self) -> Result<()> {
        let sstable = Arc::clone(&self.sstable);
        let fetcher = sstable.fetcher()?;
        let count = self.sstable.block_count()?;
        let mut length = 0;
        let mut offset = None;
        while self.next < count && length < OUTPUT_PIECE_BYTES {
            let handle = fetcher.data_handle(self.next, &fetcher.index_entry_of_pass(self.next)?);
            let begin = *offset.get_or_insert(handle.offset);
            if begin + length as u64 != handle.offset {
                break;
            }
            length += handle.length;
            self.handles.push_back(handle);
            self.next += 1;
        }
        let offset = offset.expect("there is a block to read");
        self.piece = Some((fetcher.read(offset, length)?, offset));
        Ok(())
    }
}

/// A fragment with the block it lies in.
#[derive(Debug)]
pub(crate) struct OwnedFragment {
    block: Block,
    range: Range<usize>,
    layout: FragmentLayout,
}

impl OwnedFragment {
    /// The fragment.
    pub(crate) fn view(&self) -> FragmentView<'_> {
        FragmentView::with_layout(self.layout, &self.block.content()[self.range.clone()])
    }
}

/// All fragments in order.
#[derive(Debug)]
pub(crate) struct FragmentCursor {
    scan: BlockScan,
    /// Fragments of smaller keys are passed over, in the first block that is read.
    from: Option<Box<[u8]>>,
    block: Option<Block>,
    index: usize,
    failed: Option<Error>,
}

impl FragmentCursor {
    pub(super) fn new(sstable: Arc<Sstable>, from: Option<&[u8]>) -> Result<FragmentCursor> {
        let first = match from {
            Some(from) => sstable.partition_blocks(|key| key < from)?.saturating_sub(1),
            None => 0,
        };
        let scan = BlockScan::new(sstable, first);
        let from = from.map(Box::from);
        Ok(FragmentCursor { scan, from, block: None, index: 0, failed: None })
    }

    /// The next fragment; `None` behind the last.
    pub(crate) fn next(&mut self) -> Result<Option<OwnedFragment>> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = self.step();
        if let Err(error) = &result {
            self.failed = Some(error.clone());
        }
        result
    }

    fn step(&mut self) -> Result<Option<OwnedFragment>> {
        loop {
            if let Some(block) = &self.block
                && self.index < block.items()
            {
                let fragment = owned(block, self.index).map_err(|error| block.damage(&error))?;
                self.index += 1;
                return Ok(Some(fragment));
            }
            let Some(block) = self.scan.next_block()? else {
                return Ok(None);
            };
            self.index = match self.from.take() {
                None => 0,
                Some(from) => TimelineBlock::parse(block.content(), block.items())
                    .and_then(|fragments| fragments.partition(|head| *head.key < *from))
                    .map_err(|error| block.damage(&error))?,
            };
            self.block = Some(block);
        }
    }
}

pub(super) fn owned(
    block: &Block,
    index: usize,
) -> Result<OwnedFragment, crate::codec::DecodeError> {
    let fragments = TimelineBlock::parse(block.content(), block.items())?;
    let range = fragments.range(index)?;
    let layout = fragments.layout(index)?;
    Ok(OwnedFragment { block: block.clone(), range, layout })
}
