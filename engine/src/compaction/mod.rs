//! Flush and compaction.

mod keep;
#[cfg(test)]
mod tests;

pub(crate) use keep::{Keeper, fold};
