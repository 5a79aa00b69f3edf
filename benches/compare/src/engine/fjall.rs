//! fjall: one key of timeline and seq for each entry, a copy in every inbox.

use super::{Entry, Found, Peer, Range, Table};
use crate::Result;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use std::path::Path;
use tidelog_benches::Delivery;

const CACHE_BYTES: u64 = 1 << 30;
const MEMTABLE_BYTES: u64 = 64 << 20;

/// An open database.
pub struct Fjall {
    database: Database,
    messages: Keyspace,
    inboxes: Keyspace,
}

impl Fjall {
    /// Opens or creates the database.
    pub fn open(directory: &Path) -> Result<Fjall> {
        let database = Database::builder(directory).cache_size(CACHE_BYTES).open()?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        let messages = database.keyspace("message", options)?;
        let inboxes = database.keyspace("inbox", options)?;
        Ok(Fjall { database, messages, inboxes })
    }
}

impl Peer for Fjall {
    fn settings(&self) -> String {
        format!("cache {} MiB, memtable {} MiB", CACHE_BYTES >> 20, MEMTABLE_BYTES >> 20)
    }

    fn append(&self, entries: &[Entry<'_>], durable: bool) -> Result<u64> {
        let mut batch = self.database.batch();
        for entry in entries {
            batch.insert(&self.messages, key(entry.timeline, entry.seq), entry.payload);
        }
        batch.durability(durable.then_some(PersistMode::SyncData)).commit()?;
        Ok(0)
    }

    fn fan_out(&self, delivery: &Delivery, payload: &[u8]) -> Result<u64> {
        let Delivery { original, inboxes } = delivery;
        let mut batch = self.database.batch();
        batch.insert(&self.messages, key(original.timeline, original.seq), payload);
        for inbox in inboxes {
            batch.insert(&self.inboxes, key(inbox.timeline, inbox.seq), payload);
        }
        batch.commit()?;
        Ok(0)
    }

    fn sync(&self) -> Result<()> {
        Ok(self.database.persist(PersistMode::SyncData)?)
    }

    fn read(
        &self,
        table: Table,
        timeline: u64,
        range: Range,
        limit: usize,
        found: &mut Found,
    ) -> Result<()> {
        let keyspace = match table {
            Table::Messages => &self.messages,
            Table::Inboxes => &self.inboxes,
        };
        let mut take = |guard: fjall::Guard| -> Result<()> {
            let (key, payload) = guard.into_inner()?;
            let seq = key.last_chunk().ok_or("a key without a seq")?;
            found.push(u64::from_be_bytes(*seq), &payload);
            Ok(())
        };
        match range {
            Range::Newest => keyspace
                .range(key(timeline, 0)..=key(timeline, u64::MAX))
                .rev()
                .take(limit)
                .try_for_each(&mut take),
            Range::From(seq) => keyspace
                .range(key(timeline, seq)..=key(timeline, u64::MAX))
                .take(limit)
                .try_for_each(&mut take),
        }
    }
}

fn key(timeline: u64, seq: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&timeline.to_be_bytes());
    key[8..].copy_from_slice(&seq.to_be_bytes());
    key
}
