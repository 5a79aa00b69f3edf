//! [`MemoryBackend`]: a store in memory, complete and forgetful, for tests and for caches.
//!
//! Every commit is applied under one write lock: check all, then change. Entries and values carry
//! their commit number, and a snapshot is a commit number: it shows what is not above it.
//!
//! # Invariants
//! 1. The entries of a timeline ascend by sequence id, commit number and time.
//! 2. `forgotten` of a timeline is the highest sequence id that was dropped, and everything dropped
//!    was committed at or before the oldest snapshot: so `latest_seq` is right for every snapshot.
//! 3. Of a key's versions, those are kept which the oldest snapshot, or a later one, may see.
//!
//! # Concurrency
//! One readers-writer lock over everything. Snapshots register in it, and deregister when dropped.

mod amendments;
mod commit;
mod marks;
mod snapshot;
mod state;
#[cfg(test)]
mod tests;

use super::{Backend, BackendSnapshot, Batch, CommitFuture, Committed, TableDescription};
use crate::error::{Error, ErrorKind, Result};
use crate::sync::RwLock;
use snapshot::MemorySnapshot;
use state::{Key, State};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tidelog_engine::{Durability, TableId, TableOptions, limits};

/// Wall time in milliseconds since 1970.
type Clock = Box<dyn Fn() -> u64 + Send + Sync>;

/// A store in memory. Nothing survives the process, whatever durability is asked for.
///
/// ```
/// use std::sync::Arc;
/// use tidelog::{MemoryBackend, Store};
/// let store = Store::with_backend(Arc::new(MemoryBackend::new()))?;
/// let inbox = store.table::<String>("sync").create()?;
/// assert_eq!(inbox.timeline("alice")?.store(&"hello".to_string())?.seq, 1);
/// # Ok::<(), tidelog::Error>(())
/// ```
#[derive(Clone)]
pub struct MemoryBackend {
    shared: Arc<Shared>,
}

struct Shared {
    state: RwLock<State>,
    clock: Clock,
}

impl Default for MemoryBackend {
    fn default() -> MemoryBackend {
        MemoryBackend::new()
    }
}

impl MemoryBackend {
    /// An empty store.
    pub fn new() -> MemoryBackend {
        MemoryBackend::with_clock(system_ms)
    }

    /// An empty store with a clock of the caller's, in milliseconds since 1970: for tests of times.
    /// Where the clock falls, the store's time stands still.
    pub fn with_clock(clock: impl Fn() -> u64 + Send + Sync + 'static) -> MemoryBackend {
        let shared = Shared { state: RwLock::default(), clock: Box::new(clock) };
        MemoryBackend { shared: Arc::new(shared) }
    }
}

#[expect(clippy::disallowed_methods, reason = "the clock of this backend; tests pass their own")]
fn system_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Shared {
    /// The time now, which never falls.
    fn now(&self, state: &State) -> u64 {
        (self.clock)().max(state.time_ms)
    }
}

impl Backend for MemoryBackend {
    fn create_table(&self, name: &str, options: &TableOptions) -> Result<TableId> {
        if name.is_empty() {
            return Err(Error::invalid("an empty table name"));
        }
        if name.len() > limits::TABLE_NAME_LENGTH_MAX {
            let limit = limits::TABLE_NAME_LENGTH_MAX;
            return Err(Error::too_large("table name bytes", name.len(), limit));
        }
        let mut state = self.shared.state.write();
        state.check_open()?;
        options.validate()?;
        if state.tables.values().any(|table| table.name == name) {
            let text = format!("exists already: table {name}");
            return Err(Error::new(ErrorKind::AlreadyExists, text));
        }
        if state.tables.len() >= limits::TABLE_COUNT_MAX {
            let limit = limits::TABLE_COUNT_MAX;
            return Err(Error::too_large("table count", state.tables.len() + 1, limit));
        }
        let id = TableId(state::TABLE_FIRST + state.created);
        state.created += 1;
        state.tables.insert(id, TableDescription::new(id, name, options.clone()));
        Ok(id)
    }

    fn alter_table(&self, table: TableId, options: &TableOptions) -> Result<()> {
        let mut state = self.shared.state.write();
        state.check_open()?;
        let now = self.shared.now(&state);
        state.alter(table, options, now)
    }

    fn drop_table(&self, table: TableId) -> Result<()> {
        let mut state = self.shared.state.write();
        state.check_open()?;
        if state.tables.remove(&table).is_none() {
            return Err(state::not_found(table));
        }
        state.gone.remove(&table);
        let of_table = |key: &&Key| key.0 == table;
        let timelines: Vec<Key> = state.timelines.keys().filter(of_table).cloned().collect();
        for key in timelines {
            commit::drop_front(&mut state, &key, |_| true);
            state.timelines.remove(&key);
        }
        state.keyed.retain(|(of, _), _| *of != table);
        Ok(())
    }

    fn table(&self, name: &str) -> Result<Option<TableDescription>> {
        let state = self.shared.state.read();
        Ok(state.tables.values().find(|table| table.name == name).cloned())
    }

    fn tables(&self) -> Result<Vec<TableDescription>> {
        let mut tables: Vec<_> = self.shared.state.read().tables.values().cloned().collect();
        tables.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(tables)
    }

    fn commit(&self, batch: Batch, _durability: Durability) -> Result<Committed> {
        let mut state = self.shared.state.write();
        let now = self.shared.now(&state);
        commit::commit(&mut state, batch, now)
    }

    fn commit_async(&self, batch: Batch, durability: Durability) -> CommitFuture {
        let result = self.commit(batch, durability);
        Box::pin(std::future::ready(result))
    }

    fn snapshot(&self) -> Result<Arc<dyn BackendSnapshot>> {
        Ok(Arc::new(MemorySnapshot::new(Arc::clone(&self.shared))))
    }

    fn reads_block(&self) -> bool {
        false
    }

    fn batch_bytes_max(&self) -> usize {
        limits::BATCH_BYTES_MAX
    }

    fn sync(&self) -> Result<()> {
        self.shared.state.read().check_open()
    }

    fn close(&self) -> Result<()> {
        self.shared.state.write().closed = true;
        Ok(())
    }
}
