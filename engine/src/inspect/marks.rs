//! The mark table against what a mark can be.

use super::Fault;
use crate::batch::KeyedOperation;
use crate::entry::KeyedVersion;
use crate::error::Result;
use crate::marks::{MarkKey, MarkKind, TimelineMarks, decode_range_end};
use crate::sstable::Sstable;
use crate::sync::Arc;
use std::ops::Bound;

/// Looks at every version in an SSTable of the mark table.
pub(super) fn mark_faults(sstable: &Arc<Sstable>) -> Result<Vec<Fault>> {
    let mut faults = Vec::new();
    let mut cursor = sstable.keyed_cursor(Bound::Unbounded)?;
    while let Some(version) = cursor.next()? {
        if let Some(fault) = fault(&version) {
            let offset = sstable.meta().extent.offset;
            let detail = format!("SSTable {}: {fault}", sstable.meta().number);
            faults.push(Fault { what: "mark", offset, detail });
        }
    }
    Ok(faults)
}

/// What is wrong with a mark, if anything is.
fn fault(version: &KeyedVersion) -> Option<String> {
    let Some(key) = MarkKey::decode(&version.key) else {
        return Some(format!("a key of {} bytes is none of a mark", version.key.len()));
    };
    let sound = match (version.operation, key.kind) {
        (KeyedOperation::Put, _) => true,
        (operation, kind) => operation == kind.operation(),
    };
    if !sound {
        return Some(format!("a mark {:?} with the operation {:?}", key.kind, version.operation));
    }
    let decoded = match key.kind {
        MarkKind::Timeline => TimelineMarks::decode(&version.value).is_ok(),
        MarkKind::Range => decode_range_end(&version.value).is_some(),
    };
    (!decoded).then(|| format!("a mark {:?} whose value is none", key.kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Payload, TableId};
    use crate::marks::encode_range_end;

    #[test]
    fn what_is_no_mark_is_a_fault() {
        let version = |kind, from, operation, value: &[u8]| KeyedVersion {
            key: MarkKey { table: TableId(16), id: b"room", kind, from }.encode().into(),
            commit: 1,
            index: 0,
            time_ms: 1,
            operation,
            value: Payload::from_vec(value.to_vec()),
        };
        let marks = TimelineMarks { trimmed_below: 7, ..TimelineMarks::default() }.encode();
        let end = encode_range_end(9);
        for operation in [KeyedOperation::Mark, KeyedOperation::Put] {
            assert_eq!(fault(&version(MarkKind::Timeline, 0, operation, &marks)), None);
        }
        assert_eq!(fault(&version(MarkKind::Range, 5, KeyedOperation::Max, &end)), None);
        let faults = [
            version(MarkKind::Timeline, 1, KeyedOperation::Put, &marks),
            version(MarkKind::Timeline, 0, KeyedOperation::Max, &marks),
            version(MarkKind::Range, 5, KeyedOperation::Mark, &end),
            version(MarkKind::Range, 5, KeyedOperation::Delete, &[]),
            version(MarkKind::Range, 5, KeyedOperation::Max, &marks),
            version(MarkKind::Timeline, 0, KeyedOperation::Put, &end),
        ];
        for wrong in faults {
            assert!(fault(&wrong).is_some(), "{wrong:?}");
        }
    }
}
