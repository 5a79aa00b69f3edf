//! The part of the builder that takes entries and fragments of a timeline table: it gathers runs,
//! cuts them into fragments, and fragments into blocks.

use super::{Builder, Last, Output, check_key, check_payload};
use crate::codec::DecodeError;
use crate::entry::expires_ms;
use crate::error::{Error, Result};
use crate::limits::SEQ_MAX;
use crate::sstable::block_writer::FirstEntry;
use crate::sstable::directory::RunLocation;
use crate::sstable::entry::{self, EntryRef, PlainEntry};
use crate::sstable::format::length32;
use crate::sstable::fragment::{FRAGMENT_HEADER_MAX, FragmentView};
use crate::sstable::fragment_writer::{ROW_SIZE_MAX, Row, encode_plain};
use crate::sstable::timeline_block::START_SIZE;
use crate::version::TableKind;

impl<O: Output> Builder<O> {
    /// Appends an entry: keys rise, seqs rise inside a key.
    pub(crate) fn append(&mut self, key: &[u8], entry: &EntryRef<'_>) -> Result<()> {
        if let Some(origin) = entry.origin {
            check_key(origin.key)?;
        }
        check_payload(entry.payload)?;
        let mut head = std::mem::take(&mut self.head);
        head.clear();
        entry.encode_head(&mut head);
        let pushed = self.push(
            key,
            &Row {
                seq: entry.seq,
                commit: entry.commit,
                time_ms: entry.time_ms,
                flags: entry.flags(),
                head: &head,
                tail: entry.payload,
                payload_length: entry.payload.len(),
                reference: entry.shared.map(|shared| shared.reference),
                expires_ms: entry.ttl_ms.map(|ttl_ms| expires_ms(entry.time_ms, ttl_ms)),
            },
        );
        self.head = head;
        pushed
    }

    /// Appends entries of one run that are a payload and nothing more. `ends`: no entry of it comes
    /// behind them. What is written is what it would be entry by entry.
    pub(crate) fn append_plain(
        &mut self,
        key: &[u8],
        entries: &[PlainEntry<'_>],
        ends: bool,
    ) -> Result<()> {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
            return Ok(());
        };
        let bytes: usize = entries.iter().map(|entry| entry.payload.len()).sum();
        let open = if self.is_in(key) { self.fragment.widest_size() } else { 0 };
        let pending = if self.is_in(key) { 0 } else { self.fragment.size() + START_SIZE };
        let added = FRAGMENT_HEADER_MAX + key.len() + entries.len() * ROW_SIZE_MAX + bytes;
        let widest = START_SIZE + open + pending + added;
        if self.block.size() + widest > self.block_target {
            // Near the end of a block it is looked at more closely what fits in.
            return entries.iter().try_for_each(|entry| self.append(key, &entry.to_ref()));
        }
        self.check_order(key, entries.len() as u64, (first.seq, first.commit, first.time_ms))?;
        if !entries.is_sorted_by(PlainEntry::precedes) {
            return Err(self.disorder("entries of a timeline are not in order"));
        }
        check_seq(last.seq)?;
        self.enter_run(key, first.seq, first.time_ms);
        if self.fragment.is_empty() && ends {
            let index = self.run().1.count;
            let (seq, commit, time_ms) = (first.seq, first.commit, first.time_ms);
            self.place(FirstEntry { seq, index, commit, time_ms });
            encode_plain(&mut self.block.content, key, index, entries);
        } else {
            if self.fragment.is_empty() {
                let base_index = self.run().1.count;
                self.fragment.start(key, base_index);
            }
            entries.iter().for_each(|entry| self.fragment.push(&plain_row(entry)));
        }
        let (commits, times) = ((first.commit, last.commit), (first.time_ms, last.time_ms));
        self.count(entries.len() as u64, bytes as u64, last.seq, commits, times);
        Ok(())
    }

    /// Whether the run being written is that of `key`.
    fn is_in(&self, key: &[u8]) -> bool {
        matches!(&self.last, Last::Run { key: last, .. } if **last == *key)
    }

