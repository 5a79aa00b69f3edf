//! Lies: changed bytes of a store whose checksums hold from the leaves to the root.

use super::stores::{Store, index};
use super::{CAPACITY, salvage, target};
use crate::golden::check::is_of_panic;
use crate::golden::store::{Machine, Process, options, told};
use crate::golden::units::{Unit, inspector};
use crate::harness::ensure;
use crate::mutation::overwrite;
use std::ops::Range;
use tidelog_engine::limits::{BLOCK_SIZE, SUPERBLOCK_COPIES, SUPERBLOCK_STRIDE};
use tidelog_engine::testing::Random;
use tidelog_engine::{Disk, Durability, Engine, Error, ReadMode, Result, WriteBatch};

/// What the checksum of a superblock copy covers begins here; what lies before is its own.
const COVERED: u64 = 16;

/// Changes one to three places.
pub(super) fn lie(random: &mut Random, store: &Store) -> std::result::Result<(), String> {
    let mut files = store.files.clone();
    for _ in 0..=random.below(3) {
        lie_once(random, store, &mut files);
    }
    use_repaired(random, store, files)
}

/// Repairs all checksums of changed files, and uses everything.
pub(super) fn use_repaired(
    random: &mut Random,
    store: &Store,
    mut files: [Vec<u8>; 2],
) -> std::result::Result<(), String> {
    store.layout.repair(&mut files);
    let (machine, changed) = store.with_files(&files);
    if changed.is_empty() {
        return Ok(());
    }
    let context = |what: String| format!("{:?}, lies in {changed:?}: {what}", store.workload);
    for file in [0, 1] {
        machine.disk(file).set_capacity(Some(CAPACITY));
    }
    inspect(random, &machine);
    open(random, store, &machine.twin()).map_err(context)?;
    if random.chance(1, 3) {
        // Whatever it says: it must not panic.
        let _ = salvage(&machine, &target());
    }
    Ok(())
}

/// Changes a structure of one kind: all kinds are as likely, however many there are of each.
fn lie_once(random: &mut Random, store: &Store, files: &mut [Vec<u8>; 2]) {
    let kind = store.kinds[random.index(store.kinds.len())];
    let of_kind: Vec<&Unit> = store.known.units.used().filter(|unit| unit.what == kind).collect();
    let unit = of_kind[random.index(of_kind.len())];
    let range = aimed(random, unit);
    overwrite(random, &mut files[unit.file][index(&range)]);
    if unit.what == "superblock copy" && random.chance(7, 8) {
        agree(&mut files[0], unit);
    }
}

/// The front of a structure, where its lengths and counts are, a piece of it, or all of it.
fn aimed(random: &mut Random, unit: &Unit) -> Range<u64> {
    let Range { start, end } = unit.bytes;
    let start = match random.below(4) {
        // Records of segments begin at such places.
        0 => start + random.below(end - start) / 16 * 16,
        _ => start,
    };
    let reach = [48, 160, 300, end - start][random.index(4)];
    start..(start + reach).min(end)
}

/// All superblock copies say what one of them says.
fn agree(main: &mut [u8], unit: &Unit) {
    let said = unit.bytes.start + COVERED..unit.bytes.end;
    let said = main[index(&said)].to_vec();
    for copy in 0..SUPERBLOCK_COPIES as u64 {
        let start = copy * SUPERBLOCK_STRIDE;
        main[index(&(start + COVERED..start + BLOCK_SIZE))].copy_from_slice(&said);
    }
}

/// Everything that the tools look at; what they say does not matter.
fn inspect(random: &mut Random, machine: &Machine) {
    let inspector = inspector(machine);
    let _ = inspector.superblocks();
    let _ = inspector.log();
    let _ = inspector.manifest();
    let _ = inspector.space();
    let _ = inspector.verify();
    for report in inspector.sstables().unwrap_or_default() {
        let _ = inspector.blocks(report.meta.number);
    }
    let length = machine.main.length().unwrap_or(0);
    for _ in 0..8 {
        let _ = inspector.block(random.below(length));
    }
}

/// Opens the store, and uses it if that can be done.
fn open(random: &mut Random, store: &Store, machine: &Machine) -> std::result::Result<(), String> {
    let mode = [ReadMode::Map, ReadMode::Read][random.index(2)];
    match machine.open(&options(mode)) {
        Ok(process) => {
            let compacted = random.chance(1, 2);
            let outcome = use_everything(store, &process, compacted);
            process.kill();
            outcome
        }
        Err(error) => no_panic(&error),
    }
}

fn use_everything(
    store: &Store,
    process: &Process,
    compacted: bool,
) -> std::result::Result<(), String> {
    let mut errors = store.known.truth.errors(&process.engine);
    if compacted {
        errors.extend(process.engine.flush().err());
        errors.extend(process.engine.compact().err());
        process.scheduler.run_until_idle(1000);
        errors.extend(store.known.truth.errors(&process.engine));
    }
    errors.extend(write(&process.engine).err());
    errors.iter().try_for_each(no_panic)
}

/// A write, which shows whether something has died before.
fn write(engine: &Engine) -> Result<()> {
    let mut batch = WriteBatch::new();
    for table in engine.tables() {
        // Of some of them it is refused, since it is of the other kind.
        if table.name == "chat" {
            batch.append(table.id, b"c0", b"written on false ground", None)?;
        }
    }
    engine.commit(batch, Durability::Sync).map(drop)
}

fn no_panic(error: &Error) -> std::result::Result<(), String> {
    ensure(!is_of_panic(error), || told(error))
}
