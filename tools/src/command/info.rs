//! `info`: what a store is and holds.

use super::store;
use crate::failure::Outcome;
use crate::output::Output;
use crate::text;
use crate::time;
use serde_json::{Value, json};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tidelog_engine::inspect::{Inspector, LogEnding, LogReport, RootReport, SpaceKind};
use tidelog_engine::{Engine, PendingWork, TableInfo, TableKind, Tier, WindowStats};

/// The unit in which the system counts the room of a file, in bytes.
const DEVICE_UNIT: u64 = 512;

/// Show the format, the tables with their windows and levels, pending work and where the bytes are
///
/// Shows what the file says. What only an open store knows, such as write amplification, is in its
/// `Stats`. Compaction that is due is told for the default sizes of SSTables.
#[derive(Debug, clap::Args)]
pub(crate) struct Info {
    /// The store
    file: PathBuf,
    #[command(flatten)]
    cold: store::ColdFile,
    /// One JSON object a line: the store, then each table
    #[arg(long)]
    json: bool,
}

/// What is known of a table.
struct Table {
    info: TableInfo,
    /// Timelines that it lists; 0 for a keyed table.
    timelines: u64,
    sstables: u64,
    sstable_bytes: u64,
    /// Bytes of those in the cold tier.
    cold_bytes: u64,
    /// Entries or versions in SSTables.
    entries: u64,
    /// Up to which commit what was retracted has been erased.
    erased_through: u64,
    /// Its windows, as readers go through them.
    windows: Vec<WindowStats>,
    /// Payload segments whose home it is.
    segments: u64,
    /// Bytes of the payloads in them.
    shared_bytes: u64,
}

impl Info {
    pub(super) fn run(self) -> Outcome {
        let engine = store::open_for_reading(&self.file, &self.cold)?;
        let inspector = store::inspect(&self.file, &self.cold)?;
        let root = inspector.root()?;
        let log = inspector.log()?;
        let space = space_by_owner(&inspector)?;
        let device = (inspector.length()?, bytes_on_device(&self.file)?, inspector.cold_length()?);
        let pending = engine.stats().pending;
        let tables = tables(&engine, &inspector)?;
        let mut output = Output::standard(self.json);
        if self.json {
            print_json(&root, &log, &space, device, &pending, &tables, &mut output)?;
        } else {
            print_text(&root, &log, &space, device, &pending, &tables, &mut output)?;
        }
        Ok(output.flush()?)
    }
}

/// Bytes of room that the file takes on the device: less than its length where it has holes.
fn bytes_on_device(file: &Path) -> Outcome<u64> {
    Ok(file.metadata()?.blocks() * DEVICE_UNIT)
}

/// Bytes of each kind of owner, in the order of the file.
fn space_by_owner(inspector: &Inspector) -> Outcome<Vec<(&'static str, u64)>> {
    let names = ["superblock", "wal", "manifest", "sstables", "segments", "free"];
    let mut owners: Vec<_> = names.into_iter().map(|name| (name, 0)).collect();
    for run in inspector.space()? {
        let index = match run.kind {
            SpaceKind::Superblock => 0,
            SpaceKind::Ring => 1,
            SpaceKind::Manifest => 2,
            SpaceKind::Sstable(_) => 3,
            SpaceKind::Segment(_) => 4,
            SpaceKind::Free => 5,
        };
        owners[index].1 += run.extent.length;
    }
    Ok(owners)
}

fn tables(engine: &Engine, inspector: &Inspector) -> Outcome<Vec<Table>> {
    let stats = engine.stats();
    let sstables = inspector.sstables()?;
    let segments = inspector.segments()?;
    let snapshot = engine.snapshot();
    let mut tables = Vec::new();
    for info in engine.tables() {
        let mut timelines = 0;
        if info.options.kind == TableKind::Timeline {
            for timeline in snapshot.timelines(info.id, b"", None)? {
                timeline?;
                timelines += 1;
            }
        }
        let own = || sstables.iter().filter(|sstable| sstable.meta.table == info.id);
        let shared = || segments.iter().filter(|segment| segment.table == info.id);
        let known = stats.tables.iter().find(|table| table.id == info.id);
        tables.push(Table {
            timelines,
            sstables: own().count() as u64,
            sstable_bytes: own().map(|sstable| sstable.meta.extent.length).sum(),
            cold_bytes: own()
                .filter(|sstable| sstable.meta.shard.tier == Tier::Cold)
                .map(|sstable| sstable.meta.extent.length)
                .sum(),
            entries: own().map(|sstable| sstable.meta.entries).sum(),
            segments: shared().count() as u64,
            shared_bytes: shared().map(|segment| segment.payload_bytes).sum(),
            erased_through: known.map_or(0, |table| table.erased_through),
            windows: known.map(|table| table.windows.clone()).unwrap_or_default(),
            info,
        });
    }
    Ok(tables)
}

