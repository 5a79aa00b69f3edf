//! Checks everything that an SSTable says of itself, straight from the disk.
//!
//! 1. The footer, against the manifest.
//! 2. Every page: its checksum, and the checksum of its section over those.
//! 3. Every data block, against the index: its place and checksum; every fragment and entry, every
//!    version; the order of keys, seqs, commits and times.
//! 4. The dictionary, and the zeros behind it and behind the data.
//! 5. Directory and filter against the data, both ways (each key is found; there are no others).
//! 6. Properties and manifest against the counts and ranges of the data.
//! 7. References: the segments that the manifest lists are exactly those that entries refer to, and
//!    each reference is shown to the caller, who knows the records.
//!
//! Step 5 looks every key up, in pages that step 2 has verified and the cache of the source keeps:
//! whoever asks only for checksums ([`Depth::Bytes`]) leaves it out. It ends where lookups have
//! gone over far more pages than the SSTable has: a hostile directory has each of them go over all
//! of its own.
//!
//! Goes on after damage as far as it can, so one call reports all. What was lost with a block is
//! told by what stands before and behind it ([`Span`]).

use super::block::{Block, carried_checksum};
use super::damage::{Damage, Depth, Span, SpanEnd};
use super::directory::{self, RunLocation};
use super::fetch::Fetcher;
use super::footer::Section;
use super::format::{BlockKind, length32};
use super::fragment::FragmentView;
use super::index::{INDEX_ENTRIES_PER_PAGE, IndexEntry};
use super::keyed_block::KeyedBlock;
use super::properties::Properties;
use super::reader::Sstable;
use super::timeline_block::TimelineBlock;
use crate::codec::{DecodeError, round_up};
use crate::error::{Corruption, Error};
use crate::limits::BLOCK_SIZE;
use crate::segment::Reference;
use crate::version::TableKind;
use crc32fast::Hasher;
use std::collections::BTreeSet;

/// Damaged places of one SSTable that are named: a hostile one can be wrong at each entry.
const DAMAGE_MAX: usize = 1000;
/// Pages of the directory that lookups may look at in vain, for each page of the SSTable. Those of
/// nearly all keys are none; of the worst, three of which just fill a page, they are dozens.
const VAIN_SHARE: u64 = 512;

impl Sstable {
    /// Everything that is wrong with the SSTable; empty where nothing is. An I/O error is reported
    /// as damage of the place that could not be read.
    #[cfg(test)]
    pub(crate) fn verify(&self) -> Vec<Corruption> {
        let damage = self.verify_with(Depth::Lookups, &|_| None);
        damage.into_iter().map(|damage| damage.corruption).collect()
    }

    /// The same; `check` says what is wrong with a reference.
    pub(crate) fn verify_with(
        &self,
        depth: Depth,
        check: &dyn Fn(Reference) -> Option<String>,
    ) -> Vec<Damage> {
        let fetcher = match self.fetcher() {
            Ok(fetcher) => fetcher,
            Err(error) => {
                let offset = self.meta().extent.offset;
                let corruption = corruption(error, BlockKind::Footer.name(), offset);
                return vec![Damage { corruption, span: self.whole_span() }];
            }
        };
        let mut verifier = Verifier {
            sstable: self,
            fetcher,
            depth,
            vain: 0,
            damage: Vec::new(),
            told: BTreeSet::new(),
            unbounded: Vec::new(),
            gap: false,
            totals: Properties::default(),
            last: Last::Nothing,
            directory_items: 0,
            next_offset: 0,
            segments: BTreeSet::new(),
            check,
        };
        verifier.run();
        verifier.damage
    }

    /// All that is in it.
    fn whole_span(&self) -> Span {
        let meta = self.meta();
        Span { first: meta.first.clone(), last: meta.last.clone() }
    }
}

/// The place in the order of the data that has been reached.
enum Last {
    Nothing,
    /// `partial`: some of it may have been lost.
    Run {
        key: Vec<u8>,
        run: RunLocation,
        partial: bool,
    },
    Version {
        key: Vec<u8>,
        commit: u64,
        index: u32,
    },
}

