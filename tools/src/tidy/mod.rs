//! Rules of style that a program can check. Each is a function from the repository's files to
//! faults; the tests at the bottom run them over this repository, so `cargo test` is the police.
//!
//! | module | rule |
//! |---|---|
//! | `layers` | who may name whom in the engine, and who may meet the world |
//! | `sizes` | files of at most 600 lines of production code, functions of at most 70 |
//! | `unsafety` | `unsafe` only in the listed files, `unwrap` only in tests |
//! | `text` | width, trailing spaces, one first-level heading a Markdown file |
//! | `documents` | the README's program is an example that is built; links lead somewhere |
//! | `options` | every option is named in `docs/TUNING.md` |
//! | `matrix` | every fault of the catalogue has a test in `docs/TESTING.md` |
//! | `format_doc` | the constants in `docs/FORMAT.md` are those of the code |

pub mod documents;
pub mod format_doc;
pub mod layers;
pub mod mask;
pub mod matrix;
pub mod options;
pub mod paths;
pub mod sizes;
pub mod source;
pub mod text;
pub mod unsafety;

use source::Repository;

/// A broken rule, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Path from the repository's root.
    pub file: String,
    /// Line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong, and what to do instead.
    pub what: String,
}

impl Fault {
    /// A fault at a place.
    pub fn new(file: &str, line: usize, what: impl Into<String>) -> Fault {
        Fault { file: file.to_owned(), line, what: what.into() }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

/// Every rule over every file, in order of place.
pub fn check(repository: &Repository) -> Vec<Fault> {
    let rules: [fn(&Repository) -> Vec<Fault>; 8] = [
        layers::check,
        sizes::check,
        unsafety::check,
        text::check,
        documents::check,
        options::check,
        format_doc::check,
        matrix::check,
    ];
    let mut faults: Vec<Fault> = rules.iter().flat_map(|rule| rule(repository)).collect();
    faults.sort();
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One test a rule, so that the name of the failing test says which rule is broken.
    fn expect_none(rule: fn(&Repository) -> Vec<Fault>) {
        let repository = Repository::load(&Repository::root()).expect("the repository is readable");
        assert!(repository.files.len() > 20, "the repository's files were not found");
        let faults: Vec<String> = rule(&repository).iter().map(Fault::to_string).collect();
        assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    }

    #[test]
    fn layers_hold() {
        expect_none(layers::check);
    }

    #[test]
    fn files_and_functions_are_short() {
        expect_none(sizes::check);
    }

    #[test]
    fn unsafe_and_unwrap_stay_where_they_may() {
        expect_none(unsafety::check);
    }

    #[test]
    fn text_is_neat() {
        expect_none(text::check);
    }

    #[test]
    fn the_documents_show_what_is_there() {
        expect_none(documents::check);
    }

    #[test]
    fn every_option_is_explained() {
        expect_none(options::check);
    }

    #[test]
    fn every_fault_of_the_catalogue_has_a_test() {
        expect_none(matrix::check);
    }

    #[test]
    fn the_format_document_agrees_with_the_code() {
        expect_none(format_doc::check);
    }
}
