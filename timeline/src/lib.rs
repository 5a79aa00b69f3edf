//! Timelines for messaging and feeds: what an application programs against.
//!
//! A *timeline* is an append-only queue of messages with a name: an inbox, a conversation, the
//! posts of an author. Its entries are numbered 1, 2, 3, …, so a reader remembers one number and
//! asks for what came behind it. *Write diffusion* (push) puts a message into the inbox of every
//! recipient when it is sent; *read diffusion* (pull) leaves it in one timeline that all read. Both
//! are the same few calls here.
//!
//! ```
//! use tidelog::{Scan, Store, StringMessage};
//!
//! let store = Store::in_memory();
//! let history = store.table::<StringMessage>("message").create()?;
//! let inbox = store.table::<StringMessage>("sync").create()?;
//!
//! let hello = StringMessage::with_id("m-1", "hello");
//! history.fan_out(("group", 42), &hello)?.to(&inbox, ["alice", "bob"])?.commit()?;
//!
//! let seen = 0; // what bob's device has read so far
//! for entry in inbox.timeline("bob")?.scan(Scan::forward().from(seen + 1).limit(100))? {
//!     let entry = entry?;
//!     assert_eq!((entry.seq, entry.message.content()), (1, "hello"));
//! }
//! store.close()?;
//! # Ok::<(), tidelog::Error>(())
//! ```
//!
//! It implements the Timeline model and library of Alibaba's Tablestore; `docs/TABLESTORE.md` maps
//! every name of that library to the one here.
//!
//! Reading order: [`id`], [`message`], [`backend`], then [`Store`], [`Table`], [`Timeline`],
//! [`FanOut`], [`MetaTable`].

// Every handle that users hold is usable from any thread.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    const fn sent<T: Send>() {}
    shared::<Store>();
    shared::<Table<String>>();
    shared::<Timeline<String>>();
    shared::<MetaTable<String>>();
    shared::<Snapshot>();
    shared::<Error>();
    sent::<Pending<String>>();
    sent::<Entries<String>>();
    sent::<EntryStream<String>>();
    sent::<Scrub>();
};

pub mod backend;
mod buffer;
mod error;
mod fanout;
pub mod id;
pub mod message;
mod pending;
mod pool;
mod store;
mod sync;
mod timeline;

pub use backend::{Backend, Direction, EmbeddedBackend, MemoryBackend};
pub use buffer::BufferOptions;
pub use error::{Action, EntryPlace, Error, ErrorKind, FlushFailure, Result};
pub use fanout::{Delivered, Delivery, FanOut, Sent, SentInParts};
pub use id::{Field, IntoField, IntoTimelineId, TimelineId, TimelinePrefix};
#[cfg(feature = "serde")]
pub use message::Json;
pub use message::{Attributes, DistinctMessage, Message, Row, StringMessage, Value};
pub use pending::Pending;
pub use store::{MetaBuilder, MetaEntries, MetaTable, Timelines};
pub use store::{Scrub, Snapshot, Store, StoreOptions, Table, TableBuilder, TimelineInfo};
pub use tidelog_engine::{
    Compression, Durability, Gap, GapReason, Options, Payload, Sequence, TableId, TableOptions,
};
pub use tidelog_engine::{
    EntrySpan, ScrubCancel, ScrubCounts, ScrubFault, ScrubOptions, ScrubProgress, ScrubReport,
    ScrubStructure,
};
pub use timeline::{
    Append, Entries, EntryStream, Items, Origin, Revision, Scan, Timeline, TimelineEntry,
    TimelineItem, TimelineView,
};
