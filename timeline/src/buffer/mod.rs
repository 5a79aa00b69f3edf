//! The batch buffer: messages wait here to be written many at a time.
//!
//! 1. `push` puts a write into one queue, over all timelines of the store.
//! 2. The buffer's thread takes from its front when the queue is full, its oldest write has waited
//!    for the delay, or somebody waits (a flush, an urgent write, a close).
//! 3. It commits what it took as one batch, answers each write, and only then takes more.
//! 4. Where the batch was refused, and nothing of it written, each write is committed alone, so
//!    that one bad message fails by itself.
//!
//! # Invariants
//! 1. Writes are committed in the order of the queue, which is the order of their tickets.
//! 2. `waiting` counts the writes of each timeline from `push` until after their commit. While a
//!    timeline has some, its direct writes go through the queue too: the order of one timeline is
//!    the order of the calls, however they are mixed.
//! 3. A write with preconditions is a batch of its own.
//! 4. Every write is answered, whatever panics or fails.
//!
//! # Concurrency
//! One lock over the queue. It is not held while a batch is committed or user code runs. The lock
//! of the tracker may be taken under it, never the other way round.

mod tracker;
mod writer;

use crate::backend::{Backend, Batch, Committed};
use crate::error::{Error, ErrorKind, Result};
use crate::id::TimelineId;
use crate::sync::{Condvar, Mutex};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tidelog_engine::{Durability, OwnProcess, TableId};

pub(crate) use tracker::{Ticket, Tracker};

/// When the batch buffer is written. The defaults are the original library's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BufferOptions {
    /// Messages that fill the buffer, and most of one commit. Default 200, at least 1.
    pub messages: usize,
    /// Bytes that fill the buffer, and most of one commit (one larger message goes alone).
    /// Default 4 MiB, at least 1.
    pub bytes: usize,
    /// How long a message waits at most. Default 10 s.
    pub delay: Duration,
    /// Messages not yet written, or whose callbacks have not yet run, at which `batch` blocks.
    /// Default 16,384, at least `messages`. Their bytes are bounded by 16 times `bytes`.
    pub capacity: usize,
}

impl Default for BufferOptions {
    fn default() -> BufferOptions {
        BufferOptions {
            messages: 200,
            bytes: 4 << 20,
            delay: Duration::from_secs(10),
            capacity: 16_384,
        }
    }
}

impl BufferOptions {
    pub(crate) fn validate(&self) -> Result<()> {
        if self.messages == 0 || self.bytes == 0 || self.capacity < self.messages {
            return Err(Error::invalid(format!("batch buffer options out of bounds: {self:?}")));
        }
        Ok(())
    }
}

/// Bytes of waiting writes at which `batch` blocks, in fills of the buffer.
const BYTES_FILLS_MAX: usize = 16;

/// What becomes of a write's answer. The ticket goes along, until all that depends on it is done.
pub(crate) type Done = Box<dyn FnOnce(Result<Committed>, Ticket) + Send>;

/// A write for the queue.
pub(crate) struct Write {
    pub(crate) batch: Batch,
    pub(crate) durability: Durability,
    /// For reports: the (first) timeline.
    pub(crate) table: Arc<str>,
    pub(crate) timeline: TimelineId,
    /// Whether a failure is for the next flush to report.
    pub(crate) report: bool,
    pub(crate) done: Done,
}

struct Item {
    write: Write,
    bytes: usize,
    since: Instant,
    ticket: Ticket,
}

#[derive(Default)]
struct Queue {
    items: VecDeque<Item>,
    bytes: usize,
    /// Writes of each timeline that are queued or being committed.
    waiting: HashMap<(TableId, Box<[u8]>), usize>,
    /// Tickets below this one are wanted now.
    urgent_below: u64,
    closed: bool,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    backend: Arc<dyn Backend>,
    options: BufferOptions,
    tracker: Arc<Tracker>,
    queue: Mutex<Queue>,
    changed: Condvar,
    /// Writes in `waiting`: the one thing that a direct write looks at when nothing is buffered.
    waiting_count: AtomicUsize,
}

/// The batch buffer of a store.
pub(crate) struct Buffer {
    shared: Arc<Shared>,
    process: OwnProcess,
}

