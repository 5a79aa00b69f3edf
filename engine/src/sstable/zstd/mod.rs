//! zstd, behind the feature of that name. Without it nothing can be compressed or read with zstd,
//! and whoever tries is told which feature is missing: such a block is not damaged.
//!
//! Memory is bounded: a block is decompressed in one call into a buffer of the length that its
//! header gives, so no window is ever allocated, whatever a frame says of itself.

#[cfg(not(feature = "zstd"))]
mod absent;
#[cfg(feature = "zstd")]
mod present;

#[cfg(not(feature = "zstd"))]
pub(super) use absent::{Context, Digest, Packer, train};
#[cfg(feature = "zstd")]
pub(super) use present::{Context, Digest, Packer, train};

use crate::error::Error;

/// Whether this build can read and write zstd.
pub(crate) const AVAILABLE: bool = cfg!(feature = "zstd");

/// What to say where it cannot.
pub(crate) fn unsupported(what: &str) -> Error {
    Error::Unsupported { what: format!("{what}: this build lacks the feature `zstd`") }
}
