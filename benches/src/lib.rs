//! Workloads of the engine, defined once: `cargo test` runs them small and checks every answer,
//! `cargo bench -p tidelog-benches` measures them large.
//!
//! | workload | what one step is |
//! |---|---|
//! | [`commit`] | a message to a Zipf-chosen timeline: synced, by one thread or many, or buffered |
//! | [`scan`] | the newest 20 of a Zipf-chosen timeline, or 20 forward; memtable and SSTables |
//! | [`fanout`] | a message to its conversation and its members' inboxes; an inbox's newest 20 |
//! | [`recovery`] | opening a file as a kill left it, to the first checked read |
//!
//! A wrong answer is a panic. Timelines, payloads and reads follow from a seed and from nothing
//! else, so that a reader knows what to expect without a copy of what was written. The comparison
//! with other engines, `benches/compare`, draws from the same sources.
//!
//! Stores lie in the system's folder for temporary files; `TIDELOG_BENCH_DIRECTORY` names another
//! one, which matters where that folder is kept in memory.

pub mod commit;
pub mod fanout;
pub mod measure;
pub mod recovery;
pub mod scan;
pub mod structures;

mod conversations;
mod messages;
mod parameters;
mod random;
mod store;
#[cfg(test)]
mod tests;
mod text;
mod zipf;

pub use conversations::{Conversations, Delivery, Inboxes};
pub use messages::{Message, Messages};
pub use parameters::{Parameters, Size};
pub use random::{Random, mix};
pub use store::{Store, key};
pub use text::Text;
pub use zipf::Zipf;
