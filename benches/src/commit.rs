//! Commits: one message synced, many threads with one message each, a buffered batch.

use crate::messages::{Message, Messages};
use crate::parameters::Parameters;
use crate::store::{Store, check, key};
use crate::text::Text;
use tidelog_engine::{Direction, Durability, WriteBatch};

/// A store that messages are committed to, and what it must hold.
pub struct Commits {
    store: Store,
    text: Text,
    /// One stream a writer; the first one also feeds the single writer.
    streams: Vec<Messages>,
    parameters: Parameters,
}

impl Commits {
    /// An empty store.
    pub fn new(parameters: Parameters) -> Commits {
        let timelines =
            parameters.timelines.div_ceil(u32::try_from(parameters.threads).expect("few threads"));
        let stream =
            |share| Messages::of_share(timelines, share, parameters.threads, parameters.seed);
        Commits {
            store: Store::create(&parameters),
            text: Text::new(parameters.text_bytes, parameters.seed),
            streams: (0..parameters.threads).map(stream).collect(),
            parameters,
        }
    }

    /// Commits one message.
    pub fn one(&mut self, durability: Durability) {
        commit(&self.store, &self.text, &self.parameters, &mut self.streams[0], 1, durability);
    }

    /// Commits one batch of messages.
    pub fn batch(&mut self, durability: Durability) {
        let count = self.parameters.batch;
        commit(&self.store, &self.text, &self.parameters, &mut self.streams[0], count, durability);
    }

    /// Every thread commits its messages one by one, synced. Returns the number of commits.
    pub fn threads(&mut self) -> u64 {
        let Commits { store, text, streams, parameters } = self;
        std::thread::scope(|scope| {
            for stream in streams.iter_mut() {
                let (store, text, parameters) = (&*store, &*text, &*parameters);
                scope.spawn(move || {
                    for _ in 0..parameters.commits_per_thread {
                        commit(store, text, parameters, stream, 1, Durability::Sync);
                    }
                });
            }
        });
        parameters.threads * parameters.commits_per_thread
    }

    /// Reads everything back. Returns the number of entries.
    ///
    /// # Panics
    /// When an entry is missing, wrong or too many.
    pub fn check(&self) -> u64 {
        let snapshot = self.store.engine.snapshot();
        let mut total = 0;
        for (timeline, count) in self.streams.iter().flat_map(Messages::counts) {
            let scan = snapshot
                .scan(self.store.messages, &key(timeline), 1, u64::MAX, Direction::Forward)
                .expect("the timeline can be read");
            let payload = |seq| self.text.payload(timeline, seq, &self.parameters.payload);
            assert_eq!(check(scan, 1..=count, payload), count, "entries of timeline {timeline}");
            total += count;
        }
        total
    }
}

/// One batch of `count` messages, whose seqs must be the expected ones.
fn commit(
    store: &Store,
    text: &Text,
    parameters: &Parameters,
    stream: &mut Messages,
    count: u64,
    durability: Durability,
) {
    let messages: Vec<Message> = (0..count).map(|_| stream.draw()).collect();
    let mut batch = WriteBatch::new();
    for message in &messages {
        let payload = text.payload(message.timeline, message.seq, &parameters.payload);
        batch
            .append(store.messages, &key(message.timeline), payload, None)
            .expect("the message is inside the limits");
    }
    let committed = store.engine.commit(batch, durability).expect("the commit succeeds");
    assert!(committed.seqs.iter().copied().eq(messages.iter().map(|message| message.seq)));
}
