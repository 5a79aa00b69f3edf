//! The timeline library from outside: one suite over every backend, and the behaviour of a store.

mod conformance;
mod store;
