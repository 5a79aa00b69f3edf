//! The fixed structures: superblock, WAL, manifest. Each function says whether it met damage.

use super::print_object;
use crate::failure::Outcome;
use crate::output::Output;
use crate::text;
use crate::time;
use serde_json::{Map, Value, json};
use tidelog_engine::inspect::{CopyVerdict, Inspector, LogEnding, RootReport};

pub(super) fn superblock(inspector: &Inspector, output: &mut Output) -> Outcome<bool> {
    let mut damaged = false;
    for copy in inspector.superblocks() {
        let mut object = Map::new();
        object.insert("copy".to_owned(), Value::from(copy.copy));
        object.insert("offset".to_owned(), Value::from(copy.offset));
        match copy.verdict {
            CopyVerdict::Valid(root) => {
                object.insert("state".to_owned(), Value::from("valid"));
                object.extend(root_fields(&root));
            }
            CopyVerdict::Unsupported(what) => {
                object.insert("state".to_owned(), Value::from("unsupported"));
                object.insert("detail".to_owned(), Value::from(what));
            }
            CopyVerdict::Damaged(why) => {
                damaged = true;
                object.insert("state".to_owned(), Value::from("damaged"));
                object.insert("detail".to_owned(), Value::from(why));
            }
        }
        print_object(object, output)?;
    }
    Ok(damaged)
}

fn root_fields(root: &RootReport) -> Map<String, Value> {
    let value = json!({
        "sequence": root.sequence,
        "file_id": text::hex(&root.file.0),
        "incarnation": root.incarnation,
        "format_version": root.format_version,
        "compatible": root.features.0,
        "read_only_compatible": root.features.1,
        "incompatible": root.features.2,
        "file_length": root.file_length,
        "ring_offset": root.ring.offset,
        "ring_length": root.ring.length,
        "manifest_offset": root.manifest.offset,
        "manifest_extent": root.manifest.length,
        "manifest_length": root.manifest_length,
        "manifest_checksum": format!("{:#010x}", root.manifest_checksum),
        "wal_head_lsn": root.head_lsn,
        "wal_salt": format!("{:#018x}", root.salt),
        "synced_lsn": root.synced_lsn,
        "commit": root.commit,
        "clock_high_water_ms": root.clock_high_water_ms,
        "clean": root.clean,
        "unsynced": root.unsynced,
        "device": root.identity.device,
        "inode": root.identity.inode,
        "boot": text::hex(&root.identity.boot),
        "created": time::format_commit_ms(root.created_ms),
    });
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

pub(super) fn wal(inspector: &Inspector, output: &mut Output) -> Outcome<bool> {
    let log = inspector.log()?;
    for group in &log.groups {
        output.either(
            &json!({
                "lsn": group.lsn.0,
                "end_lsn": group.lsn.1,
                "offset": group.offset,
                "first_commit": group.commits.0,
                "last_commit": group.commits.1,
                "time_ms": group.time_ms,
                "synced_lsn": group.synced_lsn,
            }),
            format_args!(
                "lsn {} to {} at offset {}: commits {} to {}, {}, synced up to {}",
                group.lsn.0,
                group.lsn.1,
                group.offset,
                group.commits.0,
                group.commits.1,
                time::format_commit_ms(group.time_ms),
                group.synced_lsn
            ),
        )?;
    }
    for payload in &log.payloads {
        let segment = &payload.segment;
        output.either(
            &json!({
                "commit": payload.commit,
                "entries": payload.entries,
                "payload_segment": segment.number,
                "payload_offset": segment.extent.offset,
                "payload_bytes": segment.payload_bytes,
                "payload_checksum": format!("{:#010x}", segment.footer_checksum),
            }),
            format_args!(
                "commit {}: {} bytes for {} entries in segment {} at offset {}",
                payload.commit,
                segment.payload_bytes,
                payload.entries,
                segment.number,
                segment.extent.offset,
            ),
        )?;
    }
    let (ending, detail) = match &log.ending {
        LogEnding::Clean => ("clean", None),
        LogEnding::Torn(trace) => ("torn", Some(trace.clone())),
        LogEnding::Damaged(what) => ("damaged", Some(what.clone())),
        LogEnding::Unreadable(error) => ("unreadable", Some(error.to_string())),
    };
    let shown = detail.as_ref().map_or_else(String::new, |detail| format!(": {detail}"));
    output.either(
        &json!({
            "head_lsn": log.head_lsn,
            "end_lsn": log.end_lsn,
            "synced_lsn": log.synced_lsn,
            "ring_bytes": log.ring_bytes,
            "ending": ending,
            "detail": detail,
        }),
        format_args!(
            "ends at lsn {}, synced up to {}: {ending}{shown}",
            log.end_lsn, log.synced_lsn
        ),
    )?;
    Ok(matches!(log.ending, LogEnding::Damaged(_) | LogEnding::Unreadable(_)))
}

pub(super) fn manifest(inspector: &Inspector, output: &mut Output) -> Outcome<bool> {
    let report = inspector.manifest()?;
    for record in &report.records {
        let kind = if record.base { "base" } else { "edits" };
        let edits = record.edits.iter().map(|edit| format!("\n  {}", text::escape_controls(edit)));
        output.either(
            &json!({
                "number": record.number,
                "offset": record.offset,
                "bytes": record.bytes,
                "kind": kind,
                "checksum": format!("{:#010x}", record.checksum),
                "edits": record.edits,
            }),
            format_args!(
                "record {} ({kind}) at offset {}, {} bytes{}",
                record.number,
                record.offset,
                record.bytes,
                edits.collect::<String>()
            ),
        )?;
    }
    if let Some(damage) = &report.damage {
        output.either(&json!({"damage": damage.to_string()}), format_args!("damage: {damage}"))?;
    }
    Ok(report.damage.is_some())
}
