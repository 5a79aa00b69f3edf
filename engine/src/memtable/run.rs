//! One timeline's entries in a memtable, as a reader holds them.
//!
//! A [`Run`] is a handle: it keeps the memtable alive. Positions are indexes from 0, the oldest
//! entry; "visible" is the number of entries that a snapshot may see, from [`Run::count_at`]. Since
//! commits and times never fall along a run, snapshot, seq and time are all found by bisection:
//! back over the chunks, then inside one.
//!
//! # Concurrency
//! Any thread may read while the writer appends; see `layout.rs` for the order of loads.

use super::Memtable;
use super::arena::unpack;
use super::cursor::{Placed, RunCursor};
use super::layout::{
    CHUNK_WORDS_MIN, ENTRY_WORDS, EntryWords, RUN_COUNT, RUN_FIRST_SEQ, RUN_KEY_LENGTH, RUN_TAIL,
    RUN_WORDS,
};
use super::messages::MessagePlace;
use crate::batch::{Content, MessageRef};
use crate::entry::{Direction, Entry, EntryView, Origin, OriginRef, Payload, TableId, expires_ms};
use crate::error::Result;
use crate::segment::Reference;
use crate::sync::{AtomicU64, Ordering};
use std::ops::Range;
use std::sync::Arc;

/// See the module.
#[derive(Clone)]
pub(crate) struct Run {
    memtable: Arc<Memtable>,
    /// Word index of the header.
    header: u32,
}

/// An entry whose payload is large, without what its place in the run says.
pub(crate) struct LargeEntry {
    pub(crate) event_ms: Option<i64>,
    pub(crate) origin: Option<Origin>,
    pub(crate) reference: Reference,
}

/// One chunk of a run, as a walk meets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Word index of its head.
    pub(super) index: u32,
    /// Index in the run of its first entry.
    pub(super) base: usize,
    /// Word index of the chunk before, 0 for none.
    pub(super) previous: u32,
}

impl Chunk {
    /// The three words of entry `index` of the run, which lies in this chunk.
    pub(super) fn entry(self, memtable: &Memtable, index: usize) -> EntryWords {
        let end = index - self.base + 1;
        let words = self.entries(memtable, end);
        EntryWords::load(&words[(end - 1) * ENTRY_WORDS..])
    }

    /// The words of the first `count` entries.
    fn entries(self, memtable: &Memtable, count: usize) -> &[AtomicU64] {
        memtable.arena.slice(self.index + 1, count * ENTRY_WORDS)
    }
}

impl Run {
    pub(super) fn new(memtable: Arc<Memtable>, header: u32) -> Run {
        Run { memtable, header }
    }

    pub(crate) fn memtable(&self) -> &Memtable {
        &self.memtable
    }

    /// The timeline's table.
    pub(crate) fn table(&self) -> TableId {
        TableId(unpack(self.header()[RUN_KEY_LENGTH].load(Ordering::Relaxed)).0)
    }

    /// The encoded timeline id. The bytes lie in a frame.
    pub(crate) fn key(&self) -> &[u8] {
        self.memtable.run_key(self.header)
    }

    /// The seq of the oldest entry.
    pub(crate) fn first_seq(&self) -> u64 {
        self.header()[RUN_FIRST_SEQ].load(Ordering::Relaxed)
    }

    /// Entries published so far, whatever their commit.
    pub(crate) fn count(&self) -> usize {
        let count = self.header()[RUN_COUNT].load(Ordering::Acquire);
        unpack(count).1 as usize
    }

    /// Entries that a snapshot of `commit` sees.
    pub(crate) fn count_at(&self, commit: u64) -> usize {
        let Some(delta) = commit.checked_sub(self.memtable.base_commit) else {
            return 0;
        };
        self.partition(self.count(), |entry| u64::from(unpack(entry.stamp).0) <= delta)
    }

    /// The seq of entry `index`.
    ///
    /// # Panics
    /// As all accessors by index: where there is no such entry.
    pub(crate) fn seq(&self, index: usize) -> u64 {
        self.words(index).seq
    }

    /// The commit number of entry `index`.
    pub(crate) fn commit(&self, index: usize) -> u64 {
        self.memtable.commit_of(self.words(index))
    }

    /// The commit time of entry `index`.
    pub(crate) fn time_ms(&self, index: usize) -> u64 {
        self.memtable.time_of(self.words(index))
    }

