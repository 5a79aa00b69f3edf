//! A fragment: consecutive entries of one timeline, in columns, so that the k-th is found in O(1).
//!
//! ```text
//! offset  size  field           notes
//!      0     2  shape           bits 0-2 seq width, 3-5 commit width, 6-8 time width, 9-11 end
//!                               width, 12 flags have a column, 13 flags follow; others zero,
//!                               checked
//!      2     1  flags           of every entry, not zero; with bit 13 alone, never beside bit 12
//!      …     …  packed values   see `codec/packed.rs`: base index (entries of this timeline before
//!                               this fragment in this SSTable), key length (1 to 1,040), count (1
//!                               or more), data length (bytes of all entries), bytes of them that
//!                               are no payload, first seq, base commit and time (of the first
//!                               entry, milliseconds since 1970)
//!      …     k  key
//!      …        seq offsets     count - 1 x seq width: seq - first seq, rising
//!      …        commit deltas   count - 1 x commit width: commit - base commit, never falling
//!      …        time deltas     count - 1 x time width: time - base time, never falling
//!      …        flags           count, with bit 12 alone; see `entry.rs`
//!      …        ends            count x end width: end of each entry in the data
//!      …        data            the entries' bytes together, see `entry.rs`
//!
//! widths  0, 1, 2, 3, 4 mean 0, 1, 2, 4, 8 bytes. 0: seqs are dense (first seq + k); all commits,
//!         or times, are equal; all entries have one length, which is not 0
//! ```
//! Most runs have a few entries, so what a run costs beside them counts: the first entry's seq,
//! commit and time stand in the header alone.
//!
//! A fragment is valid if and only if: (1) its widths are among those listed and the parts add up
//! to its length; (2) count is at least 1, the last seq is at most the largest; (3) seq offsets
//! rise, commit and time deltas do not fall; (4) ends do not fall
//! and the last is the data length; (5) each entry decodes, and the payloads add up to the payload
//! length. Parsing checks (1) and (2), reading entry k what concerns k; `verify` checks all.

use super::entry::{self, EntryBytes, EntryRef};
use super::format::STORED_KEY_LENGTH_MAX;
use crate::codec::{DecodeError, Decoder, Encode, packed_size, put_packed, take_packed};
use crate::entry::expires_ms;
use crate::segment::Reference;
use std::ops::Range;

/// Most bytes before the key: shape, flags, lengths, and 4 + 2 + 4 + 4 + 4 + 8 + 8 + 8 of values.
pub(super) const FRAGMENT_HEADER_MAX: usize = 2 + 1 + 4 + 42;
/// The flags have a column.
const SHAPE_FLAGS_COLUMN: u16 = 1 << 12;
/// The flags of every entry follow the shape.
const SHAPE_FLAGS: u16 = 1 << 13;

type Result<T> = std::result::Result<T, DecodeError>;

/// A column of fixed-width unsigned integers.
#[derive(Debug, Clone, Copy)]
struct Column {
    start: u32,
    width: u8,
    /// Entries at the front that it has no value of: theirs is 0.
    left_out: u8,
}

impl Column {
    /// Value `k`, which lies inside the bytes since the layout was checked.
    #[inline]
    fn get(self, bytes: &[u8], k: usize) -> u64 {
        let Some(row) = k.checked_sub(usize::from(self.left_out)) else { return 0 };
        let at = self.start as usize + row * usize::from(self.width);
        let inside = "the layout was checked";
        // By widths, each a plain load: a copy of so many bytes is a call.
        match self.width {
            0 => 0,
            1 => u64::from(bytes[at]),
            2 => u64::from(u16::from_le_bytes(*bytes[at..].first_chunk().expect(inside))),
            4 => u64::from(u32::from_le_bytes(*bytes[at..].first_chunk().expect(inside))),
            _ => u64::from_le_bytes(*bytes[at..].first_chunk().expect(inside)),
        }
    }
}

