//! Reads a store in every way that must agree, and compares it with the reference.

use super::timeline::{Around, Looks};
use super::{Contents, Erased, Erasure, Id, Version};
use std::collections::BTreeSet;
use std::ops::Bound;
use tidelog_engine::{Direction, Entry, Gap, GapReason, Item, Result, Snapshot, TableId};

/// Compares what a snapshot shows of timeline tables with what it must show. What turns out to have
/// expired is noted: it must not come back.
///
/// # Errors
/// Those of the store. A difference is a panic.
pub(super) fn timelines(
    snapshot: &Snapshot,
    contents: &mut Contents,
    table: (TableId, Around),
    erased: &Erased,
    context: &str,
) -> Result<()> {
    let (table, around) = table;
    let listed = snapshot.timelines(table, b"", None)?;
    let listed = listed.map(|timeline| timeline.map(|found| (table, found.key.to_vec())));
    let listed = listed.collect::<Result<Vec<Id>>>()?;
    let of_table = contents.timelines.iter().filter(|(id, _)| id.0 == table);
    let written = of_table.filter(|(_, timeline)| timeline.latest > 0);
    let written: Vec<Id> = written.map(|(id, _)| id.clone()).collect();
    let mut known = written.clone();
    if around.held {
        // What a snapshot saw of a timeline may have expired, and so may what tells of it.
        known.retain(|id| {
            listed.contains(id) || !snapshot.len(table, &id.1).is_ok_and(|length| length == 0)
        });
    }
    assert_eq!(listed, known, "{context}: the list of timelines");
    for id in &written {
        let context = format!("{context}, {id:?}");
        timeline(snapshot, contents, id, (around, erased), &context)?;
    }
    Ok(())
}

/// Values by key.
pub(super) fn values(
    snapshot: &Snapshot,
    contents: &Contents,
    table: TableId,
    context: &str,
) -> Result<()> {
    let pairs = snapshot.values(table, Bound::Unbounded, Bound::Unbounded)?;
    let pairs = pairs.map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())));
    let found = pairs.collect::<Result<Vec<_>>>()?;
    let expected: Vec<_> = contents.values.clone().into_iter().collect();
    assert_eq!(found, expected, "{context}: values");
    for (key, value) in &contents.values {
        assert_eq!(snapshot.value(table, key)?.as_deref(), Some(&value[..]), "{context}");
    }
    Ok(())
}

fn timeline(
    snapshot: &Snapshot,
    contents: &mut Contents,
    id: &Id,
    (around, erased): (Around, &Erased),
    context: &str,
) -> Result<()> {
    let (table, key) = (id.0, &id.1[..]);
    let timeline = &contents.timelines[id];
    let latest = snapshot.latest_seq(table, key)?;
    if latest != timeline.latest {
        // What a snapshot saw may have expired and be out of the file, and so may what tells of it.
        let may_be_unknown = around.held && (around.expires || timeline.expires());
        assert!(may_be_unknown, "{context}: the latest seq is {latest}, not {}", timeline.latest);
        return Ok(());
    }
    let items = |direction| {
        let items = snapshot.scan_items(table, key, 0, u64::MAX, direction)?;
        items.collect::<Result<Vec<Item>>>()
    };
    let forward = items(Direction::Forward)?;
    let mut backward = items(Direction::Backward)?;
    backward.reverse();
    assert_eq!(forward, backward, "{context}: items, both ways");
    let entries = forward.iter().filter_map(|item| match item {
        Item::Entry(entry) => Some(entry),
        Item::Gap(_) => None,
    });
    let entries: Vec<&Entry> = entries.collect();
    scans(snapshot, id, &entries, context)?;
    let looks = timeline.looks(&around);
    let context = format!("{context}, {around:?}");
    let expired = tiled(&forward, latest, contents, id, &looks, &context);
    drop(looks);
    for entry in &entries {
        let found = snapshot.versions(table, key, entry.seq)?;
        let expected = contents.versions(&(id.clone(), entry.seq), erased);
        let is = |(found, expected): (&Entry, &Version)| match found.erased {
            true => expected.erasure != Erasure::Not && found.payload.is_empty(),
            // Of an empty one there is nothing to erase.
            false => {
                (expected.erasure != Erasure::Must || expected.payload.as_deref() == Some(&[]))
                    && shown(found) == expected.payload.as_deref()
            }
        };
        let same = found.len() == expected.len() && found.iter().zip(&expected).all(is);
        assert!(same, "{context}: versions of {}: {found:?}, not {expected:?}", entry.seq);
    }
    let timeline = contents.timelines.get_mut(id).expect("it was there a moment ago");
    for (seq, written) in &mut timeline.entries {
        written.expired |= expired.contains(seq);
    }
    for entry in entries {
        let written = timeline.entries.get_mut(&entry.seq).expect("it was compared");
        written.time_ms = super::Range(entry.time_ms, entry.time_ms);
    }
    Ok(())
}

