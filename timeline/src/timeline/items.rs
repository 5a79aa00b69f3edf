//! [`Items`]: a scan that tells what is missing, and why.

use super::TimelineEntry;
use super::scan::Scan;
use super::view::Place;
use crate::backend::ScanRequest;
use crate::error::{Error, Result};
use crate::message::Message;
use std::collections::VecDeque;
use tidelog_engine::{Gap, Item};

/// An entry, or a stretch of sequence ids that have none; see [`Timeline::scan_items`].
///
/// [`Timeline::scan_items`]: crate::Timeline::scan_items
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimelineItem<M> {
    /// An entry.
    Entry(TimelineEntry<M>),
    /// What is missing, and why.
    Gap(Gap),
}

/// Entries and gaps of a scan, read page by page from one snapshot; see [`Timeline::scan_items`].
///
/// [`Timeline::scan_items`]: crate::Timeline::scan_items
pub struct Items<M> {
    place: Place<M>,
    page: VecDeque<Item>,
    /// The next page, none behind the last.
    request: Option<ScanRequest>,
    /// Entries that may still be returned.
    left: usize,
    error: Option<Error>,
}

impl<M: Message> Items<M> {
    pub(super) fn new(place: Place<M>, scan: Scan) -> Result<Items<M>> {
        let (request, left) = scan.request_and_limit()?;
        Ok(Items { place, page: VecDeque::new(), request: Some(request), left, error: None })
    }

    fn read_page(&mut self) {
        let Some(mut request) = self.request.take() else {
            return;
        };
        request.limit = request.limit.min(self.left);
        let parts = self.place.parts();
        match parts.and_then(|(snapshot, table, id)| snapshot.scan_items(table, id, &request)) {
            Ok(page) => {
                self.page = page.items.into();
                self.request = page.next.map(|from| ScanRequest { from, ..request });
            }
            Err(error) => self.error = Some(error),
        }
    }
}

impl<M: Message> Iterator for Items<M> {
    type Item = Result<TimelineItem<M>>;

    fn next(&mut self) -> Option<Result<TimelineItem<M>>> {
        if self.left == 0 {
            return None;
        }
        while self.page.is_empty() && self.request.is_some() {
            self.read_page();
        }
        if let Some(error) = self.error.take() {
            return Some(Err(error));
        }
        match self.page.pop_front()? {
            Item::Gap(gap) => Some(Ok(TimelineItem::Gap(gap))),
            Item::Entry(entry) => {
                self.left -= 1;
                Some(self.place.decode(entry).map(TimelineItem::Entry))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;

    /// A scan for one entry read a hundred.
    #[test]
    fn no_more_is_read_than_the_limit_says() {
        let store = Store::in_memory();
        let room = store.table::<String>("t").create().unwrap().timeline("room").unwrap();
        for _ in 0..10 {
            room.store(&String::new()).unwrap();
        }
        room.delete(1).unwrap();
        let mut items = room.scan_items(Scan::forward().limit(2)).unwrap();
        assert!(matches!(items.next(), Some(Ok(TimelineItem::Gap(gap))) if gap.to == 1));
        assert_eq!(items.page.len(), 1);
        for seq in [2, 3] {
            let item = items.next();
            assert!(matches!(item, Some(Ok(TimelineItem::Entry(entry))) if entry.seq == seq));
            assert!(items.page.is_empty());
        }
        assert!(items.next().is_none());
    }
}
