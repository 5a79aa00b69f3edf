//! Fan-out: conversations with fixed members, and what each inbox must hold after a message.

use crate::messages::Message;
use crate::random::Random;
use std::collections::VecDeque;

/// Conversations with their members, and the seqs given so far.
#[derive(Debug, Clone)]
pub struct Conversations {
    members: Vec<Vec<u32>>,
    sent: Vec<u64>,
    received: Vec<u64>,
    random: Random,
}

/// One message on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The message in its conversation.
    pub original: Message,
    /// Each member's inbox, with the seq the message has there.
    pub inboxes: Vec<Message>,
}

impl Conversations {
    /// `conversations` of `members` different inboxes each, out of `inboxes`.
    pub fn new(conversations: u32, members: u32, inboxes: u32, seed: u64) -> Conversations {
        assert!(members <= inboxes, "{members} members out of {inboxes} inboxes");
        let mut random = Random::new(seed);
        let mut all: Vec<u32> = (0..inboxes).collect();
        let mut choose = || {
            let count = members as usize;
            for index in 0..count {
                let other = index + random.index(all.len() - index);
                all.swap(index, other);
            }
            all[..count].to_vec()
        };
        Conversations {
            members: (0..conversations).map(|_| choose()).collect(),
            sent: vec![0; conversations as usize],
            received: vec![0; inboxes as usize],
            random,
        }
    }

    /// The next message, to a conversation chosen evenly.
    pub fn draw(&mut self) -> Delivery {
        let conversation = self.random.index(self.members.len());
        self.sent[conversation] += 1;
        let original = Message { timeline: conversation as u64, seq: self.sent[conversation] };
        let received = &mut self.received;
        let deliver = |&inbox: &u32| {
            received[inbox as usize] += 1;
            Message { timeline: u64::from(inbox), seq: received[inbox as usize] }
        };
        Delivery { original, inboxes: self.members[conversation].iter().map(deliver).collect() }
    }
}

/// The newest messages of every inbox, as a reader must find them.
#[derive(Debug, Clone)]
pub struct Inboxes {
    newest: Vec<VecDeque<(u64, Message)>>,
    depth: usize,
}

impl Inboxes {
    /// Keeps the `depth` newest of each of `inboxes`.
    pub fn new(inboxes: u32, depth: usize) -> Inboxes {
        Inboxes { newest: vec![VecDeque::new(); inboxes as usize], depth }
    }

    /// Takes note of a delivery.
    pub fn record(&mut self, delivery: &Delivery) {
        for entry in &delivery.inboxes {
            let inbox = usize::try_from(entry.timeline).expect("inboxes are counted in u32");
            let newest = &mut self.newest[inbox];
            newest.push_front((entry.seq, delivery.original));
            newest.truncate(self.depth);
        }
    }

    /// Inboxes there are.
    pub fn count(&self) -> u64 {
        self.newest.len() as u64
    }

    /// What an inbox holds, newest first: the seq there and the message that it shows.
    pub fn newest(&self, inbox: u64) -> impl ExactSizeIterator<Item = (u64, Message)> + '_ {
        let inbox = usize::try_from(inbox).expect("inboxes are counted in u32");
        self.newest[inbox].iter().copied()
    }
}
