//! `import`: chats from outside, in batches.

use super::{arguments, store};
use crate::failure::{Failure, Outcome};
use crate::output::{self, Output};
use crate::source::irc::{self, Audience};
use crate::source::{Lines, Row, jsonl};
use crate::text;
use crate::time::Stopwatch;
use serde_json::json;
use std::path::PathBuf;
use std::rc::Rc;
use tidelog_engine::{
    Durability, Engine, Sequence, TableId, TableInfo, TableOptions, Tier, WriteBatch,
};

/// Rows after which a batch is committed.
const BATCH_ROWS_MAX: u64 = 1000;
/// Bytes after which a batch is committed: a quarter of the smallest ring, so that any store takes
/// it. A row that is larger alone is a batch of its own.
const BATCH_BYTES: usize = 48 * 1024;

/// Load chats from a text file, gzip or not
#[derive(Debug, clap::Args)]
#[command(after_help = "irc-tsv: time, #channel, nick, text, source log, separated by tabs; one \
    timeline a channel.\njsonl: {\"timeline\", \"id\"?, \"time_ms\"?, \"payload\" or \
    \"payload_base64\"} a line; \"id\" is a sequence id of your own.")]
pub(crate) struct Import {
    /// The store; created where it is absent
    file: PathBuf,
    /// The chats
    source: PathBuf,
    /// How they are written
    #[arg(long)]
    format: Format,
    /// Deliver each message to the inbox, in the table "sync", of everyone who has spoken so far in
    /// its source log
    #[arg(long)]
    fan_out: bool,
    /// Import into a table that has entries already
    #[arg(long)]
    append: bool,
    /// The table; created where it is absent
    #[arg(long, default_value = "message")]
    table: String,
    /// sync, interval:MS or buffered; whichever, everything is synced at the end
    #[arg(long, default_value = "buffered", value_parser = arguments::durability)]
    durability: Durability,
    /// New tables are cold from the beginning: in the second file where one is given
    #[arg(long)]
    born_cold: bool,
    #[command(flatten)]
    new_store: store::NewStore,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    IrcTsv,
    Jsonl,
}

impl Import {
    pub(super) fn run(self) -> Outcome {
        if self.fan_out && self.format != Format::IrcTsv {
            return Err(Failure::usage("--fan-out needs --format irc-tsv: it knows who speaks"));
        }
        let mut lines = Lines::open(&self.source).map_err(|error| {
            Failure::from(error).context(format_args!("opening {}", self.source.display()))
        })?;
        let engine = store::open_for_writing(&self.file, &self.new_store)?;
        let stopwatch = Stopwatch::start();
        let mut importer = Importer::new(&engine, self.durability);
        let imported = match self.format {
            Format::IrcTsv => self.import_irc(&mut importer, &mut lines),
            Format::Jsonl => self.import_jsonl(&mut importer, &mut lines),
        };
        // What was read before a bad line is stored all the same, so that the count below is true.
        importer.flush()?;
        engine.sync()?;
        let seconds = stopwatch.seconds();
        let (rows, deliveries) = (importer.rows, importer.deliveries);
        engine.close()?;
        imported.inspect_err(|_| {
            output::note(format_args!("stopped: the {rows} rows before it are stored"));
        })?;
        self.report(rows, deliveries, seconds)
    }

    fn import_irc(&self, importer: &mut Importer<'_>, lines: &mut Lines) -> Outcome {
        let table = self.target(importer.engine, &self.table, Sequence::Assigned)?;
        let inbox = match self.fan_out {
            true => Some(self.target(importer.engine, "sync", Sequence::Assigned)?),
            false => None,
        };
        let mut audience = Audience::default();
        let mut text = Vec::new();
        while lines.next(&mut text)? {
            let parsed = irc::parse(&text).and_then(|line| Ok((line, line.row()?)));
            let (line, row) = parsed.map_err(|reason| self.malformed(lines, reason))?;
            let delivered = match &inbox {
                None => importer.append(table.id, &row),
                Some(inbox) => {
                    let inboxes =
                        audience.hear(&line).map_err(|reason| self.malformed(lines, reason))?;
                    importer.fan_out(table.id, inbox.id, &row, inboxes)
                }
            };
            delivered.map_err(|failure| self.at_line(lines, failure))?;
        }
        Ok(())
    }

