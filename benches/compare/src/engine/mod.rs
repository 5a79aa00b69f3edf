//! The engines, one a file, behind what the workloads need of them.

mod fjall;
mod rawlog;
mod tidelog;

use crate::Result;
use std::path::Path;
use tidelog_benches::Delivery;

/// A message with its bytes. Engines that assign no seqs take this one.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The timeline.
    pub timeline: u64,
    /// Its dense seq there.
    pub seq: u64,
    /// Its payload.
    pub payload: &'a [u8],
}

/// The two tables of the workloads.
#[derive(Debug, Clone, Copy)]
pub enum Table {
    /// Conversations.
    Messages,
    /// Inboxes.
    Inboxes,
}

/// What a read asks for.
#[derive(Debug, Clone, Copy)]
pub enum Range {
    /// The newest entries, newest first.
    Newest,
    /// Entries from a seq on, oldest first.
    From(u64),
}

/// What a read found. Payloads are copied here, as a server would copy them into its answer: they
/// are read for certain, and compared after the clock has stopped.
#[derive(Debug, Default)]
pub struct Found {
    entries: Vec<(u64, usize)>,
    bytes: Vec<u8>,
}

impl Found {
    /// Forgets everything and keeps its memory.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.bytes.clear();
    }

    /// Takes an entry.
    pub fn push(&mut self, seq: u64, payload: &[u8]) {
        self.bytes.extend_from_slice(payload);
        self.entries.push((seq, self.bytes.len()));
    }

    /// The entries, in the order in which they were found.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (u64, &[u8])> {
        (0..self.entries.len()).map(|index| {
            let start = index.checked_sub(1).map_or(0, |before| self.entries[before].1);
            let (seq, end) = self.entries[index];
            (seq, &self.bytes[start..end])
        })
    }
}

/// One engine with its database open. Calls that write return the number of wrong answers: seqs
/// that are not the dense ones.
pub trait Peer: Send + Sync {
    /// How the engine was set up, in one line.
    fn settings(&self) -> String;

    /// Commits entries to the table of messages in one atomic batch; `durable` waits for the disk.
    fn append(&self, entries: &[Entry<'_>], durable: bool) -> Result<u64>;

    /// Commits a message to its conversation and to all inboxes, atomically, without waiting for
    /// the disk.
    fn fan_out(&self, delivery: &Delivery, payload: &[u8]) -> Result<u64>;

    /// Makes everything durable.
    fn sync(&self) -> Result<()>;

    /// Reads at most `limit` entries of a timeline.
    fn read(
        &self,
        table: Table,
        timeline: u64,
        range: Range,
        limit: usize,
        found: &mut Found,
    ) -> Result<()>;
}

/// The engines by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum EngineName {
    /// The engine of this project.
    Tidelog,
    /// fjall, an LSM engine in Rust.
    Fjall,
    /// A log and nothing else: the floor.
    Rawlog,
}

impl EngineName {
    /// The name in tables and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            EngineName::Tidelog => "tidelog",
            EngineName::Fjall => "fjall",
            EngineName::Rawlog => "rawlog",
        }
    }

    /// Whether it can read what it has written.
    pub fn has_reads(self) -> bool {
        self != EngineName::Rawlog
    }

    /// The version that was built in.
    pub fn version(self) -> String {
        match self {
            EngineName::Tidelog => locked_version("tidelog-engine"),
            EngineName::Fjall => locked_version("fjall"),
            EngineName::Rawlog => locked_version("tidelog-compare"),
        }
    }

    /// Opens the database in `directory`, creating it where there is none.
    pub fn open(self, directory: &Path) -> Result<Box<dyn Peer>> {
        Ok(match self {
            EngineName::Tidelog => Box::new(tidelog::Tidelog::open(directory)?),
            EngineName::Fjall => Box::new(fjall::Fjall::open(directory)?),
            EngineName::Rawlog => Box::new(rawlog::Rawlog::open(directory)?),
        })
    }
}

/// The version of a package as the lock file has it: what cargo built in.
fn locked_version(package: &str) -> String {
    let lock = include_str!("../../Cargo.lock");
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name).skip(1);
    let version = lines.next().and_then(|line| line.strip_prefix("version = "));
    version.map_or_else(|| "unknown".to_owned(), |version| version.trim_matches('"').to_owned())
}
