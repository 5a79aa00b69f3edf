//! The writing side of a memtable: what only the writer knows, and how a body goes in.

use super::Memtable;
use super::ahead::{TOGETHER, touch_hinted, touch_targets};
use super::arena::{pack, unpack};
use super::frames::Frame;
use super::hint::RunHint;
use super::keyed::KeyedWrite;
use super::layout::{
    EntryWords, TABLE_NAME, TABLE_NEWEST_RUN, TABLE_PREVIOUS, TABLE_WORDS, append, create_run,
    last_seq,
};
use crate::amendment::amendment_key;
use crate::batch::{Appends, KeyedOperation, Message, Op, Target, decode};
use crate::codec::DecodeError;
use crate::entry::TableId;
use crate::limits;
use crate::sync::Ordering;
use crate::version::{AMENDMENT_TABLE, MARK_TABLE, TableKind};
use std::collections::BTreeMap;
use std::ops::Range;

type Result<T> = std::result::Result<T, DecodeError>;

/// Held by whoever applies a body, so that there is one at a time.
#[derive(Debug, Default)]
pub(super) struct Writer {
    /// Table records in the arena, by id and kind as stored there.
    tables: BTreeMap<(TableId, u32), u32>,
}

/// What all records of the body being applied share.
#[derive(Debug, Clone, Copy)]
struct Applying {
    commit: u64,
    time_ms: u64,
    stamp: u64,
    frame: u32,
}

/// An entry of which the run is still to be found.
struct Waiting<'a, 'h> {
    hint: Option<&'h RunHint>,
    entry: EntryWords,
    target: Target<'a>,
    /// Offset of its key in the body.
    key_offset: usize,
}

/// A record that becomes a version of a keyed table.
struct KeyedOp<'a> {
    index: u32,
    operation: KeyedOperation,
    table: TableId,
    key: &'a [u8],
    /// Range of the value in the body.
    value: Range<usize>,
}

