//! The open segments that an SSTable needs, by number.

use super::Segment;
use std::sync::Arc;

/// Open segments in rising order of their numbers. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Segments(Arc<[Arc<Segment>]>);

impl Segments {
    /// The set of these, in any order; one that comes twice is kept once.
    pub(crate) fn new(segments: impl IntoIterator<Item = Arc<Segment>>) -> Segments {
        let mut sorted: Vec<_> = segments.into_iter().collect();
        sorted.sort_by_key(|segment| segment.meta().number);
        sorted.dedup_by_key(|segment| segment.meta().number);
        Segments(sorted.into())
    }

    /// The segment of this number.
    pub(crate) fn get(&self, number: u64) -> Option<&Arc<Segment>> {
        let place = self.0.binary_search_by_key(&number, |segment| segment.meta().number).ok()?;
        Some(&self.0[place])
    }

    /// The segment of the lowest number from `from` on.
    pub(crate) fn first_from(&self, from: u64) -> Option<&Arc<Segment>> {
        let place = self.0.partition_point(|segment| segment.meta().number < from);
        self.0.get(place)
    }

    /// Those of these numbers; the first number that is not there is the error.
    pub(crate) fn select(&self, numbers: &[u64]) -> Result<Segments, u64> {
        let found: Result<Vec<_>, u64> =
            numbers.iter().map(|number| self.get(*number).cloned().ok_or(*number)).collect();
        found.map(Segments::new)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Segment>> {
        self.0.iter()
    }
}
