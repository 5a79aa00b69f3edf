//! The buffer's thread: waits, takes a group, commits it, answers.

use super::{Done, Item, Queue, Shared, Ticket, now};
use crate::backend::{Batch, Committed};
use crate::error::{Error, ErrorKind, FlushFailure, Result};
use crate::pool::caught;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tidelog_engine::{Durability, TableId};

/// A write of a group, after its batch has been handed over.
struct Taken {
    ticket: Ticket,
    done: Done,
    /// The timelines it wrote to.
    keys: Vec<(TableId, Box<[u8]>)>,
    /// What to say if it fails, where nobody else may hear of it.
    report: Option<(String, crate::TimelineId)>,
}

impl Shared {
    pub(super) fn run(&self) {
        while let Some(group) = self.next_group() {
            self.commit_group(group);
        }
    }

    /// Waits for work. `None` when the buffer is closed and empty.
    fn next_group(&self) -> Option<Vec<Item>> {
        let mut queue = self.queue.lock();
        loop {
            match self.wait_time(&queue) {
                Some(Duration::ZERO) => break,
                Some(time) => queue = self.changed.wait_for(queue, time),
                None if queue.closed => return None,
                None => queue = self.changed.wait(queue),
            }
        }
        let group = self.take(&mut queue);
        drop(queue);
        // Somebody may wait for room.
        self.changed.notify_all();
        Some(group)
    }

    /// How long the front of the queue may still wait; `None` where there is none.
    fn wait_time(&self, queue: &Queue) -> Option<Duration> {
        let front = queue.items.front()?;
        let full = queue.items.len() >= self.options.messages || queue.bytes >= self.options.bytes;
        if full || queue.closed || front.ticket.number() < queue.urgent_below {
            return Some(Duration::ZERO);
        }
        Some(self.options.delay.saturating_sub(now().saturating_duration_since(front.since)))
    }

    /// Takes the writes of one commit off the front of the queue.
    fn take(&self, queue: &mut Queue) -> Vec<Item> {
        let bytes_max = self.options.bytes.min(self.backend.batch_bytes_max());
        let mut group: Vec<Item> = Vec::new();
        let mut bytes = 0;
        while let Some(front) = queue.items.front() {
            // What is amended must have been committed before.
            let alone = |item: &Item| {
                let batch = &item.write.batch;
                !batch.preconditions.is_empty() || !batch.amendments.is_empty()
            };
            let fits = group.len() < self.options.messages
                && bytes + front.bytes <= bytes_max
                && !alone(front)
                && !group.last().is_some_and(alone);
            if !group.is_empty() && !fits {
                break;
            }
            let item = queue.items.pop_front().expect("looked at above");
            bytes += item.bytes;
            group.push(item);
        }
        queue.bytes -= bytes;
        group
    }

    fn commit_group(&self, group: Vec<Item>) {
        if group.len() == 1 {
            for item in group {
                let (batch, durability, taken) = split(item);
                let result = self.commit(batch, durability);
                self.finish(taken, result);
            }
            return;
        }
        let durability = group.iter().map(|item| item.write.durability).reduce(stronger);
        let durability = durability.expect("a group is not empty");
        let mut whole = Batch::default();
        for item in &group {
            // Clones share their payloads; each is kept, to be committed alone should the whole
            // be refused.
            whole.join(item.write.batch.clone());
        }
        match self.commit(whole, durability) {
            Ok(committed) => {
                let mut seqs = committed.seqs.into_iter();
                for item in group {
                    let (batch, _, taken) = split(item);
                    let seqs = seqs.by_ref().take(batch.append_count()).collect();
                    let answer = Committed::new(committed.commit, committed.time_ms, seqs);
                    self.finish(taken, Ok(answer));
                }
            }
            Err(error) => {
                let refused = is_refusal(error.kind());
                for item in group {
                    let (batch, durability, taken) = split(item);
                    let result = match refused {
                        true => self.commit(batch, durability),
                        false => Err(error.clone()),
                    };
                    self.finish(taken, result);
                }
            }
        }
    }

    fn commit(&self, batch: Batch, durability: Durability) -> Result<Committed> {
        caught(|| self.backend.commit(batch, durability)).unwrap_or_else(|panic| {
            Err(Error::new(ErrorKind::Panicked, format!("the backend panicked: {panic}")))
        })
    }

    fn finish(&self, taken: Taken, result: Result<Committed>) {
        let mut queue = self.queue.lock();
        for key in taken.keys {
            let count = queue.waiting.get_mut(&key).expect("counted when it was pushed");
            *count -= 1;
            if *count == 0 {
                queue.waiting.remove(&key);
            }
            self.waiting_count.fetch_sub(1, Ordering::Release);
        }
        drop(queue);
        if let (Err(error), Some((table, timeline))) = (&result, taken.report) {
            taken.ticket.failed(&FlushFailure { table, timeline, error: error.clone() });
        }
        // Wakers are user code: their panics must not end this thread.
        let _ = caught(|| (taken.done)(result, taken.ticket));
    }
}

fn split(item: Item) -> (Batch, Durability, Taken) {
    let write = item.write;
    let keys = write.batch.places().map(|(table, key)| (table, Box::from(key))).collect();
    let report = write.report.then(|| (write.table.to_string(), write.timeline));
    let taken = Taken { ticket: item.ticket, done: write.done, keys, report };
    (write.batch, write.durability, taken)
}

/// Whether nothing was written because of what the batch says: then a part of it may be fine.
fn is_refusal(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::InvalidUse
            | ErrorKind::TooLarge
            | ErrorKind::NotFound
            | ErrorKind::Conflict
            // The state of one timeline cannot be read.
            | ErrorKind::Corruption
            | ErrorKind::ColdFile
    )
}

/// The durability that satisfies both.
fn stronger(a: Durability, b: Durability) -> Durability {
    match (a, b) {
        (Durability::Sync, _) | (_, Durability::Sync) => Durability::Sync,
        (Durability::Interval(a), Durability::Interval(b)) => Durability::Interval(a.min(b)),
        (interval @ Durability::Interval(_), _) | (_, interval) => interval,
    }
}
