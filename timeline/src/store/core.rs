//! [`Core`]: what all handles of one store share, and the one way by which they write and read.
//!
//! A write goes to the backend directly, except that it goes through the batch buffer, at once,
//! when the buffer still holds earlier writes of the same timeline: so the order of one timeline is
//! the order of the calls.
//!
//! Closing, in this order:
//! 1. new calls are refused;
//! 2. the buffer writes what it holds, and its thread ends;
//! 3. callbacks run to their end; what failed and was reported to nobody is the result;
//! 4. the threads of callbacks and reads end;
//! 5. the backend closes.
//!
//! # Concurrency
//! Callbacks run on one thread of their own, one after the other. Work on the store's own threads
//! holds no reference to the core, so that dropping the last handle ends them.

use super::callback::{Callbacks, Deliver};
use crate::backend::{Backend, Batch, CommitFuture, Committed};
use crate::buffer::{Buffer, BufferOptions, Tracker, Write};
use crate::error::{Error, ErrorKind, Result};
use crate::id::TimelineId;
use crate::pending::Pending;
use crate::pool::{Pool, caught};
use crate::store::Snapshot;
use crate::sync::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tidelog_engine::{Durability, OwnProcess};

/// Settings of a store that are not the backend's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) durability: Durability,
    pub(crate) buffer: BufferOptions,
    pub(crate) read_threads: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        let (durability, buffer) = (Durability::default(), BufferOptions::default());
        Settings { durability, buffer, read_threads: 2 }
    }
}

impl Settings {
    pub(crate) fn validate(&self) -> Result<()> {
        if self.read_threads == 0 {
            return Err(Error::invalid("read_threads is 0, it must be at least 1"));
        }
        self.buffer.validate()
    }
}

pub(crate) struct Core {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) durability: Durability,
    buffer: Buffer,
    tracker: Arc<Tracker>,
    callbacks: Callbacks,
    readers: Pool,
    capacity: usize,
    /// Held while a table's options are looked at and replaced.
    pub(crate) altering: Mutex<()>,
    closed: AtomicBool,
    pub(crate) number: StoreNumber,
    /// The process that opened the store: a child of fork has none of its threads.
    process: OwnProcess,
}

/// Tells the open stores of a process apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoreNumber(u64);