impl Writer {
    /// See [`Memtable::apply_hinted`].
    pub(super) fn apply<'a>(
        &mut self,
        memtable: &Memtable,
        body: Frame,
        (commit, time_ms): (u64, u64),
        hints: impl Iterator<Item = &'a RunHint> + Clone,
    ) -> Result<()> {
        let applying = begin(memtable, &body, commit, time_ms)?;
        touch_hinted(memtable, hints.clone());
        let mut hints = hints;
        let mut entries = 0;
        let mut waiting = Vec::with_capacity(TOGETHER);
        for op in decode(&body) {
            match op? {
                Op::Message(message) => {
                    self.message(memtable, &message, applying, &mut hints, &mut waiting)?;
                    entries += message.target_count as u64;
                }
                Op::Keyed { index, operation, table, key, value } => {
                    if table.is_engine_owned() {
                        // Refused at every commit: these have records of their own.
                        return Err(DecodeError { what: "keyed table", offset: key.start });
                    }
                    let key = &body[key];
                    let write = KeyedOp { index, operation, table, key, value };
                    self.keyed(memtable, write, applying)?;
                }
                Op::Mark { index, mark } => {
                    let (operation, key) = (mark.kind.operation(), mark.stored_key());
                    let (table, key, value) = (MARK_TABLE, &key[..], mark.value);
                    let write = KeyedOp { index, operation, table, key, value };
                    self.keyed(memtable, write, applying)?;
                }
                Op::Amend { index, target, value } => {
                    self.amend(memtable, index, &target, value, applying)?;
                }
            }
        }
        self.append_waiting(memtable, &mut waiting)?;
        end(memtable, applying, entries);
        Ok(())
    }

    /// See [`Memtable::append`].
    pub(super) fn append<'a>(
        &mut self,
        memtable: &Memtable,
        appends: Appends,
        seqs: &[u64],
        (commit, time_ms): (u64, u64),
        hints: impl Iterator<Item = &'a RunHint> + Clone,
    ) -> Result<()> {
        let Appends { body, targets, wide } = appends;
        let frame = memtable.frames.take(body);
        let body = &*frame;
        let applying = begin(memtable, &frame, commit, time_ms)?;
        touch_hinted(memtable, hints.clone());
        if targets.windows(2).any(|pair| pair[0].message == pair[1].message) {
            memtable.shared.fetch_add(1, Ordering::Relaxed);
        }
        let mut entries = 0;
        for ((place, seq), hint) in targets.iter().zip(seqs).zip(hints) {
            let message = pack(applying.frame, place.message);
            let entry = EntryWords { seq: *seq, stamp: applying.stamp, place: message };
            self.entry(memtable, Some(hint), entry, || place.target(body, wide))?;
            entries += 1;
        }
        // The log has them all: one left out here would be acknowledged and not be read.
        assert_eq!(entries, targets.len(), "there is one seq and one hint a target");
        end(memtable, applying, entries as u64);
        Ok(())
    }

    fn keyed(&mut self, memtable: &Memtable, write: KeyedOp<'_>, applying: Applying) -> Result<()> {
        let KeyedOp { index, operation, table, key, value } = write;
        self.table(memtable, table, TableKind::Keyed).ok_or(full(value.start))?;
        let value = offset32(value.start)?..offset32(value.end)?;
        let Applying { commit, time_ms, frame, .. } = applying;
        let write = KeyedWrite { table, key, commit, index, time_ms, operation, frame, value };
        memtable.keyed.insert(&write);
        Ok(())
    }

    /// Lets the entries of a message wait for others; those that fill up `waiting` go in.
    fn message<'a, 'h>(
        &mut self,
        memtable: &Memtable,
        message: &Message<'a>,
        applying: Applying,
        hints: &mut impl Iterator<Item = &'h RunHint>,
        waiting: &mut Vec<Waiting<'a, 'h>>,
    ) -> Result<()> {
        let place = pack(applying.frame, offset32(message.offset)?);
        if message.large.is_some_and(|large| !memtable.holds(&large)) {
            return Err(DecodeError { what: "large payload", offset: message.offset });
        }
        if message.ttl_ms.is_some() {
            // Before the entries are published: who sees one sees that there are such ones.
            memtable.own_ttls.fetch_add(1, Ordering::Relaxed);
        }
        if message.target_count > 1 {
            memtable.shared.fetch_add(1, Ordering::Relaxed);
        }
        for (target, key_offset) in message.targets_placed() {
            let entry = EntryWords { seq: target.seq, stamp: applying.stamp, place };
            waiting.push(Waiting { hint: hints.next(), entry, target, key_offset });
            if waiting.len() == TOGETHER {
                self.append_waiting(memtable, waiting)?;
            }
        }
        Ok(())
    }

    /// Appends the entries that wait, in their order.
    fn append_waiting(
        &mut self,
        memtable: &Memtable,
        waiting: &mut Vec<Waiting<'_, '_>>,
    ) -> Result<()> {
        let is_known = |hint: &RunHint| hint.run(memtable.base_commit).is_some();
        if !waiting.iter().all(|one| one.hint.is_some_and(is_known)) {
            touch_targets(memtable, waiting.iter().map(|one| one.target));
        }
        for Waiting { hint, entry, target, key_offset } in waiting.drain(..) {
            self.entry(memtable, hint, entry, || (target, key_offset))?;
        }
        Ok(())
    }

    /// Appends one entry to the run of its timeline, found by the hint, or by the key of its
    /// target, which is given with the key's offset.
    #[inline]
    fn entry<'t>(
        &mut self,
        memtable: &Memtable,
        hint: Option<&RunHint>,
        entry: EntryWords,
        target: impl Fn() -> (Target<'t>, usize),
    ) -> Result<()> {
        if entry.seq == 0 || entry.seq > limits::SEQ_MAX {
            return Err(DecodeError { what: "target seq", offset: target().1 });
        }
        let hinted = hint.and_then(|hint| hint.run(memtable.base_commit));
        if let Some(run) = hinted {
            debug_assert!(memtable.is_run_of(run, &target().0));
            return append_rising(memtable, run, entry, || target().1);
        }
        let (target, key_offset) = target();
        let tag = memtable.tag(target.table, target.key);
        let run = match memtable.find_tagged(tag, target.table, target.key) {
            Some(run) => {
                append_rising(memtable, run, entry, || key_offset)?;
                run
            }
            None => {
                let key_place = pack(unpack(entry.place).0, offset32(key_offset)?);
                let run = self.new_run(memtable, tag, &target, key_place, entry);
                run.ok_or(full(key_offset))?
            }
        };
        if let Some(hint) = hint {
            hint.note(memtable.base_commit, run);
        }
        Ok(())
    }

    /// An amendment is a version of a key of the engine's own table.
    fn amend(
        &mut self,
        memtable: &Memtable,
        index: u32,
        target: &Target<'_>,
        value: Range<usize>,
        applying: Applying,
    ) -> Result<()> {
        self.table(memtable, AMENDMENT_TABLE, TableKind::Keyed).ok_or(full(value.start))?;
        let key = amendment_key(target.table, target.key, target.seq);
        let Applying { commit, time_ms, frame, .. } = applying;
        memtable.keyed.insert(&KeyedWrite {
            table: AMENDMENT_TABLE,
            key: &key,
            commit,
            index,
            time_ms,
            operation: KeyedOperation::Put,
            frame,
            value: offset32(value.start)?..offset32(value.end)?,
        });
        memtable.amended.insert(target.table, &key);
        Ok(())
    }

    /// Creates a run with its first entry, and only then publishes it. Returns its header; `None`
    /// when there is no room.
    fn new_run(
        &mut self,
        memtable: &Memtable,
        tag: u32,
        target: &Target<'_>,
        key_place: u64,
        entry: EntryWords,
    ) -> Option<u32> {
        let arena = &memtable.arena;
        let table = self.table(memtable, target.table, TableKind::Timeline)?;
        let newest_run = &arena.slice(table, TABLE_WORDS)[TABLE_NEWEST_RUN];
        let previous = u32::try_from(newest_run.load(Ordering::Relaxed)).ok()?;
        let length = u32::try_from(target.key.len()).ok()?;
        let run = create_run(arena, target.table, length, key_place, entry.seq, previous)?;
        append(arena, run, entry)?;
        newest_run.store(u64::from(run), Ordering::Release);
        memtable.index.insert(tag, run);
        Some(run)
    }

    /// The record of a table, created where there is none; `None` when there is no room.
    fn table(&mut self, memtable: &Memtable, table: TableId, kind: TableKind) -> Option<u32> {
        let kind = match kind {
            TableKind::Timeline => 1,
            TableKind::Keyed => 2,
        };
        if let Some(record) = self.tables.get(&(table, kind)) {
            return Some(*record);
        }
        let words = u32::try_from(TABLE_WORDS).ok()?;
        let index = memtable.arena.allocate(words, words)?.index;
        let record = memtable.arena.slice(index, TABLE_WORDS);
        record[TABLE_NAME].store(pack(table.0, kind), Ordering::Relaxed);
        let previous = memtable.newest_table.load(Ordering::Relaxed);
        record[TABLE_PREVIOUS].store(previous, Ordering::Relaxed);
        record[TABLE_NEWEST_RUN].store(0, Ordering::Relaxed);
        memtable.newest_table.store(u64::from(index), Ordering::Release);
        self.tables.insert((table, kind), index);
        Some(index)
    }
}

