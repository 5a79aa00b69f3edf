//! Bytes that somebody else draws, given to the decoders as they are, or with repaired checksums.
//!
//! A seed decides everything that the fuzzers of `registry.rs` draw, so a fuzzer that is guided by
//! coverage could learn nothing from it. What it can learn is what a decoder makes of bytes: so
//! each decoder takes them here. `cargo-fuzz/` has a target for each, and in `corpus/` the first
//! bytes to go on from, which `seeds` makes and a test runs.

#[cfg(test)]
mod tests;

use crate::harness::panic_message;
use crate::{batch, codec, file, manifest, memory, memtable, segment, sstable, superblock, wal};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What takes bytes.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The name of the fuzzer whose decoder it is.
    pub name: &'static str,
    /// Bytes that it may hold at once.
    memory_limit: usize,
    take: fn(&[u8]) -> Result<(), String>,
    /// Bytes to go on from.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

const fn target(
    name: &'static str,
    memory_limit: usize,
    take: fn(&[u8]) -> Result<(), String>,
    seeds: fn() -> Vec<Vec<u8>>,
) -> Target {
    Target { name, memory_limit, take, seeds }
}

/// All of them.
pub const TARGETS: &[Target] = &[
    target("codec", 1 << 20, codec::raw, codec::seeds),
    target("batch", 4 << 20, batch::raw, batch::seeds),
    target("superblock", 16 << 20, superblock::raw, superblock::seeds),
    target("manifest", 32 << 20, manifest::raw, manifest::seeds),
    target("wal", 16 << 20, wal::raw, wal::seeds),
    target("memtable", 32 << 20, memtable::raw, memtable::seeds),
    target("sstable", 64 << 20, sstable::raw, sstable::seeds),
    target("segment", 32 << 20, segment::raw, segment::seeds),
    target("file", 256 << 20, file::raw, file::seeds),
];

/// The target of this name.
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

impl Target {
    /// Takes bytes.
    ///
    /// # Errors
    /// What goes wrong, a panic and too much memory among it.
    pub fn run(&self, bytes: &[u8]) -> Result<(), String> {
        let attempt = || catch_unwind(AssertUnwindSafe(|| (self.take)(bytes)));
        let (outcome, peak) = memory::measure(attempt);
        match outcome {
            Ok(Ok(())) if peak > self.memory_limit => {
                Err(format!("it held {peak} bytes, the limit is {}", self.memory_limit))
            }
            Ok(result) => result,
            Err(panic) => Err(format!("it panicked: {}", panic_message(&*panic))),
        }
    }
}

/// Gives bytes to the target of a name, for programs that notice nothing but panics.
///
/// # Panics
/// If anything goes wrong, or there is no such target.
pub fn run(name: &str, bytes: &[u8]) {
    let target = find(name).unwrap_or_else(|| panic!("no target is called {name}"));
    target.run(bytes).unwrap_or_else(|what| panic!("{name}: {what}"));
}