impl StoreNumber {
    fn next() -> StoreNumber {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        StoreNumber(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A write, and whose it is.
pub(crate) struct Request {
    pub(crate) batch: Batch,
    pub(crate) durability: Durability,
    pub(crate) table: Arc<str>,
    pub(crate) timeline: TimelineId,
}

impl Request {
    fn into_write(self, report: bool, done: crate::buffer::Done) -> Write {
        let Request { batch, durability, table, timeline } = self;
        Write { batch, durability, table, timeline, report, done }
    }
}

impl Core {
    pub(crate) fn new(backend: Arc<dyn Backend>, settings: Settings) -> Result<Core> {
        settings.validate()?;
        let tracker = Arc::<Tracker>::default();
        Ok(Core {
            buffer: Buffer::new(Arc::clone(&backend), settings.buffer, Arc::clone(&tracker)),
            backend,
            durability: settings.durability,
            callbacks: Callbacks::new(),
            readers: Pool::new("tidelog-read", settings.read_threads),
            capacity: settings.buffer.capacity,
            altering: Mutex::default(),
            closed: AtomicBool::new(false),
            number: StoreNumber::next(),
            process: OwnProcess::new(),
            tracker,
        })
    }

    /// The present moment.
    pub(crate) fn snapshot(&self) -> Result<Snapshot> {
        Ok(Snapshot { inner: self.backend.snapshot()?, store: self.number })
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        self.check_process()?;
        match self.closed.load(Ordering::Acquire) {
            true => Err(Error::closed()),
            false => Ok(()),
        }
    }

    fn check_process(&self) -> Result<()> {
        match self.process.is_here() {
            true => Ok(()),
            false => Err(Error::of_another_process()),
        }
    }

    /// Whether the caller must not wait for the buffer or for callbacks: they would wait for it.
    fn is_own_thread(&self) -> bool {
        self.callbacks.is_own_thread() || self.buffer.is_own_thread()
    }

    fn is_behind_buffer(&self, request: &Request) -> bool {
        self.buffer.has_writes_of(request.batch.places())
    }

    /// Commits, and waits for it.
    pub(crate) fn commit(&self, request: Request) -> Result<Committed> {
        self.check_open()?;
        if !self.is_behind_buffer(&request) {
            return self.backend.commit(request.batch, request.durability);
        }
        if self.buffer.is_own_thread() {
            let what = "a blocking write behind buffered ones, on the buffer's thread (in a waker)";
            return Err(Error::invalid(what));
        }
        self.push_urgent(request)?.wait()
    }

    /// Commits without waiting.
    pub(crate) fn commit_async(&self, request: Request) -> CommitFuture {
        if let Err(error) = self.check_open() {
            return Box::pin(std::future::ready(Err(error)));
        }
        if !self.is_behind_buffer(&request) {
            return self.backend.commit_async(request.batch, request.durability);
        }
        match self.push_urgent(request) {
            Ok(pending) => Box::pin(pending),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn push_urgent(&self, request: Request) -> Result<Pending<Committed>> {
        let (promise, pending) = Pending::promised();
        let done = move |result, _ticket| promise.answer(result);
        self.buffer.push(request.into_write(false, Box::new(done)), true)?;
        Ok(pending)
    }

    /// Commits without waiting; `deliver` runs on the thread of callbacks.
    pub(crate) fn commit_with_callback(&self, request: Request, deliver: Deliver) -> Result<()> {
        self.check_open()?;
        if !self.is_own_thread() {
            self.tracker.wait_below(self.capacity);
        }
        let callbacks = self.callbacks.clone();
        if self.is_behind_buffer(&request) {
            let done = move |result, ticket| callbacks.deliver(deliver, result, ticket);
            return self.buffer.push(request.into_write(false, Box::new(done)), true);
        }
        let ticket = self.tracker.open();
        let future = self.backend.commit_async(request.batch, request.durability);
        callbacks.follow(future, deliver, ticket);
        Ok(())
    }

    /// Leaves a write in the buffer. `answer` runs first, then `deliver` on the thread of
    /// callbacks.
    pub(crate) fn buffer(
        &self,
        request: Request,
        answer: impl FnOnce(Result<Committed>) + Send + 'static,
        deliver: Option<Deliver>,
    ) -> Result<()> {
        self.check_open()?;
        let (bytes, limit) = (request.batch.frame_bytes(), self.backend.batch_bytes_max());
        if bytes > limit {
            return Err(Error::too_large("batch bytes", bytes, limit));
        }
        if !self.is_own_thread() {
            self.buffer.wait_for_room();
        }
        let callbacks = self.callbacks.clone();
        let done = move |result: Result<Committed>, ticket| {
            // The answer wakes a waker, which is user code and may panic: the callback runs anyway.
            let again = result.clone();
            let _ = caught(|| answer(result));
            if let Some(deliver) = deliver {
                callbacks.deliver(deliver, again, ticket);
            }
        };
        self.buffer.push(request.into_write(true, Box::new(done)), false)
    }

    pub(crate) fn flush(&self) -> Result<()> {
        self.check_process()?;
        if self.is_own_thread() {
            return Err(Error::invalid("flush on a thread that flush waits for (a callback's)"));
        }
        self.buffer.flush()
    }

    /// Runs a read where it does not hold up the caller: at once where reads never block.
    pub(crate) fn read_async<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Pending<T> {
        if let Err(error) = self.check_open() {
            return Pending::ready(Err(error));
        }
        if !self.backend.reads_block() {
            return Pending::ready(read());
        }
        let (promise, pending) = Pending::promised();
        let job = move || {
            let result = caught(read).unwrap_or_else(|panic| {
                let text = format!("a message's decoder panicked: {panic}");
                Err(Error::new(ErrorKind::Panicked, text))
            });
            promise.answer(result);
        };
        match self.readers.submit(Box::new(job)) {
            Ok(()) => pending,
            Err(_) => {
                let text = "no thread for an asynchronous read";
                Pending::ready(Err(Error::new(ErrorKind::Overloaded, text)))
            }
        }
    }

    pub(crate) fn callback_panics(&self) -> u64 {
        self.tracker.panic_count()
    }

    pub(crate) fn close(&self) -> Result<()> {
        self.check_process()?;
        if self.is_own_thread() || self.readers.is_own_thread() {
            return Err(Error::invalid("close on a thread of the store (a callback's)"));
        }
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let flushed = self.end_threads();
        let closed = self.backend.close();
        flushed.and(closed)
    }

    fn end_threads(&self) -> Result<()> {
        // A callback or a waker may drop the last handle: it cannot wait for itself.
        let own = self.is_own_thread();
        self.buffer.shutdown();
        let flushed = match own {
            true => Ok(()),
            false => self.tracker.flush(self.tracker.next_number()),
        };
        self.callbacks.shutdown();
        self.readers.shutdown();
        flushed
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        if self.process.is_here() && !self.closed.swap(true, Ordering::AcqRel) {
            // Nobody is left to hear of failures, other than futures and callbacks.
            let _ = self.end_threads();
        }
    }
}
