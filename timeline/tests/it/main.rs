//! The timeline library from outside: one suite over every backend, and the behaviour of a store.

#![expect(clippy::disallowed_methods, reason = "these tests are about real threads and time")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod conformance;
mod meta;
mod misuse;
mod panics;
mod parts;
mod store;
mod tables;
mod unreadable;
