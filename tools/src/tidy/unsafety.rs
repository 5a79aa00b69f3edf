//! `unsafe` lives in the listed files only; `unwrap` lives in tests only.

use super::Fault;
use super::mask::mask;
use super::source::{File, Repository};

/// Files that may hold `unsafe`, and what for.
const UNSAFE_FILES: &[(&str, &str)] = &[
    ("benches/compare/src/engine/heed.rs", "heed opens LMDB in the word that nobody else does"),
    ("engine/src/file/os/mod.rs", "memory maps"),
    ("engine/src/file/os/stores.rs", "stores to a mapped range of the file"),
    ("engine/src/file/os/uring.rs", "writes that the kernel does beside their caller"),
    ("engine/src/memory/own_process.rs", "a page that a child of fork finds empty"),
    ("engine/src/memory/slab.rs", "bytes that are read while others are copied in behind them"),
    ("engine/src/memory/words.rs", "atomics on memory of the system's, for its huge pages"),
    ("fuzz/src/processes/fork.rs", "fork, to see what a child may do with its parent's store"),
    ("fuzz/src/memory.rs", "an allocator that counts, to catch the allocation of a hostile length"),
];

/// Unsafe code outside the list, and unwraps outside tests.
pub fn check(repository: &Repository) -> Vec<Fault> {
    let mut faults = Vec::new();
    for file in repository.files.iter().filter(|file| file.path.ends_with(".rs")) {
        check_unsafe(file, &mut faults);
        for (index, line) in file.production.lines().enumerate() {
            if line.contains(".unwrap()") || line.contains(".unwrap_err()") {
                let what = "unwrap outside a test: return an error, or expect(\"why not\")";
                faults.push(Fault::new(&file.path, index + 1, what));
            }
        }
    }
    faults
}

/// Tests and fuzzers are no exception: what they do undefined, they do not test.
fn check_unsafe(file: &File, faults: &mut Vec<Fault>) {
    if UNSAFE_FILES.iter().any(|(path, _)| *path == file.path) {
        return;
    }
    for (index, line) in mask(&file.text).lines().enumerate() {
        if has_word(line, "unsafe") {
            let what = "unsafe code: only the files in tools/src/tidy/unsafety.rs may hold it";
            faults.push(Fault::new(&file.path, index + 1, what));
        }
    }
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|character: char| !(character.is_alphanumeric() || character == '_'))
        .any(|part| part == word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::source::File;

    fn faults(path: &str, text: &str) -> usize {
        check(&Repository { files: vec![File::new(path, text)] }).len()
    }

    #[test]
    fn unsafe_is_found_as_a_word_in_code() {
        assert_eq!(faults("engine/src/a.rs", "unsafe { f() }"), 1);
        assert_eq!(faults("engine/src/a.rs", "// unsafe\nlet unsafety = \"unsafe\";"), 0);
        assert_eq!(faults("engine/tests/a.rs", "unsafe { f() }"), 1);
        assert_eq!(faults("engine/src/file/os/mod.rs", "unsafe { f() }"), 0);
    }

    #[test]
    fn unwrap_is_for_tests() {
        assert_eq!(faults("tools/src/a.rs", "x.unwrap();"), 1);
        assert_eq!(faults("tools/src/a.rs", "x.unwrap_or(1);"), 0);
        assert_eq!(faults("tools/src/a.rs", "#[cfg(test)]\nmod t { fn f() { x.unwrap() } }"), 0);
    }
}
