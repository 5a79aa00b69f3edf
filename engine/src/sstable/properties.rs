//! The properties page: counts and ranges, the same that the manifest holds.
//!
//! ```text
//! content
//! offset  size  field             notes
//!      0     8  entries           versions in a keyed table
//!      8     8  keys              timelines, or keys
//!     16     8  payload bytes     or value bytes
//!     24     8  smallest commit
//!     32     8  largest commit
//!     40     8  oldest time       commit time, milliseconds since 1970
//!     48     8  newest time
//!     56     8  first seq         of the smallest key; 0 in a keyed table
//!     64     8  last seq          of the largest key; 0 in a keyed table
//!     72     2  first key length
//!     74     2  last key length
//!     76     4  reserved          zero, checked
//!     80     8  oldest origin     smallest commit of an entry with an origin, or 0
//!     88     …  first key, last key
//!      …     …  own times         see `own_ttl.rs`: when entries expire that have a time
//!                                to live of their own; then zeros
//! ```

use super::format::STORED_KEY_LENGTH_MAX;
use crate::codec::{DecodeError, Decoder, Encode};
use crate::own_ttl::OwnTtl;
use crate::version::SstableMeta;

/// Counts and ranges of an SSTable.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Properties {
    pub(super) entries: u64,
    pub(super) keys: u64,
    pub(super) payload_bytes: u64,
    pub(super) commits: (u64, u64),
    pub(super) times_ms: (u64, u64),
    /// Smallest commit of an entry with an origin; 0 where there is none.
    pub(super) oldest_origin: u64,
    /// When entries expire that have a time to live of their own.
    pub(super) own_ttl: OwnTtl,
    pub(super) first: (Box<[u8]>, u64),
    pub(super) last: (Box<[u8]>, u64),
}

impl Properties {
    /// What the manifest holds of them.
    pub(super) fn of(meta: &SstableMeta) -> Properties {
        Properties {
            entries: meta.entries,
            keys: meta.keys,
            payload_bytes: meta.payload_bytes,
            commits: meta.commits,
            times_ms: meta.times_ms,
            oldest_origin: meta.oldest_origin,
            own_ttl: meta.own_ttl.clone(),
            first: meta.first.clone(),
            last: meta.last.clone(),
        }
    }

    /// Counts one entry or version in.
    pub(super) fn include(
        &mut self,
        entries: u64,
        payload_bytes: u64,
        commits: (u64, u64),
        times_ms: (u64, u64),
    ) {
        if self.entries == 0 {
            self.commits = commits;
            self.times_ms = times_ms;
        }
        self.entries += entries;
        self.payload_bytes += payload_bytes;
        self.commits = (self.commits.0.min(commits.0), self.commits.1.max(commits.1));
        self.times_ms = (self.times_ms.0.min(times_ms.0), self.times_ms.1.max(times_ms.1));
    }

    /// Notes the commit of an entry that has an origin.
    pub(super) fn include_origin(&mut self, commit: u64) {
        self.oldest_origin = match self.oldest_origin {
            0 => commit,
            oldest => oldest.min(commit),
        };
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(self.entries);
        out.put_u64(self.keys);
        out.put_u64(self.payload_bytes);
        out.put_u64(self.commits.0);
        out.put_u64(self.commits.1);
        out.put_u64(self.times_ms.0);
        out.put_u64(self.times_ms.1);
        out.put_u64(self.first.1);
        out.put_u64(self.last.1);
        for (key, _) in [&self.first, &self.last] {
            out.put_u16(u16::try_from(key.len()).expect("the builder checks key lengths"));
        }
        out.put_u32(0);
        out.put_u64(self.oldest_origin);
        out.put(&self.first.0);
        out.put(&self.last.0);
        self.own_ttl.encode(out);
    }

    pub(super) fn decode(content: &[u8]) -> Result<Properties, DecodeError> {
        let mut decoder = Decoder::new(content);
        let entries = decoder.u64("entries")?;
        let keys = decoder.u64("keys")?;
        let payload_bytes = decoder.u64("payload bytes")?;
        let commits = (decoder.u64("smallest commit")?, decoder.u64("largest commit")?);
        let times_ms = (decoder.u64("oldest time")?, decoder.u64("newest time")?);
        let (first_seq, last_seq) = (decoder.u64("first seq")?, decoder.u64("last seq")?);
        let first_length = usize::from(decoder.u16("first key length")?);
        let last_length = usize::from(decoder.u16("last key length")?);
        decoder.zeros(4, "reserved bytes of the properties")?;
        let oldest_origin = decoder.u64("oldest origin")?;
        if first_length > STORED_KEY_LENGTH_MAX || last_length > STORED_KEY_LENGTH_MAX {
            return Err(decoder.error("key lengths of the properties"));
        }
        let first = (decoder.take(first_length, "first key")?.into(), first_seq);
        let last = (decoder.take(last_length, "last key")?.into(), last_seq);
        let own_ttl = OwnTtl::decode(&mut decoder, entries)?;
        let rest = decoder.remaining();
        decoder.zeros(rest, "rest of the properties")?;
        Ok(Properties {
            entries,
            keys,
            payload_bytes,
            commits,
            times_ms,
            oldest_origin,
            own_ttl,
            first,
            last,
        })
    }
}
