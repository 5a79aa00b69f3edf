//! Gathers the entries of one timeline and encodes them as a fragment.
//!
//! # Invariants
//! 1. Seqs rise, commits and times do not fall: the builder checks before it pushes. So the last
//!    value of a column is its largest and alone decides the width.
//! 2. `size` is exactly what `encode` will append.

use super::block_writer::FirstEntry;
use super::format::length32;
use super::fragment::FRAGMENT_HEADER;
use crate::codec::Encode;
use crate::segment::Reference;

/// Most bytes of the columns for one entry.
pub(super) const ROW_SIZE_MAX: usize = 8 + 8 + 8 + 1 + 4;

/// One entry on its way into a fragment: its columns, and its bytes in two pieces.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) seq: u64,
    pub(super) commit: u64,
    pub(super) time_ms: u64,
    pub(super) flags: u8,
    /// Event time and origin, or nothing where `tail` holds all bytes.
    pub(super) head: &'a [u8],
    pub(super) tail: &'a [u8],
    pub(super) payload_length: usize,
    pub(super) reference: Option<Reference>,
}

impl Row<'_> {
    fn byte_count(&self) -> usize {
        self.head.len() + self.tail.len()
    }
}

#[derive(Debug, Default)]
pub(super) struct FragmentWriter {
    key: Vec<u8>,
    base_index: u64,
    seqs: Vec<u64>,
    commits: Vec<u64>,
    times: Vec<u64>,
    flags: Vec<u8>,
    ends: Vec<u32>,
    data: Vec<u8>,
    payload_length: usize,
    flagged: bool,
}

impl FragmentWriter {
    /// Starts an empty fragment.
    pub(super) fn start(&mut self, key: &[u8], base_index: u64) {
        assert!(self.is_empty(), "the fragment before has been encoded");
        self.key.clear();
        self.key.extend_from_slice(key);
        self.base_index = base_index;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.seqs.is_empty()
    }

    pub(super) fn count(&self) -> usize {
        self.seqs.len()
    }

    /// Bytes of the fragment as it is; nothing where it has no entry.
    pub(super) fn size(&self) -> usize {
        let Some((&seq, &commit, &time)) = self.last() else {
            return 0;
        };
        let widths = self.widths(self.count(), seq, commit, time, self.flagged, self.data.len());
        self.size_of(self.count(), &widths, self.data.len())
    }

    /// Bytes of the fragment if every column were as wide as can be.
    pub(super) fn widest_size(&self) -> usize {
        FRAGMENT_HEADER + self.key.len() + self.count() * ROW_SIZE_MAX + self.data.len()
    }

    /// The values of its first entry.
    pub(super) fn first(&self) -> FirstEntry {
        FirstEntry {
            seq: self.seqs[0],
            index: self.base_index,
            commit: self.commits[0],
            time_ms: self.times[0],
        }
    }

    /// Bytes of the fragment with `row` added.
    pub(super) fn size_with(&self, row: &Row<'_>) -> usize {
        let data = self.data.len() + row.byte_count();
        let flagged = self.flagged || row.flags != 0;
        let count = self.count() + 1;
        let widths = self.widths(count, row.seq, row.commit, row.time_ms, flagged, data);
        self.size_of(count, &widths, data)
    }

    pub(super) fn push(&mut self, row: &Row<'_>) {
        debug_assert!(self.seqs.last().is_none_or(|last| *last < row.seq));
        debug_assert!(self.commits.last().is_none_or(|last| *last <= row.commit));
        self.seqs.push(row.seq);
        self.commits.push(row.commit);
        self.times.push(row.time_ms);
        self.flags.push(row.flags);
        self.data.extend_from_slice(row.head);
        self.data.extend_from_slice(row.tail);
        self.ends.push(length32(self.data.len()));
        self.payload_length += row.payload_length;
        self.flagged |= row.flags != 0;
    }

    /// Appends the fragment to `out` and becomes empty.
    pub(super) fn encode(&mut self, out: &mut Vec<u8>) {
        let (&seq, &commit, &time) = self.last().expect("an empty fragment is never encoded");
        let widths = self.widths(self.count(), seq, commit, time, self.flagged, self.data.len());
        let expected = out.len() + self.size();
        let (first_seq, base_commit, base_time) = (self.seqs[0], self.commits[0], self.times[0]);
        out.put_u16(u16::try_from(self.key.len()).expect("the builder checks key lengths"));
        out.put(&widths);
        out.put_u8(0);
        out.put_u32(length32(self.count()));
        out.put_u32(length32(self.data.len()));
        out.put_u32(length32(self.payload_length));
        out.put_u32(0);
        out.put_u64(first_seq);
        out.put_u64(base_commit);
        out.put_u64(base_time);
        out.put_u64(self.base_index);
        out.put(&self.key);
        put_column(out, self.seqs.drain(..).map(|seq| seq - first_seq), widths[0]);
        put_column(out, self.commits.drain(..).map(|commit| commit - base_commit), widths[1]);
        put_column(out, self.times.drain(..).map(|time| time - base_time), widths[2]);
        put_column(out, self.flags.drain(..).map(u64::from), widths[3]);
        put_column(out, self.ends.drain(..).map(u64::from), widths[4]);
        out.put(&self.data);
        self.data.clear();
        self.payload_length = 0;
        self.flagged = false;
        debug_assert_eq!(out.len(), expected);
    }

    fn last(&self) -> Option<(&u64, &u64, &u64)> {
        Some((self.seqs.last()?, self.commits.last()?, self.times.last()?))
    }

    /// Widths of the five columns for so many entries, of which the last has these values.
    fn widths(
        &self,
        count: usize,
        seq: u64,
        commit: u64,
        time_ms: u64,
        flagged: bool,
        data: usize,
    ) -> [u8; 5] {
        let span = seq - self.seqs.first().copied().unwrap_or(seq);
        let dense = span == count as u64 - 1;
        [
            if dense { 0 } else { width(span) },
            width(commit - self.commits.first().copied().unwrap_or(commit)),
            width(time_ms - self.times.first().copied().unwrap_or(time_ms)),
            u8::from(flagged),
            if data <= usize::from(u16::MAX) { 2 } else { 4 },
        ]
    }

    fn size_of(&self, count: usize, widths: &[u8; 5], data: usize) -> usize {
        let row: usize = widths.iter().map(|width| usize::from(*width)).sum();
        FRAGMENT_HEADER + self.key.len() + count * row + data
    }
}

/// The fewest bytes that hold `value`.
fn width(value: u64) -> u8 {
    match value {
        0 => 0,
        1..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xffff_ffff => 4,
        _ => 8,
    }
}

fn put_column(out: &mut Vec<u8>, values: impl Iterator<Item = u64>, width: u8) {
    let width = usize::from(width);
    for value in values {
        out.put(&value.to_le_bytes()[..width]);
    }
}
