//! Payload segments: each record is found by its reference, in copies and in what a salvage leaves
//! too; rot harms who needs the rotten record and nobody else; lies cost nothing.

use crate::harness::{each, ensure};
use crate::mutation::{length, overwrite};
use std::collections::BTreeSet;
use std::io;
use tidelog_engine::testing::Random;
use tidelog_engine::testing::fuzzing::segment::{Open, Record, Written};
use tidelog_engine::{Error, ErrorKind, Origin, TableId};

/// Bytes of a footer.
const FOOTER: usize = 64;
/// The seed of a segment of few records.
const RAW_SEED: u64 = 3;

/// A segment, and what is in it.
struct Filled {
    written: Written,
    records: Vec<Record>,
    offsets: Vec<u64>,
}

/// A segment is written, read, copied and salvaged; then its bytes are changed, without and with
/// their checksums.
pub(crate) fn run(seed: u64, events: u64) -> Result<(), String> {
    each(seed, events, 32 << 20, |random| {
        let filled = fill(random).map_err(|error| error.to_string())?;
        check(&filled.written, &filled, &BTreeSet::new())?;
        let mut repaired = filled.written.bytes();
        check(&filled.written.repaired(&mut repaired, &filled.offsets), &filled, &BTreeSet::new())?;
        ensure(repaired == filled.written.bytes(), || "a repair changes what is whole".to_owned())?;
        copies(random, &filled)?;
        for _ in 0..4 {
            rot(random, &filled)?;
        }
        for _ in 0..6 {
            lie(random, &filled)?;
        }
        Ok(())
    })
}

/// Draws records and writes them; now and then a single large one, which a commit writes otherwise.
fn fill(random: &mut Random) -> Result<Filled, Error> {
    if random.chance(1, 8) {
        let mut payload = vec![0; length(random, 300_000)];
        random.fill(&mut payload);
        let written = Written::large(&payload)?;
        let records = vec![Record { event_ms: None, origin: None, payload }];
        let (same, offsets) = Written::write(&records)?;
        assert_eq!(written.meta(), same.meta(), "a large payload is a segment of one record");
        assert!(written.bytes() == same.bytes(), "a large payload is a segment of one record");
        return Ok(Filled { written, records, offsets });
    }
    let mut records = Vec::new();
    for _ in 0..=length(random, 50) {
        records.push(record(random));
    }
    let (written, offsets) = Written::write(&records)?;
    Ok(Filled { written, records, offsets })
}

fn record(random: &mut Random) -> Record {
    let longest = if random.chance(1, 40) { 30_000 } else { 400 };
    let mut payload = vec![0; length(random, longest)];
    random.fill(&mut payload);
    let event_ms = i64::from_le_bytes(random.next_u64().to_le_bytes());
    let mut key = vec![0; 1 + length(random, 1023)];
    random.fill(&mut key);
    let origin = Origin { table: TableId(18), key: key.into(), seq: random.next_u64() };
    Record {
        event_ms: random.chance(1, 2).then_some(event_ms),
        origin: random.chance(1, 2).then_some(origin),
        payload,
    }
}

/// Every record is there, and what it was; those that were erased have no payload.
fn check(written: &Written, filled: &Filled, erased: &BTreeSet<u64>) -> Result<(), String> {
    for mapped in [false, true] {
        let open = written.open(mapped);
        let verified = open.verify(&filled.offsets);
        let sound =
            verified.damage.is_empty() && verified.whole && !verified.found.contains(&false);
        ensure(sound && verified.erased == erased.len() as u64, || format!("{verified:?}"))?;
        for (offset, record) in filled.offsets.iter().zip(&filled.records) {
            let found = open.record(*offset).map_err(|error| error.to_string())?;
            let is_erased = erased.contains(offset);
            ensure(found == (shown(record, is_erased), is_erased), || {
                format!("the record at {offset} is {found:?}, not {record:?}")
            })?;
        }
        let mut walked = Vec::new();
        let mut offset = 0;
        while let Some(next) = open.behind(offset).map_err(|error| error.to_string())? {
            walked.push(offset);
            offset = next;
        }
        ensure(walked == filled.offsets, || format!("{walked:?}, not {:?}", filled.offsets))?;
    }
    Ok(())
}

