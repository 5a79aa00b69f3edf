//! Lists the timelines of an SSTable by key, each with its run. The blocks inside a run are
//! skipped.
//!
//! # Invariants
//! 1. Every timeline from the place sought is delivered, or an error; after an error every call
//!    returns it again.

use super::block::Block;
use super::directory::RunLocation;
use super::reader::Sstable;
use super::timeline_block::TimelineBlock;
use crate::error::{Error, Result};
use std::ops::Bound;
use std::sync::Arc;

/// A cursor over timelines. It owns what it needs.
#[derive(Debug)]
pub(crate) struct TimelineCursor {
    sstable: Arc<Sstable>,
    from: Bound<Box<[u8]>>,
    number: u32,
    block: Option<Block>,
    failed: Option<Error>,
}

impl TimelineCursor {
    pub(super) fn new(sstable: Arc<Sstable>, from: Bound<&[u8]>) -> Result<TimelineCursor> {
        let behind = match from {
            Bound::Unbounded => 0,
            Bound::Included(from) => sstable.partition_blocks(|key| key < from)?,
            Bound::Excluded(from) => sstable.partition_blocks(|key| key <= from)?,
        };
        let number = behind.saturating_sub(1);
        Ok(TimelineCursor { sstable, from: from.map(Box::from), number, block: None, failed: None })
    }

    /// The next timeline; `None` behind the last.
    pub(crate) fn next(&mut self) -> Result<Option<(Box<[u8]>, RunLocation)>> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = self.step();
        if let Err(error) = &result {
            self.failed = Some(error.clone());
        }
        result
    }

    fn step(&mut self) -> Result<Option<(Box<[u8]>, RunLocation)>> {
        loop {
            let block = match self.block.take() {
                Some(block) => block,
                None if self.number >= self.sstable.block_count()? => return Ok(None),
                None => self.sstable.fetcher()?.data_block(self.number)?,
            };
            let key = self.first_from(&block)?;
            let Some(key) = key else {
                self.number += 1;
                continue;
            };
            let run = self.sstable.find(&key)?.filter(|run| run.first_block == self.number);
            let run =
                run.ok_or_else(|| block.corruption("a timeline is here that the directory lacks"))?;
            self.from = Bound::Excluded(key.clone());
            if run.last_block == self.number {
                self.block = Some(block);
            }
            self.number = run.last_block;
            return Ok(Some((key, run)));
        }
    }

    /// The first key of the block that lies in the range still to be listed.
    fn first_from(&self, block: &Block) -> Result<Option<Box<[u8]>>> {
        let first = || {
            let fragments = TimelineBlock::parse(block.content(), block.items())?;
            let place = fragments.partition(|head| match &self.from {
                Bound::Unbounded => false,
                Bound::Included(from) => *head.key < **from,
                Bound::Excluded(from) => *head.key <= **from,
            })?;
            if place == fragments.count() {
                return Ok(None);
            }
            Ok(Some(Box::from(fragments.head(place)?.key)))
        };
        first().map_err(|error: crate::codec::DecodeError| block.damage(&error))
    }
}
