//! What grows: threads, timelines, bytes. Each step is a run of its own.

pub mod gigabytes;
pub mod threads;
pub mod timelines;
