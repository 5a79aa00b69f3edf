//! The superblock: what two copies agree on is read, and nothing else ever is.

use crate::harness::{each, ensure};
use crate::mutation::overwrite;
use tidelog_engine::testing::fuzzing::superblock::{
    FILE_LENGTH, Found, copy_range, heal, look, read, repair, write,
};
use tidelog_engine::testing::{CrashPolicy, Random, SimDisk, SimOptions};
use tidelog_engine::{Disk, ErrorKind};

/// Updates, and then one of three misfortunes.
pub(crate) fn run(seed: u64, events: u64) -> Result<(), String> {
    each(seed, events, 16 << 20, |random| {
        let options = SimOptions {
            alignment: [512, 4096][random.index(2)],
            sector: [512, 4096][random.index(2)],
            ..SimOptions::default()
        };
        let disk = SimDisk::new(options);
        disk.allocate(0, FILE_LENGTH).map_err(|error| error.to_string())?;
        disk.sync().map_err(|error| error.to_string())?;
        let content = random.next_u64();
        let last = 1 + random.below(4);
        for sequence in 1..=last {
            write(&disk, sequence, content).map_err(|error| error.to_string())?;
        }
        match random.below(3) {
            0 => crash(random, &disk, last, content),
            1 => rot(random, &disk, last, content),
            _ => lie(random, &disk, content),
        }
    })
}

/// Power is lost in the middle of an update: the old state or the new one, and the new one if the
/// update had returned.
fn crash(random: &mut Random, disk: &SimDisk, last: u64, content: u64) -> Result<(), String> {
    disk.crash_at(disk.operation_count() + random.below(8));
    let acknowledged = write(disk, last + 1, content).is_ok();
    let policy = CrashPolicy::Random { seed: random.next_u64() };
    let image = disk.crash_image(&policy);
    let found = read(&image, content).map_err(|error| format!("{policy:?}: {error}"))?;
    let possible = [Found::Made(last), Found::Made(last + 1)];
    let possible = if acknowledged { &possible[1..] } else { &possible[..] };
    ensure(possible.contains(&found), || {
        format!("{policy:?}, acknowledged: {acknowledged}: {found:?} behind {last}")
    })?;
    // Healing makes it last, even if only half of the copies survive what comes next.
    heal(&image).map_err(|error| format!("healing: {error}"))?;
    for copy in [0, 1] {
        let range = copy_range(copy + 2 * random.index(2));
        image.zero(range.start as u64, range.len() as u64);
    }
    let again = read(&image, content).map_err(|error| format!("after healing: {error}"))?;
    ensure(again == found, || format!("{found:?} became {again:?} by healing"))
}

/// Copies are damaged: as long as two are whole, they are read.
fn rot(random: &mut Random, disk: &SimDisk, last: u64, content: u64) -> Result<(), String> {
    let bytes = disk.bytes();
    let mut damaged = 0;
    for copy in 0..4 {
        if random.chance(1, 2) {
            continue;
        }
        let mut changed = bytes[copy_range(copy)].to_vec();
        overwrite(random, &mut changed);
        if changed != bytes[copy_range(copy)] {
            damaged += 1;
            disk.set_bytes(copy_range(copy).start as u64, &changed);
        }
    }
    look(disk);
    match read(disk, content) {
        Ok(found) => ensure(damaged <= 2 && found == Found::Made(last), || {
            format!("{damaged} copies are damaged, found {found:?} behind {last}")
        }),
        Err(error) => ensure(damaged > 2 && error.kind() == ErrorKind::Corruption, || {
            format!("{damaged} copies are damaged: {error}")
        }),
    }
}

/// All copies hold the same nonsense, and their checksums hold: a typed error, or a superblock that
/// makes sense.
fn lie(random: &mut Random, disk: &SimDisk, content: u64) -> Result<(), String> {
    let bytes = disk.bytes();
    let mut covered = bytes[copy_range(0)][16..].to_vec();
    // Most of a copy is reserved; the fields are at its front.
    let end = [256, 256, covered.len()][random.index(3)];
    overwrite(random, &mut covered[..end]);
    believe(disk, content, &covered)
}

/// All copies say the same, with their checksums.
fn believe(disk: &SimDisk, content: u64, covered: &[u8]) -> Result<(), String> {
    let bytes = disk.bytes();
    for copy in 0..4 {
        let mut changed = bytes[copy_range(copy)].to_vec();
        changed[16..].copy_from_slice(covered);
        repair(&mut changed);
        disk.set_bytes(copy_range(copy).start as u64, &changed);
    }
    look(disk);
    match read(disk, content).map_err(|error| error.kind()) {
        Ok(_) | Err(ErrorKind::Corruption | ErrorKind::Unsupported) => Ok(()),
        Err(kind) => Err(format!("an error of kind {kind:?}")),
    }
}

/// A file with a superblock.
fn written() -> SimDisk {
    let disk = SimDisk::new(SimOptions::default());
    disk.allocate(0, FILE_LENGTH).expect("the disk has room");
    write(&disk, 2, 1).expect("the disk works");
    disk
}

/// What lies behind the checksum begins with these bytes, in all copies.
pub(crate) fn raw(bytes: &[u8]) -> Result<(), String> {
    let disk = written();
    let mut covered = disk.bytes()[copy_range(0)][16..].to_vec();
    let count = bytes.len().min(covered.len());
    covered[..count].copy_from_slice(&bytes[..count]);
    believe(&disk, 1, &covered)
}

/// The fields of a whole superblock, and the front of them.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let covered = written().bytes()[copy_range(0)][16..272].to_vec();
    vec![covered[..96].to_vec(), covered]
}
