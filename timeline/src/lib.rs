//! tidelog
pub mod error;
pub mod id;
mod sync;
pub use error::{Action, Error, ErrorKind, FlushFailure, Result};
pub use id::{Field, IntoField, IntoTimelineId, TimelineId, TimelinePrefix};
pub mod message;
pub use message::{Attributes, DistinctMessage, Message, Row, StringMessage, Value};
pub use tidelog_engine::Payload;
pub mod backend;
pub use backend::{Backend, Direction, MemoryBackend};
pub use tidelog_engine::{Compression, Durability, TableId};
