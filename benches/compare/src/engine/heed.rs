//! LMDB through heed: a mapped B-tree, one writer at a time; a copy in every inbox.
//!
//! Where commits need not reach the disk, the environment is opened without syncs.
#![expect(unsafe_code, reason = "heed opens a mapped file in the caller's word that it is alone")]

use super::bytes::{key, keys, seq};
use super::{Entry, Found, Peer, Range, Setup, Table};
use crate::Result;
use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions};
use std::ops::Bound;
use std::path::Path;
use tidelog_benches::{Delivery, Message};

const MAP_BYTES: usize = 64 << 30;
const READERS: u32 = 256;

type Entries = Database<'static, Bytes, Bytes>;

/// An open environment with its databases.
pub struct Heed {
    env: Env,
    messages: Entries,
    inboxes: Entries,
    profiles: Entries,
    durable: bool,
}

impl Heed {
    /// Opens or creates the environment.
    pub fn open(directory: &Path, setup: &Setup) -> Result<Heed> {
        let mut options = EnvOpenOptions::new();
        options.map_size(MAP_BYTES).max_dbs(3).max_readers(READERS);
        if !setup.durable {
            // SAFETY: without syncs a loss of power may damage the file; a kill may not, and no run
            // outlives a loss of power.
            unsafe { options.flags(EnvFlags::NO_SYNC) };
        }
        // SAFETY: the folder belongs to this run; nothing else opens or changes the file.
        let env = unsafe { options.open(directory)? };
        let transaction = env.write_txn()?;
        let databases = env.create_databases_and_commit(transaction, |creator, transaction| {
            let mut create = |name| creator.create_database(transaction, Some(name));
            let databases = (create("message")?, create("inbox")?, create("profile")?);
            Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(databases))
        })?;
        let created = databases.commit().ok_or("the databases were not created")?;
        let (messages, inboxes, profiles) = created;
        Ok(Heed { env, messages, inboxes, profiles, durable: setup.durable })
    }
}

impl Peer for Heed {
    fn settings(&self) -> String {
        let syncs = if self.durable { "" } else { ", NO_SYNC" };
        format!("map {} GiB{syncs}", MAP_BYTES >> 30)
    }

    fn append(&self, entries: &[Entry<'_>]) -> Result<u64> {
        let mut transaction = self.env.write_txn()?;
        for entry in entries {
            let key = key(entry.timeline, entry.seq);
            self.messages.put(&mut transaction, &key, entry.payload)?;
        }
        transaction.commit()?;
        Ok(0)
    }

    fn fan_out(&self, delivery: &Delivery, payload: &[u8]) -> Result<u64> {
        let Delivery { original, inboxes } = delivery;
        let mut transaction = self.env.write_txn()?;
        let original = key(original.timeline, original.seq);
        self.messages.put(&mut transaction, &original, payload)?;
        for inbox in inboxes {
            self.inboxes.put(&mut transaction, &key(inbox.timeline, inbox.seq), payload)?;
        }
        transaction.commit()?;
        Ok(0)
    }

    fn put(&self, profiles: &[(u64, &[u8])]) -> Result<()> {
        let mut transaction = self.env.write_txn()?;
        for (user, profile) in profiles {
            self.profiles.put(&mut transaction, &user.to_be_bytes(), profile)?;
        }
        Ok(transaction.commit()?)
    }

    fn delete(&self, messages: &[Message]) -> Result<()> {
        let mut transaction = self.env.write_txn()?;
        for message in messages {
            self.messages.delete(&mut transaction, &key(message.timeline, message.seq))?;
        }
        Ok(transaction.commit()?)
    }

    fn sync(&self) -> Result<()> {
        Ok(self.env.force_sync()?)
    }

    fn read(
        &self,
        table: Table,
        timeline: u64,
        range: Range,
        limit: usize,
        found: &mut Found,
    ) -> Result<()> {
        let transaction = self.env.read_txn()?;
        let database = match table {
            Table::Messages => &self.messages,
            Table::Inboxes => &self.inboxes,
        };
        let mut take = |entry: heed::Result<(&[u8], &[u8])>| -> Result<()> {
            let (key, payload) = entry?;
            found.push(seq(key)?, payload);
            Ok(())
        };
        let (first, last) = match range {
            Range::Newest => keys(timeline, 0),
            Range::From(seq) => keys(timeline, seq),
        }
        .into_inner();
        let bounds = (Bound::Included(&first[..]), Bound::Included(&last[..]));
        match range {
            Range::Newest => {
                database.rev_range(&transaction, &bounds)?.take(limit).try_for_each(&mut take)
            }
            Range::From(_) => {
                database.range(&transaction, &bounds)?.take(limit).try_for_each(&mut take)
            }
        }
    }

    fn get(&self, user: u64, found: &mut Found) -> Result<()> {
        let transaction = self.env.read_txn()?;
        if let Some(profile) = self.profiles.get(&transaction, &user.to_be_bytes())? {
            found.push(0, profile);
        }
        Ok(())
    }
}
