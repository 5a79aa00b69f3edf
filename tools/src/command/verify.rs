//! `verify`: everything in the file against everything else, beside a live writer too.

use super::{arguments, store};
use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::text;
use serde_json::json;
use std::path::PathBuf;
use tidelog_engine::inspect::{Counts, Report, VerifyOptions};

/// Check every byte of a store that matters, and name each fault
#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    /// The store
    file: PathBuf,
    #[command(flatten)]
    cold: store::ColdFile,
    /// Bytes to read a second at most, as in 16MiB; as fast as it goes where it is left out
    #[arg(long, value_name = "BYTES", value_parser = arguments::bytes)]
    pace: Option<u64>,
    /// One JSON object a line: each fault, then the summary
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(super) fn run(self) -> Outcome {
        let options = VerifyOptions::default().pace(self.pace.unwrap_or(0));
        let report = store::inspect(&self.file, &self.cold)?.verify_with(options)?;
        let mut output = Output::standard(self.json);
        Failure::of_report(print(&report, &mut output))?;
        match report.faults.len() {
            0 => Ok(()),
            1 => Err(Failure::damage("1 fault")),
            count => Err(Failure::damage(format_args!("{count} faults"))),
        }
    }
}

fn print(report: &Report, output: &mut Output) -> Outcome {
    for fault in &report.faults {
        output.either(
            &json!({"what": fault.what, "offset": fault.offset, "detail": fault.detail}),
            format_args!(
                "{} at offset {}: {}",
                fault.what,
                fault.offset,
                text::escape_controls(&fault.detail)
            ),
        )?;
    }
    summarise(report, output)?;
    Ok(output.flush()?)
}

fn summarise(report: &Report, output: &mut Output) -> Outcome {
    let Counts {
        groups,
        commits,
        log_entries,
        tables,
        sstables,
        sstable_bytes,
        segments,
        segment_bytes,
        records,
        erased,
        entries,
        timelines,
        skipped,
        read_bytes,
    } = report.counts;
    if output.json() {
        return Ok(output.object(&json!({
            "faults": report.faults.len(),
            "torn_tail": report.torn_tail,
            "log_groups": groups,
            "log_commits": commits,
            "log_entries": log_entries,
            "tables": tables,
            "sstables": sstables,
            "sstable_bytes": sstable_bytes,
            "segments": segments,
            "segment_bytes": segment_bytes,
            "segment_payloads": records,
            "erased_payloads": erased,
            "sstable_entries": entries,
            "sstable_timelines": timelines,
            "skipped": skipped,
            "read_bytes": read_bytes,
        }))?);
    }
    output.line(format_args!(
        "WAL: {} groups, {} commits, {} entries",
        text::grouped(groups),
        text::grouped(commits),
        text::grouped(log_entries)
    ))?;
    if let Some(trace) = &report.torn_tail {
        output.line(format_args!(
            "WAL: an unfinished end, which the next opening cuts off: {trace}"
        ))?;
    }
    output.line(format_args!(
        "SSTables: {} of {} tables, {}, {} entries of {} timelines",
        text::grouped(sstables),
        text::grouped(tables),
        text::bytes(sstable_bytes),
        text::grouped(entries),
        text::grouped(timelines)
    ))?;
    output.line(format_args!(
        "segments: {}, {}, {} payloads, {} of them erased",
        text::grouped(segments),
        text::bytes(segment_bytes),
        text::grouped(records),
        text::grouped(erased)
    ))?;
    overtaken(skipped, output)?;
    let verdict = if report.faults.is_empty() { "good" } else { "DAMAGED" };
    Ok(output.line(verdict)?)
}

/// What a live writer kept from being looked at.
fn overtaken(skipped: u64, output: &mut Output) -> Outcome {
    if skipped > 0 {
        output.line(format_args!(
            "beside a writer: {} structures and comparisons were overtaken, and left out",
            text::grouped(skipped)
        ))?;
    }
    Ok(())
}
