//! Fuzzers of the engine: one for each structure and each decoder, behind one binary.
//!
//! A fuzzer is a function of a seed and a number of events. An event is one small history (bytes
//! that are decoded, a structure that is filled, a store that crashes) and depends on its own seed
//! alone: event `n` of seed `s` is event 0 of seed `s + n`. So every failure can be repeated by
//! itself.
//!
//! - `registry.rs`: the names, and how much of each the smoke run does.
//! - `runner.rs`: runs one by name; turns a failure into the command that repeats it.
//! - `raw/`: bytes that somebody else draws, given to the decoders; for fuzzers guided by coverage.
//! - `harness.rs`: the events of a fuzzer, with panics caught and memory measured.
//! - `memory.rs`: the allocator that counts.
//! - `watch.rs`: ends what does not end by itself.
//! - `mutation.rs`: damage for bytes that are otherwise right.
//! - `golden/`: a small store that holds every structure, and what must hold of it when it rots.
//! - `planted`: faults that the engine can have planted, and the tests that must fail then.
//! - `prove/`: long provings of the whole engine, behind a binary of their own.
//! - `processes/`: real processes over real files, killed at random moments.
//! - the others: one fuzzer each.

mod allocator;
mod batch;
mod canary;
mod codec;
mod file;
mod golden;
mod harness;
mod manifest;
mod memory;
mod memtable;
mod mutation;
pub mod planted;
pub mod processes;
pub mod prove;
pub mod raw;
pub mod registry;
pub mod runner;
mod segment;
mod sstable;
mod store;
mod superblock;
#[cfg(test)]
mod tests;
mod wal;
mod watch;
