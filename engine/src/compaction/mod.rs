//! Flush and compaction.

mod keep;
mod key_ranges;
mod picker;
#[cfg(test)]
mod tests;

pub(crate) use keep::{Keeper, fold};
pub(crate) use picker::{Job, JobKind, PickerOptions, pick};
