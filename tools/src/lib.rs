//! The house rules of the repository, as tests: `cargo test -p tidelog-tools tidy`.
//!
//! The command line itself is the binary `tidelog` of this package, see `main.rs`.

pub mod tidy;