    /// Appends the entries of a fragment of another SSTable. A large one is copied as it is.
    pub(crate) fn append_fragment(&mut self, fragment: &FragmentView<'_>) -> Result<()> {
        if fragment.bytes().len() >= self.uncut() {
            return self.copy_fragment(fragment);
        }
        for k in 0..fragment.count() {
            let bytes = fragment.entry_bytes(k).map_err(damaged)?;
            let flags = fragment.flags(k);
            let decoded = entry::decode(flags, bytes).map_err(damaged)?;
            let time_ms = fragment.time_ms(k).map_err(damaged)?;
            let row = Row {
                seq: fragment.seq(k).map_err(damaged)?,
                commit: fragment.commit(k).map_err(damaged)?,
                time_ms,
                flags,
                head: &[],
                tail: bytes,
                payload_length: decoded.payload.len(),
                reference: decoded.shared.map(|shared| shared.reference),
                expires_ms: decoded.ttl_ms.map(|ttl_ms| expires_ms(time_ms, ttl_ms)),
            };
            self.push(fragment.key(), &row)?;
        }
        Ok(())
    }

    fn push(&mut self, key: &[u8], row: &Row<'_>) -> Result<()> {
        self.check_order(key, 1, (row.seq, row.commit, row.time_ms))?;
        self.enter_run(key, row.seq, row.time_ms);
        self.make_room(row)?;
        if self.fragment.is_empty() {
            let base_index = self.run().1.count;
            self.fragment.start(key, base_index);
        }
        self.fragment.push(row);
        row.expires_ms.into_iter().for_each(|expires_ms| self.properties.own_ttl.note(expires_ms));
        row.reference.into_iter().for_each(|reference| self.segments.note(reference));
        let (commits, times) = ((row.commit, row.commit), (row.time_ms, row.time_ms));
        self.count(1, row.payload_length as u64, row.seq, commits, times);
        if entry::may_name_origin(row.flags) {
            self.properties.include_origin(row.commit);
        }
        Ok(())
    }

    fn copy_fragment(&mut self, fragment: &FragmentView<'_>) -> Result<()> {
        let last = fragment.count() - 1;
        let first_entry = FirstEntry {
            seq: fragment.first_seq(),
            index: 0,
            commit: fragment.commit(0).map_err(damaged)?,
            time_ms: fragment.time_ms(0).map_err(damaged)?,
        };
        let last_seq = fragment.seq(last).map_err(damaged)?;
        let commits = (first_entry.commit, fragment.commit(last).map_err(damaged)?);
        let times = (first_entry.time_ms, fragment.time_ms(last).map_err(damaged)?);
        let count = fragment.count() as u64;
        let order = (first_entry.seq, first_entry.commit, first_entry.time_ms);
        self.check_order(fragment.key(), count, order)?;
        if (last_seq - first_entry.seq) < count - 1 || commits.0 > commits.1 || times.0 > times.1 {
            return Err(self.disorder("a fragment is not in order"));
        }
        self.note_references(fragment)?;
        for expires_ms in fragment.own_expiries() {
            self.properties.own_ttl.note(expires_ms.map_err(damaged)?);
        }
        self.enter_run(fragment.key(), first_entry.seq, first_entry.time_ms);
        self.close_fragment();
        let base_index = self.run().1.count;
        let size = fragment.size_with_base(base_index).map_err(damaged)? + START_SIZE;
        if !self.block.is_empty() && self.block.size() + size > self.block_target {
            self.flush_block()?;
        }
        self.place(FirstEntry { index: base_index, ..first_entry });
        fragment.copy_with_base(base_index, &mut self.block.content).map_err(damaged)?;
        self.count(count, fragment.payload_length(), last_seq, commits, times);
        if let Some(commit) = fragment.oldest_origin().map_err(damaged)? {
            self.properties.include_origin(commit);
        }
        Ok(())
    }

    /// The references of a fragment that is copied as bytes.
    fn note_references(&mut self, fragment: &FragmentView<'_>) -> Result<()> {
        for k in 0..fragment.count() {
            if let Some(reference) = fragment.reference(k).map_err(damaged)? {
                self.segments.note(reference);
            }
        }
        Ok(())
    }

    /// Refuses what does not come behind the last entry.
    fn check_order(
        &self,
        key: &[u8],
        count: u64,
        (seq, commit, time): (u64, u64, u64),
    ) -> Result<()> {
        self.check_use(TableKind::Timeline)?;
        check_key(key)?;
        check_seq(seq)?;
        let Last::Run { key: last, run } = &self.last else {
            return Ok(());
        };
        if **last != *key {
            return if **last < *key { Ok(()) } else { Err(self.disorder("keys do not rise")) };
        }
        if run.last_seq >= seq || run.last_commit > commit || run.times_ms.1 > time {
            return Err(self.disorder("entries of a timeline are not in order"));
        }
        let limit = u64::from(u32::MAX);
        if run.count + count > limit {
            let value = run.count + count;
            return Err(Error::TooLarge { what: "entries of a timeline", value, limit });
        }
        Ok(())
    }

