//! Reads of Zipf-chosen timelines: the newest entries, and a stretch from a random seq on.

use crate::messages::{Message, Messages};
use crate::parameters::Parameters;
use crate::random::Random;
use crate::store::{Store, check, key};
use crate::text::Text;
use tidelog_engine::{Direction, Durability, WriteBatch};

/// Where the entries lie that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// All in the memtable.
    Memtable,
    /// All in compacted SSTables.
    Sstables,
}

/// A filled store, and what it holds.
pub struct Scans {
    store: Store,
    text: Text,
    messages: Messages,
    random: Random,
    parameters: Parameters,
}

impl Scans {
    /// Fills a store.
    pub fn new(mut parameters: Parameters, placement: Placement) -> Scans {
        if placement == Placement::Memtable {
            // More than the messages take, so that nothing is flushed.
            parameters.memtable_bytes = 256 * 1024 * 1024;
        }
        let store = Store::create(&parameters);
        let text = Text::new(parameters.text_bytes, parameters.seed);
        let messages = fill(&store, &text, &parameters);
        if placement == Placement::Sstables {
            store.engine.compact().expect("compaction succeeds");
        }
        let random = Random::new(parameters.seed + 1);
        Scans { store, text, messages, random, parameters }
    }

    /// Reads the newest entries of a timeline. Returns how many there were.
    pub fn newest(&mut self) -> u64 {
        let (timeline, count) = self.draw();
        let read = self.read(timeline, 1, Direction::Backward, (1..=count).rev());
        assert_eq!(read, count.min(self.parameters.limit as u64), "newest of timeline {timeline}");
        read
    }

    /// Reads a stretch of a timeline from a random seq on. Returns how many entries it had.
    pub fn forward(&mut self) -> u64 {
        let (timeline, count) = self.draw();
        let from = 1 + self.random.below(count.max(1));
        let read = self.read(timeline, from, Direction::Forward, from..=count);
        let there = (count + 1).saturating_sub(from);
        assert_eq!(read, there.min(self.parameters.limit as u64), "{timeline} from {from} on");
        read
    }

    fn draw(&mut self) -> (u64, u64) {
        let timeline = u64::from(self.messages.zipf().draw(&mut self.random));
        (timeline, self.messages.count(timeline))
    }

    fn read(
        &self,
        timeline: u64,
        from: u64,
        direction: Direction,
        seqs: impl Iterator<Item = u64>,
    ) -> u64 {
        let snapshot = self.store.engine.snapshot();
        let scan = snapshot
            .scan(self.store.messages, &key(timeline), from, u64::MAX, direction)
            .expect("the timeline can be read");
        let payload = |seq| self.text.payload(timeline, seq, &self.parameters.payload);
        check(scan.take(self.parameters.limit), seqs, payload)
    }
}

/// Writes the messages of a store in buffered batches and one sync. Returns the stream's state.
pub(crate) fn fill(store: &Store, text: &Text, parameters: &Parameters) -> Messages {
    let mut messages = Messages::new(parameters.timelines, parameters.seed);
    let mut left = parameters.messages;
    while left > 0 {
        let mut batch = WriteBatch::new();
        for _ in 0..left.min(parameters.batch) {
            let Message { timeline, seq } = messages.draw();
            let payload = text.payload(timeline, seq, &parameters.payload);
            batch
                .append(store.messages, &key(timeline), payload, None)
                .expect("the message is inside the limits");
        }
        left -= left.min(parameters.batch);
        store.engine.commit(batch, Durability::Buffered).expect("the commit succeeds");
    }
    store.engine.sync().expect("the sync succeeds");
    messages
}
