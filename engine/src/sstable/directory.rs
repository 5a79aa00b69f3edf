//! The directory: a hash table of pages, key → where its data lies. A lookup reads one page.
//!
//! ```text
//! page content, timeline table
//!   tags    2·n     high 16 bits of each entry's hash, never falling: the entry holds the key, so
//!                   few suffice, and the hash tells about where its tag is
//!   starts  2·n     offset of each entry in the content
//!   entries         one behind the other; the rest of the page is zero
//!
//! entry             varints, see `codec/varint.rs`, and the key
//!   key length      k, twice; one more where seqs left out or blocks behind are not both 0
//!   first seq
//!   count - 1
//!   first block     number of the data block where the run begins
//!   offset          where its first fragment begins in the content of that block
//!   oldest time     less that of the SSTable
//!   newest time     less the oldest
//!   last commit     less the first of the SSTable
//!   seqs left out   of the run; this and the next only where the key length says so
//!   blocks behind   the first that the run goes on in
//!   key
//!
//! page content, keyed table
//!   tags    4·n     high 32 bits of each key's hash
//!   blocks  4·n     number of the data block with the key's newest version
//! ```
//!
//! The home of an entry is page `hash % pages`. Where that is full it goes to the next one that has
//! room, from the last to the first, and every page it passes carries the flag `continued`: a
//! lookup goes on while it sees the flag, at most once round. A keyed entry does not hold its key:
//! the data block tells whether a tag meant it.

use super::format::{PAGE_CONTENT, STORED_KEY_LENGTH_MAX, length32};
use crate::codec::{DecodeError, Decoder, Encode, VARINT_SIZE_MAX};
use crate::codec::{put_varint, take_varint, varint_size};
use crate::limits::SEQ_MAX;
use crate::version::SstableMeta;

/// Values of a timeline entry: all, and those that most have.
const VALUES: usize = 9;
const VALUES_MOST: usize = 7;
/// Most bytes of a timeline entry before its key, without tag and start.
const ENTRY_HEADER_MAX: usize = (1 + VALUES) * VARINT_SIZE_MAX;
/// Tag and start of a timeline entry, and the tag alone.
const SLOT: usize = 4;
const SHORT_TAG: usize = 2;
/// Bytes of a keyed entry.
const KEYED_ENTRY: usize = 8;

/// What one SSTable holds of one timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RunLocation {
    /// Seq of the first entry.
    pub(crate) first_seq: u64,
    /// Seq of the last entry.
    pub(crate) last_seq: u64,
    /// Entries.
    pub(crate) count: u64,
    /// Data block in which the run begins.
    pub(crate) first_block: u32,
    /// Data block in which it ends.
    pub(crate) last_block: u32,
    /// Where its first fragment begins in the content of the first block. In the blocks behind
    /// that is 0.
    pub(crate) first_offset: u32,
    /// Commit times of the first and of the last entry.
    pub(crate) times_ms: (u64, u64),
    /// Commit number of the last entry.
    pub(crate) last_commit: u64,
}

impl RunLocation {
    /// Where its first fragment begins in the content of one of its blocks.
    pub(super) fn offset_in(&self, block: u32) -> usize {
        if block == self.first_block { self.first_offset as usize } else { 0 }
    }
}

/// Whether a lookup is answered by a page, or must go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found<T> {
    Here(T),
    NotHere,
}

pub(super) fn tag(hash: u64) -> u32 {
    u32::try_from(hash >> 32).expect("the high half of 64 bits")
}

pub(super) fn short_tag(hash: u64) -> u16 {
    u16::try_from(hash >> 48).expect("the highest 16 of 64 bits")
}

/// What the commits and times of a directory count from: the lowest of the SSTable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Bases {
    pub(super) commit: u64,
    pub(super) time_ms: u64,
}

impl Bases {
    /// Those of the SSTable that the manifest describes.
    pub(super) fn of(meta: &SstableMeta) -> Bases {
        Bases { commit: meta.commits.0, time_ms: meta.times_ms.0 }
    }
}

/// The values of an entry.
fn values(run: &RunLocation, bases: Bases) -> [u64; VALUES] {
    let beyond = run.count - 1;
    [
        run.first_seq,
        beyond,
        u64::from(run.first_block),
        u64::from(run.first_offset),
        run.times_ms.0 - bases.time_ms,
        run.times_ms.1 - run.times_ms.0,
        run.last_commit - bases.commit,
        run.last_seq - run.first_seq - beyond,
        u64::from(run.last_block - run.first_block),
    ]
}

/// The values that are stored: most runs have neither seqs left out nor blocks behind.
fn stored(values: &[u64; VALUES]) -> &[u64] {
    if values[VALUES_MOST..] == [0, 0] { &values[..VALUES_MOST] } else { values }
}