/// The values a search goes by: those of a fragment's first entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FragmentHead<'a> {
    pub(super) key: &'a [u8],
    pub(super) first_seq: u64,
    pub(super) base_commit: u64,
    pub(super) base_time: u64,
    pub(super) base_index: u64,
}

impl<'a> FragmentHead<'a> {
    /// Reads the head alone, without looking at the columns.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<FragmentHead<'a>> {
        let header = Header::parse(bytes)?;
        let [base_index, _, _, _, _, first_seq, base_commit, base_time] = header.values;
        let mut decoder = Decoder::new(bytes);
        decoder.take(header.key_start, "fragment header")?;
        let key = decoder.take(header.key_length, "fragment key")?;
        Ok(FragmentHead { key, first_seq, base_commit, base_time, base_index })
    }
}

/// What lies before the key.
#[derive(Debug, Clone, Copy)]
struct Header {
    widths: Widths,
    flags: u8,
    values: HeaderValues,
    key_start: usize,
    key_length: usize,
}

/// Bytes that a column has for each entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Widths {
    pub(super) seq: u8,
    pub(super) commit: u8,
    pub(super) time: u8,
    pub(super) flags: u8,
    pub(super) end: u8,
}

impl Widths {
    /// Bytes of all columns of `count` entries.
    pub(super) fn columns(self, count: usize) -> usize {
        let behind_first = usize::from(self.seq + self.commit + self.time);
        (count - 1) * behind_first + count * usize::from(self.flags + self.end)
    }

    /// What a fragment begins with: these widths, and flags of every entry.
    fn shape(self, flags: u8) -> u16 {
        // 0, 1, 2, 4, 8 as 0, 1, 2, 3, 4.
        let code = |width: u8| u16::try_from(u8::BITS - width.leading_zeros()).expect("at most 8");
        let widths = code(self.seq) | code(self.commit) << 3 | code(self.time) << 6;
        let column = if self.flags == 0 { 0 } else { SHAPE_FLAGS_COLUMN };
        let common = if flags == 0 { 0 } else { SHAPE_FLAGS };
        widths | code(self.end) << 9 | column | common
    }

    fn of_shape(shape: u16) -> Option<Widths> {
        let width = |at: u32| match (shape >> at) & 7 {
            0 => Some(0),
            code @ 1..=4 => Some(1u8 << (code - 1)),
            _ => None,
        };
        let flags = u8::from(shape & SHAPE_FLAGS_COLUMN != 0);
        let end = width(9).filter(|width| *width <= 4)?;
        let known = shape >> 14 == 0 && (flags == 0 || shape & SHAPE_FLAGS == 0);
        let widths = Widths { seq: width(0)?, commit: width(3)?, time: width(6)?, flags, end };
        known.then_some(widths)
    }
}

/// Values in the header: base index, key length, count, data length, bytes that are no payload,
/// first seq, base commit, base time.
pub(super) type HeaderValues = [u64; 8];

/// Bytes of a header.
pub(super) fn header_size(flags: u8, values: &HeaderValues) -> usize {
    2 + usize::from(flags != 0) + packed_size(values)
}

/// Appends a header.
pub(super) fn put_header(out: &mut Vec<u8>, widths: Widths, flags: u8, values: &HeaderValues) {
    out.put_u16(widths.shape(flags));
    if flags != 0 {
        out.put_u8(flags);
    }
    put_packed(out, values);
}

impl Header {
    fn parse(bytes: &[u8]) -> Result<Header> {
        let mut decoder = Decoder::new(bytes);
        let shape = decoder.u16("fragment widths")?;
        let error = DecodeError { what: "fragment widths", offset: 0 };
        let widths = Widths::of_shape(shape).ok_or(error)?;
        let flags = match shape & SHAPE_FLAGS {
            0 => 0,
            _ => decoder.u8("fragment flags")?,
        };
        if shape & SHAPE_FLAGS != 0 && flags == 0 {
            return Err(decoder.error("fragment flags"));
        }
        let values: HeaderValues = take_packed(&mut decoder, "fragment header")?;
        let [base_index, key_length, ..] = values;
        if base_index > u64::from(u32::MAX) {
            return Err(decoder.error("base index"));
        }
        let key_length = usize::try_from(key_length).unwrap_or(usize::MAX);
        Ok(Header { widths, flags, values, key_start: decoder.position(), key_length })
    }