/// The payload of an entry; `None` where it is retracted.
fn shown(entry: &Entry) -> Option<&[u8]> {
    let retracted = entry.revision.is_some_and(|revision| revision.retracted);
    assert!(!retracted || entry.payload.is_empty());
    (!retracted).then_some(&entry.payload[..])
}

/// The other ways to read the same entries.
fn scans(snapshot: &Snapshot, id: &Id, entries: &[&Entry], context: &str) -> Result<()> {
    let (table, key) = (id.0, &id.1[..]);
    let scan = |from, to, direction| -> Result<Vec<Entry>> {
        snapshot.scan(table, key, from, to, direction)?.collect()
    };
    let is_same = |found: &[Entry]| found.iter().eq(entries.iter().copied());
    assert!(is_same(&scan(0, u64::MAX, Direction::Forward)?), "{context}: forward");
    let mut backward = scan(0, u64::MAX, Direction::Backward)?;
    backward.reverse();
    assert!(is_same(&backward), "{context}: backward");
    assert_eq!(snapshot.len(table, key)?, entries.len() as u64, "{context}: length");
    let latest = snapshot.latest(table, key)?;
    assert!(latest.as_ref() == entries.last().copied(), "{context}: the newest entry");
    for entry in entries.iter().step_by(5) {
        let found = snapshot.get(table, key, entry.seq)?;
        assert!(found.as_ref() == Some(*entry), "{context}: {}", entry.seq);
    }
    if let [first, .., last] = entries {
        let (from, to) = (first.seq + 1, last.seq - 1);
        let inside = scan(from, to, Direction::Backward)?;
        let expected = entries[1..entries.len() - 1].iter().rev();
        assert!(inside.iter().eq(expected.copied()), "{context}: {from} to {to}");
    }
    Ok(())
}

/// Looks at a scan with gaps: it tiles all seqs, and each looks as it may. Returns what has
/// expired.
fn tiled(
    items: &[Item],
    latest: u64,
    contents: &Contents,
    id: &Id,
    looks: &impl Fn(u64) -> Looks,
    context: &str,
) -> BTreeSet<u64> {
    let timeline = &contents.timelines[id];
    let mut expired = BTreeSet::new();
    let (mut next, mut time_ms) = (1, 0);
    let mut reason_before = None;
    for item in items {
        match item {
            Item::Entry(entry) => {
                assert_eq!(entry.seq, next, "{context}: seqs");
                assert!(looks(entry.seq).shown, "{context}: {} is shown", entry.seq);
                entry_is(entry, contents, id, context);
                assert!(entry.time_ms >= time_ms, "{context}: the commit time of {}", entry.seq);
                time_ms = entry.time_ms;
                reason_before = None;
                next += 1;
            }
            Item::Gap(Gap { from, to, reason }) => {
                assert!(*from == next && from <= to, "{context}: a gap from {from} to {to}");
                assert_ne!(reason_before, Some(*reason), "{context}: two gaps are one");
                // Looks change only at entries, and at ends of marks, which are beside entries.
                let inside = timeline.entries.range(from..=to).map(|(seq, _)| *seq);
                let points = inside.clone().flat_map(|seq| [seq - 1, seq, seq + 1]);
                for seq in points.chain([*from, *to]).filter(|seq| (from..=to).contains(&seq)) {
                    let may = looks(seq);
                    assert!(
                        may.may_be(*reason),
                        "{context}: {seq} is told as {reason:?} of {from} to {to}, but {may:?}: \
                         {:?}, \
                         {timeline:?}",
                        timeline.entries.get(&seq)
                    );
                }
                if matches!(reason, GapReason::Expired | GapReason::Lost) {
                    expired.extend(inside);
                }
                reason_before = Some(*reason);
                next = to + 1;
            }
        }
    }
    assert_eq!(next, latest + 1, "{context}: the items end before the latest seq");
    expired
}

/// What is said of an entry beside its versions.
fn entry_is(entry: &Entry, contents: &Contents, id: &Id, context: &str) {
    let seq = entry.seq;
    let written = &contents.timelines[id].entries[&seq];
    let versions = contents.versions(&(id.clone(), seq), &Erased::default());
    let newest = versions.last().expect("the first one is as it was written");
    assert!(
        shown(entry) == newest.payload.as_deref(),
        "{context}: the payload of {seq} is {entry:?}, not {:?}; {written:?} of {:?}",
        newest.payload.as_deref().map(String::from_utf8_lossy),
        written.origin,
    );
    assert!(!entry.erased, "{context}: {seq} is shown as erased");
    assert_eq!(entry.revision.is_some(), versions.len() > 1, "{context}: {seq} is amended");
    assert_eq!(entry.ttl_ms, written.ttl_ms, "{context}: own time to live of {seq}");
    let origin = entry.origin.as_ref();
    let origin = origin.map(|origin| ((origin.table, origin.key.to_vec()), origin.seq));
    assert_eq!(origin, written.origin, "{context}: origin of {seq}");
    let super::Range(low, high) = written.time_ms;
    assert!((low..=high).contains(&entry.time_ms), "{context}: commit time of {seq}");
}