/// What is read of a record.
fn shown(record: &Record, is_erased: bool) -> Record {
    let payload = if is_erased { Vec::new() } else { record.payload.clone() };
    Record { event_ms: record.event_ms, origin: record.origin.clone(), payload }
}

/// A copy, a copy of the copy, and what a salvage leaves.
fn copies(random: &mut Random, filled: &Filled) -> Result<(), String> {
    let text = |error: Error| error.to_string();
    let mut erased = some(random, &filled.offsets);
    let copy = filled.written.open(false).copy(&erased).map_err(text)?;
    check(&copy, filled, &erased)?;
    let more = some(random, &filled.offsets);
    let copy = copy.open(true).copy(&more).map_err(text)?;
    erased.extend(more);
    check(&copy, filled, &erased)?;
    let needed = some(random, &filled.offsets);
    let remains = filled.written.open(false).remains(&needed).map_err(text)?;
    check_remains(&remains, filled, &needed)
}

/// The records that were needed are there, in a segment that verifies.
fn check_remains(remains: &Written, filled: &Filled, needed: &BTreeSet<u64>) -> Result<(), String> {
    let open = remains.open(false);
    let offsets: Vec<u64> = needed.iter().copied().collect();
    let verified = open.verify(&offsets);
    let sound = verified.damage.is_empty() && verified.whole && !verified.found.contains(&false);
    ensure(sound, || format!("remains with {needed:?}: {verified:?}"))?;
    for (offset, record) in filled.offsets.iter().zip(&filled.records) {
        if needed.contains(offset) {
            let found = open.record(*offset).map_err(|error| error.to_string())?;
            ensure(found == (record.clone(), false), || {
                format!("what remains at {offset} is {found:?}, not {record:?}")
            })?;
        }
    }
    Ok(())
}

/// A random part of the records.
fn some(random: &mut Random, offsets: &[u64]) -> BTreeSet<u64> {
    let share = random.below(4);
    offsets.iter().copied().filter(|_| random.chance(share, 4)).collect()
}

/// Changed bytes: a record whose bytes are as they were is read, and can be salvaged; any other is
/// right or corruption. Verification finds the damage, and no copy takes it over.
fn rot(random: &mut Random, filled: &Filled) -> Result<(), String> {
    let whole = filled.written.bytes();
    let mut changed = whole.clone();
    if random.chance(1, 4) {
        let sector = random.index(whole.len()) / 512 * 512;
        let end = (sector + 512).min(whole.len());
        changed[sector..end].fill(0);
    } else {
        let range = aimed(random, filled, whole.len());
        overwrite(random, &mut changed[range]);
    }
    if changed == whole {
        return Ok(());
    }
    let written = filled.written.with_bytes(&changed);
    let ends = filled.offsets.iter().skip(1).copied().chain([(whole.len() - FOOTER) as u64]);
    let mut intact = BTreeSet::new();
    for (offset, end) in filled.offsets.iter().zip(ends) {
        let range = index(*offset)..index(end);
        if whole[range.clone()] == changed[range] {
            intact.insert(*offset);
        }
    }
    for mapped in [false, true] {
        let open = written.open(mapped);
        let verified = open.verify(&filled.offsets);
        ensure(!verified.damage.is_empty(), || "verification finds no damage".to_owned())?;
        for (number, offset) in filled.offsets.iter().enumerate() {
            let is_intact = intact.contains(offset);
            ensure(is_intact || !verified.found[number], || {
                format!("verification takes the damaged record at {offset} for a sound one")
            })?;
            match open.record(*offset) {
                Ok(found) => ensure(found == (filled.records[number].clone(), false), || {
                    format!("the record at {offset} became {found:?}")
                })?,
                Err(error) => ensure(!is_intact && error.kind() == ErrorKind::Corruption, || {
                    format!("the record at {offset}, intact: {is_intact}: {error}")
                })?,
            }
        }
    }
    let open = written.open(false);
    match open.copy(&BTreeSet::new()) {
        Ok(_) => return Err("damage was copied".to_owned()),
        Err(error) => ensure(error.kind() == ErrorKind::Corruption, || error.to_string())?,
    }
    let remains = open.remains(&intact).map_err(|error| error.to_string())?;
    check_remains(&remains, filled, &intact)
}

