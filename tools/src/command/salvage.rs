//! `salvage`: what is not damaged, in a new store, and the names of what is lost.

use super::store;
use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::text;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tidelog_engine::TableId;
use tidelog_engine::salvage::{Loss, Report, Salvage as Salvaging, TimelineName};

/// Write everything that is not damaged to a new store, and name what is lost
///
/// Exit codes: 0 nothing is known to be lost; 1 something is, and is named, and the new store has
/// the rest, or (without a summary) nothing could be saved, and there is no new store; 2 wrong use;
/// 3 anything else, and there is no new store. A log whose end is unfinished, as each crash may
/// leave it, ends with 0: the last line and the summary say so, and from which commit on something
/// may have been in it, since the last commits that were promised, once damaged, look the same.
#[derive(Debug, clap::Args)]
pub(crate) struct Salvage {
    /// The damaged store; it is only read, and should have no writer
    file: PathBuf,
    /// The new store; there must be no such file
    target: PathBuf,
    #[command(flatten)]
    cold: store::ColdFile,
    /// Give up what lies in a cold file that is not at hand
    #[arg(long, conflicts_with = "cold_file")]
    without_cold_file: bool,
    /// One JSON object a line: each damaged place, each loss, each table, then the summary
    #[arg(long)]
    json: bool,
}

impl Salvage {
    pub(super) fn run(self) -> Outcome {
        if self.target.exists() {
            let target = self.target.display();
            return Err(Failure::usage(format_args!("{target} is there already")));
        }
        let mut salvage = Salvaging::open(&self.file)?;
        if let Some(cold) = self.cold.path() {
            salvage = salvage.with_cold_file(cold)?;
        }
        if self.without_cold_file {
            salvage = salvage.without_cold_file();
        }
        let report = salvage.run_to(&self.target).map_err(|error| {
            let target = self.target.display();
            Failure::from(error).context(format_args!("{target} is no store, if it is there"))
        })?;
        let mut output = Output::standard(self.json);
        Failure::of_report(print(&report, &mut output))?;
        match report.lost.len() {
            0 => Ok(()),
            1 => Err(Failure::damage("1 loss")),
            count => Err(Failure::damage(format_args!("{count} losses"))),
        }
    }
}

fn print(report: &Report, output: &mut Output) -> Outcome {
    for place in &report.damage {
        let detail = text::escape_controls(&place.detail);
        output.either(
            &json!({"damaged": place.what, "offset": place.offset, "detail": place.detail}),
            format_args!("damaged: {} at offset {}: {detail}", place.what, place.offset),
        )?;
    }
    let tables = report.tables.iter();
    let names = Names(tables.map(|table| (table.id, table.name.as_str())).collect());
    for loss in &report.lost {
        let (object, line) = loss_of(loss, &names);
        output.either(&object, format_args!("lost: {line}"))?;
    }
    for table in &report.tables {
        let name = text::escape_controls(&table.name);
        let recovered = text::grouped(table.recovered);
        output.either(
            &json!({"table": table.name, "id": table.id.0, "recovered": table.recovered}),
            format_args!("table {name}: {recovered} recovered"),
        )?;
    }
    if report.more_damage > 0 && !output.json() {
        let count = text::grouped(report.more_damage);
        output.line(format_args!("damaged: {count} more places"))?;
    }
    summarise(report, output)?;
    Ok(output.flush()?)
}

fn summarise(report: &Report, output: &mut Output) -> Outcome {
    if output.json() {
        return Ok(output.object(&json!({
            "losses": report.lost.len(),
            "damaged_places": report.damage.len() as u64 + report.more_damage,
            "epochs": report.epochs,
            "torn_tail": report.torn_tail.as_ref().map(|tail| &tail.detail),
            "torn_from_commit": report.torn_tail.as_ref().map(|tail| tail.commit),
        }))?);
    }
    if let Some(tail) = &report.torn_tail {
        output.line(format_args!(
            "WAL: an unfinished end, which was cut off as an opening does: {}",
            tail.detail
        ))?;
    }
    if report.epochs > 0 {
        let jump = text::grouped(report.epochs.saturating_mul(1_000_000));
        output.line(format_args!("the next sequence id of each timeline jumps by {jump}"))?;
    }
    match (report.is_whole(), &report.torn_tail) {
        (false, _) => output.line("NOT ALL WAS RECOVERED")?,
        (true, None) => output.line("nothing was lost")?,
        // An opening cuts it as well, so it is no loss that is known; nor is it known to be none.
        (true, Some(tail)) => output.line(format_args!(
            "nothing is known to be lost; the unfinished end may have held commits from {} on",
            tail.commit
        ))?,
    }
    Ok(())
}

