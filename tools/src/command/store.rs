//! Opening stores for the commands.

use crate::failure::{Failure, Outcome};
use std::path::{Path, PathBuf};
use tidelog_engine::inspect::Inspector;
use tidelog_engine::limits::RING_BYTES_DEFAULT;
use tidelog_engine::{Engine, Options, ReadMode, TableInfo, TableOptions};

/// The second file of a store.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ColdFile {
    /// The second file of the store, that of its cold tier, if it has one
    #[arg(long, value_name = "PATH")]
    cold_file: Option<PathBuf>,
}

impl ColdFile {
    /// Where it is.
    pub(super) fn path(&self) -> Option<&Path> {
        self.cold_file.as_deref()
    }
}

/// Looks into a store's files as they are.
pub(super) fn inspect(path: &Path, cold: &ColdFile) -> Outcome<Inspector> {
    let inspector = Inspector::open(path)?;
    Ok(match &cold.cold_file {
        Some(cold) => inspector.with_cold_file(cold)?,
        None => inspector,
    })
}

/// Opens a store to look at it: never writes, and works beside a live writer. Without its cold file
/// what is hot can be looked at.
pub(super) fn open_for_reading(path: &Path, cold: &ColdFile) -> Outcome<Engine> {
    let options = Options {
        create: false,
        read_only: true,
        read_mode: ReadMode::Read,
        cold_file: cold.cold_file.clone(),
        without_cold_file: cold.cold_file.is_none(),
        ..Options::default()
    };
    open(path, options)
}

/// What a store that does not exist yet is to be like.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct NewStore {
    /// Bytes of the WAL ring of a new store, a multiple of 4096
    #[arg(long, default_value_t = RING_BYTES_DEFAULT)]
    ring_bytes: u64,
    #[command(flatten)]
    cold: ColdFile,
}

/// Opens a store to write to it, creating it where it is absent.
pub(super) fn open_for_writing(path: &Path, new: &NewStore) -> Outcome<Engine> {
    let options = Options {
        ring_bytes: new.ring_bytes,
        cold_file: new.cold.cold_file.clone(),
        ..Options::default()
    };
    open(path, options)
}

fn open(path: &Path, options: Options) -> Outcome<Engine> {
    Engine::open(path, options)
        .map_err(|error| Failure::from(error).context(format_args!("opening {}", path.display())))
}

/// A table that must be there.
pub(super) fn existing_table(engine: &Engine, name: &str) -> Outcome<TableInfo> {
    engine.table(name).ok_or_else(|| {
        let names: Vec<String> = engine.tables().into_iter().map(|table| table.name).collect();
        let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        Failure::usage(format_args!("there is no table {name:?}; there are: {there}"))
    })
}

/// A table, created where it is absent.
pub(super) fn table_or_new(
    engine: &Engine,
    name: &str,
    options: TableOptions,
) -> Outcome<TableInfo> {
    if let Some(table) = engine.table(name) {
        return Ok(table);
    }
    engine.create_table(name, options)?;
    existing_table(engine, name)
}