impl Buffer {
    pub(crate) fn new(
        backend: Arc<dyn Backend>,
        options: BufferOptions,
        tracker: Arc<Tracker>,
    ) -> Buffer {
        let shared = Shared {
            backend,
            options,
            tracker,
            queue: Mutex::default(),
            changed: Condvar::default(),
            waiting_count: AtomicUsize::new(0),
        };
        Buffer { shared: Arc::new(shared), process: OwnProcess::new() }
    }

    /// Waits until there is room for a write. Not for a thread that the buffer's writes depend on.
    pub(crate) fn wait_for_room(&self) {
        self.shared.tracker.wait_below(self.shared.options.capacity);
        let bytes_max = self.shared.options.bytes.saturating_mul(BYTES_FILLS_MAX);
        let mut queue = self.shared.queue.lock();
        while queue.bytes >= bytes_max && !queue.closed {
            queue = self.shared.changed.wait(queue);
        }
    }

    /// Queues a write. An error means that it was not taken, and is not answered.
    pub(crate) fn push(&self, write: Write, urgent: bool) -> Result<()> {
        let mut queue = self.shared.queue.lock();
        self.put(&mut queue, write, urgent)?;
        drop(queue);
        self.shared.changed.notify_all();
        Ok(())
    }

    /// Whether writes of some of these timelines wait. One lock-free look when nothing is buffered.
    /// The answer holds for the calling thread's own earlier calls, which is all that order needs.
    pub(crate) fn has_writes_of<'a>(
        &self,
        places: impl IntoIterator<Item = (TableId, &'a [u8])>,
    ) -> bool {
        if self.shared.waiting_count.load(Ordering::Acquire) == 0 {
            return false;
        }
        let queue = self.shared.queue.lock();
        let waits = |(table, key)| queue.waiting.contains_key(&(table, Box::from(key)));
        places.into_iter().any(waits)
    }

    fn put(&self, queue: &mut Queue, write: Write, urgent: bool) -> Result<()> {
        if queue.closed {
            return Err(Error::closed());
        }
        self.start(queue)?;
        for (table, key) in write.batch.places() {
            *queue.waiting.entry((table, Box::from(key))).or_default() += 1;
            self.shared.waiting_count.fetch_add(1, Ordering::Release);
        }
        let ticket = self.shared.tracker.open();
        if urgent {
            queue.urgent_below = ticket.number() + 1;
        }
        let bytes = write.batch.byte_count();
        queue.bytes += bytes;
        queue.items.push_back(Item { write, bytes, since: now(), ticket });
        Ok(())
    }

    /// Whether the caller runs on the buffer's thread (a waker may): it must not wait for it.
    pub(crate) fn is_own_thread(&self) -> bool {
        let queue = self.shared.queue.lock();
        queue.thread.as_ref().is_some_and(|handle| handle.thread().id() == thread::current().id())
    }

    #[expect(clippy::disallowed_methods, reason = "the one place where the buffer's thread starts")]
    fn start(&self, queue: &mut Queue) -> Result<()> {
        if queue.thread.is_some() {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        let builder = thread::Builder::new().name("tidelog-buffer".to_owned());
        let handle = builder.spawn(move || shared.run()).map_err(|error| {
            let text = format!("no thread for the batch buffer: {error}");
            Error::with_source(ErrorKind::Overloaded, text, error)
        })?;
        queue.thread = Some(handle);
        Ok(())
    }

    /// Has everything written that was pushed before the call, waits until it is answered and its
    /// callbacks have returned, and tells what failed.
    pub(crate) fn flush(&self) -> Result<()> {
        let mut queue = self.shared.queue.lock();
        let through = self.shared.tracker.next_number();
        queue.urgent_below = queue.urgent_below.max(through);
        drop(queue);
        self.shared.changed.notify_all();
        self.shared.tracker.flush(through)
    }

    /// Refuses new writes, has the queued ones written, and ends the thread. Callbacks may still be
    /// running. A second call finds nothing to do.
    pub(crate) fn shutdown(&self) {
        if !self.process.is_here() {
            // A child of fork has not the thread that would write them.
            return;
        }
        let mut queue = self.shared.queue.lock();
        queue.closed = true;
        let thread = queue.thread.take();
        drop(queue);
        self.shared.changed.notify_all();
        if let Some(thread) = thread.filter(|handle| handle.thread().id() != thread::current().id())
        {
            thread.join().expect("the buffer's thread catches panics");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the delay of the buffer is real time")]
fn now() -> Instant {
    Instant::now()
}
