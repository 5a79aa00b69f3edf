//! [`EmbeddedBackend`]: the engine in this process, one file. The default.
//!
//! Only translation: batches become the engine's, iterators become pages. The engine keeps the
//! promises.

use super::{
    Amendment, Backend, BackendSnapshot, Batch, BatchMessage, CommitFuture, Committed, Direction,
    ItemPage, KeyValue, MarkChange, Page, ScanRequest, TableDescription, Target,
    TimelineDescription, TimelineMark,
};
use crate::error::{Error, Result};
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use tidelog_engine::{
    AppendOptions, Durability, Engine, Entry, KeyedOperation, Options, Payload, Scrub,
    ScrubOptions, TableId, TableInfo, TableOptions, WriteBatch,
};

/// A store in one file, by the embedded engine. Its clones share the engine.
#[derive(Clone)]
pub struct EmbeddedBackend {
    engine: Engine,
    batch_bytes_max: usize,
}

impl EmbeddedBackend {
    /// Opens the store at `path`; creates it where the options say so.
    ///
    /// # Errors
    /// [`Locked`](crate::ErrorKind::Locked) while another process writes it,
    /// [`Corruption`](crate::ErrorKind::Corruption),
    /// [`Unsupported`](crate::ErrorKind::Unsupported),
    /// [`InvalidUse`](crate::ErrorKind::InvalidUse) for options out of bounds, and those of the
    /// disk.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<EmbeddedBackend> {
        let batch_bytes_max = options.batch_bytes_max();
        Ok(EmbeddedBackend { engine: Engine::open(path, options)?, batch_bytes_max })
    }

    /// A backend over an engine that is open already.
    pub fn new(engine: Engine) -> EmbeddedBackend {
        let batch_bytes_max = tidelog_engine::limits::BATCH_BYTES_MAX;
        EmbeddedBackend { engine, batch_bytes_max }
    }

    /// The engine: for its counters, compaction and flush.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }
}

impl Backend for EmbeddedBackend {
    fn create_table(&self, name: &str, options: &TableOptions) -> Result<TableId> {
        Ok(self.engine.create_table(name, options.clone())?)
    }

    fn alter_table(&self, table: TableId, options: &TableOptions) -> Result<()> {
        Ok(self.engine.alter_table(table, options.clone())?)
    }

    fn drop_table(&self, table: TableId) -> Result<()> {
        Ok(self.engine.drop_table(table)?)
    }

    fn table(&self, name: &str) -> Result<Option<TableDescription>> {
        Ok(self.engine.table(name).map(description))
    }

    fn tables(&self) -> Result<Vec<TableDescription>> {
        let mut tables: Vec<_> = self.engine.tables().into_iter().map(description).collect();
        tables.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(tables)
    }

    fn commit(&self, batch: Batch, durability: Durability) -> Result<Committed> {
        Ok(committed(self.engine.commit(write_batch(&batch)?, durability)?))
    }

    fn commit_async(&self, batch: Batch, durability: Durability) -> CommitFuture {
        match write_batch(&batch) {
            Err(error) => Box::pin(std::future::ready(Err(error))),
            Ok(batch) => {
                // The engine queues the batch here, not at the first poll.
                let future = self.engine.commit_async(batch, durability);
                Box::pin(async move { Ok(committed(future.await?)) })
            }
        }
    }

    fn snapshot(&self) -> Result<Arc<dyn BackendSnapshot>> {
        Ok(Arc::new(EmbeddedSnapshot(self.engine.snapshot())))
    }

    fn reads_block(&self) -> bool {
        true
    }

    fn batch_bytes_max(&self) -> usize {
        self.batch_bytes_max
    }

    fn sync(&self) -> Result<()> {
        Ok(self.engine.sync()?)
    }

    fn scrub(&self, options: ScrubOptions) -> Result<Scrub> {
        Ok(self.engine.scrub(options)?)
    }

    fn close(&self) -> Result<()> {
        Ok(self.engine.close()?)
    }
}

fn description(table: TableInfo) -> TableDescription {
    TableDescription::new(table.id, table.name, table.options)
}

fn committed(committed: tidelog_engine::Committed) -> Committed {
    Committed::new(committed.commit, committed.time_ms, committed.seqs)
}

