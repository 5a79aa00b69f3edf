//! When the entries of one SSTable that have a time to live of their own expire, in few numbers.
//!
//! ```text
//! expiry   [------)[------)[------)[------)   buckets of equal width, a power of two
//! entries     12       0       3       7      at most 16; the width doubles when they do not fit
//! ```
//! A bucket has expired when its last moment has. So what is counted as expired is so, and of what
//! has expired at most a sixteenth of the whole time span is not counted yet.
//!
//! # Invariants
//! 1. The first and the last bucket are not empty; without entries there is none.

use crate::codec::{DecodeError, Decoder, Encode, put_varint, take_varint};
use crate::limits::OWN_TTL_BUCKETS_MAX;
use std::collections::VecDeque;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnTtl {
    /// Logarithm of the milliseconds in a bucket.
    shift: u8,
    /// Number of the first bucket: bucket n begins at n buckets since 1970.
    first: u64,
    counts: VecDeque<u64>,
}

impl OwnTtl {
    /// The buckets of a file, if there can be such ones for so many entries.
    fn from_parts(shift: u8, first: u64, counts: Vec<u64>, entries: u64) -> Option<OwnTtl> {
        let ends_are_full =
            counts.first().is_some_and(|count| *count > 0) && counts.last() != Some(&0);
        let total = counts.iter().try_fold(0u64, |total, count| total.checked_add(*count))?;
        let behind = first.checked_add(counts.len() as u64 - u64::from(!counts.is_empty()));
        let possible = u32::from(shift) < u64::BITS
            && counts.len() <= OWN_TTL_BUCKETS_MAX
            && behind.is_some_and(|last| last <= u64::MAX >> shift)
            && total <= entries;
        (ends_are_full && possible).then(|| OwnTtl { shift, first, counts: counts.into() })
    }

