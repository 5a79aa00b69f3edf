//! [`Scan`]: which entries of a timeline, in which order; [`Entries`]: reading them lazily.

use super::TimelineEntry;
use super::view::Place;
use crate::backend::{Direction, ScanRequest};
use crate::error::{Error, Result};
use crate::message::Message;
use crate::store::core::Core;
use std::collections::VecDeque;
use std::sync::Arc;
use tidelog_engine::Entry;

/// Entries read at once, where the scan does not say: the original's default.
const PAGE_ENTRIES: usize = 100;
/// Bytes after which a page ends, as [`entry_bytes`](crate::backend::entry_bytes) counts them.
const PAGE_BYTES: usize = 1 << 20;

/// Which entries to read, and in which order. Default: the whole timeline, without a limit.
///
/// Both bounds are inclusive. (The original's end is exclusive: its `[from, to)` is
/// `from(from).to(to - 1)` here.) A reader that has seen everything up to `seq` goes on with
/// `Scan::forward().from(seq + 1)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a scan reads nothing by itself"]
pub struct Scan {
    direction: Direction,
    from: Option<u64>,
    to: Option<u64>,
    limit: Option<usize>,
    page: usize,
}

impl Scan {
    /// Oldest first.
    pub fn forward() -> Scan {
        let direction = Direction::Forward;
        Scan { direction, from: None, to: None, limit: None, page: PAGE_ENTRIES }
    }

    /// Newest first.
    pub fn backward() -> Scan {
        Scan { direction: Direction::Backward, ..Scan::forward() }
    }

    /// The sequence id to begin with, inclusive. Default: the oldest entry forward, the newest
    /// backward.
    pub fn from(mut self, seq: u64) -> Scan {
        self.from = Some(seq);
        self
    }

    /// The sequence id to end with, inclusive: not below `from` forward, not above it backward.
    /// Default: the newest entry forward, the oldest backward.
    pub fn to(mut self, seq: u64) -> Scan {
        self.to = Some(seq);
        self
    }

    /// Most entries to return, at least 1; one that does not decode counts. Default: no limit.
    pub fn limit(mut self, entries: usize) -> Scan {
        self.limit = Some(entries);
        self
    }

    /// Entries to read at once, at least 1. Default 100. A page ends after 1 MiB in any case, of
    /// payloads and 128 bytes for each entry and each gap.
    pub fn page(mut self, entries: usize) -> Scan {
        self.page = entries;
        self
    }

    /// The first request, and most entries to return.
    pub(super) fn request_and_limit(&self) -> Result<(ScanRequest, usize)> {
        Ok((self.request()?, self.limit.unwrap_or(usize::MAX)))
    }

    /// The first request, without the limit.
    fn request(&self) -> Result<ScanRequest> {
        let (first, last) = match self.direction {
            Direction::Forward => (0, u64::MAX),
            Direction::Backward => (u64::MAX, 0),
        };
        let (from, to) = (self.from.unwrap_or(first), self.to.unwrap_or(last));
        let ordered = match self.direction {
            Direction::Forward => from <= to,
            Direction::Backward => from >= to,
        };
        if !ordered {
            let way = self.direction;
            return Err(Error::invalid(format!("a scan {way:?} from {from} to {to}")));
        }
        if self.limit == Some(0) || self.page == 0 {
            return Err(Error::invalid("a scan of no entries"));
        }
        let (direction, limit, byte_limit) = (self.direction, self.page, PAGE_BYTES);
        Ok(ScanRequest { from, to, direction, limit, byte_limit })
    }
}

pub(super) type Filter<M> = Box<dyn Fn(&TimelineEntry<M>) -> bool + Send>;

/// The entries of a scan, read page by page from one snapshot; see [`Timeline::scan`].
///
/// [`Timeline::scan`]: crate::Timeline::scan
pub struct Entries<M> {
    place: Place<M>,
    pub(super) core: Option<Arc<Core>>,
    page: VecDeque<Entry>,
    /// The next page, none behind the last.
    request: Option<ScanRequest>,
    /// Entries that may still be returned.
    left: usize,
    filter: Option<Filter<M>>,
    /// An error of reading a page, to be returned next.
    error: Option<Error>,
}

impl<M: Message> Entries<M> {
    pub(super) fn new(place: Place<M>, scan: Scan, core: Option<Arc<Core>>) -> Result<Entries<M>> {
        let (request, left) = scan.request_and_limit()?;
        let request = Some(request);
        Ok(Entries { place, core, page: VecDeque::new(), request, left, filter: None, error: None })
    }

    /// Returns only entries that `filter` accepts, and every filter that was given before; the
    /// scan's limit counts those. The filter sees the message, so it runs here, behind the reading.
    pub fn matching(
        mut self,
        filter: impl Fn(&TimelineEntry<M>) -> bool + Send + 'static,
    ) -> Entries<M> {
        self.add_filter(Box::new(filter));
        self
    }

    pub(super) fn add_filter(&mut self, filter: Filter<M>) {
        let filter: Filter<M> = match self.filter.take() {
            None => filter,
            Some(before) => {
                Box::new(move |entry: &TimelineEntry<M>| before(entry) && filter(entry))
            }
        };
        self.filter = Some(filter);
    }

    /// The next entry of what has been read already.
    pub(super) fn pop(&mut self) -> Option<Result<TimelineEntry<M>>> {
        if self.left == 0 {
            return None;
        }
        if let Some(error) = self.error.take() {
            return Some(Err(error));
        }
        while let Some(entry) = self.page.pop_front() {
            match self.place.decode(entry) {
                Ok(entry) if !self.accepts(&entry) => {}
                item => {
                    self.left -= 1;
                    return Some(item);
                }
            }
        }
        None
    }

    fn accepts(&self, entry: &TimelineEntry<M>) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter(entry))
    }

    /// Whether [`Entries::read_page`] may bring more.
    pub(super) fn has_more_pages(&self) -> bool {
        self.left > 0 && self.request.is_some()
    }

    /// Reads the next page. An error is returned by the next [`Entries::pop`], and ends the scan.
    pub(super) fn read_page(&mut self) {
        let Some(mut request) = self.request.take() else {
            return;
        };
        if self.filter.is_none() {
            request.limit = request.limit.min(self.left);
        }
        let parts = self.place.parts();
        match parts.and_then(|(snapshot, table, id)| snapshot.scan(table, id, &request)) {
            Ok(page) => {
                self.page = page.entries.into();
                self.request = page.next.map(|from| ScanRequest { from, ..request });
            }
            Err(error) => self.error = Some(error),
        }
    }
}

impl<M: Message> Iterator for Entries<M> {
    type Item = Result<TimelineEntry<M>>;

    fn next(&mut self) -> Option<Result<TimelineEntry<M>>> {
        loop {
            if let Some(item) = self.pop() {
                return Some(item);
            }
            if !self.has_more_pages() {
                return None;
            }
            self.read_page();
        }
    }
}