/// Names of tables.
struct Names<'a>(BTreeMap<TableId, &'a str>);

impl Names<'_> {
    fn table(&self, id: TableId) -> String {
        self.0.get(&id).map_or_else(|| format!("number {}", id.0), |name| (*name).to_owned())
    }

    fn timeline(&self, (table, key): &TimelineName) -> String {
        format!("{} of table {}", text::timeline_name(key), self.table(*table))
    }

    /// Two timelines, as JSON and in words.
    fn between(&self, timelines: Option<&(TimelineName, TimelineName)>) -> (Value, String) {
        match timelines {
            None => (Value::Null, "any timeline".to_owned()),
            Some((from, to)) => {
                let (from, to) = (self.timeline(from), self.timeline(to));
                (json!([from, to]), format!("timelines from {from} to {to}"))
            }
        }
    }
}

/// A loss, as JSON and in words.
fn loss_of(loss: &Loss, names: &Names<'_>) -> (Value, String) {
    let (object, line) = match loss {
        Loss::Entries { table, key, seqs: (from, to), entries } => {
            let (table, timeline) = (names.table(*table), text::timeline_name(key));
            let line = format!(
                "table {table}, timeline {timeline}: {} of seqs {from} to {to}",
                text::grouped(*entries)
            );
            let object = json!({"lost": "entries", "table": table, "timeline": timeline,
                "from": from, "to": to, "entries": entries});
            (object, line)
        }
        Loss::UnknownEntries { table, keys: (from, to), entries, sstable, offset } => {
            let table = names.table(*table);
            let (from, to) = (text::timeline_name(from), text::timeline_name(to));
            let line = format!(
                "table {table}: {} entries of unknown timelines from {from} to {to}, \
                 of SSTable {sstable} at offset {offset}",
                text::grouped(*entries)
            );
            let object = json!({"lost": "unknown entries", "table": table, "from": from, "to": to,
                "entries": entries, "sstable": sstable, "offset": offset});
            (object, line)
        }
        Loss::Versions { table, keys: (from, to), versions } => {
            let (table, from, to) = (names.table(*table), text::hex(from), text::hex(to));
            let line = format!(
                "table {table}: {} versions of keys {from} to {to}, which may show older values",
                text::grouped(*versions)
            );
            let object = json!({"lost": "versions", "table": table, "from": from, "to": to,
                "versions": versions});
            (object, line)
        }
        other => loss_of_store(other, names),
    };
    (object, text::escape_controls(&line))
}

/// A loss that is of no one table.
fn loss_of_store(loss: &Loss, names: &Names<'_>) -> (Value, String) {
    let of_timelines = |what: &str, effect: &str, timelines: &Option<_>| {
        let (object, line) = names.between(timelines.as_ref());
        (json!({"lost": what, "timelines": object}), format!("{what} of {line}: {effect}"))
    };
    match loss {
        Loss::Marks { timelines } => {
            let effect = "what they hid may be shown again (shorter names come before longer ones)";
            of_timelines("marks", effect, timelines)
        }
        Loss::Amendments { timelines } => {
            let effect = "entries, retracted ones too, may be shown as they were before";
            of_timelines("amendments", effect, timelines)
        }
        Loss::States { timelines } => {
            let effect = "those without entries may be missing";
            of_timelines("states", effect, timelines)
        }
        Loss::Commits { first, last, offset } => {
            let to = last.map_or_else(|| "the end".to_owned(), |last| last.to_string());
            let line = format!(
                "commits {first} to {to} of the log, at offset {offset}: entries, values, marks \
                 and amendments"
            );
            (json!({"lost": "commits", "first": first, "last": last, "offset": offset}), line)
        }
        Loss::Manifest { offset, commit } => {
            let line = format!(
                "the manifest from offset {offset} on: SSTables with commits behind {commit}, \
                 unless the log still had them; what was dropped or expired since may be shown"
            );
            (json!({"lost": "manifest", "offset": offset, "commit": commit}), line)
        }
        Loss::Entries { .. } | Loss::UnknownEntries { .. } | Loss::Versions { .. } => {
            unreachable!("those are of one table")
        }
    }
}
