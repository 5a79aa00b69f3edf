//! Tidelog with its default options, but for what the name of the variant says: seqs are the
//! engine's own, fan-out is one call.

use super::{Entry, Found, Peer, Range, Setup, Submitted, Table};
use crate::Result;
use std::path::Path;
use tidelog_benches::{Delivery, Message, key};
use tidelog_engine::{
    Compression, Direction, Durability, Engine, Options, ReadMode, TableId, TableOptions,
    WriteBatch,
};

/// What is not the default.
#[derive(Debug, Clone, Copy, Default)]
pub struct Variant {
    /// How messages are compressed.
    pub compression: Compression,
    /// How blocks are read, and with it how often their checksums are verified.
    pub read_mode: ReadMode,
}

/// An open store.
pub struct Tidelog {
    engine: Engine,
    messages: TableId,
    inboxes: TableId,
    profiles: TableId,
    durability: Durability,
    settings: String,
}

impl Tidelog {
    /// Opens or creates the store.
    pub fn open(directory: &Path, setup: &Setup, variant: Variant) -> Result<Tidelog> {
        let mut options = Options { read_mode: variant.read_mode, ..Options::default() };
        if let Some(allowed) = setup.memory_bytes {
            options.memory_budget = options.memory_budget.min(usize::try_from(allowed / 2)?);
        }
        let settings = settings(&options, variant);
        let engine = Engine::open(directory.join("compare.tide"), options)?;
        let table = |name, options| match engine.table(name) {
            Some(table) => Ok(table.id),
            None => engine.create_table(name, options),
        };
        let timelines =
            TableOptions { compression: variant.compression, ..TableOptions::timeline() };
        let messages = match setup.ttl {
            None => timelines.clone(),
            Some(ttl) => timelines.clone().ttl(ttl),
        };
        let messages = table("message", messages)?;
        let inboxes = table("inbox", timelines)?;
        let profiles = table("profile", TableOptions::keyed())?;
        let durability = match setup.durable {
            true => Durability::Sync,
            false => Durability::Buffered,
        };
        Ok(Tidelog { engine, messages, inboxes, profiles, durability, settings })
    }

    fn batch(&self, entries: &[Entry<'_>]) -> Result<WriteBatch> {
        let mut batch = WriteBatch::new();
        let messages = entries.iter().map(|entry| (key(entry.timeline), entry.payload));
        batch.append_all(self.messages, messages)?;
        Ok(batch)
    }
}

fn settings(options: &Options, variant: Variant) -> String {
    format!(
        "defaults: ring {} MiB, memtable {} MiB, memory budget {} MiB, {}, {}",
        options.ring_bytes >> 20,
        options.memtable_bytes >> 20,
        options.memory_budget >> 20,
        match variant.read_mode {
            ReadMode::Map => "maps, checksums on first touch",
            ReadMode::Read => "pread, checksums at each read",
        },
        match variant.compression {
            Compression::None => "no compression".to_owned(),
            other => other.to_string(),
        },
    )
}

impl Peer for Tidelog {
    fn settings(&self) -> String {
        self.settings.clone()
    }

    fn append(&self, entries: &[Entry<'_>]) -> Result<u64> {
        let committed = self.engine.commit(self.batch(entries)?, self.durability)?;
        Ok(wrong(&committed.seqs, entries.iter().map(|entry| entry.seq)))
    }

    fn submit(&self, entries: &[Entry<'_>]) -> Result<Submitted> {
        let committed = self.engine.commit_async(self.batch(entries)?, self.durability);
        let expected: Vec<u64> = entries.iter().map(|entry| entry.seq).collect();
        Ok(Box::pin(async move { Ok(wrong(&committed.await?.seqs, expected.into_iter())) }))
    }

    fn fan_out(&self, delivery: &Delivery, payload: &[u8]) -> Result<u64> {
        let Delivery { original, inboxes } = delivery;
        let conversation = key(original.timeline);
        let keys: Vec<[u8; 8]> = inboxes.iter().map(|inbox| key(inbox.timeline)).collect();
        let first = [(self.messages, &conversation[..])];
        let rest = keys.iter().map(|key| (self.inboxes, &key[..]));
        let mut batch = WriteBatch::new();
        batch.fan_out(first.into_iter().chain(rest), payload, None, None, true)?;
        let committed = self.engine.commit(batch, self.durability)?;
        let expected = std::iter::once(original).chain(inboxes).map(|entry| entry.seq);
        Ok(wrong(&committed.seqs, expected))
    }

    fn put(&self, profiles: &[(u64, &[u8])]) -> Result<()> {
        let mut batch = WriteBatch::new();
        for (user, profile) in profiles {
            batch.put(self.profiles, &key(*user), profile)?;
        }
        self.engine.commit(batch, self.durability)?;
        Ok(())
    }

    fn delete(&self, messages: &[Message]) -> Result<()> {
        let mut batch = WriteBatch::new();
        for message in messages {
            batch.delete_entry(self.messages, &key(message.timeline), message.seq)?;
        }
        self.engine.commit(batch, self.durability)?;
        Ok(())
    }

    fn live_bytes(&self) -> Result<Option<u64>> {
        self.engine.flush()?;
        let stats = self.engine.stats();
        Ok(Some(stats.sstable_bytes + stats.segment_bytes))
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
        let mut entries = snapshot.scan(table, &key(timeline), from, u64::MAX, direction)?;
        for _ in 0..limit {
            let Some(entry) = entries.next_view()? else { break };
            found.push(entry.seq, entry.payload);
        }
        Ok(())
    }

    fn get(&self, user: u64, found: &mut Found) -> Result<()> {
        if let Some(profile) = self.engine.snapshot().value(self.profiles, &key(user))? {
            found.push(0, &profile);
        }
        Ok(())
    }
}

/// Seqs that were given and are not the expected ones.
fn wrong(given: &[u64], expected: impl Iterator<Item = u64>) -> u64 {
    let mut count = 0;
    let mut given = given.iter().copied();
    for seq in expected {
        count += u64::from(given.next() != Some(seq));
    }
    count + given.len() as u64
}