    /// The values with another base index.
    fn with_base(&self, base_index: u64) -> HeaderValues {
        let mut values = self.values;
        values[0] = base_index;
        values
    }
}

/// Where everything lies in a fragment: checked once, then copied about.
#[derive(Debug, Clone, Copy)]
pub(super) struct FragmentLayout {
    key_start: usize,
    key_length: usize,
    count: usize,
    payload_length: u64,
    first_seq: u64,
    base_commit: u64,
    base_time: u64,
    base_index: u64,
    seqs: Column,
    commits: Column,
    times: Column,
    flags: Column,
    ends: Column,
    /// Flags of every entry, where they have no column.
    common_flags: u8,
    /// Length of every entry, where the ends have no column.
    common_length: usize,
    data: usize,
    /// Bytes of all of it.
    end: usize,
}

impl FragmentLayout {
    /// Checks that the parts add up to exactly `bytes`.
    pub(super) fn parse(bytes: &[u8]) -> Result<FragmentLayout> {
        let layout = FragmentLayout::parse_front(bytes)?;
        if layout.length() != bytes.len() {
            return Err(DecodeError { what: "fragment lengths", offset: 0 });
        }
        Ok(layout)
    }

    /// Checks the fragment at the front of `bytes`, which may be longer.
    pub(super) fn parse_front(bytes: &[u8]) -> Result<FragmentLayout> {
        let header = Header::parse(bytes)?;
        let error = |what| DecodeError { what, offset: 0 };
        let [base_index, _, count, data_length, head_bytes, first_seq, base_commit, base_time] =
            header.values;
        if header.key_length == 0 || header.key_length > STORED_KEY_LENGTH_MAX {
            return Err(error("fragment key length"));
        }
        let length = |value: u64| usize::try_from(value).map_err(|_| error("fragment lengths"));
        let (count, data_bytes) = (length(count)?, length(data_length)?);
        let mut at = header.key_start + header.key_length;
        let Widths { seq, commit, time, flags, end } = header.widths;
        let columns = [(seq, 1u8), (commit, 1), (time, 1), (flags, 0), (end, 0)];
        let columns = columns.map(|(width, left_out)| {
            // One that begins beyond 4 GiB is refused below, with the sum of the parts.
            let start = u32::try_from(at).unwrap_or(u32::MAX);
            let rows = count.saturating_sub(usize::from(left_out));
            at = at.saturating_add(rows.saturating_mul(usize::from(width)));
            Column { start, width, left_out }
        });
        let end = at.checked_add(data_bytes).filter(|end| *end <= bytes.len());
        let Some(end) = end.filter(|_| count > 0) else {
            return Err(error("fragment lengths"));
        };
        let [seqs, commits, times, flags, ends] = columns;
        // Entries without bytes have ends, so that the bytes bound the count.
        let common_length = data_bytes / count;
        if ends.width == 0 && (common_length == 0 || common_length * count != data_bytes) {
            return Err(error("fragment count"));
        }
        let payload_length = data_length.checked_sub(head_bytes);
        let layout = FragmentLayout {
            key_start: header.key_start,
            key_length: header.key_length,
            count,
            payload_length: payload_length.ok_or(error("fragment payload length"))?,
            first_seq,
            base_commit,
            base_time,
            base_index,
            seqs,
            commits,
            times,
            flags,
            ends,
            common_flags: header.flags,
            common_length,
            data: at,
            end,
        };
        FragmentView { layout, bytes }.seq(count - 1)?;
        Ok(layout)
    }
}

impl FragmentLayout {
    /// Bytes of the fragment.
    pub(super) fn length(&self) -> usize {
        self.end
    }

