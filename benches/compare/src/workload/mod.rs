//! The workloads, one a file; each run is a process of its own.
//!
//! Keys are timeline id (u64) and seq (u64, dense); logical bytes are 16 + payload. Payloads are
//! slices of an 8 MiB text of words that follow from timeline and seq, so that every reader knows
//! what it must find. Zipf is 0.99 over permuted ids.

mod bulk_ingest;
mod check;
mod cold_reads;
mod durable_async;
mod durable_queue;
mod durable_single;
mod durable_threads;
mod fan_out;
mod feed;
mod name;
mod open_after_kill;
mod reads;
mod scaling;
mod steady;

pub use name::WorkloadName;

use crate::Result;
use crate::cli::ChildOptions;
use crate::engine::{EngineName, Peer, Setup};
use crate::record::Record;
use std::io::Write;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use tidelog_benches::{Message, Messages, Text};

/// What a run works with.
struct Run {
    engine: EngineName,
    directory: PathBuf,
    scale: f64,
    /// What grows, in a workload of scaling.
    parameter: u64,
    text: Text,
}

/// Runs one workload on one engine in this process and prints its records. W1 does not return.
pub fn run(options: &ChildOptions) -> Result<()> {
    let run = Run {
        engine: options.engine,
        directory: options.directory.clone(),
        scale: options.scale,
        parameter: options.parameter,
        text: Text::new(Text::LARGE, SEED),
    };
    match options.workload {
        WorkloadName::W1 => bulk_ingest::run(&run),
        WorkloadName::W2 => durable_single::run(&run),
        WorkloadName::W3 => durable_threads::run(&run),
        WorkloadName::W3q => durable_queue::run(&run),
        WorkloadName::W3a => durable_async::run(&run),
        WorkloadName::W4 => reads::run(&run),
        WorkloadName::W4c => cold_reads::run(&run),
        WorkloadName::W5 => fan_out::run(&run),
        WorkloadName::W6 => open_after_kill::run(&run),
        WorkloadName::W7 => feed::run(&run, WorkloadName::W7.memory_bytes(options.scale)),
        WorkloadName::W8 => steady::run(&run),
        WorkloadName::ScalingThreads => scaling::threads::run(&run),
        WorkloadName::ScalingTimelines => scaling::timelines::run(&run),
        WorkloadName::ScalingGigabytes => scaling::gigabytes::run(&run),
    }
}

/// All that is drawn follows from it.
pub const SEED: u64 = 20_240_711;
/// Timelines of W1 to W4, at full size.
const TIMELINES: u64 = 100_000;
/// Payloads of W1 to W4.
const PAYLOAD: RangeInclusive<usize> = 96..=160;
/// Entries that a read asks for.
const LIMIT: usize = 20;
/// Bytes of a key: timeline and seq.
const KEY_BYTES: u64 = 16;

impl Run {
    fn open(&self, setup: &Setup) -> Result<Box<dyn Peer>> {
        self.engine.open(&self.directory, setup)
    }

    /// A count of the full size, at this run's scale; never 0.
    fn scaled(&self, count: u64) -> u64 {
        // A scale is at most 100 and counts are small, so the product is exact enough and in range.
        let scaled = std::time::Duration::from_micros(count).mul_f64(self.scale).as_micros();
        u64::try_from(scaled).unwrap_or(u64::MAX).max(1)
    }

    fn timelines(&self) -> u32 {
        u32::try_from(self.scaled(TIMELINES)).unwrap_or(u32::MAX)
    }

    /// The stream of W1.
    fn messages(&self) -> Messages {
        Messages::new(self.timelines(), SEED)
    }

    fn payload(&self, message: Message) -> &[u8] {
        self.text.payload(message.timeline, message.seq, &PAYLOAD)
    }

    /// Prints a record for the parent.
    fn report(&self, peer: &dyn Peer, mut record: Record, wrong_answers: u64) -> Result<()> {
        record.engine = self.engine.name().to_owned();
        record.version = self.engine.version();
        record.settings = peer.settings();
        record.scale = self.scale;
        record.parameter = self.parameter;
        record.wrong_answers = wrong_answers;
        let mut output = std::io::stdout().lock();
        serde_json::to_writer(&mut output, &record)?;
        writeln!(output)?;
        Ok(output.flush()?)
    }
}
