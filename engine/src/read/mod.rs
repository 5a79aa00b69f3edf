//! The read path.
//!
//! ```text
//! snapshot = published commit                          taken first
//! view     = memtables and version, one pointer        taken second
//! sources of a timeline, newest first: active memtable, frozen memtables,
//!                                      level 0 newest first, level 1, 2, …
//! fences    marks and retention become a lowest seq, a lowest time and a list of holes
//! rank      the range, the snapshot and the fences become index bounds of each source
//! cursors   entries of the sources in order, until the range or the caller's limit ends
//! overlay   each entry gets its newest amendment, or that of its origin
//! ```
//! Inside one timeline the sources hold disjoint ranges of seqs, and neither commit numbers nor
//! commit times ever fall; so a snapshot is a prefix of each source, and what has expired is one
//! too.
//!
//! # Invariants
//! I1. Commit first, view second: an entry that moves from a memtable to an SSTable between the two
//!     is found in either; the other way round it could be in neither.
//! I2. A read never mixes two commits, nor two moments of the clock; a long iterator goes on in a
//!     younger view at the commit of its snapshot (`pin.rs`).
//! I3. An iterator that has returned an error returns nothing more.
//!
//! # Concurrency
//! Readers take no lock that the commit leader holds for longer than a pointer swap.

mod fences;
mod items;
mod kept;
mod keyed;
mod overlay;
mod pin;
mod scan;
mod scattered;
mod snapshot;
mod source;
mod state;
mod timelines;
mod view;

pub(crate) use fences::{Fences, timeline_marks};
pub use items::{Gap, GapReason, Item, Items};
pub(crate) use kept::kept_from;
pub use keyed::Values;
pub(crate) use keyed::value_in;
pub(crate) use overlay::AmendmentSstables;
pub use scan::Scan;
pub(crate) use scan::latest_seq_at;
pub use snapshot::Snapshot;
pub(crate) use snapshot::Snapshots;
pub(crate) use state::{is_known_without, known_state, newest_of, recorded_state, state_of_run};
pub use timelines::{TimelineInfo, Timelines};
pub(crate) use view::{Frozen, SegmentTotals, TableRecords, View, Views};
