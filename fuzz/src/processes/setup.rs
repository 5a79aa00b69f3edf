//! The store of one file: its options, its tables, who writes to it. All of it drawn from the seed.

use super::timeline::TABLES;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tidelog_engine::testing::Random;
use tidelog_engine::{
    Compression, Durability, Engine, Error, Options, ReadMode, TableId, TableOptions,
    UnsyncedCommits,
};

/// Operations of an asynchronous writer that wait at the same time.
pub(super) const ASYNC_WINDOW: u64 = 8;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    pub(super) seed: u64,
    pub(super) path: PathBuf,
    pub(super) options: Options,
    /// Threads that commit; the last one of them asynchronously.
    pub(super) writers: u8,
    /// What operations ask for that do not say it themselves.
    pub(super) durability: Option<Durability>,
    compression: Compression,
    cold_after: Duration,
}

impl Setup {
    /// The store of a seed, in a folder.
    pub(super) fn new(seed: u64, folder: &Path) -> Setup {
        let mut random = Random::new(seed ^ 0x6b69_6c6c);
        let read_mode = [ReadMode::Map, ReadMode::Map, ReadMode::Read][random.index(3)];
        let cold = random.chance(1, 2);
        let options = Options {
            ring_bytes: [256, 256, 512, 1024][random.index(4)] * 1024,
            memtable_bytes: [16, 32, 64, 256][random.index(4)] * 1024,
            sstable_bytes: [16, 32, 64][random.index(3)] * 1024,
            memory_budget: [1, 2, 8][random.index(3)] << 20,
            output_rate: 0,
            read_mode,
            unsynced_commits: [
                UnsyncedCommits::Cached,
                UnsyncedCommits::Mapped,
                UnsyncedCommits::Direct,
            ][random.index(3)],
            cold_file: cold.then(|| folder.join(format!("kill-{seed}.cold"))),
            ..Options::default()
        };
        let durability = match random.below(5) {
            0 => Some(Durability::Sync),
            1 => Some(Durability::Buffered),
            _ => None,
        };
        Setup {
            seed,
            path: folder.join(format!("kill-{seed}.tide")),
            options,
            writers: 2 + u8::try_from(random.below(3)).expect("it is below 3"),
            durability,
            compression: [Compression::None, Compression::Lz4][random.index(2)],
            cold_after: Duration::from_millis([20, 100, 400][random.index(3)]),
        }
    }

    /// The files of the store, that of the cold tier last.
    pub(super) fn files(&self) -> Vec<&Path> {
        let cold = self.options.cold_file.as_deref();
        std::iter::once(self.path.as_path()).chain(cold).collect()
    }

    /// Whether this writer commits asynchronously.
    pub(super) fn is_async(&self, writer: u8) -> bool {
        writer + 1 == self.writers
    }

    /// Operations of a writer that may wait for their acknowledgement at the same time.
    pub(super) fn window(&self, writer: u8) -> u64 {
        if self.is_async(writer) { ASYNC_WINDOW } else { 1 }
    }

    /// The tables of the open store, created where they are missing.
    pub(super) fn create_tables(&self, engine: &Engine) -> Result<[TableId; 3], Error> {
        let plain = TableOptions { compression: self.compression, ..TableOptions::timeline() };
        let tiered = plain.clone().cold_after(self.cold_after);
        let create = |index: usize, options| match engine.table(TABLES[index]) {
            Some(table) => Ok(table.id),
            None => engine.create_table(TABLES[index], options),
        };
        Ok([create(0, plain)?, create(1, tiered)?, create(2, TableOptions::keyed())?])
    }

    /// The tables, if all are there.
    pub(super) fn find_tables(engine: &Engine) -> Option<[TableId; 3]> {
        let find = |index: usize| engine.table(TABLES[index]).map(|table| table.id);
        Some([find(0)?, find(1)?, find(2)?])
    }
}
