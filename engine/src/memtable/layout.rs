//! The words of a run in the arena, and how one entry is appended to it.
//!
//! ```text
//! run header   word 0  table | key length
//!                   1  frame of the key | offset of the key in it: a target record holds the bytes
//!                   2  first seq
//!                   3  tail: index of the newest chunk                  release
//!                   4  count: entries                                   release
//!                   5  previous run of the same table, 0 for none
//!                   6  next entry's word | count at which the tail is full     writer only
//!                   7  last seq                                         writer only
//! chunk        word 0  previous chunk, 0 for none | index of its first entry in the run
//!                   1  entries, three words each:
//!                      seq · commit delta | time delta · frame | offset of the message record
//! table        word 0  table | 1 timeline, 2 keyed
//!                   1  newest run, 0 for none                           release
//!                   2  previous table, 0 for none
//! ```
//!
//! A new chunk holds half as many entries as the run has already, two at least and 1,024 at most.
//! So at most a third of a long run's words are unused, a run of a few entries costs little, and a
//! walk over a long run meets few chunks.
//!
//! # Invariants
//! 1. Entries below `count` never change. `count` is stored, with release, after the words of the
//!    entry, its frame, and the tail that holds it: a reader that loads n sees n whole entries.
//! 2. `tail` is stored, with release, after the head of the chunk. It may be ahead of the count a
//!    reader has loaded; the reader then steps back to the chunk it wants.
//! 3. Seqs rise strictly, commits and times never fall, along a run.
//! 4. A published run has at least one entry.
//!
//! # Concurrency
//! One writer. Readers load `count` (acquire) before `tail` (acquire).

use super::arena::{WordArena, pack, unpack};
use crate::entry::TableId;
use crate::sync::{AtomicU64, Ordering};

pub(super) const RUN_WORDS: usize = 8;
pub(super) const RUN_KEY_LENGTH: usize = 0;
pub(super) const RUN_KEY_PLACE: usize = 1;
pub(super) const RUN_FIRST_SEQ: usize = 2;
pub(super) const RUN_TAIL: usize = 3;
pub(super) const RUN_COUNT: usize = 4;
pub(super) const RUN_PREVIOUS: usize = 5;
const RUN_ROOM: usize = 6;
const RUN_LAST_SEQ: usize = 7;

pub(super) const ENTRY_WORDS: usize = 3;
pub(super) const ENTRY_SEQ: usize = 0;
pub(super) const ENTRY_STAMP: usize = 1;
pub(super) const ENTRY_PLACE: usize = 2;

pub(super) const TABLE_NAME: usize = 0;
pub(super) const TABLE_NEWEST_RUN: usize = 1;
pub(super) const TABLE_PREVIOUS: usize = 2;
pub(super) const TABLE_WORDS: usize = 3;

/// Entries of the first chunk of a run, of the smallest chunk, and of the largest.
const CHUNK_ENTRIES_MIN: u32 = 2;
const CHUNK_ENTRIES_MAX: u32 = 1024;
/// Words of an entry, as the arena counts.
const ENTRY_WORDS_U32: u32 = 3;
const _: () = assert!(ENTRY_WORDS == ENTRY_WORDS_U32 as usize);

/// Words of the smallest chunk.
pub(super) const CHUNK_WORDS_MIN: usize = 1 + 2 * ENTRY_WORDS;
const _: () = assert!(CHUNK_ENTRIES_MIN == 2);

/// Upper bound of the words that one more entry may cost, its share of later waste included: the
/// run, its table, the entry twice (chunks are at most half empty), two slots more per run, chunk
/// heads.
pub(super) const WORDS_PER_ENTRY_MAX: u64 = 32;

/// The three words of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EntryWords {
    pub(super) seq: u64,
    /// Commit delta and time delta.
    pub(super) stamp: u64,
    /// Frame number and offset of the message record.
    pub(super) place: u64,
}

impl EntryWords {
    pub(super) fn load(words: &[AtomicU64]) -> EntryWords {
        EntryWords {
            seq: words[ENTRY_SEQ].load(Ordering::Relaxed),
            stamp: words[ENTRY_STAMP].load(Ordering::Relaxed),
            place: words[ENTRY_PLACE].load(Ordering::Relaxed),
        }
    }