    /// Entry `index`, whole; the payload is not copied.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn entry(&self, index: usize) -> Result<Entry> {
        self.build(self.placed(self.words(index)))
    }

    /// The first index below `visible` whose seq is `seq` or more; `visible` where there is none.
    pub(crate) fn lower_bound(&self, seq: u64, visible: usize) -> usize {
        self.partition(visible, |entry| entry.seq < seq)
    }

    /// How many of the first `visible` entries have a commit time before `time_ms`.
    pub(crate) fn rank_time(&self, time_ms: u64, visible: usize) -> usize {
        let Some(delta) = time_ms.checked_sub(self.memtable.base_time_ms) else {
            return 0;
        };
        self.partition(visible, |entry| u64::from(unpack(entry.stamp).1) < delta)
    }

    /// The entries from `from_index` on, one after the other: forward up to the newest entry there
    /// is now, backward down to the oldest. Where there is no entry `from_index`, it ends at once.
    pub(crate) fn cursor(&self, from_index: usize, direction: Direction) -> RunCursor {
        RunCursor::new(self.clone(), from_index, direction)
    }

    pub(super) fn newest_chunk(&self) -> Chunk {
        self.chunk(self.newest_chunk_index())
    }

    pub(super) fn chunk(&self, index: u32) -> Chunk {
        let head = self.memtable.arena.word(index).load(Ordering::Relaxed);
        let (previous, base) = unpack(head);
        Chunk { index, base: base as usize, previous }
    }

    /// The chunk that holds entry `index`, which was published.
    pub(super) fn chunk_of(&self, index: usize) -> Chunk {
        let mut chunk = self.newest_chunk();
        while chunk.base > index {
            chunk = self.chunk(chunk.previous);
        }
        chunk
    }

    /// Words of the header's ends.
    pub(super) fn header_ends(&self) -> [&AtomicU64; 2] {
        let header = self.header();
        [&header[0], &header[RUN_WORDS - 1]]
    }

    pub(super) fn newest_chunk_index(&self) -> u32 {
        unpack(self.header()[RUN_TAIL].load(Ordering::Acquire)).1
    }

    /// Words of a chunk's ends, if it is a small one.
    pub(super) fn chunk_ends(&self, index: u32) -> [&AtomicU64; 2] {
        let words = self.memtable.arena.slice(index, CHUNK_WORDS_MIN);
        [&words[0], &words[CHUNK_WORDS_MIN - 1]]
    }

    /// Appends the entries of these indexes, which a chunk has.
    pub(super) fn place_all(&self, chunk: Chunk, indexes: Range<usize>, out: &mut Vec<Placed>) {
        if indexes.is_empty() {
            return;
        }
        let (from, until) = (indexes.start - chunk.base, indexes.end - chunk.base);
        let (entries, _) = chunk.entries(&self.memtable, until).as_chunks::<ENTRY_WORDS>();
        out.extend(entries[from..].iter().map(|entry| self.placed(EntryWords::load(entry))));
    }

    pub(super) fn placed(&self, words: EntryWords) -> Placed {
        Placed {
            seq: words.seq,
            commit: self.memtable.commit_of(words),
            time_ms: self.memtable.time_of(words),
            place: MessagePlace(words.place),
        }
    }

    /// The newest entry.
    pub(crate) fn newest(&self) -> Option<Placed> {
        let newest = self.count().checked_sub(1)?;
        Some(self.placed(self.chunk_of(newest).entry(&self.memtable, newest)))
    }

    /// The payload of an entry that has nothing else: no time, no origin, no time to live of its
    /// own, no extent.
    pub(crate) fn plain(&self, place: MessagePlace) -> Option<&[u8]> {
        self.memtable.plain(place)
    }

    /// Bytes of the front of a message.
    pub(super) fn message_front(&self, place: MessagePlace) -> impl Iterator<Item = &u8> {
        self.memtable.message_front(place)
    }

    /// Whether the message names an origin that this entry of it does not have: it is it.
    pub(crate) fn is_origin(&self, placed: Placed) -> bool {
        let (_, message) = self.memtable.message(placed.place);
        message.is_origin(self.at(placed.seq))
    }

    /// The place of an entry in this run.
    fn at(&self, seq: u64) -> OriginRef<'_> {
        OriginRef { table: self.table(), key: self.key(), seq }
    }

    /// The time to live that the entries of a message have of their own.
    pub(crate) fn own_ttl(&self, place: MessagePlace) -> Option<u64> {
        self.memtable.has_own_ttl().then(|| self.memtable.message(place).1.ttl_ms).flatten()
    }

    /// Whether entry `index` has outlived a time to live of its own.
    pub(crate) fn is_expired(&self, index: usize, now_ms: u64) -> bool {
        let Placed { time_ms, place, .. } = self.placed(self.words(index));
        self.own_ttl(place).is_some_and(|ttl_ms| expires_ms(time_ms, ttl_ms) <= now_ms)
    }

    /// What an entry has in SSTables, where its payload is large.
    pub(crate) fn large(&self, placed: Placed) -> Option<LargeEntry> {
        if !self.memtable.has_large() {
            // Most memtables: then no message is decoded only to learn that.
            return None;
        }
        let (_, message) = self.memtable.message(placed.place);
        let Content::Large(large) = message.content else {
            return None;
        };
        let origin = message.origin(self.at(placed.seq)).map(OriginRef::to_origin);
        Some(LargeEntry { event_ms: message.event_ms, origin, reference: large.reference() })
    }

    /// An entry that a cursor has placed, whole; the payload is not copied.
    ///
    /// # Errors
    /// `Corruption` or `Io`, where the payload is large and cannot be read.
    pub(crate) fn build(&self, placed: Placed) -> Result<Entry> {
        let (frame, message) = self.memtable.message(placed.place);
        let payload = self.memtable.payload(frame, message.content.clone())?;
        Ok(self.view_of(placed, &message, &[]).to_entry(payload))
    }

    /// An entry that a cursor has placed, borrowed from its frame. `large`: its payload, where that
    /// is not in the frame.
    pub(crate) fn view<'a>(&'a self, placed: Placed, large: Option<&'a Payload>) -> EntryView<'a> {
        let (frame, message) = self.memtable.message(placed.place);
        let payload = match (&message.content, large) {
            (Content::Inline(range), _) => &frame[range.clone()],
            (Content::Large(_), large) => large.map_or(&[][..], |payload| payload),
        };
        self.view_of(placed, &message, payload)
    }

    fn view_of<'a>(
        &self,
        placed: Placed,
        message: &MessageRef<'a>,
        payload: &'a [u8],
    ) -> EntryView<'a> {
        EntryView {
            seq: placed.seq,
            commit: placed.commit,
            time_ms: placed.time_ms,
            event_ms: message.event_ms,
            ttl_ms: message.ttl_ms,
            origin: message.origin(self.at(placed.seq)),
            payload,
            revision: None,
            erased: false,
        }
    }

    /// The payload of a message, if it is large: it does not lie in the frame.
    pub(crate) fn large_payload(&self, place: MessagePlace) -> Result<Option<Payload>> {
        if !self.memtable.has_large() {
            return Ok(None);
        }
        let (frame, message) = self.memtable.message(place);
        match message.content {
            Content::Inline(_) => Ok(None),
            content @ Content::Large(_) => self.memtable.payload(frame, content).map(Some),
        }
    }

    fn words(&self, index: usize) -> EntryWords {
        assert!(index < self.count(), "entry {index} of a run of {}", self.count());
        self.chunk_of(index).entry(&self.memtable, index)
    }

    /// How many of the first `visible` entries are `below`: a property that, once lost along the
    /// run, stays lost.
    fn partition(&self, visible: usize, below: impl Fn(EntryWords) -> bool) -> usize {
        debug_assert!(visible <= self.count());
        let mut end = visible;
        if end == 0 {
            return 0;
        }
        let mut chunk = self.chunk_of(end - 1);
        // The newest entries are the ones mostly asked for.
        if below(chunk.entry(&self.memtable, end - 1)) {
            return end;
        }
        while chunk.base > 0 && !below(chunk.entry(&self.memtable, chunk.base)) {
            end = chunk.base;
            chunk = self.chunk(chunk.previous);
        }
        let (entries, _) =
            chunk.entries(&self.memtable, end - chunk.base).as_chunks::<ENTRY_WORDS>();
        chunk.base + entries.partition_point(|entry| below(EntryWords::load(entry)))
    }

    fn header(&self) -> &[AtomicU64] {
        self.memtable.arena.slice(self.header, RUN_WORDS)
    }
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Run({:?}, key of {} bytes, {} entries)",
            self.table(),
            self.key().len(),
            self.count()
        )
    }
}
