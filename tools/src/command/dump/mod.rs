//! `dump`: the structures of a file as they lie there, as far as they can be read.

mod structures;
mod table;

use super::store;
use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::text;
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// Decode the structures of a file, as far as they can be read
#[derive(Debug, clap::Args)]
pub(crate) struct Dump {
    /// The store
    file: PathBuf,
    #[command(flatten)]
    cold: store::ColdFile,
    /// One JSON object a line
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    what: Structure,
}

#[derive(Debug, clap::Subcommand)]
enum Structure {
    /// The four copies of the superblock
    Superblock,
    /// The groups of the WAL, and why there are no more
    Wal,
    /// The records of the manifest
    Manifest,
    /// A table, by name or number: its SSTables, their blocks, and its payload segments
    Table {
        /// Name or number
        table: String,
        /// Its entries or values instead
        #[arg(long)]
        entries: bool,
    },
    /// The block, or the record of a segment, that holds a byte of the file
    Block {
        /// Offset in the file
        address: u64,
    },
}

impl Dump {
    pub(super) fn run(self) -> Outcome {
        let inspector = store::inspect(&self.file, &self.cold)?;
        let mut output = Output::standard(self.json);
        let damaged = match &self.what {
            Structure::Superblock => structures::superblock(&inspector, &mut output)?,
            Structure::Wal => structures::wal(&inspector, &mut output)?,
            Structure::Manifest => structures::manifest(&inspector, &mut output)?,
            Structure::Table { table, entries: false } => {
                table::blocks(&inspector, table, &mut output)?
            }
            Structure::Table { table, entries: true } => {
                let engine = store::open_for_reading(&self.file, &self.cold)?;
                table::contents(&engine, table, &mut output)?;
                false
            }
            Structure::Block { address } => {
                let block = inspector.block(*address)?;
                let (kind, name) = match block.in_segment {
                    true => ("segment", "segment"),
                    false => ("sstable", "SSTable"),
                };
                let object = json!({kind: block.number, "text": block.text});
                let safe = printable_lines(&block.text);
                let shown = format!("{name} {}\n{}", block.number, safe.trim_end());
                output.either(&object, shown)?;
                false
            }
        };
        output.flush()?;
        if damaged { Err(Failure::damage("damage was found")) } else { Ok(()) }
    }
}

fn printable_lines(text: &str) -> String {
    text.lines().map(|line| format!("{}\n", text::escape_controls(line))).collect()
}

/// An object as JSON, or as indented lines.
fn print_object(object: Map<String, Value>, output: &mut Output) -> Outcome {
    if output.json() {
        return Ok(output.object(&Value::Object(object))?);
    }
    for (index, (name, value)) in object.iter().enumerate() {
        let shown = match value {
            Value::String(text) => text::escape_controls(text),
            other => other.to_string(),
        };
        let indent = if index == 0 { "" } else { "  " };
        output.line(format_args!("{indent}{name}: {shown}"))?;
    }
    Ok(())
}
