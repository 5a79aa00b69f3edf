//! The directory: a hash table of pages, key → where its data lies. A lookup reads one page.
//!
//! ```text
//! page content, timeline table
//!   tags    4·n     high 32 bits of each entry's hash
//!   starts  2·n     offset of each entry in the content
//!   entries         one behind the other; the rest of the page is zero
//!
//! entry
//! offset  size  field        notes
//!      0     8  first seq
//!      8     8  last seq
//!     16     8  oldest time  milliseconds since 1970
//!     24     8  newest time
//!     32     8  last commit
//!     40     4  count        entries in this SSTable
//!     44     4  first block  number of the data block where the run begins
//!     48     4  last block
//!     52     2  key length
//!     54     2  reserved     zero, checked
//!     56     k  key
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
use crate::codec::{DecodeError, Decoder, Encode};

/// Bytes of a timeline entry before its key, without tag and start.
const ENTRY_HEADER: usize = 56;
/// Tag and start of a timeline entry.
const SLOT: usize = 6;
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
    /// Commit times of the first and of the last entry.
    pub(crate) times_ms: (u64, u64),
    /// Commit number of the last entry.
    pub(crate) last_commit: u64,
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

/// Bytes that a timeline entry takes in a page.
pub(super) fn timeline_entry_size(key_length: usize) -> usize {
    SLOT + ENTRY_HEADER + key_length
}

/// Bytes that a keyed entry takes in a page.
pub(super) fn keyed_entry_size() -> usize {
    KEYED_ENTRY
}

/// Pages for entries of so many bytes together, the longest of which has `longest`.
///
/// A page with less than `longest` bytes free holds more than the rest, so the first bound leaves
/// room for every entry somewhere; the second keeps pages three quarters full, so that few
/// overflow.
pub(super) fn page_count(bytes: u64, longest: usize) -> u64 {
    let certain = bytes / (PAGE_CONTENT - longest) as u64 + 1;
    let roomy = bytes * 4 / (PAGE_CONTENT as u64 * 3) + 1;
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

/// Appends the content of a timeline page.
pub(super) fn encode_timeline_page(entries: &[(u64, &[u8], RunLocation)], out: &mut Vec<u8>) {
    for (hash, _, _) in entries {
        out.put_u32(tag(*hash));
    }
    let mut start = SLOT * entries.len();
    for (_, key, _) in entries {
        out.put_u16(u16::try_from(start).expect("a page is 4 KiB"));
        start += ENTRY_HEADER + key.len();
    }
    for (_, key, run) in entries {
        out.put_u64(run.first_seq);
        out.put_u64(run.last_seq);
        out.put_u64(run.times_ms.0);
        out.put_u64(run.times_ms.1);
        out.put_u64(run.last_commit);
        out.put_u32(u32::try_from(run.count).expect("the builder bounds the entries of a run"));
        out.put_u32(run.first_block);
        out.put_u32(run.last_block);
        out.put_u16(u16::try_from(key.len()).expect("the builder checks key lengths"));
        out.put_u16(0);
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
    hash: u64,
    key: &[u8],
) -> Result<Found<RunLocation>, DecodeError> {
    let tags = tags(content, items, SLOT)?;
    for (slot, found) in tags.chunks_exact(4).enumerate() {
        if found != tag(hash).to_le_bytes() {
            continue;
        }
        let (entry_key, run) = timeline_entry(content, items, slot)?;
        if entry_key == key {
            return Ok(Found::Here(run));
        }
    }
    Ok(Found::NotHere)
}

/// Entry `slot` of a timeline page.
pub(super) fn timeline_entry(
    content: &[u8],
    items: usize,
    slot: usize,
) -> Result<(&[u8], RunLocation), DecodeError> {
    let mut decoder = Decoder::new(content);
    decoder.take(items * 4 + slot * 2, "directory starts")?;
    let start = usize::from(decoder.u16("directory start")?);
    let mut decoder = Decoder::new(content);
    decoder.take(start, "directory entry")?;
    let first_seq = decoder.u64("first seq of a run")?;
    let last_seq = decoder.u64("last seq of a run")?;
    let times_ms = (decoder.u64("oldest time of a run")?, decoder.u64("newest time of a run")?);
    let last_commit = decoder.u64("last commit of a run")?;
    let count = u64::from(decoder.u32("count of a run")?);
    let first_block = decoder.u32("first block of a run")?;
    let last_block = decoder.u32("last block of a run")?;
    let length = usize::from(decoder.u16("key length of a run")?);
    decoder.zeros(2, "reserved bytes of a directory entry")?;
    if length == 0 || length > STORED_KEY_LENGTH_MAX {
        return Err(decoder.error("key length of a run"));
    }
    if count == 0 || last_seq < first_seq || last_seq - first_seq < count - 1 {
        return Err(decoder.error("count of a run"));
    }
    let key = decoder.take(length, "key of a run")?;
    let run =
        RunLocation { first_seq, last_seq, count, first_block, last_block, times_ms, last_commit };
    Ok((key, run))
}

/// The data blocks that the keys with this tag begin in: nearly always one or none.
pub(super) fn search_keyed(
    content: &[u8],
    items: usize,
    hash: u64,
) -> Result<Vec<u32>, DecodeError> {
    let tags = tags(content, items, KEYED_ENTRY)?;
    let blocks = &content[tags.len()..tags.len() * 2];
    let pairs = tags.chunks_exact(4).zip(blocks.chunks_exact(4));
    let matching = pairs.filter(|(found, _)| **found == tag(hash).to_le_bytes());
    Ok(matching
        .map(|(_, block)| u32::from_le_bytes([block[0], block[1], block[2], block[3]]))
        .collect())
}

/// The tags of a page, if `items` entries of at least `size` bytes fit in it.
fn tags(content: &[u8], items: usize, size: usize) -> Result<&[u8], DecodeError> {
    let error = DecodeError { what: "entries of a directory page", offset: 0 };
    if items.checked_mul(size).is_none_or(|bytes| bytes > content.len()) {
        return Err(error);
    }
    Ok(&content[..items * 4])
}
