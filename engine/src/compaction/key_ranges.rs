//! A set of keys, as closed ranges.

use std::cmp::Ordering;

/// First and last key.
type Range = (Box<[u8]>, Box<[u8]>);

/// Closed ranges of keys, disjoint and ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KeyRanges {
    ranges: Vec<Range>,
}

impl KeyRanges {
    /// The union of ranges, in any order.
    pub(crate) fn new(ranges: impl IntoIterator<Item = Range>) -> KeyRanges {
        let mut sorted: Vec<_> = ranges.into_iter().collect();
        sorted.sort_unstable();
        let mut union: Vec<Range> = Vec::new();
        for (first, last) in sorted {
            match union.last_mut() {
                Some(before) if first <= before.1 => before.1 = before.1.clone().max(last),
                _ => union.push((first, last)),
            }
        }
        KeyRanges { ranges: union }
    }

    /// Whether the key lies in one of the ranges.
    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        let place = self.ranges.binary_search_by(|(first, last)| {
            if **last < *key {
                Ordering::Less
            } else if **first > *key {
                Ordering::Greater
            } else {
                Ordering::Equal
            }
        });
        place.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::KeyRanges;

    #[test]
    fn ranges_are_joined_and_searched() {
        let range = |first: &str, last: &str| (first.as_bytes().into(), last.as_bytes().into());
        let keys =
            KeyRanges::new([range("p", "q"), range("b", "e"), range("d", "f"), range("b", "c")]);
        assert_eq!(keys.ranges, [range("b", "f"), range("p", "q")]);
        for (key, inside) in [("a", false), ("b", true), ("dd", true), ("f", true), ("f0", false)] {
            assert_eq!(keys.contains(key.as_bytes()), inside, "{key}");
        }
        assert!(!KeyRanges::default().contains(b"a"));
    }
}
