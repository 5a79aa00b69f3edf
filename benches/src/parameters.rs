//! How large a run is: small in the tests, large when it is measured.

use std::ops::RangeInclusive;
use tidelog_engine::Options;

/// The two sizes of every workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// Done in a second: run by `cargo test`, so that no workload rots.
    Small,
    /// Measured by criterion.
    Large,
}

/// The figures of one size.
#[derive(Debug, Clone)]
pub struct Parameters {
    /// Bytes of the text that payloads are cut from.
    pub text_bytes: usize,
    /// Timelines that messages go to.
    pub timelines: u32,
    /// Messages that lie in a store before it is read or recovered.
    pub messages: u64,
    /// Messages of one buffered batch.
    pub batch: u64,
    /// Threads that commit side by side.
    pub threads: u64,
    /// Commits of each thread in one round.
    pub commits_per_thread: u64,
    /// Inboxes that fan-out goes to.
    pub inboxes: u32,
    /// Conversations there are.
    pub conversations: u32,
    /// Members of one conversation.
    pub members: u32,
    /// Bytes of a payload in a timeline.
    pub payload: RangeInclusive<usize>,
    /// Bytes of a payload that is fanned out.
    pub fan_out_payload: RangeInclusive<usize>,
    /// Entries that one read asks for.
    pub limit: usize,
    /// What everything random follows from.
    pub seed: u64,
    /// Bytes of the ring.
    pub ring_bytes: u64,
    /// Bytes of a memtable.
    pub memtable_bytes: usize,
}

impl Parameters {
    /// The figures of `size`.
    pub fn new(size: Size) -> Parameters {
        match size {
            Size::Small => Parameters::small(),
            Size::Large => Parameters::large(),
        }
    }

    fn small() -> Parameters {
        Parameters {
            text_bytes: 64 * 1024,
            timelines: 100,
            messages: 3_000,
            batch: 100,
            threads: 4,
            commits_per_thread: 10,
            inboxes: 100,
            conversations: 10,
            members: 30,
            payload: 96..=160,
            fan_out_payload: 1024..=1024,
            limit: 20,
            seed: 1,
            ring_bytes: 4 * 1024 * 1024,
            memtable_bytes: 1024 * 1024,
        }
    }

    fn large() -> Parameters {
        Parameters {
            text_bytes: crate::Text::LARGE,
            timelines: 10_000,
            messages: 200_000,
            batch: 1_000,
            threads: 64,
            commits_per_thread: 50,
            inboxes: 50_000,
            conversations: 200,
            members: 1_000,
            ring_bytes: 128 * 1024 * 1024,
            memtable_bytes: 64 * 1024 * 1024,
            ..Parameters::small()
        }
    }

    /// Options of a store of this size; all others are the defaults.
    pub fn options(&self) -> Options {
        Options {
            ring_bytes: self.ring_bytes,
            memtable_bytes: self.memtable_bytes,
            ..Options::default()
        }
    }
}
