//! A day of a chat service: generated, written, read back and checked.
//!
//! 1. `world`: users, conversations of two and groups of skewed sizes, from a seed.
//! 2. `play`: each message is one commit, into its conversation and all its members' inboxes. At
//!    noon every second user syncs, and leaves a cursor.
//! 3. `sync`: every user reads on from the cursor to the end. What was read must be what was sent:
//!    the same payloads in the same order, with sequence ids 1, 2, 3, …

mod play;
mod random;
mod sync;
mod world;

pub(crate) use play::{Counts, play};
pub(crate) use random::Random;
pub(crate) use sync::{Stage, Tables, check_conversations, sync_all};
pub(crate) use world::World;
