//! What verification says of an SSTable: what is wrong, and which entries that may concern.

use crate::error::Corruption;

/// How much is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Every checksum, and every structure against itself and the manifest.
    Bytes,
    /// Directory and filter against the data as well.
    Lookups,
}

/// A place in the order of an SSTable: a key, and of a timeline a sequence id.
pub(crate) type SpanEnd = (Box<[u8]>, u64);

/// The entries between which something is wrong, both included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) first: SpanEnd,
    pub(crate) last: SpanEnd,
}

/// Something that is wrong with an SSTable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Damage {
    pub(crate) corruption: Corruption,
    /// What it may concern: less than the whole SSTable where it lies in its data.
    pub(crate) span: Span,
}
