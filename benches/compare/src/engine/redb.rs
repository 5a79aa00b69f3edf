//! redb: copy-on-write B-trees in one file; a copy in every inbox.
//!
//! A commit that is not durable stays in memory until a durable one.

use super::{Entry, Found, Peer, Range, Setup, Table};
use crate::Result;
use redb::{Database, Durability, ReadableDatabase, TableDefinition, WriteTransaction};
use std::path::Path;
use tidelog_benches::{Delivery, Message};

/// Timeline in the upper half of a key, seq in the lower one.
type Timelines = TableDefinition<'static, u128, &'static [u8]>;

const MESSAGES: Timelines = TableDefinition::new("message");
const INBOXES: Timelines = TableDefinition::new("inbox");
const PROFILES: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("profile");

/// An open database.
pub struct Redb {
    database: Database,
    quick_repair: bool,
    setup: Setup,
}

impl Redb {
    /// Opens or creates the database.
    pub fn open(directory: &Path, setup: &Setup, quick_repair: bool) -> Result<Redb> {
        let database = Database::builder()
            .set_cache_size(usize::try_from(setup.cache_bytes())?)
            .create(directory.join("compare.redb"))?;
        let peer = Redb { database, quick_repair, setup: *setup };
        let transaction = peer.begin(true)?;
        transaction.open_table(MESSAGES)?;
        transaction.open_table(INBOXES)?;
        transaction.open_table(PROFILES)?;
        transaction.commit()?;
        Ok(peer)
    }

    fn begin(&self, durable: bool) -> Result<WriteTransaction> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(match durable {
            true => Durability::Immediate,
            false => Durability::None,
        })?;
        transaction.set_quick_repair(self.quick_repair);
        Ok(transaction)
    }
}

impl Peer for Redb {
    fn settings(&self) -> String {
        let repair = if self.quick_repair { ", quick repair" } else { "" };
        format!("cache {} MiB{repair}", self.setup.cache_bytes() >> 20)
    }

    fn append(&self, entries: &[Entry<'_>]) -> Result<u64> {
        let transaction = self.begin(self.setup.durable)?;
        let mut table = transaction.open_table(MESSAGES)?;
        for entry in entries {
            table.insert(key(entry.timeline, entry.seq), entry.payload)?;
        }
        drop(table);
        transaction.commit()?;
        Ok(0)
    }

    fn fan_out(&self, delivery: &Delivery, payload: &[u8]) -> Result<u64> {
        let Delivery { original, inboxes } = delivery;
        let transaction = self.begin(self.setup.durable)?;
        let mut messages = transaction.open_table(MESSAGES)?;
        messages.insert(key(original.timeline, original.seq), payload)?;
        drop(messages);
        let mut table = transaction.open_table(INBOXES)?;
        for inbox in inboxes {
            table.insert(key(inbox.timeline, inbox.seq), payload)?;
        }
        drop(table);
        transaction.commit()?;
        Ok(0)
    }

    fn put(&self, profiles: &[(u64, &[u8])]) -> Result<()> {
        let transaction = self.begin(self.setup.durable)?;
        let mut table = transaction.open_table(PROFILES)?;
        for (user, profile) in profiles {
            table.insert(*user, *profile)?;
        }
        drop(table);
        Ok(transaction.commit()?)
    }

    fn delete(&self, messages: &[Message]) -> Result<()> {
        let transaction = self.begin(self.setup.durable)?;
        let mut table = transaction.open_table(MESSAGES)?;
        for message in messages {
            table.remove(key(message.timeline, message.seq))?;
        }
        drop(table);
        Ok(transaction.commit()?)
    }

    fn sync(&self) -> Result<()> {
        Ok(self.begin(true)?.commit()?)
    }

    fn read(
        &self,
        table: Table,
        timeline: u64,
        range: Range,
        limit: usize,
        found: &mut Found,
    ) -> Result<()> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(match table {
            Table::Messages => MESSAGES,
            Table::Inboxes => INBOXES,
        })?;
        let from = match range {
            Range::Newest => 0,
            Range::From(seq) => seq,
        };
        let mut entries = table.range(key(timeline, from)..=key(timeline, u64::MAX))?;
        for _ in 0..limit {
            let next = match range {
                Range::Newest => entries.next_back(),
                Range::From(_) => entries.next(),
            };
            let Some(entry) = next else { break };
            let (key, payload) = entry?;
            found.push(seq(key.value()), payload.value());
        }
        Ok(())
    }

    fn get(&self, user: u64, found: &mut Found) -> Result<()> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(PROFILES)?;
        if let Some(profile) = table.get(user)? {
            found.push(0, profile.value());
        }
        Ok(())
    }
}

fn key(timeline: u64, seq: u64) -> u128 {
    u128::from(timeline) << 64 | u128::from(seq)
}

fn seq(key: u128) -> u64 {
    let bytes = key.to_le_bytes();
    u64::from_le_bytes(*bytes.first_chunk().expect("sixteen bytes hold eight"))
}
