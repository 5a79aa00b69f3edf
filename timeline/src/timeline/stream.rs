//! [`EntryStream`]: a scan that is awaited entry by entry, without a runtime.

use super::TimelineEntry;
use super::scan::{Entries, Filter};
use crate::error::Result;
use crate::message::Message;
use crate::pending::Pending;
use crate::store::core::Core;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A scan that is awaited entry by entry; see [`Timeline::scan_async`].
///
/// Pages are read by the store's threads where the backend may block. Dropping the stream, or a
/// future of [`EntryStream::next`], loses nothing but the reading.
///
/// [`Timeline::scan_async`]: crate::Timeline::scan_async
pub struct EntryStream<M> {
    core: Arc<Core>,
    state: State<M>,
    /// Filters that were given while a page was being read.
    filters: Vec<Filter<M>>,
}

enum State<M> {
    Here(Entries<M>),
    Reading(Pending<Entries<M>>),
    Ended,
}

impl<M: Message> EntryStream<M> {
    pub(super) fn new(mut entries: Entries<M>) -> EntryStream<M> {
        // A job on the store's threads must not hold the store.
        let core = entries.core.take().expect("a scan by a handle knows its store");
        EntryStream { core, state: State::Here(entries), filters: Vec::new() }
    }

    /// As [`Entries::matching`], of the entries that have not been returned yet.
    #[must_use]
    pub fn matching(
        mut self,
        filter: impl Fn(&TimelineEntry<M>) -> bool + Send + 'static,
    ) -> EntryStream<M> {
        match &mut self.state {
            State::Here(entries) => entries.add_filter(Box::new(filter)),
            State::Reading(_) => self.filters.push(Box::new(filter)),
            State::Ended => {}
        }
        self
    }

    /// The next entry; `None` at the end. The future may be dropped and asked for again.
    ///
    /// # Errors
    /// As the items of [`Timeline::scan`](crate::Timeline::scan).
    #[expect(clippy::should_implement_trait, reason = "the name that streams have for it")]
    pub fn next(&mut self) -> impl Future<Output = Option<Result<TimelineEntry<M>>>> + Send {
        std::future::poll_fn(|context| self.poll_next(context))
    }

    /// As [`EntryStream::next`], for adapters to a library's streams.
    pub fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<TimelineEntry<M>>>> {
        loop {
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Ended => return Poll::Ready(None),
                State::Here(mut entries) => {
                    let item = entries.pop();
                    if item.is_some() {
                        self.state = State::Here(entries);
                        return Poll::Ready(item);
                    }
                    if !entries.has_more_pages() {
                        return Poll::Ready(None);
                    }
                    let read = move || {
                        entries.read_page();
                        Ok(entries)
                    };
                    self.state = State::Reading(self.core.read_async(read));
                }
                State::Reading(mut reading) => match Pin::new(&mut reading).poll(context) {
                    Poll::Ready(Ok(mut entries)) => {
                        self.filters.drain(..).for_each(|filter| entries.add_filter(filter));
                        self.state = State::Here(entries);
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error))),
                    Poll::Pending => {
                        self.state = State::Reading(reading);
                        return Poll::Pending;
                    }
                },
            }
        }
    }
}
