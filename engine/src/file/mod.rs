//! The single file. This module knows bytes and places, never keys.
//!
//! ```text
//! 0          64 KiB            64 KiB + ring                       end
//! | superblock | WAL ring ...... | extents: SSTables, manifest, free |
//!   4 copies,    written once      multiples of 4 KiB, handed out by
//!   16 KiB apart with zeros        `allocator`, live ones listed in
//!                                  the manifest
//! ```

pub(crate) mod allocator;
mod begun;
mod buffer;
pub(crate) mod cold;
pub(crate) mod disk;
mod extent;
mod extent_writer;
mod fresh;
mod gate;
mod os;
mod pacer;
mod read_only;
mod read_pace;
mod region;
mod stores;
pub(crate) mod superblock;

pub(crate) use allocator::{Allocator, ExtentGuard, Giving, Reservation};
pub use begun::Begun;
pub use buffer::AlignedBuffer;
pub use disk::{Disk, Flush, Geometry, Identity};
pub use extent::Extent;
pub(crate) use extent_writer::ExtentWriter;
pub(crate) use fresh::FreshDisk;
pub(crate) use gate::GatedDisk;
pub use os::{OpenMode, OsDisk};
pub(crate) use pacer::Pacer;
pub(crate) use read_only::{ReadOnly, Reads};
pub(crate) use read_pace::{ReadPace, Stop};
pub use region::Region;
pub use stores::{StoreBy, Stores};
pub(crate) use superblock::ManifestRef;

/// The random identity of one store file; part of the seed of every checksum in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FileId(pub [u8; 16]);
