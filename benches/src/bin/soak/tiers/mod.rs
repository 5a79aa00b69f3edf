//! `soak tiers`: the real chats in hot and in cold SSTables: bytes a message, beside what
//! `zstd -3` makes of the raw text, and the cost of scanning a history.

mod chats;

use crate::Result;
use crate::arguments::{Common, TiersArguments};
use crate::report::{Report, note, rounded};
use crate::sample::{joined, quantiles};
use crate::stage::{Stage, small_options};
use chats::Chats;
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};
use tidelog_benches::measure::Latencies;
use tidelog_engine::{
    Compression, Direction, Durability, Engine, Options, TableId, TableOptions, WriteBatch,
};

/// Messages of one commit.
const BATCH: usize = 100;
/// Entries that a page of history has.
const PAGE: usize = 20;

/// Runs the mode. Returns whether all was right.
pub(crate) fn run(common: &Common, arguments: &TiersArguments) -> Result<bool> {
    let messages_max = match (arguments.messages, common.short) {
        (Some(messages), _) => messages,
        (None, true) => 20_000,
        (None, false) => usize::MAX,
    };
    let report = Report::new("tiers", common.strict);
    let Some(folder) = chats::folder(arguments.data.as_deref()) else {
        note(format_args!("SKIPPED: set TIDELOG_DATA to the folder of real chats"));
        return report.end(&std::env::temp_dir(), Value::Null, json!({ "skipped": true }));
    };
    let chats = Chats::read(&folder, messages_max)?;
    let base = if common.short { small_options() } else { Options::default() };
    let mut stores = Map::new();
    for (name, options) in tables() {
        let stage = Stage::new(common, base.clone())?;
        let values = measure(&stage, options, &chats, &report)?;
        report.interval(joined(json!({ "store": name }), values.clone()))?;
        stage.verify(&report)?;
        stores.insert(name.to_owned(), values);
    }
    let packed = zstd::bulk::compress(chats.text.as_bytes(), 3)?;
    let values = json!({
        "messages": chats.count(),
        "text_bytes": chats.text.len(),
        "text_bytes_per_message": per_message(chats.text.len() as u64, &chats),
        "zstd3_bytes_per_message": per_message(packed.len() as u64, &chats),
        "stores": stores,
    });
    let parameters = json!({ "messages_max": messages_max, "data": "chat-irc" });
    report.end(&std::env::temp_dir(), parameters, values)
}

/// The kinds of tables that are compared.
fn tables() -> Vec<(&'static str, TableOptions)> {
    let compressed = |compression| TableOptions { compression, ..TableOptions::timeline() };
    vec![
        ("hot", compressed(Compression::None)),
        ("hot lz4", compressed(Compression::Lz4)),
        ("hot zstd", compressed(Compression::Zstd { level: 3 })),
        ("cold", TableOptions::timeline().born_cold()),
    ]
}

/// Fills a store, moves all to SSTables, and reads it.
fn measure(stage: &Stage, options: TableOptions, chats: &Chats, report: &Report) -> Result<Value> {
    let engine = stage.open()?;
    let table = engine.create_table("channel", options)?;
    fill(&engine, table, chats)?;
    let start = Instant::now();
    engine.compact()?;
    let compacting = start.elapsed();
    let stats = engine.stats();
    let values = joined(
        json!({
            "bytes_per_message": per_message(stats.sstable_bytes, chats),
            "sstable_bytes": stats.sstable_bytes,
            "compacting_seconds": rounded(compacting.as_secs_f64()),
        }),
        read(&engine, table, chats, report)?,
    );
    engine.close()?;
    Ok(values)
}

fn fill(engine: &Engine, table: TableId, chats: &Chats) -> Result<()> {
    for (channel, messages) in &chats.channels {
        for piece in messages.chunks(BATCH) {
            let mut batch = WriteBatch::new();
            for message in piece {
                batch.append(table, channel.as_bytes(), message.as_bytes(), None)?;
            }
            engine.commit(batch, Durability::Buffered)?;
        }
    }
    Ok(())
}

/// Scans every channel from its first message on, then page by page from its last one back.
fn read(engine: &Engine, table: TableId, chats: &Chats, report: &Report) -> Result<Value> {
    let (mut forward, mut pages) = (Duration::ZERO, Latencies::new());
    for (channel, messages) in &chats.channels {
        let start = Instant::now();
        let found = scan(engine, table, channel, u64::MAX, Direction::Forward, usize::MAX)?;
        forward += start.elapsed();
        if !found.iter().map(|(_, payload)| &payload[..]).eq(messages.iter().map(String::as_bytes))
        {
            report.wrong.add(format_args!("{channel} is not what was written"));
        }
        let mut to = messages.len() as u64;
        while to > 0 {
            let page =
                pages.time(|| scan(engine, table, channel, to, Direction::Backward, PAGE))?;
            let expected = messages[..usize::try_from(to)?].iter().rev().take(PAGE);
            let is_right =
                page.iter().map(|(_, payload)| &payload[..]).eq(expected.map(String::as_bytes));
            if !is_right || page.first().map(|(seq, _)| *seq) != Some(to) {
                report.wrong.add(format_args!("{channel}: the page from {to} back is wrong"));
                break;
            }
            to -= page.len() as u64;
        }
    }
    let nanos = forward.as_nanos() as f64 / chats.count().max(1) as f64;
    Ok(json!({
        "whole_scan_ns_per_message": rounded(nanos),
        "pages_of_20_back": quantiles(&pages),
    }))
}

fn scan(
    engine: &Engine,
    table: TableId,
    channel: &str,
    to: u64,
    direction: Direction,
    limit: usize,
) -> Result<Vec<(u64, tidelog_engine::Payload)>> {
    let snapshot = engine.snapshot();
    let scan = snapshot.scan(table, channel.as_bytes(), 1, to, direction)?;
    let entries = scan.take(limit).map(|entry| entry.map(|entry| (entry.seq, entry.payload)));
    Ok(entries.collect::<tidelog_engine::Result<Vec<_>>>()?)
}

fn per_message(bytes: u64, chats: &Chats) -> Value {
    rounded(bytes as f64 / chats.count().max(1) as f64)
}
