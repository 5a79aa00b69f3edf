//! Tests of flush and compaction, one file a concept.

mod keep;
mod picker;