fn ending(log: &LogReport) -> String {
    match &log.ending {
        LogEnding::Clean => "clean".to_owned(),
        LogEnding::Torn(trace) => format!("torn: {trace}"),
        LogEnding::Damaged(what) => format!("DAMAGED: {what}"),
        LogEnding::Unreadable(error) => format!("unreadable: {error}"),
    }
}

fn commits_in_log(log: &LogReport) -> u64 {
    log.groups.iter().map(|group| group.commits.1 + 1 - group.commits.0).sum()
}

fn print_json(
    root: &RootReport,
    log: &LogReport,
    space: &[(&'static str, u64)],
    device: (u64, u64, Option<u64>),
    pending: &PendingWork,
    tables: &[Table],
    output: &mut Output,
) -> Outcome {
    let cold_bytes = device.2;
    let space: serde_json::Map<String, Value> =
        space.iter().map(|(owner, bytes)| ((*owner).to_owned(), Value::from(*bytes))).collect();
    output.object(&json!({
        "format_version": root.format_version,
        "file_id": text::hex(&root.file.0),
        "incarnation": root.incarnation,
        "created_ms": root.created_ms,
        "sequence": root.sequence,
        "clean": root.clean,
        "commit": root.commit,
        "bytes": space,
        "file_bytes": device.0,
        "device_bytes": device.1,
        "cold_file": root.cold_file.map(|(id, generation)| {
            json!({"id": text::hex(&id), "generation": generation, "bytes": cold_bytes})
        }),
        "wal": {
            "ring_bytes": log.ring_bytes,
            "used_bytes": log.end_lsn - log.head_lsn,
            "groups": log.groups.len(),
            "commits": commits_in_log(log),
            "synced_lsn": log.synced_lsn,
            "end_lsn": log.end_lsn,
            "ending": ending(log),
        },
        "pending": {
            "flush_bytes": log.end_lsn - log.head_lsn,
            "compaction_bytes": pending.compaction_bytes,
            "moves": pending.moves,
            "move_bytes": pending.move_bytes,
            "drops": pending.drops,
            "drop_bytes": pending.drop_bytes,
        },
    }))?;
    for table in tables {
        output.object(&json!({
            "table": table.info.name,
            "id": table.info.id.0,
            "kind": kind(&table.info),
            "sequence": format!("{:?}", table.info.options.sequence).to_lowercase(),
            "ttl_ms": table.info.options.ttl_ms,
            "cold_after_ms": table.info.options.cold_after_ms,
            "erase_after_ms": table.info.options.erase_after_ms,
            "erased_through": table.erased_through,
            "placement": format!("{:?}", table.info.options.placement).to_lowercase(),
            "compression": table.info.options.compression.to_string(),
            "timelines": table.timelines,
            "sstables": table.sstables,
            "sstable_bytes": table.sstable_bytes,
            "cold_bytes": table.cold_bytes,
            "sstable_entries": table.entries,
            "segments": table.segments,
            "shared_payload_bytes": table.shared_bytes,
            "windows": table.windows.iter().map(window_json).collect::<Vec<_>>(),
        }))?;
    }
    Ok(())
}

fn window_json(window: &WindowStats) -> Value {
    let levels = window.levels.iter();
    let levels = levels.map(|level| json!({"sstables": level.sstables, "bytes": level.bytes}));
    json!({
        "tier": tier(window),
        "from_ms": window.from_ms,
        "width_ms": window.width_ms,
        "levels": levels.collect::<Vec<_>>(),
    })
}

fn tier(window: &WindowStats) -> &'static str {
    match window.tier {
        Tier::Hot => "hot",
        Tier::Cold => "cold",
    }
}

fn kind(info: &TableInfo) -> &'static str {
    match info.options.kind {
        TableKind::Timeline => "timeline",
        TableKind::Keyed => "keyed",
    }
}