/// What an entry begins with.
fn length_word(key: &[u8], stored: &[u64]) -> u64 {
    key.len() as u64 * 2 + u64::from(stored.len() == VALUES)
}

/// Bytes that a timeline entry takes in a page. With lower bases it takes no less.
pub(super) fn timeline_entry_size(key: &[u8], run: &RunLocation, bases: Bases) -> usize {
    let values = values(run, bases);
    let stored = stored(&values);
    let header = stored.iter().map(|value| varint_size(*value)).sum::<usize>();
    SLOT + varint_size(length_word(key, stored)) + header + key.len()
}

/// Most bytes that a timeline entry can take.
pub(super) fn timeline_entry_size_max(key_length: usize) -> usize {
    SLOT + ENTRY_HEADER_MAX + key_length
}

/// Bytes that a keyed entry takes in a page.
pub(super) fn keyed_entry_size() -> usize {
    KEYED_ENTRY
}

/// Pages for entries of so many bytes together, the longest of which has `longest`.
///
/// A page with less than `longest` bytes free holds more than the rest, so the first bound leaves
/// room for every entry somewhere. The second leaves free what chance adds to a page that is hit
/// by more entries than the mean: one standard deviation, which of many small entries is little,
/// and a quarter at most. So about one lookup in a hundred goes on to another page.
pub(super) fn page_count(bytes: u64, longest: usize) -> u64 {
    let certain = bytes / (PAGE_CONTENT - longest) as u64 + 1;
    let deviation = (PAGE_CONTENT * longest).isqrt().min(PAGE_CONTENT / 4);
    let roomy = bytes / (PAGE_CONTENT - deviation) as u64 + 1;
    certain.max(roomy)
}

/// Gives each entry a page: `(hash, size)` in, page out. Second: which pages are continued.
pub(super) fn place(
    pages: u64,
    entries: impl Iterator<Item = (u64, usize)>,
) -> (Vec<u32>, Vec<bool>) {
    let count = usize::try_from(pages).expect("pages of one SSTable");
    let mut free = vec![PAGE_CONTENT; count];
    let mut continued = vec![false; count];
    let places = entries.map(|(hash, size)| {
        let mut page = usize::try_from(hash % pages).expect("less than the number of pages");
        while free[page] < size {
            continued[page] = true;
            page = (page + 1) % count;
        }
        free[page] -= size;
        u32::try_from(page).expect("pages of one SSTable are counted in 32 bits")
    });
    (places.collect(), continued)
}

/// Appends the content of a timeline page. The entries' hashes do not fall in their high 16 bits.
pub(super) fn encode_timeline_page(
    entries: &[(u64, &[u8], RunLocation)],
    bases: Bases,
    out: &mut Vec<u8>,
) {
    for (hash, _, _) in entries {
        out.put_u16(short_tag(*hash));
    }
    let mut start = SLOT * entries.len();
    for (_, key, run) in entries {
        out.put_u16(u16::try_from(start).expect("a page is 4 KiB"));
        start += timeline_entry_size(key, run, bases) - SLOT;
    }
    for (_, key, run) in entries {
        let values = values(run, bases);
        let stored = stored(&values);
        put_varint(out, length_word(key, stored));
        stored.iter().for_each(|value| put_varint(out, *value));
        out.put(key);
    }
}

/// Appends the content of a keyed page: `(hash, block)`.
pub(super) fn encode_keyed_page(entries: &[(u64, u32)], out: &mut Vec<u8>) {
    for (hash, _) in entries {
        out.put_u32(tag(*hash));
    }
    for (_, block) in entries {
        out.put_u32(*block);
    }
    debug_assert!(length32(entries.len()) as usize * KEYED_ENTRY <= PAGE_CONTENT);
}

/// Looks for a timeline in a page of `items` entries.
pub(super) fn search_timeline(
    content: &[u8],
    items: usize,
    bases: Bases,
    hash: u64,
    key: &[u8],
) -> Result<Found<RunLocation>, DecodeError> {
    let tags = tags(content, items, SLOT, SHORT_TAG)?;
    let (tags, _) = tags.as_chunks::<SHORT_TAG>();
    let tag = short_tag(hash);
    let mut slot = first_slot(tags, tag);
    while tags.get(slot).is_some_and(|found| u16::from_le_bytes(*found) == tag) {
        let (entry_key, run) = timeline_entry(content, items, bases, slot)?;
        if entry_key == key {
            return Ok(Found::Here(run));
        }
        slot += 1;
    }
    Ok(Found::NotHere)
}