fn write_batch(batch: &Batch) -> Result<WriteBatch> {
    let mut writes = WriteBatch::new();
    let mut marks = batch.marks.iter().peekable();
    for (index, message) in batch.messages.iter().enumerate() {
        while let Some(mark) = marks.next_if(|mark| mark.after <= index) {
            add_mark(&mut writes, mark)?;
        }
        add_message(&mut writes, message)?;
    }
    for mark in marks {
        add_mark(&mut writes, mark)?;
    }
    for write in &batch.keyed {
        let counter = || {
            let value = write.value.as_slice().try_into();
            value.map(i64::from_le_bytes).map_err(|_| Error::invalid("a counter has 8 bytes"))
        };
        match write.operation {
            KeyedOperation::Put => writes.put(write.table, &write.key, &write.value)?,
            KeyedOperation::Delete => writes.delete(write.table, &write.key)?,
            KeyedOperation::Add => writes.add(write.table, &write.key, counter()?)?,
            KeyedOperation::Max => writes.max(write.table, &write.key, counter()?)?,
            KeyedOperation::Mark => return Err(Error::invalid("marks are not written by key")),
        }
    }
    for amendment in &batch.amendments {
        let Amendment { table, key, seq, payload } = amendment;
        match payload {
            Some(payload) => writes.amend(*table, key, *seq, payload)?,
            None => writes.retract(*table, key, *seq)?,
        }
    }
    for precondition in &batch.preconditions {
        writes.require(precondition.clone());
    }
    Ok(writes)
}

fn add_message(writes: &mut WriteBatch, message: &BatchMessage) -> Result<()> {
    let BatchMessage { payload, event_ms, ttl, origin, first_is_origin, targets } = message;
    let options = AppendOptions {
        event_ms: *event_ms,
        ttl: *ttl,
        origin: origin.as_ref(),
        first_is_origin: *first_is_origin && targets.len() > 1,
    };
    if let [Target { table, key, seq: Some(seq) }] = targets.as_slice() {
        return Ok(writes.append_at_with(*table, key, *seq, payload, &options)?);
    }
    if targets.iter().any(|target| target.seq.is_some()) {
        return Err(Error::invalid("a message with a given sequence id has one target"));
    }
    let targets = targets.iter().map(|target| (target.table, &*target.key));
    Ok(writes.append_with(targets, payload, &options)?)
}

fn add_mark(writes: &mut WriteBatch, mark: &TimelineMark) -> Result<()> {
    let (table, key) = (mark.target.table, &*mark.target.key);
    match mark.change {
        MarkChange::TrimBefore(seq) => writes.trim(table, key, seq)?,
        MarkChange::DeleteRange(from, to) => writes.delete_range(table, key, from..=to)?,
        MarkChange::DeleteAll => writes.delete_timeline(table, key)?,
        MarkChange::TimeToLive(ttl) => writes.set_timeline_ttl(table, key, ttl)?,
        MarkChange::KeepLast(count) => writes.set_keep_last(table, key, count)?,
    }
    Ok(())
}

struct EmbeddedSnapshot(tidelog_engine::Snapshot);

fn bounds(request: &ScanRequest) -> (u64, u64, tidelog_engine::Direction) {
    match request.direction {
        Direction::Forward => (request.from, request.to, tidelog_engine::Direction::Forward),
        Direction::Backward => (request.to, request.from, tidelog_engine::Direction::Backward),
    }
}

impl BackendSnapshot for EmbeddedSnapshot {
    fn commit(&self) -> u64 {
        self.0.commit()
    }

    fn get(&self, table: TableId, key: &[u8], seq: u64) -> Result<Option<Entry>> {
        Ok(self.0.get(table, key, seq)?)
    }

    fn versions(&self, table: TableId, key: &[u8], seq: u64) -> Result<Vec<Entry>> {
        Ok(self.0.versions(table, key, seq)?)
    }

    fn latest(&self, table: TableId, key: &[u8]) -> Result<Option<Entry>> {
        Ok(self.0.latest(table, key)?)
    }

    fn latest_seq(&self, table: TableId, key: &[u8]) -> Result<u64> {
        Ok(self.0.latest_seq(table, key)?)
    }

    fn len(&self, table: TableId, key: &[u8]) -> Result<u64> {
        Ok(self.0.len(table, key)?)
    }

    fn scan(&self, table: TableId, key: &[u8], request: &ScanRequest) -> Result<Page> {
        let (low, high, direction) = bounds(request);
        let entries = self.0.scan(table, key, low, high, direction)?;
        Page::fill(entries.map(|entry| Ok(entry?)), request)
    }

    fn scan_items(&self, table: TableId, key: &[u8], request: &ScanRequest) -> Result<ItemPage> {
        let (low, high, direction) = bounds(request);
        let items = self.0.scan_items(table, key, low, high, direction)?;
        ItemPage::fill(items.map(|item| Ok(item?)), request)
    }

    fn value(&self, table: TableId, key: &[u8]) -> Result<Option<Payload>> {
        Ok(self.0.value(table, key)?)
    }

    fn values(
        &self,
        table: TableId,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        limit: usize,
    ) -> Result<Vec<KeyValue>> {
        let values = self.0.values(table, from, to)?.take(limit);
        values.map(|value| Ok(value?)).collect()
    }

    fn timelines(
        &self,
        table: TableId,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<TimelineDescription>> {
        let timelines = self.0.timelines(table, prefix, after)?.take(limit);
        timelines
            .map(|timeline| {
                let timeline = timeline?;
                Ok(TimelineDescription { key: timeline.key, latest_seq: timeline.latest_seq })
            })
            .collect()
    }
}
