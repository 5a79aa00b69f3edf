//! `append`: each line of standard input becomes an entry.

use super::{arguments, store};
use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::source::Lines;
use std::io::{self, BufReader};
use std::path::PathBuf;
use tidelog::TimelineId;
use tidelog_engine::{Durability, TableOptions, WriteBatch};

/// Store each line of standard input as an entry, and print its sequence id once it is acknowledged
#[derive(Debug, clap::Args)]
pub(crate) struct Append {
    /// The store; created where it is absent
    file: PathBuf,
    /// The table; created where it is absent
    #[arg(long)]
    table: String,
    /// The timeline
    #[arg(long, value_parser = arguments::timeline)]
    timeline: TimelineId,
    /// When an entry counts as acknowledged: sync, interval:MS or buffered
    #[arg(long, default_value = "sync", value_parser = arguments::durability)]
    durability: Durability,
    #[command(flatten)]
    new_store: store::NewStore,
}

impl Append {
    pub(super) fn run(self) -> Outcome {
        let engine = store::open_for_writing(&self.file, &self.new_store)?;
        let table = store::table_or_new(&engine, &self.table, TableOptions::timeline())?;
        let mut output = Output::standard(false);
        let mut lines = Lines::of(Box::new(BufReader::new(io::stdin())));
        let mut line = Vec::new();
        while lines.next(&mut line)? {
            let mut batch = WriteBatch::new();
            batch
                .append(table.id, self.timeline.as_bytes(), &line, None)
                .and_then(|()| engine.commit(batch, self.durability))
                .map_err(|error| at_line(error, lines.number()))
                .and_then(|committed| {
                    output.line(committed.seqs[0])?;
                    Ok(output.flush()?)
                })?;
        }
        Ok(engine.close()?)
    }
}

fn at_line(error: tidelog_engine::Error, number: u64) -> Failure {
    Failure::from(error).context(format_args!("line {number}"))
}
