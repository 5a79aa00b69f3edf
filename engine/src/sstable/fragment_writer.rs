//! Gathers the entries of one timeline and encodes them as a fragment.
//!
//! # Invariants
//! 1. Seqs rise, commits and times do not fall: the builder checks before it pushes. So the last
//!    value of a column is its largest and alone decides the width.
//! 2. Columns of which all values are equal, or follow from the count, are left out.
//! 3. `size` is exactly what `encode` will append.

use super::block_writer::FirstEntry;
use super::entry::PlainEntry;
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

impl Shape {
    /// Widths of the columns behind this first entry.
    fn widths(&self, first: &FirstEntry) -> Widths {
        let span = self.seq - first.seq;
        let dense = span == self.count as u64 - 1;
        Widths {
            seq: if dense { 0 } else { width(span) },
            commit: width(self.commit - first.commit),
            time: width(self.time_ms - first.time_ms),
            flags: u8::from(self.flags.is_none()),
            end: match self.length {
                Some(1..) => 0,
                _ => width(self.data as u64).max(1),
            },
        }
    }

    /// The values of the header.
    fn values(&self, first: &FirstEntry, key_length: usize) -> HeaderValues {
        [
            first.index,
            key_length as u64,
            self.count as u64,
            self.data as u64,
            (self.data - self.payload) as u64,
            first.seq,
            first.commit,
            first.time_ms,
        ]
    }

    fn size(&self, first: &FirstEntry, key_length: usize) -> usize {
        let columns = self.widths(first).columns(self.count);
        let header = header_size(self.flags.unwrap_or(0), &self.values(first, key_length));
        header + key_length + columns + self.data
    }
}

/// The columns of one entry.
#[derive(Debug, Clone, Copy)]
struct Columns {
    seq: u64,
    commit: u64,
    time_ms: u64,
    end: u32,
    flags: u8,
}

#[derive(Debug, Default)]
pub(super) struct FragmentWriter {
    key: Vec<u8>,
    base_index: u64,
    rows: Vec<Columns>,
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
        self.rows.is_empty()
    }

    pub(super) fn count(&self) -> usize {
        self.rows.len()
    }

    /// Bytes of the fragment as it is; nothing where it has no entry.
    pub(super) fn size(&self) -> usize {
        self.shape.map_or(0, |shape| shape.size(&self.first(), self.key.len()))
    }

    /// Bytes of the fragment if every column were as wide as can be.
    pub(super) fn widest_size(&self) -> usize {
        FRAGMENT_HEADER_MAX + self.key.len() + self.count() * ROW_SIZE_MAX + self.data.len()
    }

    /// The values of its first entry.
    pub(super) fn first(&self) -> FirstEntry {
        let Columns { seq, commit, time_ms, .. } = self.rows[0];
        FirstEntry { seq, index: self.base_index, commit, time_ms }
    }

    /// Bytes of the fragment with `row` added.
    pub(super) fn size_with(&self, row: &Row<'_>) -> usize {
        let first = match self.rows.first() {
            Some(_) => self.first(),
            None => {
                let Row { seq, commit, time_ms, .. } = *row;
                FirstEntry { seq, index: self.base_index, commit, time_ms }
            }
        };
        self.shape_with(row).size(&first, self.key.len())
    }

    pub(super) fn push(&mut self, row: &Row<'_>) {
        debug_assert!(self.rows.last().is_none_or(|last| last.seq < row.seq));
        debug_assert!(self.rows.last().is_none_or(|last| last.commit <= row.commit));
        self.shape = Some(self.shape_with(row));
        self.data.extend_from_slice(row.head);
        self.data.extend_from_slice(row.tail);
        let Row { seq, commit, time_ms, flags, .. } = *row;
        self.rows.push(Columns { seq, commit, time_ms, end: length32(self.data.len()), flags });
    }

    /// Appends the fragment to `out` and becomes empty.
    pub(super) fn encode(&mut self, out: &mut Vec<u8>) {
        let shape = self.shape.take().expect("an empty fragment is never encoded");
        let first = self.first();
        let start = out.len();
        let (widths, rows) = (shape.widths(&first), &self.rows);
        put_header(out, widths, shape.flags.unwrap_or(0), &shape.values(&first, self.key.len()));
        out.put(&self.key);
        put_column(out, rows[1..].iter().map(|row| row.seq - first.seq), widths.seq);
        put_column(out, rows[1..].iter().map(|row| row.commit - first.commit), widths.commit);
        put_column(out, rows[1..].iter().map(|row| row.time_ms - first.time_ms), widths.time);
        put_column(out, rows.iter().map(|row| u64::from(row.flags)), widths.flags);
        put_column(out, rows.iter().map(|row| u64::from(row.end)), widths.end);
        out.put(&self.data);
        debug_assert_eq!(out.len() - start, shape.size(&first, self.key.len()));
        self.rows.clear();
        self.data.clear();
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
}

/// Appends the fragment of these entries, which are in order and at least one, to `out`: what
/// [`FragmentWriter`] makes of them, with one copy of the payloads.
pub(super) fn encode_plain(
    out: &mut Vec<u8>,
    key: &[u8],
    base_index: u64,
    entries: &[PlainEntry<'_>],
) {
    let (head, tail) = entries.split_first().expect("a fragment has an entry");
    let last = tail.last().unwrap_or(head);
    let length = head.payload.len();
    let is_even = tail.iter().all(|entry| entry.payload.len() == length);
    let data = entries.iter().map(|entry| entry.payload.len()).sum();
    let first =
        FirstEntry { seq: head.seq, index: base_index, commit: head.commit, time_ms: head.time_ms };
    let shape = Shape {
        count: entries.len(),
        data,
        payload: data,
        seq: last.seq,
        commit: last.commit,
        time_ms: last.time_ms,
        flags: Some(0),
        length: is_even.then_some(length),
    };
    let start = out.len();
    let widths = shape.widths(&first);
    put_header(out, widths, 0, &shape.values(&first, key.len()));
    out.put(key);
    put_column(out, tail.iter().map(|entry| entry.seq - first.seq), widths.seq);
    put_column(out, tail.iter().map(|entry| entry.commit - first.commit), widths.commit);
    put_column(out, tail.iter().map(|entry| entry.time_ms - first.time_ms), widths.time);
    let mut end = 0;
    let ends = entries.iter().map(|entry| {
        end += entry.payload.len() as u64;
        end
    });
    put_column(out, ends, widths.end);
    entries.iter().for_each(|entry| out.put(entry.payload));
    debug_assert_eq!(out.len() - start, shape.size(&first, key.len()));
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
    match width {
        0 => {}
        1 => put_values::<1>(out, values),
        2 => put_values::<2>(out, values),
        4 => put_values::<4>(out, values),
        _ => put_values::<8>(out, values),
    }
}

/// The lowest `N` bytes of each value: of a known length they are a plain store.
fn put_values<const N: usize>(out: &mut Vec<u8>, values: impl Iterator<Item = u64>) {
    for value in values {
        let bytes = value.to_le_bytes();
        out.extend_from_slice(bytes.first_chunk::<N>().expect("at most eight bytes"));
    }
}