/// Changed bytes whose checksums hold, for a manifest that may lie too: any typed outcome.
fn lie(random: &mut Random, filled: &Filled) -> Result<(), String> {
    let whole = filled.written.bytes();
    let mut changed = whole.clone();
    let range = aimed(random, filled, whole.len());
    overwrite(random, &mut changed[range]);
    let mut written = filled.written.repaired(&mut changed, &filled.offsets);
    if random.chance(1, 4) {
        let bytes = random.below(2 * whole.len() as u64);
        let shift = random.below(64);
        written = written.claiming(bytes, random.next_u64() >> shift, random.next_u64());
    }
    for mapped in [false, true] {
        use_everything(random, &written.open(mapped), filled)?;
    }
    Ok(())
}

/// Uses every path; what comes out does not matter.
fn use_everything(random: &mut Random, open: &Open, filled: &Filled) -> Result<(), String> {
    let last = filled.offsets.last().copied().unwrap_or(0);
    for offset in &filled.offsets {
        typed(open.record(*offset))?;
        typed(open.record(random.below(2 * last + 64)))?;
    }
    let mut offset = 0;
    while let Ok(Some(next)) = open.behind(offset) {
        ensure(next > offset, || format!("behind {offset} comes {next}"))?;
        offset = next;
    }
    typed(open.describe(random.below(2 * last + 64)))?;
    let _ = open.verify(&filled.offsets);
    typed(open.copy(&some(random, &filled.offsets)))?;
    typed(open.remains(&some(random, &filled.offsets)))
}

/// Headers of records, the footer, or anything.
fn aimed(random: &mut Random, filled: &Filled, bytes: usize) -> std::ops::Range<usize> {
    match random.below(6) {
        0 => bytes - FOOTER..bytes,
        1 => 0..bytes,
        _ => {
            let start = index(filled.offsets[random.index(filled.offsets.len())]);
            start..(start + [12, 40, 200][random.index(3)]).min(bytes)
        }
    }
}

fn typed<T>(outcome: Result<T, Error>) -> Result<(), String> {
    let Err(error) = outcome else {
        return Ok(());
    };
    let behind_the_end = matches!(
        &error,
        Error::Io { source, .. } if source.kind() == io::ErrorKind::UnexpectedEof
    );
    // A record that should be erased, and is not there, is an invalid use.
    let expected = matches!(error.kind(), ErrorKind::Corruption | ErrorKind::InvalidUse);
    ensure(expected || behind_the_end, || format!("{:?}: {error}", error.kind()))
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("a small segment")
}

/// A small segment begins with these bytes, and its checksums are repaired.
pub(crate) fn raw(bytes: &[u8]) -> Result<(), String> {
    let random = &mut Random::new(RAW_SEED);
    let filled = fill(random).map_err(|error| error.to_string())?;
    let mut changed = filled.written.bytes();
    let count = bytes.len().min(changed.len());
    changed[..count].copy_from_slice(&bytes[..count]);
    let written = filled.written.repaired(&mut changed, &filled.offsets);
    use_everything(random, &written.open(false), &filled)
}

/// The segment as it is, and the front of it.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let filled = fill(&mut Random::new(RAW_SEED)).expect("the disk works");
    let bytes = filled.written.bytes();
    vec![bytes[..bytes.len().min(64)].to_vec(), bytes]
}
