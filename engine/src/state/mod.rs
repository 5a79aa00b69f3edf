//! Timeline state: id → next seq, last commit.

mod record;

pub(crate) use record::{StateRecord, state_key};