    /// Makes `key` the run being written.
    fn enter_run(&mut self, key: &[u8], first_seq: u64, time_ms: u64) {
        if self.is_in(key) {
            return;
        }
        self.close_run();
        let mut kept = match std::mem::replace(&mut self.last, Last::Nothing) {
            Last::Run { key, .. } => key,
            _ => Vec::new(),
        };
        kept.clear();
        kept.extend_from_slice(key);
        let run = RunLocation {
            first_seq,
            last_seq: 0,
            count: 0,
            first_block: u32::MAX,
            last_block: u32::MAX,
            first_offset: 0,
            times_ms: (time_ms, time_ms),
            last_commit: 0,
        };
        self.last = Last::Run { key: kept, run };
        if self.properties.keys == 0 {
            self.properties.first = (key.into(), first_seq);
        }
        self.properties.keys += 1;
    }

    /// Ends the run being written, if there is one: its place goes to the directory.
    pub(super) fn close_run(&mut self) {
        self.close_fragment();
        if let Last::Run { key, run } = &self.last {
            assert!(run.count > 0, "a run is entered with its first entry");
            self.directory.push_timeline(key, *run);
            self.properties.last = (key.as_slice().into(), run.last_seq);
        }
    }

    /// Cuts, so that the row fits into the block, or has one of its own size.
    fn make_room(&mut self, row: &Row<'_>) -> Result<()> {
        while self.block.size() + START_SIZE + self.size_with(row) > self.block_target {
            if !self.block.is_empty() && self.fragment.size() < self.uncut() {
                self.flush_block()?;
            } else if !self.fragment.is_empty() {
                self.close_fragment();
                self.flush_block()?;
            } else {
                break;
            }
        }
        Ok(())
    }

    fn size_with(&self, row: &Row<'_>) -> usize {
        if self.fragment.is_empty() {
            let row_size = ROW_SIZE_MAX + row.head.len() + row.tail.len();
            return FRAGMENT_HEADER_MAX + self.run().0.len() + row_size;
        }
        self.fragment.size_with(row)
    }

    /// Moves the fragment into the block.
    fn close_fragment(&mut self) {
        if self.fragment.is_empty() {
            return;
        }
        self.place(self.fragment.first());
        self.fragment.encode(&mut self.block.content);
    }

    /// Begins a fragment of the run in the block being filled.
    fn place(&mut self, first: FirstEntry) {
        let block = self.writer.block_count();
        let offset = self.block.content.len();
        self.block.begin_item(first);
        if let Last::Run { run, .. } = &mut self.last {
            if run.first_block == u32::MAX {
                (run.first_block, run.first_offset) = (block, length32(offset));
            }
            run.last_block = block;
        }
    }

    fn count(
        &mut self,
        count: u64,
        payload_bytes: u64,
        last_seq: u64,
        commits: (u64, u64),
        times_ms: (u64, u64),
    ) {
        if let Last::Run { run, .. } = &mut self.last {
            run.count += count;
            run.last_seq = last_seq;
            run.last_commit = commits.1;
            run.times_ms.1 = times_ms.1;
        }
        self.properties.include(count, payload_bytes, commits, times_ms);
    }

    fn run(&self) -> (&[u8], &RunLocation) {
        match &self.last {
            Last::Run { key, run } => (key, run),
            _ => unreachable!("a run has been entered"),
        }
    }
}

fn check_seq(seq: u64) -> Result<()> {
    if seq == 0 || seq > SEQ_MAX {
        return Err(Error::TooLarge { what: "sequence id", value: seq, limit: SEQ_MAX });
    }
    Ok(())
}

fn plain_row<'a>(entry: &PlainEntry<'a>) -> Row<'a> {
    Row {
        seq: entry.seq,
        commit: entry.commit,
        time_ms: entry.time_ms,
        flags: 0,
        head: &[],
        tail: entry.payload,
        payload_length: entry.payload.len(),
        reference: None,
        expires_ms: None,
    }
}

fn damaged(error: DecodeError) -> Error {
    Error::corruption("a fragment to be copied", 0, error.to_string())
}
