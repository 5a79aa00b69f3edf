//! The command line of Tidelog.

fn main() {}
