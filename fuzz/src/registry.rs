//! The fuzzers by name.

use crate::{
    allocator, batch, canary, codec, file, manifest, memtable, segment, sstable, store, superblock,
    wal,
};

/// A fuzzer.
#[derive(Debug, Clone, Copy)]
pub struct Fuzzer {
    /// What it is called by.
    pub name: &'static str,
    /// What it tries, in one line.
    pub about: &'static str,
    /// Events in the smoke run.
    pub smoke_events: u64,
    /// Whether the smoke run expects it to fail.
    pub must_fail: bool,
    /// Runs events from a seed; fails at the first that goes wrong.
    pub run: fn(seed: u64, events: u64) -> Result<(), String>,
}

const fn fuzzer(
    name: &'static str,
    smoke_events: u64,
    run: fn(u64, u64) -> Result<(), String>,
    about: &'static str,
) -> Fuzzer {
    Fuzzer { name, about, smoke_events, must_fail: false, run }
}

/// All fuzzers, in the order of the smoke run.
pub const FUZZERS: &[Fuzzer] = &[
    fuzzer("codec", 20_000, codec::run, "numbers and byte strings, against a second reader"),
    fuzzer("batch", 20_000, batch::run, "frame bodies: what is written is read, damage is refused"),
    fuzzer("superblock", 2_000, superblock::run, "four copies: crashes, rot, repaired checksums"),
    fuzzer("manifest", 2_000, manifest::run, "edits and replay, damage, repaired checksums"),
    fuzzer("wal", 5_000, wal::run, "the ring: crashes, rot, repaired checksums"),
    fuzzer("allocator", 3_000, allocator::run, "extents, against a bitmap of blocks"),
    fuzzer("memtable", 2_000, memtable::run, "runs and keyed versions, against ordered maps"),
    fuzzer("sstable", 100, sstable::run, "SSTables by every read path: rot, repaired checksums"),
    fuzzer("segment", 1_000, segment::run, "payload segments: copies, rot, repaired checksums"),
    fuzzer("file", 200, file::run, "whole files: rot anywhere, lies anywhere, then every use"),
    fuzzer("store", 100, store::run, "the whole engine: writes, tiers, expiry, loss of power"),
    Fuzzer {
        name: "canary",
        about: "fails on purpose: shows that failures are seen",
        smoke_events: 1_000,
        must_fail: true,
        run: canary::run,
    },
];

/// The fuzzer of this name.
pub fn find(name: &str) -> Option<&'static Fuzzer> {
    FUZZERS.iter().find(|fuzzer| fuzzer.name == name)
}
