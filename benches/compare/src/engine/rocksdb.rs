//! RocksDB: one key of timeline and seq for each entry, a copy in every inbox.
//!
//! A time to live is that of `DBWithTTL`: compaction drops what has expired, reads may still show
//! it.

use super::bytes::{key, seq};
use super::{Entry, Found, Peer, Range, Setup, Table};
use crate::Result;
use rocksdb::{
    BlockBasedOptions, BoundColumnFamily, Cache, ColumnFamilyDescriptor, ColumnFamilyTtl,
    DBCompressionType, DBWithThreadMode, MultiThreaded, Options, ReadOptions, SliceTransform,
    WriteBatch, WriteOptions,
};
use std::path::Path;
use std::sync::Arc;
use tidelog_benches::{Delivery, Message};

const MEMTABLES: i32 = 4;
const BLOCK_BYTES: usize = 8192;
const BLOOM_BITS: f64 = 10.0;
const NAMES: [&str; 3] = ["message", "inbox", "profile"];

/// An open database.
pub struct Rocksdb {
    database: DBWithThreadMode<MultiThreaded>,
    pipelined: bool,
    setup: Setup,
    jobs: i32,
}

impl Rocksdb {
    /// Opens or creates the database.
    pub fn open(directory: &Path, setup: &Setup, pipelined: bool) -> Result<Rocksdb> {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let jobs = i32::try_from(cores)?.max(2);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_enable_pipelined_write(pipelined);
        options.set_max_background_jobs(jobs);
        let cache = Cache::new_lru_cache(usize::try_from(setup.cache_bytes())?);
        let mut families = Vec::new();
        for name in NAMES {
            let ttl = match setup.ttl {
                Some(ttl) if name == "message" => ColumnFamilyTtl::Duration(ttl),
                _ => ColumnFamilyTtl::Disabled,
            };
            let options = family(setup, &cache)?;
            families.push(ColumnFamilyDescriptor::new_with_ttl(name, options, ttl));
        }
        let database = match setup.ttl {
            None => DBWithThreadMode::open_cf_descriptors(&options, directory, families)?,
            Some(ttl) => {
                DBWithThreadMode::open_cf_descriptors_with_ttl(&options, directory, families, ttl)?
            }
        };
        Ok(Rocksdb { database, pipelined, setup: *setup, jobs })
    }

    fn family(&self, name: &str) -> Result<Arc<BoundColumnFamily<'_>>> {
        Ok(self.database.cf_handle(name).ok_or("a column family is missing")?)
    }

    fn write(&self, batch: WriteBatch) -> Result<()> {
        let mut options = WriteOptions::default();
        options.set_sync(self.setup.durable);
        Ok(self.database.write_opt(batch, &options)?)
    }
}

/// Options of a column family.
fn family(setup: &Setup, cache: &Cache) -> Result<Options> {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_block_size(BLOCK_BYTES);
    blocks.set_bloom_filter(BLOOM_BITS, false);
    blocks.set_whole_key_filtering(false);
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_prefix_extractor(SliceTransform::create_fixed_prefix(8));
    options.set_write_buffer_size(usize::try_from(setup.memtable_bytes())?);
    options.set_max_write_buffer_number(MEMTABLES);
    Ok(options)
}

impl Peer for Rocksdb {
    fn settings(&self) -> String {
        format!(
            "lz4, prefix of 8 bytes with bloom filter, {MEMTABLES} memtables of {} MiB, blocks {} \
             KiB, LRU cache {} MiB, {} background jobs{}",
            self.setup.memtable_bytes() >> 20,
            BLOCK_BYTES >> 10,
            self.setup.cache_bytes() >> 20,
            self.jobs,
            if self.pipelined { ", pipelined write" } else { "" },
        )
    }

    fn append(&self, entries: &[Entry<'_>]) -> Result<u64> {
        let messages = self.family("message")?;
        let mut batch = WriteBatch::default();
        for entry in entries {
            batch.put_cf(&messages, key(entry.timeline, entry.seq), entry.payload);
        }
        self.write(batch)?;
        Ok(0)
    }

    fn fan_out(&self, delivery: &Delivery, payload: &[u8]) -> Result<u64> {
        let Delivery { original, inboxes } = delivery;
        let mut batch = WriteBatch::default();
        batch.put_cf(&self.family("message")?, key(original.timeline, original.seq), payload);
        let family = self.family("inbox")?;
        for inbox in inboxes {
            batch.put_cf(&family, key(inbox.timeline, inbox.seq), payload);
        }
        self.write(batch)?;
        Ok(0)
    }

    fn put(&self, profiles: &[(u64, &[u8])]) -> Result<()> {
        let family = self.family("profile")?;
        let mut batch = WriteBatch::default();
        for (user, profile) in profiles {
            batch.put_cf(&family, user.to_be_bytes(), profile);
        }
        self.write(batch)
    }

    fn delete(&self, messages: &[Message]) -> Result<()> {
        let family = self.family("message")?;
        let mut batch = WriteBatch::default();
        for message in messages {
            batch.delete_cf(&family, key(message.timeline, message.seq));
        }
        self.write(batch)
    }

    fn sync(&self) -> Result<()> {
        Ok(self.database.flush_wal(true)?)
    }

    fn read(
        &self,
        table: Table,
        timeline: u64,
        range: Range,
        limit: usize,
        found: &mut Found,
    ) -> Result<()> {
        let family = self.family(match table {
            Table::Messages => "message",
            Table::Inboxes => "inbox",
        })?;
        let mut options = ReadOptions::default();
        options.set_prefix_same_as_start(true);
        let mut entries = self.database.raw_iterator_cf_opt(&family, options);
        match range {
            Range::Newest => entries.seek_for_prev(key(timeline, u64::MAX)),
            Range::From(seq) => entries.seek(key(timeline, seq)),
        }
        for _ in 0..limit {
            let Some((key, payload)) = entries.item() else { break };
            found.push(seq(key)?, payload);
            match range {
                Range::Newest => entries.prev(),
                Range::From(_) => entries.next(),
            }
        }
        Ok(entries.status()?)
    }

    fn get(&self, user: u64, found: &mut Found) -> Result<()> {
        if let Some(profile) =
            self.database.get_pinned_cf(&self.family("profile")?, user.to_be_bytes())?
        {
            found.push(0, &profile);
        }
        Ok(())
    }
}
