//! A whole file, made by the engine: damage anywhere, and lies anywhere.
//!
//! What is simulated: the golden store, killed, closed or compacted; then one to three places of
//! its files are changed, and it is opened, asked everything, written to, verified and salvaged.
//! What must hold:
//! 1. Rot is found, or harms nobody (`golden/check.rs`); what a salvage makes of it can be read.
//! 2. Lies, whose checksums are repaired up to the superblock: any answer or typed error. Nothing
//!    panics, no worker dies, memory and room on the disk are bounded, and it ends.

mod layout;
mod lies;
mod raw;
mod stores;
#[cfg(test)]
mod tests;

pub(crate) use raw::{raw, seeds};

use crate::golden::check;
use crate::golden::store::{Machine, options, told};
use crate::golden::units::Unit;
use crate::harness::{each, ensure};
use crate::mutation::overwrite;
use crate::prove::Counts;
use std::sync::Arc;
use stores::{Store, index};
use tidelog_engine::salvage::Salvage;
use tidelog_engine::testing::{Random, SimDisk, SimOptions};
use tidelog_engine::{ErrorKind, ReadMode};

/// A file needs no more room than this, whatever it says.
const CAPACITY: u64 = 64 << 20;

/// Rot and lies in stores of every workload.
pub(crate) fn run(seed: u64, events: u64) -> Result<(), String> {
    let stores = stores::make()?;
    each(seed, events, 256 << 20, |random| {
        let store = &stores[random.index(stores.len())];
        rot(random, store)?;
        lies::lie(random, store)
    })
}

/// Changed bytes.
fn rot(random: &mut Random, store: &Store) -> Result<(), String> {
    let mut files = store.files.clone();
    for _ in 0..=random.below(3) {
        rot_once(random, store, &mut files);
    }
    let (machine, changed) = store.with_files(&files);
    if changed.is_empty() {
        return Ok(());
    }
    let context = |what: String| format!("{:?}, rot of {changed:?}: {what}", store.workload);
    let (number, mut counts) = (random.next_u64(), Counts::default());
    check::check(&store.known, number, &machine, (&changed[..], false), &mut counts)
        .map_err(context)?;
    if random.chance(1, 4) {
        salvage_rot(store, &machine).map_err(context)?;
    }
    Ok(())
}

/// Changes something that is used, or zeroes any sector.
fn rot_once(random: &mut Random, store: &Store, files: &mut [Vec<u8>; 2]) {
    if random.chance(1, 4) {
        let bytes = &mut files[usize::from(random.chance(1, 6))];
        let sector = random.index(bytes.len()) / 512 * 512;
        let end = (sector + 512).min(bytes.len());
        bytes[sector..end].fill(0);
        return;
    }
    let used: Vec<&Unit> = store.known.units.used().collect();
    let unit = used[random.index(used.len())];
    overwrite(random, &mut files[unit.file][index(&unit.bytes)]);
}

/// What is salvaged can be read, all of it; where nothing can be, that is because of damage.
fn salvage_rot(store: &Store, damaged: &Machine) -> Result<(), String> {
    let Machine { clock, seed, .. } = damaged.twin();
    let machine = Machine { main: target(), cold: target(), clock, seed };
    if let Err(error) = salvage(damaged, &machine.main) {
        let is_damage = error.kind() == ErrorKind::Corruption;
        return ensure(is_damage, || format!("a salvage: {}", told(&error)));
    }
    let process = machine.open(&options(ReadMode::Map));
    let process = process.map_err(|error| format!("what was salvaged: {}", told(&error)))?;
    let errors = store.known.truth.errors(&process.engine);
    process.kill();
    let unreadable = [ErrorKind::Corruption, ErrorKind::Io, ErrorKind::ColdFile];
    let found = errors.iter().find(|error| unreadable.contains(&error.kind()));
    ensure(found.is_none(), || format!("what was salvaged cannot be read: {found:?}"))
}

/// Salvages a machine to an empty file.
fn salvage(damaged: &Machine, target: &SimDisk) -> Result<(), tidelog_engine::Error> {
    let salvage = Salvage::over(Arc::new(damaged.main.reopen()));
    let salvage = salvage.with_cold(Arc::new(damaged.cold.reopen()));
    salvage.run(Arc::new(target.reopen())).map(drop)
}

/// An empty file with bounded room.
fn target() -> SimDisk {
    SimDisk::new(SimOptions { capacity: Some(CAPACITY), ..SimOptions::default() })
}