    fn store(self, words: &[AtomicU64]) {
        words[ENTRY_SEQ].store(self.seq, Ordering::Relaxed);
        words[ENTRY_STAMP].store(self.stamp, Ordering::Relaxed);
        words[ENTRY_PLACE].store(self.place, Ordering::Relaxed);
    }
}

/// Writes the header of a new run that holds nothing yet and that nobody knows yet. `None` when the
/// arena is full.
pub(super) fn create_run(
    arena: &WordArena,
    table: TableId,
    key_length: u32,
    key_place: u64,
    first_seq: u64,
    previous: u32,
) -> Option<u32> {
    let words = u32::try_from(RUN_WORDS).ok()?;
    let run = arena.allocate(words, words)?.index;
    let header = arena.slice(run, RUN_WORDS);
    header[RUN_KEY_LENGTH].store(pack(table.0, key_length), Ordering::Relaxed);
    header[RUN_KEY_PLACE].store(key_place, Ordering::Relaxed);
    header[RUN_FIRST_SEQ].store(first_seq, Ordering::Relaxed);
    header[RUN_PREVIOUS].store(u64::from(previous), Ordering::Relaxed);
    for empty in [RUN_TAIL, RUN_COUNT, RUN_ROOM, RUN_LAST_SEQ] {
        header[empty].store(0, Ordering::Relaxed);
    }
    Some(run)
}

/// The last seq of `run`, as the writer knows it: 0 in a new one.
pub(super) fn last_seq(arena: &WordArena, run: u32) -> u64 {
    arena.slice(run, RUN_WORDS)[RUN_LAST_SEQ].load(Ordering::Relaxed)
}

/// Reads a word of a run's header, for its being in the processor's cache.
pub(super) fn touch_header(arena: &WordArena, run: u32) -> u64 {
    arena.word(run).load(Ordering::Relaxed)
}

/// Frame and offset of the run's key, for its bytes being in the processor's cache.
pub(super) fn touch_key(arena: &WordArena, run: u32) -> (u32, u32) {
    unpack(arena.slice(run, RUN_WORDS)[RUN_KEY_PLACE].load(Ordering::Relaxed))
}

/// Reads what lies where the run's next entry goes. In a full chunk that is another's word.
pub(super) fn touch_room(arena: &WordArena, run: u32) -> u64 {
    let header = arena.slice(run, RUN_WORDS);
    let count = header[RUN_COUNT].load(Ordering::Relaxed);
    let (next, full_at) = unpack(header[RUN_ROOM].load(Ordering::Relaxed));
    match count < u64::from(full_at) {
        true => arena.word(next).load(Ordering::Relaxed),
        false => 0,
    }
}

/// Appends `entry` to `run` and publishes it. `None` when the arena is full; the run is then
/// unchanged. Writer only.
pub(super) fn append(arena: &WordArena, run: u32, entry: EntryWords) -> Option<()> {
    let header = arena.slice(run, RUN_WORDS);
    debug_assert!(entry.seq > header[RUN_LAST_SEQ].load(Ordering::Relaxed));
    let count = u32::try_from(header[RUN_COUNT].load(Ordering::Relaxed)).ok()?;
    let (mut next, mut full_at) = unpack(header[RUN_ROOM].load(Ordering::Relaxed));
    if count == full_at {
        let previous = unpack(header[RUN_TAIL].load(Ordering::Relaxed)).1;
        let wanted = (count / 2).clamp(CHUNK_ENTRIES_MIN, CHUNK_ENTRIES_MAX);
        let least = 1 + CHUNK_ENTRIES_MIN * ENTRY_WORDS_U32;
        let chunk = arena.allocate(least, 1 + wanted * ENTRY_WORDS_U32)?;
        arena.word(chunk.index).store(pack(previous, count), Ordering::Relaxed);
        header[RUN_TAIL].store(u64::from(chunk.index), Ordering::Release);
        next = chunk.index + 1;
        full_at = count + (chunk.count - 1) / ENTRY_WORDS_U32;
    }
    entry.store(arena.slice(next, ENTRY_WORDS));
    header[RUN_ROOM].store(pack(next + ENTRY_WORDS_U32, full_at), Ordering::Relaxed);
    header[RUN_LAST_SEQ].store(entry.seq, Ordering::Relaxed);
    header[RUN_COUNT].store(u64::from(count) + 1, Ordering::Release);
    Some(())
}
