//! The manifest: replay makes the catalog that was logged, and damage never makes another one.

use crate::harness::{each, ensure};
use crate::mutation::overwrite;
use tidelog_engine::testing::fuzzing::manifest::{Log, Moment};
use tidelog_engine::testing::{Random, SimDisk, SimOptions};
use tidelog_engine::{Error, ErrorKind, Extent};

/// Edits are logged and replayed; then the bytes are damaged, with and without their checksums.
pub(crate) fn run(seed: u64, events: u64) -> Result<(), String> {
    each(seed, events, 32 << 20, |random| {
        let disk = SimDisk::new(SimOptions::default());
        let text = |error: Error| error.to_string();
        let mut log = Log::create(&disk).map_err(text)?;
        let mut moment = log.append(random).map_err(text)?;
        for _ in 0..random.below(40) {
            if random.chance(1, 8) {
                log = log.reopen(&moment).map_err(text)?;
            }
            moment = log.append(random).map_err(text)?;
        }
        let replays = moment.replays(&disk).map_err(text)?;
        ensure(replays, || "replay makes another catalog".to_owned())?;
        rot(random, &disk, &moment)?;
        lie(random, &disk, &moment)?;
        forge(random, &disk, &moment)
    })
}

fn used(disk: &SimDisk, moment: &Moment) -> Result<(u64, Vec<u8>), String> {
    let (offset, length) = moment.used();
    let start = usize::try_from(offset).map_err(|error| error.to_string())?;
    let length = usize::try_from(length).map_err(|error| error.to_string())?;
    Ok((offset, disk.bytes()[start..start + length].to_vec()))
}

/// Changed bytes are an error.
fn rot(random: &mut Random, disk: &SimDisk, moment: &Moment) -> Result<(), String> {
    let (offset, whole) = used(disk, moment)?;
    for _ in 0..4 {
        let mut changed = whole.clone();
        overwrite(random, &mut changed);
        let disk = disk.copied();
        disk.set_bytes(offset, &changed);
        let outcome = moment.replays(&disk);
        let right = match &outcome {
            Ok(same) => *same && changed == whole,
            Err(error) => error.kind() == ErrorKind::Corruption,
        };
        ensure(right, || format!("changed: {}, replay: {outcome:?}", changed != whole))?;
    }
    Ok(())
}

/// Changed bytes whose checksums hold: an error, or a catalog that is in order.
fn lie(random: &mut Random, disk: &SimDisk, moment: &Moment) -> Result<(), String> {
    let (offset, whole) = used(disk, moment)?;
    for _ in 0..4 {
        let mut changed = whole.clone();
        let record = 4096 * random.index(changed.len() / 4096);
        // Most of a record is padding; its edits are at its front.
        let end = (record + [32, 300, 4096][random.index(3)]).min(changed.len());
        overwrite(random, &mut changed[record..end]);
        let moment = moment.repaired(&mut changed);
        let disk = disk.copied();
        disk.set_bytes(offset, &changed);
        if let Err(error) = moment.replays(&disk) {
            ensure(error.kind() == ErrorKind::Corruption, || error.to_string())?;
        }
    }
    Ok(())
}

/// A superblock that names nonsense: an error.
fn forge(random: &mut Random, disk: &SimDisk, moment: &Moment) -> Result<(), String> {
    let (offset, length) = moment.used();
    let mut number = |near: u64| match random.below(4) {
        0 => near,
        1 => near.wrapping_add(4096),
        2 => near ^ (1 << random.below(64)),
        _ => random.next_u64() & !4095,
    };
    let extent = Extent { offset: number(offset), length: number(length.max(64 * 1024)) };
    let forged = moment.forged(extent, number(length), 0);
    match forged.replays(disk) {
        Err(error) => ensure(error.kind() == ErrorKind::Corruption, || error.to_string()),
        // The checksum of the last record is 0 in one of 2^32 cases.
        Ok(_) => Err(format!("a manifest in {extent:?} that nobody wrote is believed")),
    }
}

/// Records whose chain of checksums is repaired, padded to whole blocks.
pub(crate) fn raw(bytes: &[u8]) -> Result<(), String> {
    let (disk, moment) = written(0)?;
    let mut used = bytes[..bytes.len().min(16 * 4096)].to_vec();
    used.resize(used.len().max(1).next_multiple_of(4096), 0);
    let moment = moment.repaired(&mut used);
    disk.set_bytes(moment.used().0, &used);
    match moment.replays(&disk) {
        Err(error) => ensure(error.kind() == ErrorKind::Corruption, || error.to_string()),
        Ok(_) => Ok(()),
    }
}

/// Some manifests without the zeros at their ends.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for seed in 0..4 {
        let (disk, moment) = written(seed).expect("the edits are possible");
        let (_, mut bytes) = used(&disk, &moment).expect("a small file");
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        bytes.truncate(end);
        seeds.push(bytes);
    }
    seeds
}

/// A manifest of a base and a record.
fn written(seed: u64) -> Result<(SimDisk, Moment), String> {
    let disk = SimDisk::new(SimOptions::default());
    let text = |error: Error| error.to_string();
    let mut log = Log::create(&disk).map_err(text)?;
    let moment = log.append(&mut Random::new(seed)).map_err(text)?;
    Ok((disk, moment))
}
