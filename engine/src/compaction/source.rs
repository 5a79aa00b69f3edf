//! The sources of a merge: SSTables that are read front to back, one behind the other.
//!
//! # Invariants
//! 1. Every input is read to its end, and gives as many entries as its meta says; otherwise it is
//!    corruption: a reader that ends early must not look like the end of the data.
//! 2. At most one SSTable of a source is open.

use crate::entry::KeyedVersion;
use crate::error::{Error, Result};
use crate::sstable::{FragmentCursor, KeyedCursor, OwnedFragment, Sstable};
use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::Arc;

/// Reads one SSTable item by item.
pub(super) trait ItemSource: Sized {
    type Item;

    fn open(sstable: &Arc<Sstable>) -> Result<Self>;
    fn next(&mut self) -> Result<Option<Self::Item>>;
    /// Entries in an item.
    fn entries(item: &Self::Item) -> u64;
}

/// Fragments of a timeline table.
#[derive(Debug)]
pub(super) struct FragmentSource(FragmentCursor);

impl ItemSource for FragmentSource {
    type Item = OwnedFragment;

    fn open(sstable: &Arc<Sstable>) -> Result<FragmentSource> {
        sstable.fragments(None).map(FragmentSource)
    }

    fn next(&mut self) -> Result<Option<OwnedFragment>> {
        self.0.next()
    }

    fn entries(item: &OwnedFragment) -> u64 {
        item.view().count() as u64
    }
}

/// Versions of a keyed table.
#[derive(Debug)]
pub(super) struct VersionSource(KeyedCursor);

impl ItemSource for VersionSource {
    type Item = KeyedVersion;

    fn open(sstable: &Arc<Sstable>) -> Result<VersionSource> {
        sstable.keyed_scan(Bound::Unbounded).map(VersionSource)
    }

    fn next(&mut self) -> Result<Option<KeyedVersion>> {
        self.0.next()
    }

    fn entries(_: &KeyedVersion) -> u64 {
        1
    }
}

/// The inputs of a job as sources, in the order of the inputs: each SSTable of level 0 by itself,
/// those of another level one behind the other.
pub(super) fn sources<S: ItemSource>(inputs: &[(u8, Arc<Sstable>)]) -> Vec<SourceCursor<S>> {
    let mut sources: Vec<(u8, VecDeque<Arc<Sstable>>)> = Vec::new();
    for (level, sstable) in inputs {
        match sources.last_mut() {
            Some((last, chain)) if *level > 0 && last == level => {
                chain.push_back(Arc::clone(sstable));
            }
            _ => sources.push((*level, VecDeque::from([Arc::clone(sstable)]))),
        }
    }
    sources.into_iter().map(|(_, chain)| SourceCursor::new(chain)).collect()
}

/// The SSTables of one source, as one stream of items with a look at the next one.
#[derive(Debug)]
pub(super) struct SourceCursor<S: ItemSource> {
    /// The open SSTable first.
    chain: VecDeque<Arc<Sstable>>,
    open: Option<S>,
    /// Entries read of the open SSTable.
    read: u64,
    head: Option<S::Item>,
    /// The last look failed.
    failed: bool,
}

impl<S: ItemSource> SourceCursor<S> {
    fn new(chain: VecDeque<Arc<Sstable>>) -> SourceCursor<S> {
        SourceCursor { chain, open: None, read: 0, head: None, failed: false }
    }

    /// The next item, which stays.
    pub(super) fn head(&mut self) -> Result<Option<&S::Item>> {
        let filled = self.fill();
        self.failed = filled.is_err();
        filled?;
        Ok(self.head.as_ref())
    }

    /// The SSTable over which the last look failed, by number.
    pub(super) fn unread(&self) -> Option<u64> {
        self.chain.front().filter(|_| self.failed).map(|sstable| sstable.meta().number)
    }

    /// Reads the next item, if there is one.
    fn fill(&mut self) -> Result<()> {
        while self.head.is_none() {
            let Some(sstable) = self.chain.front() else {
                return Ok(());
            };
            let open = match &mut self.open {
                Some(open) => open,
                None => self.open.insert(S::open(sstable)?),
            };
            match open.next()? {
                Some(item) => {
                    self.read += S::entries(&item);
                    self.head = Some(item);
                }
                None => self.end()?,
            }
        }
        Ok(())
    }

    /// Takes the item that `head` has shown.
    pub(super) fn take(&mut self) -> Result<S::Item> {
        self.head()?;
        self.head.take().ok_or_else(|| Error::invalid("an item of a source that has ended"))
    }

    /// File offset of the open SSTable, for errors.
    pub(super) fn place(&self) -> u64 {
        self.chain.front().map_or(0, |sstable| sstable.meta().extent.offset)
    }

    /// The open SSTable has given everything.
    fn end(&mut self) -> Result<()> {
        let place = self.place();
        let expected = self.chain.front().map_or(0, |sstable| sstable.meta().entries);
        self.open = None;
        let read = std::mem::take(&mut self.read);
        if read != expected {
            let detail = format!("{read} entries were read, the manifest knows {expected}");
            return Err(Error::corruption("compaction input", place, detail));
        }
        self.chain.pop_front();
        Ok(())
    }
}