struct Verifier<'a> {
    sstable: &'a Sstable,
    fetcher: &'a Fetcher,
    depth: Depth,
    /// Pages that lookups have looked at in vain.
    vain: u64,
    damage: Vec<Damage>,
    /// Where it is.
    told: BTreeSet<u64>,
    /// Damage of the data behind which nothing sound has been met yet.
    unbounded: Vec<usize>,
    /// A block before could not be read.
    gap: bool,
    /// Counted over the data.
    totals: Properties,
    last: Last,
    directory_items: u64,
    next_offset: u64,
    /// That entries refer to.
    segments: BTreeSet<u64>,
    check: &'a dyn Fn(Reference) -> Option<String>,
}

impl Verifier<'_> {
    fn run(&mut self) {
        let footer = self.fetcher.footer;
        self.verify_footer();
        self.verify_pages(BlockKind::Directory, &footer.directory);
        self.verify_pages(BlockKind::Filter, &footer.filter);
        self.verify_pages(BlockKind::Index, &footer.index);
        self.verify_dictionary();
        self.verify_data();
        self.verify_padding(self.fetcher.data_kind(), &footer.data);
        self.verify_padding(BlockKind::Dictionary, &footer.dictionary);
        if self.damage.is_empty() {
            // Counts of damaged data say nothing more.
            self.verify_totals();
        }
        self.verify_pages(BlockKind::Properties, &footer.properties);
    }

    /// The footer was verified when the SSTable was opened; now it is read again.
    fn verify_footer(&mut self) {
        let result = Fetcher::open_footer(self.sstable.meta(), self.sstable.source());
        if let Err(error) = result {
            let end = self.sstable.meta().bytes - BLOCK_SIZE;
            self.report(error, BlockKind::Footer, end);
        }
    }

    fn verify_pages(&mut self, kind: BlockKind, section: &Section) {
        let mut hasher = Hasher::new();
        let mut whole = true;
        for number in 0..section.count {
            let handle = self.fetcher.page_handle(kind, section, number);
            match self.fetcher.fetch_fresh(&handle) {
                Ok(page) => {
                    hasher.update(&carried_bytes(&page));
                    if self.depth == Depth::Lookups {
                        self.fetcher.keep(&handle, &page);
                    }
                    self.verify_page(kind, &page, number);
                }
                Err(error) => {
                    whole = false;
                    self.report(error, kind, handle.offset);
                }
            }
        }
        self.verify_section(kind, section, whole, hasher);
    }

    fn verify_section(&mut self, kind: BlockKind, section: &Section, whole: bool, hasher: Hasher) {
        if whole && hasher.finalize() != section.checksum {
            self.note(kind, section.offset, "the checksum of the section does not hold".into());
        }
    }

    fn verify_page(&mut self, kind: BlockKind, page: &Block, number: u64) {
        let offset = page.header().offset;
        match kind {
            BlockKind::Directory => {
                self.directory_items += page.items() as u64;
                if self.fetcher.footer.kind == TableKind::Timeline
                    && !directory::are_sorted(page.content(), page.items())
                {
                    self.note(kind, offset, "its tags fall".into());
                }
            }
            BlockKind::Properties => match Properties::decode(page.content()) {
                Ok(found) if found == Properties::of(self.sstable.meta()) => {}
                Ok(_) => self.note(kind, offset, "it differs from the manifest".into()),
                Err(error) => self.note(kind, offset, error.to_string()),
            },
            BlockKind::Index => {
                let blocks = self.fetcher.footer.data.count;
                let before = number * INDEX_ENTRIES_PER_PAGE as u64;
                if page.items() as u64 != (blocks - before).min(INDEX_ENTRIES_PER_PAGE as u64) {
                    self.note(kind, offset, "it has too few or too many entries".into());
                }
            }
            _ => {}
        }
    }

    fn verify_dictionary(&mut self) {
        let section = self.fetcher.footer.dictionary;
        let mut hasher = Hasher::new();
        if let Some(handle) = self.fetcher.dictionary_handle() {
            let block = self.fetcher.fetch_fresh(&handle);
            let loaded = block.map(|block| hasher.update(&carried_bytes(&block)));
            if let Err(error) = loaded.and_then(|()| self.fetcher.digest().map(drop)) {
                return self.report(error, BlockKind::Dictionary, section.offset);
            }
        }
        self.verify_section(BlockKind::Dictionary, &section, true, hasher);
    }

    fn verify_data(&mut self) {
        let data = self.fetcher.footer.data;
        let index = self.fetcher.footer.index;
        let mut hasher = Hasher::new();
        let mut whole = true;
        for number in 0..index.count {
            let handle = self.fetcher.page_handle(BlockKind::Index, &index, number);
            let Ok(page) = self.fetcher.fetch_fresh(&handle) else {
                (whole, self.gap) = (false, true);
                continue; // Reported with the pages.
            };
            let before = number * INDEX_ENTRIES_PER_PAGE as u64;
            let entries = (data.count - before).min(INDEX_ENTRIES_PER_PAGE as u64);
            for slot in 0..usize::try_from(entries).expect("entries of one page") {
                let block = u32::try_from(before + slot as u64).expect("the footer bounds it");
                match IndexEntry::decode(page.content(), slot, data.length) {
                    Ok(entry) => {
                        hasher.update(&entry.checksum.to_le_bytes());
                        self.verify_block(block, &entry);
                    }
                    Err(error) => {
                        whole = false;
                        self.gap = true;
                        self.note(BlockKind::Index, handle.offset, error.to_string());
                    }
                }
            }
        }
        self.close_run();
        if whole && self.next_offset != data.length {
            let kind = self.fetcher.data_kind();
            self.note(kind, self.next_offset, "the blocks do not fill their section".into());
        }
        self.verify_section(self.fetcher.data_kind(), &data, whole, hasher);
    }

    fn verify_block(&mut self, number: u32, entry: &IndexEntry) {
        let handle = self.fetcher.data_handle(number, entry);
        if entry.offset != self.next_offset {
            self.note(handle.kind, entry.offset, "a block is not where the last one ends".into());
        }
        self.next_offset = entry.offset + u64::from(entry.length);
        let block = match self.fetcher.fetch_fresh(&handle) {
            Ok(block) => block,
            Err(error) => return self.lose(error, handle.kind, handle.offset),
        };
        let result = match self.sstable.meta().kind {
            TableKind::Timeline => self.verify_fragments(&block, number, entry),
            TableKind::Keyed => self.verify_versions(&block, number),
        };
        if let Err(error) = result {
            self.lose(block.damage(&error), handle.kind, handle.offset);
        }
    }

    /// A block, or the rest of it, cannot be read.
    fn lose(&mut self, error: Error, kind: BlockKind, offset: u64) {
        self.unbounded.push(self.damage.len());
        self.report(error, kind, offset);
        self.gap = true;
    }

    /// Something sound comes behind what was lost.
    fn go_on_at(&mut self, key: &[u8], seq: u64) {
        for index in self.unbounded.drain(..) {
            let named = self.damage.get_mut(index).into_iter();
            named.for_each(|damage| damage.span.last = (key.into(), seq));
        }
    }

    /// The place that has been reached: what is wrong here lies behind it.
    fn reached(&self) -> SpanEnd {
        match &self.last {
            Last::Nothing => self.sstable.meta().first.clone(),
            Last::Run { key, run, .. } => (key.as_slice().into(), run.last_seq),
            Last::Version { key, .. } => (key.as_slice().into(), 0),
        }
    }

    fn verify_fragments(
        &mut self,
        block: &Block,
        number: u32,
        entry: &IndexEntry,
    ) -> Result<(), DecodeError> {
        let fragments = TimelineBlock::parse(block.content(), block.items())?;
        let head = fragments.head(0)?;
        let first = (head.first_seq, head.base_index, head.base_commit, head.base_time);
        let indexed = (entry.first_seq, entry.base_index, entry.base_commit, entry.base_time);
        if first != indexed {
            self.note(BlockKind::Index, entry.offset, "it differs from the block".into());
        }
        for index in 0..fragments.count() {
            let range = fragments.range(index)?;
            let start = range.start;
            let fragment = FragmentView::parse(&block.content()[range])?;
            fragment.verify()?;
            self.verify_references(&fragment, block.header().offset)?;
            self.add_fragment(&fragment, (number, start), block.header().offset)?;
        }
        Ok(())
    }

    fn verify_references(
        &mut self,
        fragment: &FragmentView<'_>,
        offset: u64,
    ) -> Result<(), DecodeError> {
        for k in 0..fragment.count() {
            let Some(reference) = fragment.reference(k)? else {
                continue;
            };
            self.segments.insert(reference.number());
            if let Some(detail) = (self.check)(reference) {
                let key = fragment.key().escape_ascii();
                let seq = fragment.seq(k)?;
                let (number, place) = (reference.number(), reference.offset());
                let detail = format!("{key} {seq} refers to segment {number} at {place}: {detail}");
                self.note(BlockKind::TimelineData, offset, detail);
            }
        }
        Ok(())
    }

    /// Continues the run, or begins the next one.
    fn add_fragment(
        &mut self,
        fragment: &FragmentView<'_>,
        (number, start): (u32, usize),
        offset: u64,
    ) -> Result<(), DecodeError> {
        let last = fragment.count() - 1;
        let seqs = (fragment.first_seq(), fragment.seq(last)?);
        let commits = (fragment.commit(0)?, fragment.commit(last)?);
        let times = (fragment.time_ms(0)?, fragment.time_ms(last)?);
        self.go_on_at(fragment.key(), seqs.0);
        let gap = std::mem::take(&mut self.gap);
        if let Last::Run { partial, .. } = &mut self.last {
            *partial |= gap;
        }
        let continues = matches!(&self.last, Last::Run { key, .. } if **key == *fragment.key());
        if !continues {
            self.close_run();
            let rises = match &self.last {
                Last::Run { key, .. } => **key < *fragment.key(),
                _ => true,
            };
            if !rises {
                self.note(BlockKind::TimelineData, offset, "keys do not rise".into());
            }
            self.begin_key(fragment.key(), seqs.0);
            let run = RunLocation {
                first_seq: seqs.0,
                last_seq: 0,
                count: 0,
                first_block: number,
                last_block: number,
                first_offset: length32(start),
                times_ms: (times.0, 0),
                last_commit: 0,
            };
            self.last = Last::Run { key: fragment.key().to_vec(), run, partial: gap };
        }
        let count = fragment.count() as u64;
        let Last::Run { run, partial, .. } = &mut self.last else {
            return Ok(());
        };
        let in_order = (*partial || fragment.base_index() == run.count)
            && run.last_seq < seqs.0
            && run.last_commit <= commits.0
            && run.times_ms.1 <= times.0;
        run.count += count;
        run.last_seq = seqs.1;
        run.last_block = number;
        run.times_ms.1 = times.1;
        run.last_commit = commits.1;
        self.totals.include(count, fragment.payload_length(), commits, times);
        if let Some(commit) = fragment.oldest_origin()? {
            self.totals.include_origin(commit);
        }
        for expires_ms in fragment.own_expiries() {
            self.totals.own_ttl.note(expires_ms?);
        }
        if !in_order {
            let detail = "a fragment does not continue its run".into();
            self.note(BlockKind::TimelineData, offset, detail);
        }
        Ok(())
    }

    /// Whether keys are looked up, and still are.
    fn looks_up(&mut self) -> bool {
        let pages = self.sstable.meta().bytes / BLOCK_SIZE;
        if self.depth == Depth::Lookups && self.vain > pages.saturating_mul(VAIN_SHARE) {
            self.depth = Depth::Bytes;
            let detail = format!("lookups go over {} pages of an SSTable of {pages}", self.vain);
            self.note(BlockKind::Directory, self.fetcher.footer.directory.offset, detail);
        }
        self.depth == Depth::Lookups
    }

    /// Compares the run that ended with its directory entry.
    fn close_run(&mut self) {
        let Last::Run { key, run, partial } = &self.last else {
            return;
        };
        let (key, run, partial) = (key.clone(), *run, *partial || self.gap);
        self.totals.last = (key.as_slice().into(), run.last_seq);
        if partial || !self.looks_up() {
            return;
        }
        match self.sstable.find_counting(&key, &mut self.vain) {
            Ok(Some(found)) if found == run => {}
            Ok(_) => {
                let offset = self.fetcher.footer.directory.offset;
                self.note(BlockKind::Directory, offset, "it differs from the data".into());
            }
            Err(error) => self.report_once(error),
        }
        self.verify_filter(&key);
    }

    fn verify_versions(&mut self, block: &Block, number: u32) -> Result<(), DecodeError> {
        let versions = KeyedBlock::parse(block.content(), block.items())?;
        for index in 0..versions.count() {
            let (version, _) = versions.version(index)?;
            let offset = block.header().offset;
            self.go_on_at(version.key, 0);
            // Behind a gap the key may have newer versions in it.
            let gap = std::mem::take(&mut self.gap);
            let (rises, new_key) = match &self.last {
                Last::Version { key, commit, index } => (
                    version.order(key, *commit, *index) == std::cmp::Ordering::Greater,
                    **key != *version.key,
                ),
                _ => (true, true),
            };
            if !rises {
                self.note(BlockKind::KeyedData, offset, "versions are not in order".into());
            }
            if new_key {
                self.begin_key(version.key, 0);
                if !gap && self.looks_up() {
                    self.verify_key(version.key, number);
                }
            }
            self.totals.include(
                1,
                version.value.len() as u64,
                (version.commit, version.commit),
                (version.time_ms, version.time_ms),
            );
            self.totals.last = (version.key.into(), 0);
            let (key, commit) = (version.key.to_vec(), version.commit);
            self.last = Last::Version { key, commit, index: version.index };
        }
        Ok(())
    }

    fn verify_key(&mut self, key: &[u8], block: u32) {
        match self.sstable.find_key_counting(key, &mut self.vain) {
            Ok(Some(found)) if found == block => {}
            Ok(_) => {
                let offset = self.fetcher.footer.directory.offset;
                self.note(BlockKind::Directory, offset, "it differs from the data".into());
            }
            Err(error) => self.report_once(error),
        }
        self.verify_filter(key);
    }

    fn verify_filter(&mut self, key: &[u8]) {
        match self.sstable.filter_contains(key) {
            Ok(true) => {}
            Ok(false) => {
                let offset = self.fetcher.footer.filter.offset;
                self.note(BlockKind::Filter, offset, "it denies a key that is there".into());
            }
            Err(error) => self.report_once(error),
        }
    }

    fn begin_key(&mut self, key: &[u8], first_seq: u64) {
        if self.totals.keys == 0 {
            self.totals.first = (key.into(), first_seq);
        }
        self.totals.keys += 1;
    }

    fn verify_padding(&mut self, kind: BlockKind, section: &Section) {
        let end = section.end();
        let length = round_up(end, BLOCK_SIZE) - end;
        let length = usize::try_from(length).expect("less than a page");
        match self.fetcher.read(end, length) {
            Ok(zeros) if zeros.iter().all(|byte| *byte == 0) => {}
            Ok(_) => self.note(kind, end, "the bytes behind it are not zero".into()),
            Err(error) => self.report(error, kind, end),
        }
    }

    fn verify_totals(&mut self) {
        let meta = self.sstable.meta();
        let offset = self.fetcher.footer.properties.offset;
        if self.totals != Properties::of(meta) {
            let detail = "the manifest's counts and ranges are not those of the data".into();
            self.note(BlockKind::Properties, offset, detail);
        }
        if !self.segments.iter().eq(meta.segments.iter()) {
            let detail = format!(
                "the manifest lists segments {:?}, the entries refer to {:?}",
                meta.segments, self.segments
            );
            self.note(BlockKind::Properties, offset, detail);
        }
        if self.directory_items != self.totals.keys {
            let detail =
                format!("it has {} entries for {} keys", self.directory_items, self.totals.keys);
            self.note(BlockKind::Directory, self.fetcher.footer.directory.offset, detail);
        }
    }

    fn note(&mut self, kind: BlockKind, offset: u64, detail: String) {
        let offset = self.fetcher.file_offset(offset);
        self.push(kind, Corruption { what: kind.name(), offset, detail });
    }

    fn report(&mut self, error: Error, kind: BlockKind, offset: u64) {
        let offset = self.fetcher.file_offset(offset);
        self.push(kind, corruption(error, kind.name(), offset));
    }

    fn push(&mut self, kind: BlockKind, corruption: Corruption) {
        let mut span = self.sstable.whole_span();
        if kind == self.fetcher.data_kind() {
            span.first = self.reached();
        }
        self.told.insert(corruption.offset);
        if self.damage.len() < DAMAGE_MAX {
            self.damage.push(Damage { corruption, span });
        }
    }

    /// Damage of a page that many keys meet is reported once.
    fn report_once(&mut self, error: Error) {
        let found = corruption(error, BlockKind::Directory.name(), self.fetcher.file_offset(0));
        if !self.told.contains(&found.offset) {
            self.push(BlockKind::Directory, found);
        }
    }
}

fn corruption(error: Error, what: &'static str, offset: u64) -> Corruption {
    match error {
        Error::Corruption(corruption) => corruption,
        other => Corruption { what, offset, detail: other.to_string() },
    }
}

/// The checksum that a page carries, as bytes of the section's chain.
fn carried_bytes(page: &Block) -> [u8; 4] {
    let start = page.content_start() - super::format::HEADER_SIZE;
    carried_checksum(&page.region()[start..]).expect("a block has a header").to_le_bytes()
}
