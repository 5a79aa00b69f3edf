//! Collects the keys of an SSTable and writes its directory and filter pages.
//!
//! # Invariants
//! 1. Each key is pushed once.
//! 2. The pages written depend on the keys and their order alone, so equal input gives equal bytes.

use super::block_writer::{BlockWriter, Output};
use super::directory::{self, Bases, RunLocation};
use super::filter;
use super::format::{BlockKind, FLAG_CONTINUED, PAGE_CONTENT};
use super::hash::key_hash;
use crate::error::Result;
use crate::file::FileId;

#[derive(Debug)]
struct Timeline {
    hash: u64,
    key_end: usize,
    run: RunLocation,
}

#[derive(Debug)]
pub(super) struct DirectoryWriter {
    file: FileId,
    /// All keys of timelines, one behind the other.
    keys: Vec<u8>,
    timelines: Vec<Timeline>,
    /// Hash and first block of each key of a keyed table.
    keyed: Vec<(u64, u32)>,
    /// Bytes that all entries will take, and the most that one takes; of timelines at most so many,
    /// since what their times and commits count from is known at the end alone.
    bytes: u64,
    longest: usize,
}

impl DirectoryWriter {
    pub(super) fn new(file: FileId) -> DirectoryWriter {
        DirectoryWriter {
            file,
            keys: Vec::new(),
            timelines: Vec::new(),
            keyed: Vec::new(),
            bytes: 0,
            longest: 0,
        }
    }

    pub(super) fn key_count(&self) -> u64 {
        (self.timelines.len() + self.keyed.len()) as u64
    }

    /// Bytes held until the directory is written, and what writing it takes beside them.
    pub(super) fn memory(&self) -> usize {
        let entries = self.timelines.len() + self.keyed.len();
        self.keys.capacity()
            + self.timelines.capacity() * size_of::<Timeline>()
            + self.keyed.capacity() * size_of::<(u64, u32)>()
            + entries * (size_of::<u32>() + size_of::<usize>() + size_of::<u64>())
    }

    pub(super) fn push_timeline(&mut self, key: &[u8], run: RunLocation) {
        self.keys.extend_from_slice(key);
        let hash = key_hash(self.file, key);
        self.timelines.push(Timeline { hash, key_end: self.keys.len(), run });
        self.count(directory::timeline_entry_size(key, &run, Bases::default()));
    }

    pub(super) fn push_keyed(&mut self, key: &[u8], block: u32) {
        self.keyed.push((key_hash(self.file, key), block));
        self.count(directory::keyed_entry_size());
    }

    /// Pages of directory and filter, if entries of these sizes were added.
    pub(super) fn pages_with(&self, sizes: [usize; 2]) -> u64 {
        let bytes = self.bytes + (sizes[0] + sizes[1]) as u64;
        let longest = self.longest.max(sizes[0]).max(sizes[1]);
        directory::page_count(bytes, longest) + filter::page_count(self.key_count() + 2)
    }

    pub(super) fn write_directory<O: Output>(
        &self,
        writer: &mut BlockWriter<O>,
        bases: Bases,
    ) -> Result<()> {
        let sizes = self.timelines.iter().enumerate().map(|(at, timeline)| {
            let size = directory::timeline_entry_size(self.key(at), &timeline.run, bases);
            (timeline.hash, size)
        });
        let keyed = self.keyed.iter().map(|(hash, _)| (*hash, directory::keyed_entry_size()));
        let sizes: Vec<(u64, usize)> = sizes.chain(keyed).collect();
        let bytes = sizes.iter().map(|(_, size)| *size as u64).sum();
        let longest = sizes.iter().map(|(_, size)| *size).max().unwrap_or(0);
        let pages = directory::page_count(bytes, longest);
        let (places, continued) = directory::place(pages, sizes.into_iter());
        let (mut order, ends) = by_page(&places, continued.len());
        let mut content = Vec::with_capacity(PAGE_CONTENT);
        let mut start = 0;
        for (end, continued) in ends.into_iter().zip(continued) {
            let here = &mut order[start..end];
            start = end;
            if !self.timelines.is_empty() {
                // Keyed pages are in the order of the keys.
                here.sort_by_key(|at| directory::short_tag(self.timelines[*at].hash));
            }
            content.clear();
            self.encode_page(here, bases, &mut content);
            let flags = if continued { FLAG_CONTINUED } else { 0 };
            writer.write_page(BlockKind::Directory, flags, here.len(), &mut content)?;
        }
        Ok(())
    }

    pub(super) fn write_filter<O: Output>(&self, writer: &mut BlockWriter<O>) -> Result<()> {
        let pages = filter::page_count(self.key_count());
        let timelines = self.timelines.iter().map(|timeline| timeline.hash);
        let hashes = timelines.chain(self.keyed.iter().map(|(hash, _)| *hash));
        let count = usize::try_from(pages).expect("pages of one SSTable");
        let mut contents = vec![0; count * PAGE_CONTENT];
        let mut items = vec![0; count];
        for hash in hashes {
            let page = usize::try_from(filter::page_of(hash, pages)).expect("one of the pages");
            filter::add(&mut contents[page * PAGE_CONTENT..(page + 1) * PAGE_CONTENT], hash);
            items[page] += 1;
        }
        let mut content = Vec::with_capacity(PAGE_CONTENT);
        for (page, items) in contents.chunks_exact(PAGE_CONTENT).zip(items) {
            content.clear();
            content.extend_from_slice(page);
            writer.write_page(BlockKind::Filter, 0, items, &mut content)?;
        }
        Ok(())
    }

    fn encode_page(&self, entries: &[usize], bases: Bases, content: &mut Vec<u8>) {
        if self.timelines.is_empty() {
            let entries: Vec<_> = entries.iter().map(|at| self.keyed[*at]).collect();
            directory::encode_keyed_page(&entries, content);
        } else {
            let timeline = |at: &usize| {
                let timeline = &self.timelines[*at];
                (timeline.hash, self.key(*at), timeline.run)
            };
            let entries: Vec<_> = entries.iter().map(timeline).collect();
            directory::encode_timeline_page(&entries, bases, content);
        }
    }

    fn key(&self, at: usize) -> &[u8] {
        let start = if at == 0 { 0 } else { self.timelines[at - 1].key_end };
        &self.keys[start..self.timelines[at].key_end]
    }

    fn count(&mut self, size: usize) {
        self.bytes += size as u64;
        self.longest = self.longest.max(size);
    }
}

/// The entries in the order of their pages, those of one page in their own, and where each page
/// ends among them.
fn by_page(places: &[u32], pages: usize) -> (Vec<usize>, Vec<usize>) {
    let mut ends = vec![0; pages];
    places.iter().for_each(|page| ends[*page as usize] += 1);
    let mut before = 0;
    for end in &mut ends {
        // Where the page begins: it moves to its end as entries are taken in.
        before += std::mem::replace(end, before);
    }
    let mut order = vec![0; places.len()];
    for (at, page) in places.iter().enumerate() {
        let end = &mut ends[*page as usize];
        order[*end] = at;
        *end += 1;
    }
    (order, ends)
}