/// Checks that the commit follows those before it, and takes its body.
fn begin(memtable: &Memtable, body: &Frame, commit: u64, time_ms: u64) -> Result<Applying> {
    let first = memtable.applied.load(Ordering::Relaxed) == 0;
    let follows = first
        || commit > memtable.last_commit.load(Ordering::Relaxed)
            && time_ms >= memtable.last_time_ms.load(Ordering::Relaxed);
    let stamp = memtable.stamp(commit, time_ms).filter(|_| follows);
    let stamp = stamp.ok_or(DecodeError { what: "commit number", offset: 0 })?;
    let frame = memtable.frames.push(body.clone()).ok_or(full(0))?;
    Ok(Applying { commit, time_ms, stamp, frame })
}

/// Counts a body that has been applied whole. Once a body: counting for each message would wait for
/// all that it has touched.
fn end(memtable: &Memtable, applying: Applying, entries: u64) {
    let Applying { commit, time_ms, .. } = applying;
    memtable.entries.fetch_add(entries, Ordering::Relaxed);
    if memtable.applied.load(Ordering::Relaxed) == 0 {
        memtable.first_commit.store(commit, Ordering::Relaxed);
    }
    memtable.last_commit.store(commit, Ordering::Relaxed);
    memtable.last_time_ms.store(time_ms, Ordering::Relaxed);
    memtable.applied.fetch_add(1, Ordering::Release);
}

/// Appends an entry to a run, whose seqs must rise.
#[inline]
fn append_rising(
    memtable: &Memtable,
    run: u32,
    entry: EntryWords,
    offset: impl Fn() -> usize,
) -> Result<()> {
    if entry.seq <= last_seq(&memtable.arena, run) {
        return Err(DecodeError { what: "target seq", offset: offset() });
    }
    append(&memtable.arena, run, entry).ok_or_else(|| full(offset()))
}

/// There is no room: the caller has not asked `fits`.
fn full(offset: usize) -> DecodeError {
    DecodeError { what: "a record beyond the room of the memtable", offset }
}

fn offset32(offset: usize) -> Result<u32> {
    u32::try_from(offset).map_err(|_| full(offset))
}
