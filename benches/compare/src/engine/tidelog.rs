//! Tidelog with its default options: seqs are the engine's own, fan-out is one call.

use super::{Entry, Found, Peer, Range, Table};
use crate::Result;
use std::path::Path;
use tidelog_benches::{Delivery, key};
use tidelog_engine::{Direction, Durability, Engine, Options, TableId, TableOptions, WriteBatch};

/// An open store.
pub struct Tidelog {
    engine: Engine,
    messages: TableId,
    inboxes: TableId,
    settings: String,
}

impl Tidelog {
    /// Opens or creates the store.
    pub fn open(directory: &Path) -> Result<Tidelog> {
        let options = Options::default();
        let settings = format!(
            "defaults: ring {} MiB, memtable {} MiB, memory budget {} MiB, maps, no compression",
            options.ring_bytes >> 20,
            options.memtable_bytes >> 20,
            options.memory_budget >> 20,
        );
        let engine = Engine::open(directory.join("compare.tide"), options)?;
        let table = |name| match engine.table(name) {
            Some(table) => Ok(table.id),
            None => engine.create_table(name, TableOptions::timeline()),
        };
        let (messages, inboxes) = (table("message")?, table("inbox")?);
        Ok(Tidelog { engine, messages, inboxes, settings })
    }
}

impl Peer for Tidelog {
    fn settings(&self) -> String {
        self.settings.clone()
    }

    fn append(&self, entries: &[Entry<'_>], durable: bool) -> Result<u64> {
        let mut batch = WriteBatch::new();
        for entry in entries {
            batch.append(self.messages, &key(entry.timeline), entry.payload, None)?;
        }
        let durability = if durable { Durability::Sync } else { Durability::Buffered };
        let committed = self.engine.commit(batch, durability)?;
        Ok(wrong(&committed.seqs, entries.iter().map(|entry| entry.seq)))
    }

    fn fan_out(&self, delivery: &Delivery, payload: &[u8]) -> Result<u64> {
        let Delivery { original, inboxes } = delivery;
        let conversation = key(original.timeline);
        let keys: Vec<[u8; 8]> = inboxes.iter().map(|inbox| key(inbox.timeline)).collect();
        let first = [(self.messages, &conversation[..])];
        let rest = keys.iter().map(|key| (self.inboxes, &key[..]));
        let mut batch = WriteBatch::new();
        batch.fan_out(first.into_iter().chain(rest), payload, None, None, true)?;
        let committed = self.engine.commit(batch, Durability::Buffered)?;
        let expected = std::iter::once(original).chain(inboxes).map(|entry| entry.seq);
        Ok(wrong(&committed.seqs, expected))
    }

    fn sync(&self) -> Result<()> {
        Ok(self.engine.sync()?)
    }

    fn read(
        &self,
        table: Table,
        timeline: u64,
        range: Range,
        limit: usize,
        found: &mut Found,
    ) -> Result<()> {
        let table = match table {
            Table::Messages => self.messages,
            Table::Inboxes => self.inboxes,
        };
        let (from, direction) = match range {
            Range::Newest => (1, Direction::Backward),
            Range::From(seq) => (seq, Direction::Forward),
        };
        let snapshot = self.engine.snapshot();
        for entry in snapshot.scan(table, &key(timeline), from, u64::MAX, direction)?.take(limit) {
            let entry = entry?;
            found.push(entry.seq, &entry.payload);
        }
        Ok(())
    }
}

fn wrong(given: &[u64], expected: impl Iterator<Item = u64>) -> u64 {
    let mut count = 0;
    let mut given = given.iter().copied();
    for seq in expected {
        count += u64::from(given.next() != Some(seq));
    }
    count + given.len() as u64
}
