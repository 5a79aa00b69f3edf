//! The workloads, one a file; each run is a process of its own.
//!
//! Keys are timeline id (u64) and seq (u64, dense); logical bytes are 16 + payload. Payloads are
//! slices of an 8 MiB text of words that follow from timeline and seq, so that every reader knows
//! what it must find. Zipf is 0.99 over permuted ids.

mod bulk_ingest;
mod check;
mod durable_single;
mod durable_threads;
mod fan_out;
mod open_after_kill;
mod reads;

use crate::Result;
use crate::cli::ChildOptions;
use crate::engine::{EngineName, Peer};
use crate::record::Record;
use std::io::Write;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use tidelog_benches::{Message, Messages, Text};

/// The workloads by name, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum WorkloadName {
    /// Bulk ingest; ends in an abort.
    W1,
    /// Open after the kill of W1, to the first successful read.
    W6,
    /// Reads on the database of W1, opened afresh.
    W4,
    /// Durable commits, one writer.
    W2,
    /// Durable commits, 64 threads.
    W3,
    /// Fan-out.
    W5,
}

impl WorkloadName {
    /// The name in tables and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            WorkloadName::W1 => "w1",
            WorkloadName::W2 => "w2",
            WorkloadName::W3 => "w3",
            WorkloadName::W4 => "w4",
            WorkloadName::W5 => "w5",
            WorkloadName::W6 => "w6",
        }
    }

    /// Whether it works on the database that W1 has left.
    pub fn follows_ingest(self) -> bool {
        matches!(self, WorkloadName::W4 | WorkloadName::W6)
    }
}

/// What a run works with.
struct Run {
    engine: EngineName,
    directory: PathBuf,
    scale: f64,
    text: Text,
}

/// Runs one workload on one engine in this process and prints its records. W1 does not return.
pub fn run(options: &ChildOptions) -> Result<()> {
    let run = Run {
        engine: options.engine,
        directory: options.directory.clone(),
        scale: options.scale,
        text: Text::new(Text::LARGE, SEED),
    };
    match options.workload {
        WorkloadName::W1 => bulk_ingest::run(&run),
        WorkloadName::W2 => durable_single::run(&run),
        WorkloadName::W3 => durable_threads::run(&run),
        WorkloadName::W4 => reads::run(&run),
        WorkloadName::W5 => fan_out::run(&run),
        WorkloadName::W6 => open_after_kill::run(&run),
    }
}

const SEED: u64 = 20_240_711;
/// Timelines of W1 to W4, at full size.
const TIMELINES: u64 = 100_000;
/// Payloads of W1 to W4.
const PAYLOAD: RangeInclusive<usize> = 96..=160;
/// Entries that a read asks for.
const LIMIT: usize = 20;
/// Bytes of a key: timeline and seq.
const KEY_BYTES: u64 = 16;

impl Run {
    fn open(&self) -> Result<Box<dyn Peer>> {
        self.engine.open(&self.directory)
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
        record.wrong_answers = wrong_answers;
        let mut output = std::io::stdout().lock();
        serde_json::to_writer(&mut output, &record)?;
        writeln!(output)?;
        Ok(output.flush()?)
    }
}
