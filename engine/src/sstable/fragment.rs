//! A fragment: consecutive entries of one timeline, in columns, so that the k-th is found in O(1).
//!
//! ```text
//! offset  size  field           notes
//!      0     2  key length      1 to 1,040
//!      2     1  seq width       0 (dense: first seq + k), 1, 2, 4 or 8 bytes an entry
//!      3     1  commit width    0 (all equal), 1, 2, 4 or 8
//!      4     1  time width      0 (all equal), 1, 2, 4 or 8
//!      5     1  flags width     0 (no flags) or 1
//!      6     1  end width       2 or 4
//!      7     1  reserved        zero, checked
//!      8     4  count           entries, at least 1
//!     12     4  data length     bytes of all entries
//!     16     4  payload length  bytes of all payloads
//!     20     4  reserved        zero, checked
//!     24     8  first seq
//!     32     8  base commit     of the first entry
//!     40     8  base time       of the first entry, milliseconds since 1970
//!     48     8  base index      entries of this timeline before this fragment in this SSTable
//!     56     k  key
//!      …        seq offsets     count x seq width: seq - first seq, rising
//!      …        commit deltas   count x commit width: commit - base commit, never falling
//!      …        time deltas     count x time width: time - base time, never falling
//!      …        flags           count x flags width, see `entry.rs`
//!      …        ends            count x end width: end of each entry in the data
//!      …        data            the entries' bytes together, see `entry.rs`
//! ```
//!
//! A fragment is valid if and only if: (1) its widths are among those listed and the parts add up
//! to its length; (2) count is at least 1, the last seq is at most the largest; (3) seq offsets
//! begin with 0 and rise, commit and time deltas begin with 0 and do not fall; (4) ends do not fall
//! and the last is the data length; (5) each entry decodes, and the payloads add up to the payload
//! length. Parsing checks (1) and (2), reading entry k what concerns k; `verify` checks all.

use super::entry::{self, EntryBytes, EntryRef};
use super::format::STORED_KEY_LENGTH_MAX;
use crate::codec::{DecodeError, Decoder};
use crate::segment::Reference;
use std::ops::Range;

/// Bytes before the key.
pub(super) const FRAGMENT_HEADER: usize = 56;
/// Offset of the base index: the one field that copying a fragment changes.
pub(super) const BASE_INDEX_OFFSET: usize = 48;

type Result<T> = std::result::Result<T, DecodeError>;

/// A column of fixed-width unsigned integers.
#[derive(Debug, Clone, Copy)]
struct Column {
    start: usize,
    width: usize,
}

impl Column {
    /// Value `k`, which lies inside the bytes since the layout was checked.
    fn get(self, bytes: &[u8], k: usize) -> u64 {
        let mut value = [0u8; 8];
        let at = self.start + k * self.width;
        value[..self.width].copy_from_slice(&bytes[at..at + self.width]);
        u64::from_le_bytes(value)
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
        let mut decoder = Decoder::new(bytes);
        let key_length = usize::from(decoder.u16("fragment key length")?);
        decoder.take(22, "fragment header")?;
        let first_seq = decoder.u64("first seq")?;
        let base_commit = decoder.u64("base commit")?;
        let base_time = decoder.u64("base time")?;
        let base_index = decoder.u64("base index")?;
        let key = decoder.take(key_length, "fragment key")?;
        Ok(FragmentHead { key, first_seq, base_commit, base_time, base_index })
    }
}

/// Where everything lies in a fragment: checked once, then copied about.
#[derive(Debug, Clone, Copy)]
pub(super) struct FragmentLayout {
    key_length: usize,
    count: usize,
    payload_length: u32,
    first_seq: u64,
    base_commit: u64,
    base_time: u64,
    base_index: u64,
    seqs: Column,
    commits: Column,
    times: Column,
    flags: Column,
    ends: Column,
    data: usize,
}