/// The first of the rising tags that is not below `tag`. Hashes are spread evenly, so it is near
/// the place that the tag has among all that there could be.
fn first_slot(tags: &[[u8; SHORT_TAG]], tag: u16) -> usize {
    let at = |slot: usize| u16::from_le_bytes(tags[slot]);
    let mut slot = (tags.len() * usize::from(tag)) >> u16::BITS;
    while slot > 0 && at(slot - 1) >= tag {
        slot -= 1;
    }
    while slot < tags.len() && at(slot) < tag {
        slot += 1;
    }
    slot
}

/// About where a timeline page of `mean` entries has its first tag, and the tag, start and entry of
/// a hash.
pub(super) fn places_of(hash: u64, mean: usize) -> [usize; 5] {
    // The manifest may say of any number of keys that there are so many.
    let mean = mean.min(PAGE_CONTENT / SLOT);
    let share = |of: usize| (of * usize::from(short_tag(hash))) >> u16::BITS;
    let slot = share(mean);
    let entries = SLOT * mean;
    // Pages are not quite full.
    let entry = entries + share((PAGE_CONTENT - PAGE_CONTENT / 16).saturating_sub(entries));
    [0, slot * SHORT_TAG, SHORT_TAG * mean + slot * 2, entry, entry + 64]
}

/// Whether the tags of a page do not fall.
pub(super) fn are_sorted(content: &[u8], items: usize) -> bool {
    let tags = tags(content, items, SLOT, SHORT_TAG).unwrap_or_default();
    let (tags, _) = tags.as_chunks::<SHORT_TAG>();
    tags.is_sorted_by_key(|tag| u16::from_le_bytes(*tag))
}

/// Entry `slot` of a timeline page.
pub(super) fn timeline_entry(
    content: &[u8],
    items: usize,
    bases: Bases,
    slot: usize,
) -> Result<(&[u8], RunLocation), DecodeError> {
    let mut decoder = Decoder::new(content);
    decoder.take(items * SHORT_TAG + slot * 2, "directory starts")?;
    let start = usize::from(decoder.u16("directory start")?);
    let mut decoder = Decoder::new(content);
    decoder.take(start, "directory entry")?;
    let word = take_varint(&mut decoder, "key length of a run")?;
    let length = usize::try_from(word / 2).unwrap_or(usize::MAX);
    if length == 0 || length > STORED_KEY_LENGTH_MAX {
        return Err(decoder.error("key length of a run"));
    }
    let mut values = [0; VALUES];
    let stored = if word & 1 == 0 { VALUES_MOST } else { VALUES };
    for value in &mut values[..stored] {
        *value = take_varint(&mut decoder, "values of a run")?;
    }
    if stored == VALUES && values[VALUES_MOST..] == [0, 0] {
        return Err(decoder.error("values of a run"));
    }
    let run = run_of(values, bases).ok_or(decoder.error("values of a run"))?;
    Ok((decoder.take(length, "key of a run")?, run))
}

/// The run that these values mean; none where they add up to what cannot be.
fn run_of(values: [u64; VALUES], bases: Bases) -> Option<RunLocation> {
    let [first_seq, beyond, first_block, offset, oldest, span, commits, gaps, blocks] = values;
    let beyond = u32::try_from(beyond).ok()?;
    let last_seq = first_seq.checked_add(gaps)?.checked_add(u64::from(beyond))?;
    if first_seq == 0 || last_seq > SEQ_MAX {
        return None;
    }
    let first_block = u32::try_from(first_block).ok()?;
    let oldest = bases.time_ms.checked_add(oldest)?;
    Some(RunLocation {
        first_seq,
        last_seq,
        count: u64::from(beyond) + 1,
        first_block,
        last_block: first_block.checked_add(u32::try_from(blocks).ok()?)?,
        first_offset: u32::try_from(offset).ok()?,
        times_ms: (oldest, oldest.checked_add(span)?),
        last_commit: bases.commit.checked_add(commits)?,
    })
}

/// The data blocks that the keys with this tag begin in: nearly always one or none.
pub(super) fn search_keyed(
    content: &[u8],
    items: usize,
    hash: u64,
) -> Result<Vec<u32>, DecodeError> {
    let tags = tags(content, items, KEYED_ENTRY, 4)?;
    let blocks = &content[tags.len()..tags.len() * 2];
    let pairs = tags.chunks_exact(4).zip(blocks.chunks_exact(4));
    let matching = pairs.filter(|(found, _)| **found == tag(hash).to_le_bytes());
    Ok(matching
        .map(|(_, block)| u32::from_le_bytes([block[0], block[1], block[2], block[3]]))
        .collect())
}

/// The tags of a page, if `items` entries of at least `size` bytes fit in it.
fn tags(content: &[u8], items: usize, size: usize, tag: usize) -> Result<&[u8], DecodeError> {
    let error = DecodeError { what: "entries of a directory page", offset: 0 };
    if items.checked_mul(size).is_none_or(|bytes| bytes > content.len()) {
        return Err(error);
    }
    Ok(&content[..items * tag])
}
