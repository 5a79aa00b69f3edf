//! SSTables: immutable sorted tables of one table's data, each in one contiguous extent.
//!
//! ```text
//! 0                                                                                          bytes
//! | data blocks ... | pad | index | directory | filter | properties | dictionary | pad | footer |
//!   ~16 or 64 KiB each     pages   pages       pages    1 page       0 or 1 block       1 page
//!
//! footer      the sections: where they are, their checksums      `footer.rs`
//! dictionary  of zstd, where one pays                            `packing.rs`, `unpacking.rs`
//! properties  counts and ranges                                  `properties.rs`
//! filter      is this key here at all?                           `filter.rs`
//! directory   key -> its run: first and last block, seqs, times  `directory.rs`
//! index       block number -> offset, length, first entry        `index.rs`
//! data        fragments of timelines, or versions of keys        `fragment.rs`, `keyed_block.rs`
//! ```
//!
//! The words: a *run* is what one SSTable holds of one timeline; it is cut into *fragments*, one or
//! more a block; a fragment holds its entries in columns.
//!
//! The newest entries of a timeline cost one directory page, one index page and one data block.
//!
//! An entry's payload lies in the entry, or in a payload segment that it refers to (`entry.rs`).
//!
//! This module knows nothing of levels and versions. `builder.rs` writes an SSTable front to back;
//! `reader.rs` reads it through a map or with `pread` (`fetch/`); `remains.rs` finds what is left
//! of a damaged one.

mod block;
mod block_places;
mod block_writer;
mod builder;
mod cursor;
mod damage;
mod describe;
mod directory;
mod directory_writer;
mod entry;
mod evictions;
mod fetch;
mod filter;
mod footer;
mod format;
mod fragment;
mod fragment_writer;
mod hash;
mod index;
mod keyed_block;
mod keyed_cursor;
mod packing;
mod properties;
mod read_ahead;
mod read_around;
mod reader;
mod remains;
mod runs;
mod scan;
mod timeline_block;
mod timeline_cursor;
mod unpacking;
mod verify;
pub(crate) mod zstd;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub(crate) use block_writer::Output;
pub(crate) use builder::{Builder, BuilderOptions};
pub(crate) use cursor::{EntryCursor, Place};
pub(crate) use damage::{Depth, Span};
pub(crate) use directory::RunLocation;
pub(crate) use entry::{EntryRef, OriginRef, PlainEntry, Shared};
pub(crate) use fragment::FragmentView;
pub(crate) use keyed_cursor::KeyedCursor;
pub(crate) use read_around::Allowance;
pub(crate) use reader::{Rank, Sstable};
pub(crate) use remains::Remains;
pub(crate) use scan::{FragmentCursor, OwnedFragment};
pub(crate) use timeline_cursor::TimelineCursor;
pub(crate) use unpacking::Unpacking;
