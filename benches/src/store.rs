//! A store of its own for one run, in a folder that goes when the run is over.

use crate::parameters::Parameters;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tidelog_engine::{Engine, Entry, Result, TableId, TableOptions};

/// An open store with the two tables that workloads write.
pub struct Store {
    /// The engine. It goes before the folder does.
    pub engine: Engine,
    /// Timelines of messages: conversations.
    pub messages: TableId,
    /// Timelines that messages are fanned out to.
    pub inboxes: TableId,
    folder: TempDir,
}

/// The encoded id of a timeline.
pub fn key(timeline: u64) -> [u8; 8] {
    timeline.to_be_bytes()
}

impl Store {
    /// A new, empty store.
    pub fn create(parameters: &Parameters) -> Store {
        let folder = folder();
        let engine = Engine::open(folder.path().join("bench.tide"), parameters.options())
            .expect("a new store opens");
        let create = |name| engine.create_table(name, TableOptions::timeline());
        let messages = create("message").expect("a new store has no tables");
        let inboxes = create("inbox").expect("a new store has no tables");
        Store { engine, messages, inboxes, folder }
    }

    /// The store's file.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("bench.tide")
    }
}

/// Compares entries of a timeline with the `seqs` they must have, in that order, and with the
/// payload that `expected` gives for a seq. Returns how many there were; fewer than `seqs` is for
/// the caller to judge.
///
/// # Panics
/// When an entry is not the expected one, or there is one too many.
pub(crate) fn check<'a>(
    entries: impl Iterator<Item = Result<Entry>>,
    mut seqs: impl Iterator<Item = u64>,
    expected: impl Fn(u64) -> &'a [u8],
) -> u64 {
    let mut count = 0;
    for entry in entries {
        let entry = entry.expect("the timeline can be read");
        assert_eq!(Some(entry.seq), seqs.next(), "the seq of the next entry");
        assert_eq!(&*entry.payload, expected(entry.seq), "the payload of entry {}", entry.seq);
        count += 1;
    }
    count
}

/// A folder for one run.
pub(crate) fn folder() -> TempDir {
    let parent = std::env::var_os("TIDELOG_BENCH_DIRECTORY").map(PathBuf::from);
    let parent = parent.unwrap_or_else(std::env::temp_dir);
    TempDir::new_in::<&Path>(&parent).expect("the folder for benches can be written")
}
