//! Tests of flush and compaction, one file a concept.

mod jobs;
mod keep;
mod picker;
mod store;
