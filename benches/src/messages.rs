//! The stream of messages: which timeline is written next, and under which seq.

use crate::random::Random;
use crate::zipf::Zipf;

/// Where a message goes. Its payload is [`Text::payload`](crate::Text::payload) of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// The timeline.
    pub timeline: u64,
    /// The seq that a dense store gives it.
    pub seq: u64,
}

/// An endless stream of messages to Zipf-chosen timelines.
#[derive(Debug, Clone)]
pub struct Messages {
    zipf: Zipf,
    random: Random,
    counts: Vec<u64>,
    share: u64,
    shares: u64,
}

impl Messages {
    /// Messages to timelines `0..timelines`.
    pub fn new(timelines: u32, seed: u64) -> Messages {
        Messages::of_share(timelines, 0, 1, seed)
    }

    /// The stream of one of `shares` writers: each has timelines of its own, so that it knows their
    /// seqs whatever the others do. `timelines` counts those of one writer.
    pub fn of_share(timelines: u32, share: u64, shares: u64, seed: u64) -> Messages {
        assert!(share < shares, "share {share} of {shares}");
        Messages {
            zipf: Zipf::new(timelines, seed),
            random: Random::new(seed ^ (share + 1)),
            counts: vec![0; timelines as usize],
            share,
            shares,
        }
    }

    /// The next message.
    pub fn draw(&mut self) -> Message {
        let chosen = self.zipf.draw(&mut self.random);
        let count = &mut self.counts[chosen as usize];
        *count += 1;
        Message { timeline: u64::from(chosen) * self.shares + self.share, seq: *count }
    }

    /// Every timeline with the number of its messages so far; some have none.
    pub fn counts(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let timelines = (0_u64..).map(|chosen| chosen * self.shares + self.share);
        timelines.zip(self.counts.iter().copied())
    }

    /// Messages of a timeline of this stream so far.
    pub fn count(&self, timeline: u64) -> u64 {
        assert_eq!(timeline % self.shares, self.share, "a timeline of another writer");
        let chosen = usize::try_from(timeline / self.shares).expect("timelines are counted in u32");
        self.counts[chosen]
    }

    /// The law by which timelines are chosen, for readers; it knows nothing of shares.
    pub fn zipf(&self) -> &Zipf {
        &self.zipf
    }
}
