//! The engines, one a file, behind what the workloads need of them.

mod bytes;
mod fjall;
mod found;
mod heed;
mod name;
mod rawlog;
mod redb;
#[cfg(feature = "rocksdb")]
mod rocksdb;
mod rusqlite;
mod tidelog;

pub use found::{Entry, Found, Range, Table};
pub use name::{EngineName, Expiry};

use crate::Result;
use std::pin::Pin;
use std::time::Duration;
use tidelog_benches::{Delivery, Message};

/// How a database is opened. What is not said here is the same for all workloads.
#[derive(Debug, Clone, Copy, Default)]
pub struct Setup {
    /// Every commit waits for the disk; otherwise [`Peer::sync`] does.
    pub durable: bool,
    /// Bytes of memory that the process is allowed, where that is less than the machine has: caches
    /// and memtables are made to fit.
    pub memory_bytes: Option<u64>,
    /// Messages older than this are to go.
    pub ttl: Option<Duration>,
}

impl Setup {
    /// Bytes of an engine's cache: 1 GiB, or a quarter of what is allowed.
    pub fn cache_bytes(&self) -> u64 {
        self.memory_bytes.map_or(1 << 30, |allowed| (allowed / 4).min(1 << 30))
    }

    /// Bytes of an engine's memtable: 64 MiB, or a thirty-second of what is allowed.
    pub fn memtable_bytes(&self) -> u64 {
        let fitting = self.memory_bytes.map_or(u64::MAX, |allowed| allowed / 32);
        fitting.clamp(1 << 20, 64 << 20)
    }
}

/// A commit on its way; it gives the number of wrong answers.
pub type Submitted = Pin<Box<dyn Future<Output = Result<u64>> + Send>>;

/// One engine with its database open. Calls that write return the number of wrong answers: seqs
/// that are not the dense ones.
pub trait Peer: Send + Sync {
    /// How the engine was set up, in one line.
    fn settings(&self) -> String;

    /// Commits entries to the table of messages in one atomic batch.
    fn append(&self, entries: &[Entry<'_>]) -> Result<u64>;

    /// As [`Peer::append`], without a thread that waits. Few engines have it.
    fn submit(&self, entries: &[Entry<'_>]) -> Result<Submitted> {
        let _ = entries;
        Err("this engine has no asynchronous commits".into())
    }

    /// Commits a message to its conversation and to all inboxes, atomically.
    fn fan_out(&self, delivery: &Delivery, payload: &[u8]) -> Result<u64>;

    /// Stores profiles of users, in one atomic batch.
    fn put(&self, profiles: &[(u64, &[u8])]) -> Result<()>;

    /// Deletes messages, in one atomic batch: for engines without a time to live.
    fn delete(&self, messages: &[Message]) -> Result<()>;

    /// Moves everything in memory into live structures, and gives their bytes, where the engine
    /// tells: its files may be larger.
    fn live_bytes(&self) -> Result<Option<u64>> {
        Ok(None)
    }

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

    /// Reads a user's profile, as an entry whose seq is 0.
    fn get(&self, user: u64, found: &mut Found) -> Result<()>;
}
