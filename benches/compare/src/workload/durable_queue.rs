//! W3q: W3 with the grouping done by the application: 64 threads hand their messages to one that
//! commits all that wait in one durable batch, and tells them.

use super::Run;
use super::durable_threads::{COMMITS, WRITERS, Writer, all_at_once, finish};
use crate::Result;
use crate::engine::{Entry, Peer, Setup};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::time::Instant;

/// A message that waits, and where to tell that it is written. What is told is the number of wrong
/// answers of its group, told to one of the group.
struct Request<'a> {
    entry: Entry<'a>,
    done: SyncSender<u64>,
}

pub fn run(run: &Run) -> Result<()> {
    let peer = run.open(&Setup { durable: true, ..Setup::default() })?;
    let mut writers = Writer::all(run, WRITERS);
    let commits = run.scaled(COMMITS).div_ceil(WRITERS);
    let (queue, waiting) = channel();
    let meter = std::thread::scope(|scope| {
        let committer = scope.spawn(|| commit(&*peer, waiting));
        let meter = all_at_once(run, &mut writers, |writer| {
            for _ in 0..commits {
                let start = Instant::now();
                let entry = writer.draw(run);
                // One for each message: it breaks, and nobody waits for ever, if the committer
                // fails.
                let (done, answer) = sync_channel(1);
                queue.send(Request { entry, done }).map_err(|_| "the committer is gone")?;
                let wrong = answer.recv()?;
                writer.record(start.elapsed(), wrong);
            }
            Ok(())
        });
        drop(queue);
        committer.join().map_err(|_| "the committer has panicked")??;
        meter
    })?;
    finish(run, &*peer, "w3q", meter, &writers)
}

/// Commits what waits, until nobody can hand in anything more.
fn commit(peer: &dyn Peer, waiting: Receiver<Request<'_>>) -> Result<()> {
    while let Ok(first) = waiting.recv() {
        let group: Vec<Request> = std::iter::once(first).chain(waiting.try_iter()).collect();
        let entries: Vec<Entry> = group.iter().map(|request| request.entry).collect();
        let mut wrong = peer.append(&entries)?;
        for request in group {
            // A writer that waits no more has failed, and says so itself.
            let _ = request.done.send(std::mem::take(&mut wrong));
        }
    }
    Ok(())
}
