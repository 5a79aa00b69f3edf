//! Which SSTables are live, at which level: plain data, no I/O, no locks.

mod meta;

pub use meta::{SstableMeta, TableKind};
