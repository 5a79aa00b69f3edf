//! W3a: W3 by 64 asynchronous writers on one thread, for engines that have asynchronous commits.
//!
//! The thread polls the writers whose commits are done, lets each begin its next one, and sleeps
//! when none is.

use super::Run;
use super::durable_threads::{COMMITS, WRITERS, Writer, finish};
use crate::Result;
use crate::engine::{Peer, Setup, Submitted};
use crate::measure::Meter;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Instant;

/// Writers that may go on.
struct Ready {
    writers: Mutex<Vec<usize>>,
    thread: Thread,
}

/// Wakes one writer.
struct Bell {
    writer: usize,
    ready: Arc<Ready>,
}

/// A writer with its commit on the way.
struct Task {
    writer: Writer,
    waker: Waker,
    flight: Option<(Submitted, Instant)>,
    left: u64,
}

impl Ready {
    fn add(&self, writer: usize) {
        self.writers.lock().unwrap_or_else(PoisonError::into_inner).push(writer);
    }

    fn take(&self) -> Vec<usize> {
        std::mem::take(&mut self.writers.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ready.add(self.writer);
        self.ready.thread.unpark();
    }
}

pub fn run(run: &Run) -> Result<()> {
    let peer = run.open(&Setup { durable: true, ..Setup::default() })?;
    let ready = Arc::new(Ready { writers: Mutex::new(Vec::new()), thread: std::thread::current() });
    let left = run.scaled(COMMITS).div_ceil(WRITERS);
    let task = |(index, writer)| {
        ready.add(index);
        let bell = Bell { writer: index, ready: Arc::clone(&ready) };
        Task { writer, waker: Waker::from(Arc::new(bell)), flight: None, left }
    };
    let mut tasks: Vec<Task> =
        Writer::all(run, WRITERS).into_iter().enumerate().map(task).collect();

    let meter = Meter::start(&run.directory)?;
    let mut running = tasks.len();
    while running > 0 {
        let woken = ready.take();
        if woken.is_empty() {
            std::thread::park();
        }
        for index in woken {
            let is_over = tasks[index].is_over();
            tasks[index].step(run, &*peer)?;
            running -= usize::from(!is_over && tasks[index].is_over());
        }
    }
    let writers: Vec<Writer> = tasks.into_iter().map(|task| task.writer).collect();
    finish(run, &*peer, "w3a", meter, &writers)
}

impl Task {
    fn is_over(&self) -> bool {
        self.left == 0 && self.flight.is_none()
    }

    /// Goes on until a commit has to be waited for. Waking it for nothing does no harm.
    fn step(&mut self, run: &Run, peer: &dyn Peer) -> Result<()> {
        loop {
            if self.flight.is_none() {
                if self.left == 0 {
                    return Ok(());
                }
                self.left -= 1;
                let start = Instant::now();
                let entry = self.writer.draw(run);
                self.flight = Some((peer.submit(&[entry])?, start));
            }
            let Some((commit, start)) = &mut self.flight else { return Ok(()) };
            match commit.as_mut().poll(&mut Context::from_waker(&self.waker)) {
                Poll::Pending => return Ok(()),
                Poll::Ready(wrong) => {
                    self.writer.record(start.elapsed(), wrong?);
                    self.flight = None;
                }
            }
        }
    }
}