impl FragmentLayout {
    /// Checks that the parts add up to exactly `bytes`.
    pub(super) fn parse(bytes: &[u8]) -> Result<FragmentLayout> {
        let mut decoder = Decoder::new(bytes);
        let key_length = usize::from(decoder.u16("fragment key length")?);
        if key_length == 0 || key_length > STORED_KEY_LENGTH_MAX {
            return Err(decoder.error("fragment key length"));
        }
        let widths = [
            width(&mut decoder, &[0, 1, 2, 4, 8], "seq width")?,
            width(&mut decoder, &[0, 1, 2, 4, 8], "commit width")?,
            width(&mut decoder, &[0, 1, 2, 4, 8], "time width")?,
            width(&mut decoder, &[0, 1], "flags width")?,
            width(&mut decoder, &[2, 4], "end width")?,
        ];
        decoder.zeros(1, "reserved byte of a fragment")?;
        let count = decoder.u32("fragment count")? as usize;
        let data_length = decoder.u32("fragment data length")? as usize;
        let payload_length = decoder.u32("fragment payload length")?;
        decoder.zeros(4, "reserved bytes of a fragment")?;
        let head = FragmentHead::parse(bytes)?;
        let mut at = FRAGMENT_HEADER + key_length;
        let columns = widths.map(|width| {
            let column = Column { start: at, width };
            at = at.saturating_add(count.saturating_mul(width));
            column
        });
        if count == 0 || at.checked_add(data_length) != Some(bytes.len()) {
            return Err(decoder.error("fragment lengths"));
        }
        if payload_length as usize > data_length {
            return Err(decoder.error("fragment payload length"));
        }
        let [seqs, commits, times, flags, ends] = columns;
        let layout = FragmentLayout {
            key_length,
            count,
            payload_length,
            first_seq: head.first_seq,
            base_commit: head.base_commit,
            base_time: head.base_time,
            base_index: head.base_index,
            seqs,
            commits,
            times,
            flags,
            ends,
            data: at,
        };
        if head.base_index.checked_add(count as u64).is_none() {
            return Err(decoder.error("fragment base index"));
        }
        FragmentView { layout, bytes }.seq(count - 1)?;
        Ok(layout)
    }
}

fn width(decoder: &mut Decoder<'_>, allowed: &[u8], what: &'static str) -> Result<usize> {
    let error = decoder.error(what);
    let width = decoder.u8(what)?;
    if allowed.contains(&width) { Ok(usize::from(width)) } else { Err(error) }
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

    /// The encoded timeline id.
    pub(crate) fn key(&self) -> &'a [u8] {
        &self.bytes[FRAGMENT_HEADER..FRAGMENT_HEADER + self.layout.key_length]
    }

    /// Entries.
    pub(crate) fn count(&self) -> usize {
        self.layout.count
    }

    /// Bytes of all payloads, as recorded.
    pub(crate) fn payload_length(&self) -> u64 {
        u64::from(self.layout.payload_length)
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
        self.layout.flags.get(self.bytes, k).to_le_bytes()[0]
    }

    /// Where the bytes of entry `k` lie in the fragment.
    pub(super) fn entry_range(&self, k: usize) -> Result<Range<usize>> {
        let start = if k == 0 { 0 } else { self.layout.ends.get(self.bytes, k - 1) };
        let end = self.layout.ends.get(self.bytes, k);
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
        let EntryBytes { event_ms, origin, payload, shared } =
            entry::decode(self.flags(k), self.entry_bytes(k)?)?;
        Ok(EntryRef {
            seq: self.seq(k)?,
            commit: self.commit(k)?,
            time_ms: self.time_ms(k)?,
            event_ms,
            origin,
            payload,
            shared,
        })
    }

    /// The segment record that entry `k` refers to.
    pub(crate) fn reference(&self, k: usize) -> Result<Option<Reference>> {
        if self.layout.flags.width == 0 {
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
        DecodeError { what, offset: self.layout.ends.start.saturating_add(k) }
    }
}
