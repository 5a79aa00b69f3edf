//! Opening stores for the commands.

use crate::failure::{Failure, Outcome};
use std::path::Path;
use tidelog_engine::limits::RING_BYTES_DEFAULT;
use tidelog_engine::{Engine, Options, ReadMode, TableInfo, TableOptions};

/// Opens a store to look at it: never writes, and works beside a live writer.
pub(super) fn open_for_reading(path: &Path) -> Outcome<Engine> {
    let options =
        Options { create: false, read_only: true, read_mode: ReadMode::Read, ..Options::default() };
    open(path, options)
}

/// What a store that does not exist yet is to be like.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct NewStore {
    /// Bytes of the WAL ring of a new store, a multiple of 4096
    #[arg(long, default_value_t = RING_BYTES_DEFAULT)]
    ring_bytes: u64,
}

/// Opens a store to write to it, creating it where it is absent.
pub(super) fn open_for_writing(path: &Path, new: &NewStore) -> Outcome<Engine> {
    let options = Options { ring_bytes: new.ring_bytes, ..Options::default() };
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
