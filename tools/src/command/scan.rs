//! `scan`: the entries of a timeline.

use super::{arguments, store};
use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::text;
use crate::time;
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use tidelog::TimelineId;
use tidelog_engine::{Direction, Engine, Entry};

/// Print the entries of a timeline
#[derive(Debug, clap::Args)]
pub(crate) struct Scan {
    /// The store
    file: PathBuf,
    #[command(flatten)]
    cold: store::ColdFile,
    /// The table
    #[arg(long)]
    table: String,
    /// The timeline
    #[arg(long, value_parser = arguments::timeline)]
    timeline: TimelineId,
    /// Lowest sequence id, itself included
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Highest sequence id, itself included
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
    to: u64,
    /// Newest first; the bounds stay what they are
    #[arg(long)]
    reverse: bool,
    /// Print at most so many entries
    #[arg(long)]
    limit: Option<u64>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

impl Scan {
    pub(super) fn run(self) -> Outcome {
        if self.from > self.to {
            let (from, to) = (self.from, self.to);
            return Err(Failure::usage(format_args!("--from {from} lies behind --to {to}")));
        }
        let engine = store::open_for_reading(&self.file, &self.cold)?;
        let table = store::existing_table(&engine, &self.table)?;
        let direction = if self.reverse { Direction::Backward } else { Direction::Forward };
        let snapshot = engine.snapshot();
        let key = self.timeline.as_bytes();
        let scan = snapshot.scan(table.id, key, self.from, self.to, direction)?;
        let mut output = Output::standard(self.json);
        let limit = usize::try_from(self.limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
        for entry in scan.take(limit) {
            self.print(&engine, &entry?, &mut output)?;
        }
        Ok(output.flush()?)
    }

    fn print(&self, engine: &Engine, entry: &Entry, output: &mut Output) -> Outcome {
        if !output.json() {
            let time = match entry.event_ms {
                Some(event_ms) => time::format_ms(event_ms),
                None => time::format_commit_ms(entry.time_ms),
            };
            let payload = text::readable(&entry.payload);
            let payload = match entry.revision {
                None => payload,
                Some(revision) => {
                    let time = time::format_commit_ms(revision.time_ms);
                    let what = if revision.retracted { "retracted" } else { "amended" };
                    format!("{payload}  [{what} {time}]").trim_start().to_owned()
                }
            };
            return Ok(output.line(format_args!("{:>8}  {time}  {payload}", entry.seq))?);
        }
        let mut object = Map::new();
        object.insert("table".to_owned(), Value::from(self.table.as_str()));
        object.insert("timeline".to_owned(), Value::from(self.timeline.to_string()));
        object.insert("seq".to_owned(), Value::from(entry.seq));
        object.insert("time_ms".to_owned(), Value::from(entry.time_ms));
        if let Some(event_ms) = entry.event_ms {
            object.insert("event_ms".to_owned(), Value::from(event_ms));
        }
        if let Some(ttl_ms) = entry.ttl_ms {
            object.insert("ttl_ms".to_owned(), Value::from(ttl_ms));
        }
        if let Some(origin) = &entry.origin {
            object.insert("origin".to_owned(), origin_object(engine, origin));
        }
        if let Some(revision) = &entry.revision {
            let revision = json!({
                "commit": revision.commit,
                "time_ms": revision.time_ms,
                "retracted": revision.retracted,
            });
            object.insert("revision".to_owned(), revision);
        }
        text::put_payload(&mut object, &entry.payload);
        Ok(output.object(&Value::Object(object))?)
    }
}

fn origin_object(engine: &Engine, origin: &tidelog_engine::Origin) -> Value {
    let table = engine.tables().into_iter().find(|table| table.id == origin.table);
    let mut object = Map::new();
    let name = table.map_or_else(|| format!("#{}", origin.table.0), |table| table.name);
    object.insert("table".to_owned(), Value::from(name));
    object.insert("timeline".to_owned(), Value::from(text::timeline_name(&origin.key)));
    object.insert("seq".to_owned(), Value::from(origin.seq));
    Value::Object(object)
}
