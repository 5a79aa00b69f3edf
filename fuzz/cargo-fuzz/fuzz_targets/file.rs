//! What bytes are to it, see `tidelog_fuzz::raw`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tidelog_fuzz::raw::run("file", bytes));