    /// The first row says who gives the sequence ids; all others must do the same.
    fn import_jsonl(&self, importer: &mut Importer<'_>, lines: &mut Lines) -> Outcome {
        let mut table: Option<TableInfo> = None;
        let mut text = Vec::new();
        while lines.next(&mut text)? {
            let row = jsonl::parse(&text).map_err(|reason| self.malformed(lines, reason))?;
            let sequence = if row.seq.is_some() { Sequence::Given } else { Sequence::Assigned };
            let target = match table.take() {
                Some(target) => target,
                None => self.target(importer.engine, &self.table, sequence)?,
            };
            if target.options.sequence != sequence {
                let reason = match sequence {
                    Sequence::Assigned => "\"id\" is missing: the table's ids are given",
                    Sequence::Given => "\"id\" is given: the table's ids are assigned",
                };
                return Err(self.malformed(lines, reason.to_owned()));
            }
            importer.append(target.id, &row).map_err(|failure| self.at_line(lines, failure))?;
            table = Some(target);
        }
        Ok(())
    }

    /// The table to import into, empty unless the user says otherwise.
    fn target(&self, engine: &Engine, name: &str, sequence: Sequence) -> Outcome<TableInfo> {
        let placement = if self.born_cold { Tier::Cold } else { Tier::Hot };
        let options = TableOptions { sequence, placement, ..TableOptions::timeline() };
        let table = store::table_or_new(engine, name, options)?;
        let mut timelines = engine.snapshot().timelines(table.id, b"", None)?;
        if !self.append && timelines.next().transpose()?.is_some() {
            return Err(Failure::usage(format_args!(
                "the table {name:?} has entries already; --append imports behind them"
            )));
        }
        Ok(table)
    }

    fn malformed(&self, lines: &Lines, reason: String) -> Failure {
        self.at_line(lines, Failure::usage(reason))
    }

    fn at_line(&self, lines: &Lines, failure: Failure) -> Failure {
        failure.context(format_args!("{}:{}", self.source.display(), lines.number()))
    }

    fn report(&self, rows: u64, deliveries: u64, seconds: f64) -> Outcome {
        let durability = arguments::durability_name(self.durability);
        let object = json!({
            "rows": rows,
            "deliveries": deliveries,
            "seconds": seconds,
            "durability": durability,
        });
        let mut output = Output::standard(self.json);
        output.either(
            &object,
            format_args!(
                "{} rows and {} deliveries in {seconds:.1} s: {} rows and {} deliveries a second \
                 ({durability}, synced at the end)",
                text::grouped(rows),
                text::grouped(deliveries),
                text::rate(rows, seconds),
                text::rate(deliveries, seconds),
            ),
        )?;
        Ok(output.flush()?)
    }
}

/// Gathers rows into batches and commits them.
struct Importer<'a> {
    engine: &'a Engine,
    durability: Durability,
    batch: WriteBatch,
    batch_rows: u64,
    rows: u64,
    deliveries: u64,
}

impl<'a> Importer<'a> {
    fn new(engine: &'a Engine, durability: Durability) -> Importer<'a> {
        let batch = WriteBatch::new();
        Importer { engine, durability, batch, batch_rows: 0, rows: 0, deliveries: 0 }
    }

    fn append(&mut self, table: TableId, row: &Row) -> Outcome {
        self.make_room(row.payload.len())?;
        match row.seq {
            None => self.batch.append(table, &row.timeline, &row.payload, row.event_ms)?,
            Some(seq) => {
                self.batch.append_at(table, &row.timeline, seq, &row.payload, row.event_ms)?;
            }
        }
        self.count(0);
        Ok(())
    }

    /// The conversation's entry first: it is the origin of those in the inboxes.
    fn fan_out(
        &mut self,
        table: TableId,
        inbox: TableId,
        row: &Row,
        inboxes: &[Rc<[u8]>],
    ) -> Outcome {
        let key_bytes: usize = inboxes.iter().map(|key| key.len() + 16).sum();
        self.make_room(row.payload.len() + key_bytes)?;
        let conversation = std::iter::once((table, &row.timeline[..]));
        let targets = conversation.chain(inboxes.iter().map(|key| (inbox, &key[..])));
        self.batch.fan_out(targets, &row.payload, row.event_ms, None, true)?;
        self.count(inboxes.len() as u64);
        Ok(())
    }

    fn count(&mut self, deliveries: u64) {
        self.batch_rows += 1;
        self.rows += 1;
        self.deliveries += deliveries;
    }

    fn make_room(&mut self, bytes: usize) -> Outcome {
        let full = self.batch.byte_count() + bytes > BATCH_BYTES;
        if full || self.batch_rows >= BATCH_ROWS_MAX {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Outcome {
        self.batch_rows = 0;
        if !self.batch.is_empty() {
            self.engine.commit(std::mem::take(&mut self.batch), self.durability)?;
        }
        Ok(())
    }
}
