//! Fan-out: one message to its conversation and to the inbox of every member, in one commit.

use crate::conversations::{Conversations, Delivery, Inboxes};
use crate::parameters::Parameters;
use crate::random::Random;
use crate::store::{Store, key};
use crate::text::Text;
use tidelog_engine::{Direction, Durability, WriteBatch};

/// A store of conversations and inboxes, and what the inboxes must show.
pub struct FanOuts {
    store: Store,
    text: Text,
    conversations: Conversations,
    inboxes: Inboxes,
    random: Random,
    parameters: Parameters,
}

impl FanOuts {
    /// An empty store.
    pub fn new(parameters: Parameters) -> FanOuts {
        let Parameters { conversations, members, inboxes, seed, .. } = parameters;
        FanOuts {
            store: Store::create(&parameters),
            text: Text::new(parameters.text_bytes, seed),
            conversations: Conversations::new(conversations, members, inboxes, seed),
            inboxes: Inboxes::new(inboxes, parameters.limit),
            random: Random::new(seed + 1),
            parameters,
        }
    }

    /// Sends one message. Returns the number of entries it became.
    pub fn send(&mut self, durability: Durability) -> usize {
        let delivery = self.conversations.draw();
        let Delivery { original, inboxes } = &delivery;
        let keys: Vec<[u8; 8]> = inboxes.iter().map(|inbox| key(inbox.timeline)).collect();
        let conversation = key(original.timeline);
        let first = [(self.store.messages, &conversation[..])];
        let rest = keys.iter().map(|key| (self.store.inboxes, &key[..]));
        let lengths = &self.parameters.fan_out_payload;
        let payload = self.text.payload(original.timeline, original.seq, lengths);
        let mut batch = WriteBatch::new();
        batch
            .fan_out(first.into_iter().chain(rest), payload, None, None, true)
            .expect("the message is inside the limits");
        let committed = self.store.engine.commit(batch, durability).expect("the commit succeeds");
        let expected = std::iter::once(original).chain(inboxes).map(|entry| entry.seq);
        assert!(committed.seqs.iter().copied().eq(expected), "seqs of {original:?}");
        self.inboxes.record(&delivery);
        committed.seqs.len()
    }

    /// Reads the newest entries of a random inbox. Returns how many there were.
    pub fn newest(&mut self) -> usize {
        let inbox = self.random.below(self.inboxes.count());
        self.check(inbox)
    }

    /// Reads the newest entries of every inbox. Returns how many there were.
    pub fn check_all(&self) -> usize {
        (0..self.inboxes.count()).map(|inbox| self.check(inbox)).sum()
    }

    /// Moves everything to SSTables.
    pub fn compact(&self) {
        self.store.engine.compact().expect("compaction succeeds");
    }

    fn check(&self, inbox: u64) -> usize {
        let snapshot = self.store.engine.snapshot();
        let table = self.store.inboxes;
        let scan = snapshot
            .scan(table, &key(inbox), 1, u64::MAX, Direction::Backward)
            .expect("the inbox can be read");
        let expected = self.inboxes.newest(inbox);
        let count = expected.len();
        let mut entries = scan.take(self.parameters.limit);
        for (seq, original) in expected {
            let entry =
                entries.next().expect("an entry is missing").expect("the inbox can be read");
            assert_eq!(entry.seq, seq, "the next entry of inbox {inbox}");
            let lengths = &self.parameters.fan_out_payload;
            let payload = self.text.payload(original.timeline, original.seq, lengths);
            assert_eq!(&*entry.payload, payload, "entry {seq} of inbox {inbox}");
            let origin = entry.origin.expect("an inbox entry names its origin");
            assert_eq!(origin.table, self.store.messages);
            assert_eq!((&origin.key[..], origin.seq), (&key(original.timeline)[..], original.seq));
        }
        assert!(entries.next().is_none(), "an entry too many in inbox {inbox}");
        count
    }
}
