//! Stores in memory, whose background work runs on the caller's thread.

use super::inputs::{LIMIT, batches};
use crate::store::key;
use std::sync::Arc;
use tidelog_engine::testing::probes::MemoryDisk;
use tidelog_engine::testing::{SeededEntropy, SimClock, SimScheduler};
use tidelog_engine::{
    Direction, Durability, Engine, Options, Parts, TableId, TableOptions, WriteBatch,
};

const TIME_MS: u64 = 1_700_000_000_000;
const SEED: u64 = 1;

/// An open store with one table.
pub(super) struct Memory {
    pub(super) engine: Engine,
    pub(super) table: TableId,
    disk: MemoryDisk,
}

impl Memory {
    /// An empty one.
    pub(super) fn create() -> Memory {
        let disk = MemoryDisk::default();
        let engine = open(&disk);
        let table = engine.create_table("message", TableOptions::timeline());
        Memory { engine, table: table.expect("a new store has no tables"), disk }
    }

    /// One that has all messages in its memtable and its log.
    pub(super) fn filled() -> Memory {
        let store = Memory::create();
        store.commit(batches(store.table));
        store
    }

    /// Commits batches, unsynced. Gives the number of messages.
    pub(super) fn commit(&self, batches: Vec<WriteBatch>) -> u64 {
        let commit = |batch| self.engine.commit(batch, Durability::Buffered);
        let committed = batches.into_iter().map(commit);
        committed.map(|committed| committed.expect("the commit succeeds").seqs.len() as u64).sum()
    }

    /// Reads some entries of each of these timelines. Gives their count.
    pub(super) fn read(&self, timelines: &[[u8; 8]], from: u64, direction: Direction) -> u64 {
        let limit = usize::try_from(LIMIT).expect("a small number");
        let mut count = 0;
        for timeline in timelines {
            let snapshot = self.engine.snapshot();
            let scan = snapshot
                .scan(self.table, timeline, from, u64::MAX, direction)
                .expect("the timeline can be read");
            for entry in scan.take(limit) {
                count += u64::from(!entry.expect("it can be read").payload.is_empty());
            }
        }
        count
    }

    /// The file as a kill would leave it.
    pub(super) fn image(&self) -> MemoryDisk {
        self.disk.copied()
    }
}

/// Opens what a disk holds.
pub(super) fn open(disk: &MemoryDisk) -> Engine {
    let clock = SimClock::new(TIME_MS);
    let parts = Parts {
        disk: Arc::new(disk.clone()),
        cold: None,
        scheduler: Arc::new(SimScheduler::new(SEED, clock.clone())),
        clock: Arc::new(clock),
        entropy: Arc::new(SeededEntropy::new(SEED)),
        name: "memory.tide".to_owned(),
    };
    let options = Options { ring_bytes: 8 << 20, output_rate: 0, ..Options::default() };
    Engine::open_with(parts, options).expect("a store in memory opens")
}

/// The newest entries of the first timeline, which shows that an opened store can be read.
pub(super) fn newest_seq(engine: &Engine) -> u64 {
    let table = engine.table("message").expect("the table was created").id;
    let snapshot = engine.snapshot();
    let mut scan = snapshot
        .scan(table, &key(0), 1, u64::MAX, Direction::Backward)
        .expect("the timeline can be read");
    scan.next().expect("it has entries").expect("it can be read").seq
}
