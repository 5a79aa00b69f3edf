//! fjall: one key of timeline and seq for each entry, a copy in every inbox.
//!
//! fjall has no time to live, but filters for compaction: with one, every message ends in the time
//! of its commit, a filter drops what has expired, and reads skip what is not dropped yet.

use super::bytes::{key, keys, seq};
use super::{Entry, Found, Peer, Range, Setup, Table};
use crate::Result;
use fjall::compaction::filter::{CompactionFilter, CompactionFilterResult, Context};
use fjall::compaction::filter::{Factory, ItemAccessor, Verdict};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tidelog_benches::{Delivery, Message};

const TIME_BYTES: usize = 8;

/// An open database.
pub struct Fjall {
    database: Database,
    messages: Keyspace,
    inboxes: Keyspace,
    profiles: Keyspace,
    setup: Setup,
}

impl Fjall {
    /// Opens or creates the database.
    pub fn open(directory: &Path, setup: &Setup) -> Result<Fjall> {
        let mut builder = Database::builder(directory).cache_size(setup.cache_bytes());
        if let Some(ttl) = setup.ttl {
            builder = builder.with_compaction_filter_factories(Arc::new(move |keyspace| {
                (keyspace == "message").then(|| Arc::new(Expiry { ttl }) as Arc<dyn Factory>)
            }));
        }
        let database = builder.open()?;
        let memtable = setup.memtable_bytes();
        let options = || KeyspaceCreateOptions::default().max_memtable_size(memtable);
        let messages = database.keyspace("message", options)?;
        let inboxes = database.keyspace("inbox", options)?;
        let profiles = database.keyspace("profile", options)?;
        Ok(Fjall { database, messages, inboxes, profiles, setup: *setup })
    }

    fn batch(&self) -> OwnedWriteBatch {
        let durability = self.setup.durable.then_some(PersistMode::SyncData);
        self.database.batch().durability(durability)
    }
}

impl Peer for Fjall {
    fn settings(&self) -> String {
        let cache = self.setup.cache_bytes() >> 20;
        format!("cache {cache} MiB, memtable {} MiB", self.setup.memtable_bytes() >> 20)
    }

    fn append(&self, entries: &[Entry<'_>]) -> Result<u64> {
        let mut batch = self.batch();
        let time = now_ms().to_be_bytes();
        for entry in entries {
            let key = key(entry.timeline, entry.seq);
            match self.setup.ttl {
                None => batch.insert(&self.messages, key, entry.payload),
                Some(_) => batch.insert(&self.messages, key, [entry.payload, &time].concat()),
            }
        }
        batch.commit()?;
        Ok(0)
    }

    fn fan_out(&self, delivery: &Delivery, payload: &[u8]) -> Result<u64> {
        let Delivery { original, inboxes } = delivery;
        let mut batch = self.batch();
        batch.insert(&self.messages, key(original.timeline, original.seq), payload);
        for inbox in inboxes {
            batch.insert(&self.inboxes, key(inbox.timeline, inbox.seq), payload);
        }
        batch.commit()?;
        Ok(0)
    }

    fn put(&self, profiles: &[(u64, &[u8])]) -> Result<()> {
        let mut batch = self.batch();
        for (user, profile) in profiles {
            batch.insert(&self.profiles, user.to_be_bytes(), *profile);
        }
        Ok(batch.commit()?)
    }

    fn delete(&self, messages: &[Message]) -> Result<()> {
        let mut batch = self.batch();
        for message in messages {
            batch.remove(&self.messages, key(message.timeline, message.seq));
        }
        Ok(batch.commit()?)
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
        let (keyspace, ttl) = match table {
            Table::Messages => (&self.messages, self.setup.ttl),
            Table::Inboxes => (&self.inboxes, None),
        };
        let mut take = |guard: fjall::Guard| -> Result<()> {
            let (key, payload) = guard.into_inner()?;
            match ttl {
                None => found.push(seq(&key)?, &payload),
                Some(ttl) if is_expired(&payload, ttl)? => {}
                Some(_) => found.push(seq(&key)?, &payload[..payload.len() - TIME_BYTES]),
            }
            Ok(())
        };
        match range {
            Range::Newest => {
                keyspace.range(keys(timeline, 0)).rev().take(limit).try_for_each(&mut take)
            }
            Range::From(seq) => {
                keyspace.range(keys(timeline, seq)).take(limit).try_for_each(&mut take)
            }
        }
    }

    fn get(&self, user: u64, found: &mut Found) -> Result<()> {
        if let Some(profile) = self.profiles.get(user.to_be_bytes())? {
            found.push(0, &profile);
        }
        Ok(())
    }
}

/// Makes the filters that drop what has expired.
struct Expiry {
    ttl: Duration,
}

impl Factory for Expiry {
    fn name(&self) -> &str {
        "expiry"
    }

    fn make_filter(&self, _: &Context) -> Box<dyn CompactionFilter> {
        Box::new(Expiry { ttl: self.ttl })
    }
}

impl CompactionFilter for Expiry {
    fn filter_item(&mut self, item: ItemAccessor<'_>, _: &Context) -> CompactionFilterResult {
        let value = item.value()?;
        // Keys are written once, so nothing older can come to light under a dropped one.
        Ok(match is_expired(&value, self.ttl) {
            Ok(true) => Verdict::Destroy,
            Ok(false) | Err(_) => Verdict::Keep,
        })
    }
}

/// Whether the time at the end of a value is over.
fn is_expired(value: &[u8], ttl: Duration) -> Result<bool> {
    let time: &[u8; TIME_BYTES] = value.last_chunk().ok_or("a message without a time")?;
    let age_ms = now_ms().saturating_sub(u64::from_be_bytes(*time));
    Ok(u128::from(age_ms) > ttl.as_millis())
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
