//! Tests of flush and compaction, one file a concept.

mod jobs;
mod keep;
mod keep_amendments;
mod locality;
mod moves;
mod picker;
mod store;
mod warm_up;
