//! The corpora are there, and nothing goes wrong with them.

use super::TARGETS;
use crate::registry;
use std::path::Path;

#[test]
#[expect(clippy::disallowed_methods, reason = "the corpora are files of the repository")]
fn every_file_of_a_corpus_passes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cargo-fuzz/corpus");
    for target in TARGETS {
        let corpus = std::fs::read_dir(folder.join(target.name)).unwrap();
        let mut count = 0;
        for file in corpus {
            let path = file.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            target.run(&bytes).unwrap_or_else(|what| panic!("{}: {what}", path.display()));
            count += 1;
        }
        assert!(count > 1, "the corpus of {} has {count} files", target.name);
    }
}

#[test]
fn what_a_corpus_is_made_of_passes_and_so_do_its_parts() {
    for target in TARGETS {
        for seed in (target.seeds)() {
            for length in [seed.len(), seed.len() / 2, seed.len().min(1), 0] {
                target
                    .run(&seed[..length])
                    .unwrap_or_else(|what| panic!("{}: {what}", target.name));
            }
        }
    }
}

#[test]
fn targets_are_called_like_their_fuzzers() {
    assert!(TARGETS.iter().all(|target| registry::find(target.name).is_some()));
}
