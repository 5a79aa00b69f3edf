//! The folder of a run, the options of its store, and opening it.

use crate::Result;
use crate::arguments::Common;
use crate::clock::JumpingClock;
use crate::report::{Report, note};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use tidelog_engine::inspect::Inspector;
use tidelog_engine::{Engine, Options, Parts};

/// Where a store lies and how it is opened.
pub(crate) struct Stage {
    folder: TempDir,
    pub(crate) options: Options,
}

impl Stage {
    /// A folder, and the options that the command line asks for.
    pub(crate) fn new(common: &Common, base: Options) -> Result<Stage> {
        let parent = common.directory.clone().unwrap_or_else(std::env::temp_dir);
        std::fs::create_dir_all(&parent)?;
        Ok(Stage { folder: TempDir::new_in(parent)?, options: asked_options(common, base) })
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The store's file.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("soak.tide")
    }

    /// Opens the store.
    pub(crate) fn open(&self) -> Result<Engine> {
        Ok(Engine::open(self.path(), self.options.clone())?)
    }

    /// Opens the store under a clock that can be made to jump.
    pub(crate) fn open_with_clock(&self, clock: &Arc<JumpingClock>) -> Result<Engine> {
        let real = Parts::real(&self.path(), &self.options)?;
        let parts = Parts { clock: Arc::clone(clock) as _, ..real };
        Ok(Engine::open_with(parts, self.options.clone())?)
    }

    /// Checks every structure of the closed file; what is found is a wrong answer.
    pub(crate) fn verify(&self, report: &Report) -> Result<()> {
        note(format_args!("soak: verifying the file"));
        let found = Inspector::open(self.path())?.verify()?;
        for fault in &found.faults {
            report.wrong.add(format_args!("verify: {fault:?}"));
        }
        Ok(())
    }
}

/// The options that the command line asks for, in place of those of the mode.
pub(crate) fn asked_options(common: &Common, mut options: Options) -> Options {
    const MIB: usize = 1 << 20;
    if let Some(megabytes) = common.output_rate {
        options.output_rate = megabytes * 1_000_000;
    }
    if let Some(mebibytes) = common.memory_budget {
        options.memory_budget = mebibytes * MIB;
    }
    if let Some(mebibytes) = common.memtable {
        options.memtable_bytes = mebibytes * MIB;
    }
    if let Some(mebibytes) = common.ring {
        options.ring_bytes = mebibytes * MIB as u64;
    }
    if let Some(mode) = common.read_mode {
        options.read_mode = mode.into();
    }
    if let Some(way) = common.unsynced_commits {
        options.unsynced_commits = way.into();
    }
    options
}

/// Options of a store so small that a few seconds of work fill and compact it.
pub(crate) fn small_options() -> Options {
    Options {
        ring_bytes: 8 << 20,
        memtable_bytes: 1 << 20,
        sstable_bytes: 1 << 20,
        memory_budget: 64 << 20,
        ..Options::default()
    }
}
