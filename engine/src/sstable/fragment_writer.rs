//! Gathers the entries of one timeline and encodes them as a fragment.
//!
//! # Invariants
//! 1. Seqs rise, commits and times do not fall: the builder checks before it pushes. So the last
//!    value of a column is its largest and alone decides the width.
//! 2. Columns of which all values are equal, or follow from the count, are left out.
//! 3. `size` is exactly what `encode` will append.

use super::block_writer::FirstEntry;
use super::format::length32;
use super::fragment::{FRAGMENT_HEADER_MAX, HeaderValues, Widths, header_size, put_header};
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
    /// When it expires, if it has a time to live of its own.
    pub(super) expires_ms: Option<u64>,
}

impl Row<'_> {
    fn byte_count(&self) -> usize {
        self.head.len() + self.tail.len()
    }
}

/// What decides the size of a fragment.
#[derive(Debug, Clone, Copy)]
struct Shape {
    count: usize,
    data: usize,
    payload: usize,
    /// Values of the last entry.
    seq: u64,
    commit: u64,
    time_ms: u64,
    /// Flags of every entry, while they are equal.
    flags: Option<u8>,
    /// Length of every entry, while they are equal.
    length: Option<usize>,
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
    shape: Option<Shape>,
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
        self.shape.map_or(0, |shape| self.size_of(&shape))
    }

    /// Bytes of the fragment if every column were as wide as can be.
    pub(super) fn widest_size(&self) -> usize {
        FRAGMENT_HEADER_MAX + self.key.len() + self.count() * ROW_SIZE_MAX + self.data.len()
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
        self.size_of(&self.shape_with(row))
    }

    pub(super) fn push(&mut self, row: &Row<'_>) {
        debug_assert!(self.seqs.last().is_none_or(|last| *last < row.seq));
        debug_assert!(self.commits.last().is_none_or(|last| *last <= row.commit));
        self.shape = Some(self.shape_with(row));
        self.seqs.push(row.seq);
        self.commits.push(row.commit);
        self.times.push(row.time_ms);
        self.flags.push(row.flags);
        self.data.extend_from_slice(row.head);
        self.data.extend_from_slice(row.tail);
        self.ends.push(length32(self.data.len()));
    }

    /// Appends the fragment to `out` and becomes empty.
    pub(super) fn encode(&mut self, out: &mut Vec<u8>) {
        let shape = self.shape.take().expect("an empty fragment is never encoded");
        let widths = self.widths(&shape);
        let Widths { seq, commit, time, flags, end } = widths;
        let expected = out.len() + self.size_of(&shape);
        let (first_seq, base_commit, base_time) = (self.seqs[0], self.commits[0], self.times[0]);
        put_header(out, widths, shape.flags.unwrap_or(0), &self.values(&shape));
        out.put(&self.key);
        put_column(out, self.seqs.drain(..).skip(1).map(|seq| seq - first_seq), seq);
        put_column(out, self.commits.drain(..).skip(1).map(|commit| commit - base_commit), commit);
        put_column(out, self.times.drain(..).skip(1).map(|time| time - base_time), time);
        put_column(out, self.flags.drain(..).map(u64::from), flags);
        put_column(out, self.ends.drain(..).map(u64::from), end);
        out.put(&self.data);
        self.data.clear();
        debug_assert_eq!(out.len(), expected);
    }

    fn shape_with(&self, row: &Row<'_>) -> Shape {
        let (flags, length) = (Some(row.flags), Some(row.byte_count()));
        let before = self.shape.unwrap_or(Shape {
            count: 0,
            data: 0,
            payload: 0,
            seq: row.seq,
            commit: row.commit,
            time_ms: row.time_ms,
            flags,
            length,
        });
        Shape {
            count: before.count + 1,
            data: before.data + row.byte_count(),
            payload: before.payload + row.payload_length,
            seq: row.seq,
            commit: row.commit,
            time_ms: row.time_ms,
            flags: before.flags.filter(|_| before.flags == flags),
            length: before.length.filter(|_| before.length == length),
        }
    }

    /// Widths of the columns.
    fn widths(&self, shape: &Shape) -> Widths {
        let span = shape.seq - self.seqs.first().copied().unwrap_or(shape.seq);
        let dense = span == shape.count as u64 - 1;
        let commits = shape.commit - self.commits.first().copied().unwrap_or(shape.commit);
        let times = shape.time_ms - self.times.first().copied().unwrap_or(shape.time_ms);
        Widths {
            seq: if dense { 0 } else { width(span) },
            commit: width(commits),
            time: width(times),
            flags: u8::from(shape.flags.is_none()),
            end: match shape.length {
                Some(1..) => 0,
                _ => width(shape.data as u64).max(1),
            },
        }
    }

    /// The values of the header.
    fn values(&self, shape: &Shape) -> HeaderValues {
        [
            self.base_index,
            self.key.len() as u64,
            shape.count as u64,
            shape.data as u64,
            (shape.data - shape.payload) as u64,
            self.seqs.first().copied().unwrap_or(shape.seq),
            self.commits.first().copied().unwrap_or(shape.commit),
            self.times.first().copied().unwrap_or(shape.time_ms),
        ]
    }

    fn size_of(&self, shape: &Shape) -> usize {
        let columns = self.widths(shape).columns(shape.count);
        let header = header_size(shape.flags.unwrap_or(0), &self.values(shape));
        header + self.key.len() + columns + shape.data
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
