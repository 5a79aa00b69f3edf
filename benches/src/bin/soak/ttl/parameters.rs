//! The figures of `ttl`.

use crate::arguments::{Common, TtlArguments};
use serde::Serialize;

/// Bytes of a timeline's id.
pub(crate) const ID_BYTES: usize = 16;

/// See [`TtlArguments`].
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Parameters {
    pub(crate) rate: u64,
    pub(crate) batch: u64,
    pub(crate) timelines: u64,
    pub(crate) payload: usize,
    pub(crate) ttl_ms: u64,
    pub(crate) seconds: u64,
    pub(crate) reads: u64,
    pub(crate) steady_clock: bool,
    pub(crate) seed: u64,
}

impl Parameters {
    /// The full size or the short one, and what was asked for in its place.
    pub(crate) fn new(common: &Common, asked: &TtlArguments) -> Parameters {
        let base = if common.short { Parameters::short() } else { Parameters::full() };
        Parameters {
            rate: asked.rate.unwrap_or(base.rate),
            batch: asked.batch.unwrap_or(base.batch),
            timelines: asked.timelines.unwrap_or(base.timelines),
            payload: asked.payload.unwrap_or(base.payload),
            ttl_ms: asked.ttl_ms.unwrap_or(base.ttl_ms),
            seconds: asked.seconds.unwrap_or(base.seconds),
            reads: asked.reads.unwrap_or(base.reads),
            steady_clock: asked.steady_clock,
            seed: common.seed,
        }
    }

    fn full() -> Parameters {
        Parameters {
            rate: 100_000,
            batch: 100,
            timelines: 100_000,
            payload: 100,
            ttl_ms: 60_000,
            seconds: 600,
            reads: 500,
            steady_clock: false,
            seed: 1,
        }
    }

    /// As long a part of the TTL in a memtable as in the full size, and as many messages of a
    /// timeline.
    fn short() -> Parameters {
        Parameters {
            rate: 20_000,
            timelines: 1_500,
            ttl_ms: 4_000,
            seconds: 12,
            ..Parameters::full()
        }
    }

    /// Commits in all.
    pub(crate) fn commits(&self) -> u64 {
        self.rate * self.seconds / self.batch
    }

    /// Bytes of payload and id of one message.
    pub(crate) fn logical_bytes(&self) -> u64 {
        (ID_BYTES + self.payload) as u64
    }
}