    /// Which of its entries is entry `index` of the run, if any.
    #[inline]
    pub(super) fn place_of(&self, index: u64) -> Option<usize> {
        let k = usize::try_from(index.checked_sub(self.base_index)?).ok()?;
        (k < self.count).then_some(k)
    }
}

/// A fragment in the bytes of a block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FragmentView<'a> {
    layout: FragmentLayout,
    bytes: &'a [u8],
}

impl<'a> FragmentView<'a> {
    /// Checks the layout. `bytes` are exactly the fragment.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<FragmentView<'a>> {
        Ok(FragmentView { layout: FragmentLayout::parse(bytes)?, bytes })
    }

    /// The fragment again, by a layout that was parsed from the same bytes.
    pub(super) fn with_layout(layout: FragmentLayout, bytes: &'a [u8]) -> FragmentView<'a> {
        FragmentView { layout, bytes }
    }

    /// The fragment as it is stored.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Bytes of the fragment with another base index.
    pub(super) fn size_with_base(&self, base_index: u64) -> Result<usize> {
        let header = Header::parse(self.bytes)?;
        let behind = self.bytes.len() - header.key_start;
        Ok(header_size(header.flags, &header.with_base(base_index)) + behind)
    }

    /// Appends the fragment with another base index: the one field that copying it changes.
    pub(super) fn copy_with_base(&self, base_index: u64, out: &mut Vec<u8>) -> Result<()> {
        let header = Header::parse(self.bytes)?;
        put_header(out, header.widths, header.flags, &header.with_base(base_index));
        out.put(&self.bytes[header.key_start..]);
        Ok(())
    }

    /// The encoded timeline id.
    pub(crate) fn key(&self) -> &'a [u8] {
        &self.bytes[self.layout.key_start..self.layout.key_start + self.layout.key_length]
    }

    /// Entries.
    pub(crate) fn count(&self) -> usize {
        self.layout.count
    }

    /// Bytes of all payloads, as recorded.
    pub(crate) fn payload_length(&self) -> u64 {
        self.layout.payload_length
    }

    /// Entries of the timeline before this fragment in its SSTable.
    pub(crate) fn base_index(&self) -> u64 {
        self.layout.base_index
    }

    /// Seq of the first entry.
    pub(crate) fn first_seq(&self) -> u64 {
        self.layout.first_seq
    }

    /// Seq of the last entry.
    pub(crate) fn last_seq(&self) -> Result<u64> {
        self.seq(self.layout.count - 1)
    }

    /// Seq of entry `k`.
    pub(crate) fn seq(&self, k: usize) -> Result<u64> {
        let offset = match self.layout.seqs.width {
            0 => k as u64,
            _ => self.layout.seqs.get(self.bytes, k),
        };
        let seq = self.layout.first_seq.checked_add(offset);
        seq.filter(|seq| *seq <= crate::limits::SEQ_MAX).ok_or(self.error("seq", k))
    }

    /// Commit number of entry `k`.
    pub(crate) fn commit(&self, k: usize) -> Result<u64> {
        let delta = self.layout.commits.get(self.bytes, k);
        self.layout.base_commit.checked_add(delta).ok_or(self.error("commit", k))
    }

    /// Commit time of entry `k`.
    pub(crate) fn time_ms(&self, k: usize) -> Result<u64> {
        let delta = self.layout.times.get(self.bytes, k);
        self.layout.base_time.checked_add(delta).ok_or(self.error("time", k))
    }

    pub(super) fn flags(&self, k: usize) -> u8 {
        match self.layout.flags.width {
            0 => self.layout.common_flags,
            _ => self.layout.flags.get(self.bytes, k).to_le_bytes()[0],
        }
    }

    /// The commit of the first entry that has an origin.
    pub(super) fn oldest_origin(&self) -> Result<Option<u64>> {
        let first = (0..self.count()).find(|k| entry::may_name_origin(self.flags(*k)));
        first.map(|k| self.commit(k)).transpose()
    }

    /// Where the bytes of entry `k` lie in the fragment.
    pub(super) fn entry_range(&self, k: usize) -> Result<Range<usize>> {
        let ends = self.layout.ends;
        if ends.width == 0 {
            let start = self.layout.data + k * self.layout.common_length;
            return Ok(start..start + self.layout.common_length);
        }
        let start = if k == 0 { 0 } else { ends.get(self.bytes, k - 1) };
        let end = ends.get(self.bytes, k);
        let place = |at: u64| usize::try_from(at).ok()?.checked_add(self.layout.data);
        match (place(start), place(end)) {
            (Some(start), Some(end)) if start <= end && end <= self.bytes.len() => Ok(start..end),
            _ => Err(self.error("entry end", k)),
        }
    }

    pub(super) fn entry_bytes(&self, k: usize) -> Result<&'a [u8]> {
        Ok(&self.bytes[self.entry_range(k)?])
    }

    /// Entry `k`.
    pub(crate) fn entry(&self, k: usize) -> Result<EntryRef<'a>> {
        let EntryBytes { event_ms, ttl_ms, origin, payload, shared, erased } =
            entry::decode(self.flags(k), self.entry_bytes(k)?)?;
        Ok(EntryRef {
            seq: self.seq(k)?,
            commit: self.commit(k)?,
            time_ms: self.time_ms(k)?,
            event_ms,
            ttl_ms,
            origin,
            payload,
            shared,
            erased,
        })
    }

    /// Whether entries here may have times to live of their own.
    pub(crate) fn may_have_own_ttl(&self) -> bool {
        self.layout.flags.width != 0 || self.layout.common_flags & entry::FLAG_OWN_TTL != 0
    }

    /// The time to live that entry `k` has of its own.
    pub(crate) fn own_ttl(&self, k: usize) -> Result<Option<u64>> {
        if !self.may_have_own_ttl() {
            return Ok(None);
        }
        entry::own_ttl(self.flags(k), self.entry_bytes(k)?)
    }

    /// When each entry expires that has a time to live of its own.
    pub(super) fn own_expiries(&self) -> impl Iterator<Item = Result<u64>> + '_ {
        let count = if self.may_have_own_ttl() { self.count() } else { 0 };
        (0..count).filter_map(|k| {
            let expiry = |ttl_ms| Ok(expires_ms(self.time_ms(k)?, ttl_ms));
            self.own_ttl(k).transpose().map(|ttl_ms| ttl_ms.and_then(expiry))
        })
    }

    /// The segment record that entry `k` refers to.
    pub(crate) fn reference(&self, k: usize) -> Result<Option<Reference>> {
        if self.layout.flags.width == 0 && self.layout.common_flags & entry::FLAG_REFERENCE == 0 {
            return Ok(None);
        }
        entry::reference(self.flags(k), self.entry_bytes(k)?)
    }

    /// Checks every entry and every order in the fragment.
    pub(super) fn verify(&self) -> Result<()> {
        let mut payload_length = 0u64;
        let mut end = self.layout.data;
        for k in 0..self.layout.count {
            let entry = self.entry(k)?;
            payload_length += entry.payload.len() as u64;
            end = self.entry_range(k)?.end;
            let in_order = if k == 0 {
                entry.seq == self.layout.first_seq
                    && entry.seq > 0
                    && entry.commit == self.layout.base_commit
                    && entry.time_ms == self.layout.base_time
            } else {
                self.seq(k - 1)? < entry.seq
                    && self.commit(k - 1)? <= entry.commit
                    && self.time_ms(k - 1)? <= entry.time_ms
            };
            if !in_order {
                return Err(self.error("order of entries", k));
            }
        }
        if payload_length != self.payload_length() || end != self.bytes.len() {
            return Err(self.error("sum of the payloads", self.layout.count));
        }
        Ok(())
    }

    /// Damage found at entry `k`.
    fn error(&self, what: &'static str, k: usize) -> DecodeError {
        DecodeError { what, offset: (self.layout.ends.start as usize).saturating_add(k) }
    }
}
