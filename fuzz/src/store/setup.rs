//! The machine of a run, the options of its store, and the tables with what they keep.

use crate::prove::whole::world::{World, tiny};
use std::time::Duration;
use tidelog_engine::testing::{Random, SimDisk, SimOptions};
use tidelog_engine::{Compression, Options, ReadMode, TableOptions, UnsyncedCommits};

/// It keeps everything, and nothing else is said of its timelines: so what has expired in it has
/// outlived a time to live of its own, and what was trimmed was trimmed by a mark.
pub(super) const PLAIN: &str = "plain";
/// What is old in it moves to the cold tier.
const MOVING: &str = "moving";
/// It is cold from the beginning.
const BORN: &str = "born";
/// It is dropped and created again, so it comes last.
const PASSING: &str = "passing";
/// The tables of timelines, in the order of their creation.
pub(super) const TABLES: [&str; 4] = [PLAIN, MOVING, BORN, PASSING];

/// The times to live that tables get, and the ages at which data move, all of them shorter.
const TTLS_MS: [u64; 3] = [8_000, 16_000, 40_000];
const COLD_AFTER_MS: [u64; 3] = [2_000, 3_000, 6_000];

/// A machine with two disks, or with one.
pub(super) fn world(random: &mut Random) -> World {
    let seed = random.below(1 << 40);
    let cold = random.chance(2, 3).then(|| device(random));
    World { cold, ..World::with_disk(device(random), seed) }
}

fn device(random: &mut Random) -> SimDisk {
    SimDisk::new(SimOptions {
        alignment: [512, 4096][random.index(2)],
        sector: [512, 4096][random.index(2)],
        ..SimOptions::default()
    })
}

/// A tiny store: every few commits flush, a few flushes compact, the ring wraps.
pub(super) fn options(random: &mut Random) -> Options {
    Options {
        read_mode: [ReadMode::Map, ReadMode::Read][random.index(2)],
        unsynced_commits: [UnsyncedCommits::Cached, UnsyncedCommits::Direct][random.index(2)],
        ..tiny()
    }
}

/// What the table of this name is created with, or altered to.
pub(super) fn table(random: &mut Random, name: &str) -> TableOptions {
    let compression = compression(random);
    let mut options = TableOptions { compression, ..TableOptions::timeline() };
    if name == PLAIN {
        return options;
    }
    if random.chance(3, 4) {
        options = options.ttl(Duration::from_millis(TTLS_MS[random.index(TTLS_MS.len())]));
    }
    if random.chance(1, 4) {
        options = options.keep_last(5 + random.below(30));
    }
    match name {
        MOVING => {
            let age_ms = COLD_AFTER_MS[random.index(COLD_AFTER_MS.len())];
            options.cold_after(Duration::from_millis(age_ms))
        }
        BORN => options.born_cold(),
        _ => options,
    }
}

fn compression(random: &mut Random) -> Compression {
    match random.below(3) {
        0 => Compression::None,
        1 if cfg!(feature = "zstd") => Compression::Zstd { level: 1 },
        _ => Compression::Lz4,
    }
}
