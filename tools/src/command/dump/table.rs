//! A table: its SSTables and blocks, or what is in it.

use super::print_object;
use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::text;
use serde_json::{Map, Value, json};
use std::ops::Bound::Unbounded;
use tidelog_engine::inspect::{BlockReport, Inspector, SstableReport};
use tidelog_engine::{Direction, Engine, SegmentMeta, TableInfo, TableKind, Tier};

/// The SSTables of a table and their blocks. Says whether there was damage.
pub(super) fn blocks(inspector: &Inspector, table: &str, output: &mut Output) -> Outcome<bool> {
    let table = find(inspector.tables()?, table)?;
    let mut damaged = false;
    for sstable in inspector.sstables()?.into_iter().filter(|it| it.meta.table == table.id) {
        print_sstable(&sstable, output)?;
        let number = sstable.meta.number;
        match inspector.blocks(number) {
            Ok(blocks) => {
                for block in blocks {
                    damaged |= block.damage.is_some();
                    print_block(number, &block, output)?;
                }
            }
            Err(error) => {
                damaged = true;
                let object = json!({"sstable": number, "damage": error.to_string()});
                output.either(&object, format_args!("  damage: {error}"))?;
            }
        }
    }
    for segment in inspector.segments()?.into_iter().filter(|it| it.table == table.id) {
        print_segment(&segment, output)?;
    }
    Ok(damaged)
}

fn print_segment(meta: &SegmentMeta, output: &mut Output) -> Outcome {
    let object = json!({
        "segment": meta.number,
        "offset": meta.extent.offset,
        "bytes": meta.bytes,
        "payloads": meta.records,
        "payload_bytes": meta.payload_bytes,
    });
    let shown = format!(
        "segment {} at offset {}: {} bytes, {} payloads of {} bytes",
        meta.number, meta.extent.offset, meta.bytes, meta.records, meta.payload_bytes
    );
    Ok(output.either(&object, shown)?)
}

fn print_sstable(sstable: &SstableReport, output: &mut Output) -> Outcome {
    let SstableReport { level, meta } = sstable;
    let end = |(key, seq): &(Box<[u8]>, u64)| json!({"key": text::timeline_name(key), "seq": seq});
    let object = json!({
        "sstable": meta.number,
        "tier": tier(meta.shard.tier),
        "window_ms": meta.shard.window,
        "level": level,
        "offset": meta.extent.offset,
        "bytes": meta.bytes,
        "entries": meta.entries,
        "keys": meta.keys,
        "first": end(&meta.first),
        "last": end(&meta.last),
        "commits": [meta.commits.0, meta.commits.1],
        "times_ms": [meta.times_ms.0, meta.times_ms.1],
        "segments": meta.segments.as_ref(),
    });
    let shown = format!(
        "SSTable {}, {} window {}, level {level}, at offset {}: {} bytes, {} entries of {} keys, \
         commits {} to {}",
        meta.number,
        tier(meta.shard.tier),
        meta.shard.window,
        meta.extent.offset,
        meta.bytes,
        meta.entries,
        meta.keys,
        meta.commits.0,
        meta.commits.1
    );
    Ok(output.either(&object, shown)?)
}

fn tier(tier: Tier) -> &'static str {
    match tier {
        Tier::Hot => "hot",
        Tier::Cold => "cold",
    }
}

fn print_block(number: u64, block: &BlockReport, output: &mut Output) -> Outcome {
    let BlockReport { offset, length, kind, codec, raw_length, items, damage } = block;
    let object = json!({
        "sstable": number,
        "block": kind,
        "offset": offset,
        "length": length,
        "codec": codec,
        "raw_length": raw_length,
        "items": items,
        "damage": damage,
    });
    let note = damage.as_ref().map_or_else(String::new, |what| format!(", damage: {what}"));
    let shown = format!("  {kind} at offset {offset}: {length} bytes, {items} items{note}");
    Ok(output.either(&object, text::escape_controls(&shown))?)
}

/// All entries of a timeline table, or all values of a keyed one.
pub(super) fn contents(engine: &Engine, table: &str, output: &mut Output) -> Outcome {
    let table = find(engine.tables(), table)?;
    let snapshot = engine.snapshot();
    if table.options.kind == TableKind::Keyed {
        for pair in snapshot.values(table.id, Unbounded, Unbounded)? {
            let (key, value) = pair?;
            let mut object = Map::new();
            object.insert("key".to_owned(), Value::from(text::timeline_name(&key)));
            text::put_payload(&mut object, &value);
            print_object(object, output)?;
        }
        return Ok(());
    }
    for timeline in snapshot.timelines(table.id, b"", None)? {
        let key = timeline?.key;
        let name = text::timeline_name(&key);
        for entry in snapshot.scan(table.id, &key, 0, u64::MAX, Direction::Forward)? {
            let entry = entry?;
            let mut object = Map::new();
            object.insert("timeline".to_owned(), Value::from(name.as_str()));
            object.insert("seq".to_owned(), Value::from(entry.seq));
            object.insert("commit".to_owned(), Value::from(entry.commit));
            object.insert("time_ms".to_owned(), Value::from(entry.time_ms));
            text::put_payload(&mut object, &entry.payload);
            print_object(object, output)?;
        }
    }
    Ok(())
}

fn find(tables: Vec<TableInfo>, name: &str) -> Outcome<TableInfo> {
    let number: Option<u32> = name.parse().ok();
    let mut found = tables.into_iter();
    found
        .find(|table| table.name == name || number == Some(table.id.0))
        .ok_or_else(|| Failure::usage(format_args!("there is no table {name:?}")))
}
