//! `timelines`: what timelines a table has.

use super::store;
use crate::failure::Outcome;
use crate::output::Output;
use crate::text;
use crate::time;
use serde_json::json;
use std::path::PathBuf;

/// List the timelines of a table, in the order of their ids
#[derive(Debug, clap::Args)]
pub(crate) struct Timelines {
    /// The store
    file: PathBuf,
    #[command(flatten)]
    cold: store::ColdFile,
    /// The table
    #[arg(long)]
    table: String,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

impl Timelines {
    pub(super) fn run(self) -> Outcome {
        let engine = store::open_for_reading(&self.file, &self.cold)?;
        let table = store::existing_table(&engine, &self.table)?;
        let mut output = Output::standard(self.json);
        for timeline in engine.snapshot().timelines(table.id, b"", None)? {
            let timeline = timeline?;
            let name = text::timeline_name(&timeline.key);
            let object = json!({
                "table": self.table,
                "timeline": name,
                "latest_seq": timeline.latest_seq,
                "next_seq": timeline.next_seq,
                "last_time_ms": timeline.last_time_ms,
            });
            let newest = timeline.latest_seq;
            let time = time::format_commit_ms(timeline.last_time_ms);
            let safe = text::escape_controls(&name);
            output.either(&object, format_args!("{newest:>12}  {time}  {safe}"))?;
        }
        Ok(output.flush()?)
    }
}
