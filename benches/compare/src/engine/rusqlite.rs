//! SQLite through rusqlite: tables without row ids, a log beside the file; a copy in every inbox.
//!
//! SQLite has one writer at a time and its connections retry rather than queue, so that threads do
//! best by sharing one.

use super::{Entry, Found, Peer, Range, Setup, Table};
use crate::Result;
use rusqlite::{Connection, Rows, params};
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use tidelog_benches::{Delivery, Message};

const PAGE_BYTES: i64 = 8192;
const INSERT_MESSAGE: &str = "INSERT INTO message VALUES (?1, ?2, ?3)";
const INSERT_INBOX: &str = "INSERT INTO inbox VALUES (?1, ?2, ?3)";

/// An open database.
pub struct Rusqlite {
    connection: Mutex<Connection>,
    setup: Setup,
}

impl Rusqlite {
    /// Opens or creates the database.
    pub fn open(directory: &Path, setup: &Setup) -> Result<Rusqlite> {
        let connection = Connection::open(directory.join("compare.sqlite"))?;
        connection.pragma_update(None, "page_size", PAGE_BYTES)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        let cache_kib = i64::try_from(setup.cache_bytes() >> 10)?;
        // Below zero it counts KiB, above it pages.
        connection.pragma_update(None, "cache_size", -cache_kib)?;
        connection.pragma_update(None, "synchronous", synchronous(setup.durable))?;
        for table in ["message", "inbox"] {
            connection.execute_batch(&format!(
                "CREATE TABLE IF NOT EXISTS {table} (timeline INTEGER, seq INTEGER, payload BLOB,
                 PRIMARY KEY (timeline, seq)) WITHOUT ROWID"
            ))?;
        }
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS profile (user INTEGER PRIMARY KEY, profile BLOB);
             CREATE TABLE IF NOT EXISTS sync (id INTEGER PRIMARY KEY, count INTEGER)",
        )?;
        Ok(Rusqlite { connection: Mutex::new(connection), setup: *setup })
    }

    fn lock(&self) -> Result<MutexGuard<'_, Connection>> {
        self.connection.lock().map_err(|_| "a thread has panicked".into())
    }
}

impl Peer for Rusqlite {
    fn settings(&self) -> String {
        format!(
            "WAL, WITHOUT ROWID, pages {} KiB, cache {} MiB, synchronous {}, {}, one connection",
            PAGE_BYTES >> 10,
            self.setup.cache_bytes() >> 20,
            synchronous(self.setup.durable),
            // As it was given to the build of SQLite, see `.cargo/config.toml`.
            match option_env!("LIBSQLITE3_FLAGS") {
                Some("-DHAVE_FDATASYNC=1") => "fdatasync",
                _ => "fsync (built outside of benches/compare)",
            },
        )
    }

    fn append(&self, entries: &[Entry<'_>]) -> Result<u64> {
        let mut connection = self.lock()?;
        let transaction = connection.transaction()?;
        let mut insert = transaction.prepare_cached(INSERT_MESSAGE)?;
        for entry in entries {
            let (timeline, seq) = numbers(entry.timeline, entry.seq)?;
            insert.execute(params![timeline, seq, entry.payload])?;
        }
        drop(insert);
        transaction.commit()?;
        Ok(0)
    }

    fn fan_out(&self, delivery: &Delivery, payload: &[u8]) -> Result<u64> {
        let Delivery { original, inboxes } = delivery;
        let mut connection = self.lock()?;
        let transaction = connection.transaction()?;
        let (timeline, seq) = numbers(original.timeline, original.seq)?;
        transaction.prepare_cached(INSERT_MESSAGE)?.execute(params![timeline, seq, payload])?;
        let mut insert = transaction.prepare_cached(INSERT_INBOX)?;
        for inbox in inboxes {
            let (timeline, seq) = numbers(inbox.timeline, inbox.seq)?;
            insert.execute(params![timeline, seq, payload])?;
        }
        drop(insert);
        transaction.commit()?;
        Ok(0)
    }

    fn put(&self, profiles: &[(u64, &[u8])]) -> Result<()> {
        let mut connection = self.lock()?;
        let transaction = connection.transaction()?;
        let mut replace = transaction.prepare_cached("REPLACE INTO profile VALUES (?1, ?2)")?;
        for (user, profile) in profiles {
            replace.execute(params![i64::try_from(*user)?, profile])?;
        }
        drop(replace);
        Ok(transaction.commit()?)
    }

    fn delete(&self, messages: &[Message]) -> Result<()> {
        let mut connection = self.lock()?;
        let transaction = connection.transaction()?;
        let delete = "DELETE FROM message WHERE timeline = ?1 AND seq = ?2";
        let mut delete = transaction.prepare_cached(delete)?;
        for message in messages {
            delete.execute(numbers(message.timeline, message.seq)?)?;
        }
        drop(delete);
        Ok(transaction.commit()?)
    }

    /// A commit that reaches the disk takes the log before it along.
    fn sync(&self) -> Result<()> {
        let connection = self.lock()?;
        connection.pragma_update(None, "synchronous", synchronous(true))?;
        connection.execute("REPLACE INTO sync VALUES (1, 1)", [])?;
        Ok(connection.pragma_update(None, "synchronous", synchronous(self.setup.durable))?)
    }

    fn read(
        &self,
        table: Table,
        timeline: u64,
        range: Range,
        limit: usize,
        found: &mut Found,
    ) -> Result<()> {
        let connection = self.lock()?;
        let mut select = connection.prepare_cached(match (table, range) {
            (Table::Messages, Range::Newest) => {
                "SELECT seq, payload FROM message WHERE timeline = ?1 AND seq >= ?2
                 ORDER BY seq DESC LIMIT ?3"
            }
            (Table::Messages, Range::From(_)) => {
                "SELECT seq, payload FROM message WHERE timeline = ?1 AND seq >= ?2
                 ORDER BY seq LIMIT ?3"
            }
            (Table::Inboxes, Range::Newest) => {
                "SELECT seq, payload FROM inbox WHERE timeline = ?1 AND seq >= ?2
                 ORDER BY seq DESC LIMIT ?3"
            }
            (Table::Inboxes, Range::From(_)) => {
                "SELECT seq, payload FROM inbox WHERE timeline = ?1 AND seq >= ?2
                 ORDER BY seq LIMIT ?3"
            }
        })?;
        let from = match range {
            Range::Newest => 0,
            Range::From(seq) => seq,
        };
        let (timeline, from) = numbers(timeline, from)?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        take(select.query(params![timeline, from, limit])?, found)
    }

    fn get(&self, user: u64, found: &mut Found) -> Result<()> {
        let connection = self.lock()?;
        let select = "SELECT 0, profile FROM profile WHERE user = ?1";
        let mut select = connection.prepare_cached(select)?;
        take(select.query([i64::try_from(user)?])?, found)
    }
}

fn take(mut rows: Rows<'_>, found: &mut Found) -> Result<()> {
    while let Some(row) = rows.next()? {
        let seq: i64 = row.get(0)?;
        found.push(u64::try_from(seq)?, row.get_ref(1)?.as_blob()?);
    }
    Ok(())
}

fn synchronous(durable: bool) -> &'static str {
    if durable { "FULL" } else { "NORMAL" }
}

fn numbers(timeline: u64, seq: u64) -> Result<(i64, i64)> {
    Ok((i64::try_from(timeline)?, i64::try_from(seq)?))
}