fn print_text(
    root: &RootReport,
    log: &LogReport,
    space: &[(&'static str, u64)],
    device: (u64, u64, Option<u64>),
    pending: &PendingWork,
    tables: &[Table],
    output: &mut Output,
) -> Outcome {
    let cold_bytes = device.2;
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let closed = if root.clean { "in order" } else { "not yet, or not in order" };
    let mut rows = vec![
        row("format", format!("version {}", root.format_version)),
        row("file id", text::hex(&root.file.0)),
        row("incarnation", root.incarnation.to_string()),
        row("created", time::format_commit_ms(root.created_ms)),
        row("closed", closed.to_owned()),
        row("superblock", format!("sequence {}", root.sequence)),
    ];
    rows.push(row(
        "wal",
        format!(
            "{} of {} in {} groups, {} commits, {}",
            text::bytes(log.end_lsn - log.head_lsn),
            text::bytes(log.ring_bytes),
            text::grouped(log.groups.len() as u64),
            text::grouped(commits_in_log(log)),
            ending(log)
        ),
    ));
    let (length, room) = (text::bytes(device.0), text::bytes(device.1));
    rows.push(row("file", format!("{length}, of which {room} have room on the device")));
    rows.extend(space.iter().map(|(owner, size)| row(&format!("  {owner}"), text::bytes(*size))));
    if let Some((id, generation)) = root.cold_file {
        let size = cold_bytes.map_or_else(|| "not given".to_owned(), text::bytes);
        let id = text::hex(&id);
        rows.push(row("cold file", format!("{size}, generation {generation}, id {id}")));
    }
    rows.push(row("pending", pending_text(log, pending)));
    output.table(&rows)?;
    print_tables(tables, output)?;
    print_windows(tables, output)
}

/// What background work would do if the store were open.
fn pending_text(log: &LogReport, pending: &PendingWork) -> String {
    format!(
        "flush of {}, compaction of {}, {} moves of {}, {} drops of {}",
        text::bytes(log.end_lsn - log.head_lsn),
        text::bytes(pending.compaction_bytes),
        text::grouped(pending.moves),
        text::bytes(pending.move_bytes),
        text::grouped(pending.drops),
        text::bytes(pending.drop_bytes),
    )
}

/// A line for each window that has SSTables.
fn print_windows(tables: &[Table], output: &mut Output) -> Outcome {
    let headings = ["table", "tier", "window from", "width", "SSTables by level", "bytes by level"];
    let mut rows = vec![headings.map(str::to_owned).to_vec()];
    for table in tables {
        rows.extend(table.windows.iter().map(|window| {
            let levels = window.levels.iter();
            let counts: Vec<String> = levels.map(|level| text::grouped(level.sstables)).collect();
            let levels = window.levels.iter();
            let bytes: Vec<String> = levels.map(|level| text::bytes(level.bytes)).collect();
            let from = match window.from_ms {
                0 => "the beginning".to_owned(),
                from_ms => time::format_commit_ms(from_ms),
            };
            let width = match window.width_ms {
                0 => "no end".to_owned(),
                width_ms => format!("{width_ms} ms"),
            };
            let name = text::escape_controls(&table.info.name);
            vec![name, tier(window).to_owned(), from, width, counts.join(" / "), bytes.join(" / ")]
        }));
    }
    if rows.len() == 1 {
        return Ok(());
    }
    output.line("")?;
    Ok(output.table(&rows)?)
}

/// A line for each table.
fn print_tables(tables: &[Table], output: &mut Output) -> Outcome {
    output.line("")?;
    let headings = [
        "table",
        "kind",
        "timelines",
        "entries in SSTables",
        "SSTables",
        "bytes",
        "cold",
        "shared payloads",
        "ttl",
        "erased after",
    ];
    let mut rows = vec![headings.map(str::to_owned).to_vec()];
    rows.extend(tables.iter().map(|table| {
        let ttl_ms = table.info.options.ttl_ms;
        let erased = match table.info.options.erase_after_ms {
            None => "never".to_owned(),
            Some(age_ms) => format!("{age_ms} ms, through commit {}", table.erased_through),
        };
        vec![
            text::escape_controls(&table.info.name),
            kind(&table.info).to_owned(),
            text::grouped(table.timelines),
            text::grouped(table.entries),
            text::grouped(table.sstables),
            text::bytes(table.sstable_bytes),
            text::bytes(table.cold_bytes),
            text::bytes(table.shared_bytes),
            ttl_ms.map_or_else(|| "none".to_owned(), |ttl_ms| format!("{ttl_ms} ms")),
            erased,
        ]
    }));
    Ok(output.table(&rows)?)
}