    /// Appends a count of buckets, and what there is to say of them.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(u8::try_from(self.counts.len()).expect("there are few buckets"));
        if !self.counts.is_empty() {
            out.put_u8(self.shift);
            out.put_u64(self.first);
            self.counts.iter().for_each(|count| put_varint(out, *count));
        }
    }

    /// Those of an SSTable of so many entries.
    pub(crate) fn decode(decoder: &mut Decoder<'_>, entries: u64) -> Result<OwnTtl, DecodeError> {
        let what = "times to live of entries";
        let error = decoder.error(what);
        let buckets = usize::from(decoder.u8(what)?);
        if buckets == 0 {
            return Ok(OwnTtl::default());
        }
        if buckets > OWN_TTL_BUCKETS_MAX {
            return Err(error);
        }
        let (shift, first) = (decoder.u8(what)?, decoder.u64(what)?);
        let counts = (0..buckets).map(|_| take_varint(decoder, what));
        let counts = counts.collect::<Result<_, _>>()?;
        OwnTtl::from_parts(shift, first, counts, entries).ok_or(error)
    }

    /// Entries with a time to live of their own.
    pub fn entries(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Takes an entry in that expires at this time.
    pub(crate) fn note(&mut self, expires_ms: u64) {
        if self.counts.is_empty() {
            self.first = expires_ms;
            self.shift = 0;
        }
        loop {
            let bucket = expires_ms >> self.shift;
            let last = self.first + (self.counts.len() as u64).saturating_sub(1);
            let span = last.max(bucket) - self.first.min(bucket);
            if span < OWN_TTL_BUCKETS_MAX as u64 {
                return self.count(bucket);
            }
            self.widen();
        }
    }

    fn count(&mut self, bucket: u64) {
        while bucket < self.first {
            self.first -= 1;
            self.counts.push_front(0);
        }
        let index = usize::try_from(bucket - self.first).expect("there are few buckets");
        while self.counts.len() <= index {
            self.counts.push_back(0);
        }
        self.counts[index] += 1;
    }

    /// Doubles the width of the buckets.
    fn widen(&mut self) {
        let first = self.first >> 1;
        let mut wide = VecDeque::new();
        for (bucket, count) in (self.first..=u64::MAX).zip(self.counts.drain(..)) {
            let index = usize::try_from((bucket >> 1) - first).expect("there are few buckets");
            if wide.len() <= index {
                wide.push_back(0);
            }
            wide[index] += count;
        }
        (self.shift, self.first, self.counts) = (self.shift + 1, first, wide);
    }

    /// Entries that have certainly expired at this time.
    pub(crate) fn expired(&self, now_ms: u64) -> u64 {
        self.ends().take_while(|(end_ms, _)| *end_ms <= now_ms).map(|(_, count)| count).sum()
    }

    /// The first moment at which so many entries have certainly expired, if ever.
    pub(crate) fn when_expired(&self, entries: u64) -> Option<u64> {
        let mut total = 0;
        let mut ends = self.ends().map(|(end_ms, count)| {
            total += count;
            (end_ms, total)
        });
        ends.find(|(_, total)| *total >= entries).map(|(end_ms, _)| end_ms)
    }

    /// The last moment of each bucket, and its entries.
    fn ends(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let width = (1u64 << self.shift) - 1;
        (self.first..=u64::MAX).zip(&self.counts).map(move |(bucket, count)| {
            let begin = bucket << self.shift;
            (begin | width, *count)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_moment_is_exact() {
        let mut own = OwnTtl::default();
        assert_eq!((own.entries(), own.expired(u64::MAX), own.when_expired(1)), (0, 0, None));
        (0..5).for_each(|_| own.note(1_000_000));
        assert_eq!((own.expired(999_999), own.expired(1_000_000)), (0, 5));
        assert_eq!((own.when_expired(5), own.when_expired(6)), (Some(1_000_000), None));
    }

    #[test]
    fn what_never_expires_is_counted() {
        // Story: the number behind that of the last bucket there can be was reckoned, too.
        let mut own = OwnTtl::default();
        own.note(u64::MAX);
        assert_eq!((own.expired(u64::MAX - 1), own.expired(u64::MAX)), (0, 1));
        assert_eq!((own.when_expired(1), own.when_expired(2)), (Some(u64::MAX), None));
        own.note(0);
        assert_eq!((own.expired(u64::MAX - 1), own.expired(u64::MAX)), (1, 2));
    }

    #[test]
    fn hostile_buckets_are_refused() {
        let parts = |shift, first, counts: &[u64]| {
            OwnTtl::from_parts(shift, first, counts.to_vec(), 10).is_some()
        };
        assert!(parts(0, 5, &[3, 0, 7]) && parts(63, 1, &[10]));
        assert!(!parts(0, 5, &[]) && !parts(0, 5, &[0, 1]) && !parts(0, 5, &[1, 0]));
        assert!(!parts(0, 5, &[5, 6]), "more than there are entries");
        assert!(!parts(0, 5, &[u64::MAX, 1]) && !parts(64, 0, &[1]) && !parts(63, 2, &[1]));
        assert!(!parts(0, u64::MAX, &[1, 1]) && parts(0, u64::MAX, &[1]));
        assert!(!parts(0, 0, &[1; 17]));
    }

    proptest! {
        #[test]
        fn what_counts_as_expired_has_expired(
            mut times in prop::collection::vec(prop_oneof![0u64..100, any::<u64>()], 1..60),
            now in any::<u64>(),
        ) {
            let mut own = OwnTtl::default();
            times.iter().for_each(|time| own.note(*time));
            times.sort_unstable();
            prop_assert_eq!(own.entries(), times.len() as u64);
            for now in [now, times[0], times[times.len() / 2], u64::MAX] {
                let expired = times.partition_point(|time| *time <= now) as u64;
                prop_assert!(own.expired(now) <= expired);
            }
            prop_assert_eq!(own.expired(u64::MAX), times.len() as u64);
            for share in 1..=times.len() as u64 {
                let when = own.when_expired(share).unwrap();
                prop_assert!(own.expired(when) >= share);
                prop_assert!(when == 0 || own.expired(when - 1) < share);
            }
            let mut bytes = Vec::new();
            own.encode(&mut bytes);
            let again = OwnTtl::decode(&mut Decoder::new(&bytes), own.entries());
            prop_assert_eq!(again, Ok(own.clone()));
            prop_assert!(OwnTtl::decode(&mut Decoder::new(&bytes), own.entries() - 1).is_err());
            // In whatever order they come.
            let mut sorted = OwnTtl::default();
            times.iter().for_each(|time| sorted.note(*time));
            prop_assert_eq!(sorted, own);
        }
    }
}
