//! Walks the versions of a keyed table in order: key rising, newest first.
//!
//! # Invariants
//! 1. Every version from the place sought is delivered, or an error; after an error every call
//!    returns it again.

use super::block::Block;
use super::keyed_block::{KeyedBlock, VersionView};
use super::reader::Sstable;
use super::scan::BlockScan;
use crate::codec::DecodeError;
use crate::entry::{KeyedVersion, Payload};
use crate::error::{Error, Result};
use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::Arc;

/// Where a cursor begins.
#[derive(Debug)]
enum Seek {
    /// With the newest version of this key up to this commit, or the next key.
    Version(Box<[u8]>, u64),
    /// With the first key behind this one.
    Behind(Box<[u8]>),
}

impl Seek {
    fn is_behind(&self, version: &VersionView<'_>) -> bool {
        match self {
            Seek::Version(key, commit) => version.order(key, *commit, u32::MAX) == Ordering::Less,
            Seek::Behind(key) => *version.key <= **key,
        }
    }
}

/// How the blocks come.
#[derive(Debug)]
enum Blocks {
    /// One by one through the cache.
    Cached(Arc<Sstable>, u32),
    /// In one pass past it.
    Pass(BlockScan),
}

impl Blocks {
    fn next_block(&mut self) -> Result<Option<Block>> {
        match self {
            Blocks::Pass(scan) => scan.next_block(),
            Blocks::Cached(sstable, next) => {
                if *next >= sstable.block_count()? {
                    return Ok(None);
                }
                let block = sstable.fetcher()?.data_block(*next)?;
                *next += 1;
                Ok(Some(block))
            }
        }
    }
}

/// A cursor over versions. It owns what it needs.
#[derive(Debug)]
pub(crate) struct KeyedCursor {
    blocks: Blocks,
    /// Sought in each block, until it is found.
    seek: Option<Seek>,
    block: Option<Block>,
    index: usize,
    failed: Option<Error>,
}

impl KeyedCursor {
    pub(super) fn new(
        sstable: Arc<Sstable>,
        from: Bound<&[u8]>,
        pass: bool,
    ) -> Result<KeyedCursor> {
        let (first, seek) = match from {
            Bound::Unbounded => (0, None),
            Bound::Included(from) => {
                let behind = sstable.partition_blocks(|key| key < from)?;
                (behind, Some(Seek::Version(from.into(), u64::MAX)))
            }
            Bound::Excluded(from) => {
                let behind = sstable.partition_blocks(|key| key <= from)?;
                (behind, Some(Seek::Behind(from.into())))
            }
        };
        let first = first.saturating_sub(1);
        let blocks = match pass {
            true => Blocks::Pass(BlockScan::new(sstable, first)),
            false => Blocks::Cached(sstable, first),
        };
        Ok(KeyedCursor { blocks, seek, block: None, index: 0, failed: None })
    }

    /// Begins in `block` with the newest version of `key` up to `commit_max`.
    pub(super) fn at_version(
        sstable: Arc<Sstable>,
        block: u32,
        key: &[u8],
        commit_max: u64,
    ) -> Result<KeyedCursor> {
        let seek = Some(Seek::Version(key.into(), commit_max));
        let blocks = Blocks::Cached(sstable, block);
        Ok(KeyedCursor { blocks, seek, block: None, index: 0, failed: None })
    }

    /// The next version; `None` behind the last.
    pub(crate) fn next(&mut self) -> Result<Option<KeyedVersion>> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = self.step();
        if let Err(error) = &result {
            self.failed = Some(error.clone());
        }
        result
    }

    /// The next version if it is one of `key`.
    pub(super) fn next_of(&mut self, key: &[u8]) -> Result<Option<KeyedVersion>> {
        Ok(self.next()?.filter(|version| *version.key == *key))
    }

    fn step(&mut self) -> Result<Option<KeyedVersion>> {
        loop {
            if let Some(block) = &self.block
                && self.index < block.items()
            {
                let version = owned(block, self.index).map_err(|error| block.damage(&error))?;
                self.index += 1;
                return Ok(Some(version));
            }
            let Some(block) = self.blocks.next_block()? else {
                return Ok(None);
            };
            self.index = match &self.seek {
                None => 0,
                Some(seek) => KeyedBlock::parse(block.content(), block.items())
                    .and_then(|versions| versions.partition(|version| seek.is_behind(version)))
                    .map_err(|error| block.damage(&error))?,
            };
            if self.index < block.items() {
                self.seek = None;
            }
            self.block = Some(block);
        }
    }
}

pub(super) fn owned(block: &Block, index: usize) -> Result<KeyedVersion, DecodeError> {
    let (version, value) = KeyedBlock::parse(block.content(), block.items())?.version(index)?;
    let start = block.content_start();
    Ok(KeyedVersion {
        key: version.key.into(),
        commit: version.commit,
        index: version.index,
        time_ms: version.time_ms,
        operation: version.operation,
        value: Payload::in_region(block.region().clone(), start + value.start..start + value.end),
    })
}
