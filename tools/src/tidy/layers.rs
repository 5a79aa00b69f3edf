//! Who may name whom: the negative invariants of `docs/ARCHITECTURE.md`.
//!
//! A rule says what the modules below a path may not name, and which names are allowed after all.
//! `crate::file` forbids everything below it; an allowed path allows everything below itself.

use super::Fault;
use super::paths::named_paths;
use super::source::Repository;

struct Rule {
    /// Path prefixes of the files under this rule.
    files: &'static [&'static str],
    /// Path prefixes of files below those that are free of it.
    except: &'static [&'static str],
    forbidden: &'static [&'static str],
    allowed: &'static [&'static str],
    why: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        files: &["engine/src/sstable/", "engine/src/segment/", "engine/src/cache/"],
        except: &[],
        forbidden: &[
            "crate::version",
            "crate::compaction",
            "crate::manifest",
            "crate::memtable",
            "crate::wal",
            "crate::commit",
            "crate::read",
            "crate::engine",
        ],
        allowed: &[
            "crate::version::meta",
            "crate::version::SstableMeta",
            "crate::version::SegmentMeta",
            "crate::version::TableKind",
            "crate::version::HasMeta",
        ],
        why: "an SSTable knows runs and blocks, never levels or versions",
    },
    Rule {
        files: &[
            "engine/src/version/",
            "engine/src/compaction/picker",
            "engine/src/compaction/keep",
            "engine/src/commit/stall",
        ],
        except: &[],
        forbidden: &["crate::file", "crate::sync", "crate::runtime", "crate::cache", "std::io"],
        allowed: &["crate::file::Extent", "crate::file::FileId", "crate::sync::Arc"],
        why: "pure data and decisions: no I/O, no locks, no time",
    },
    Rule {
        files: &["engine/src/wal/"],
        except: &[],
        forbidden: &[
            "crate::memtable",
            "crate::sstable",
            "crate::version",
            "crate::manifest",
            "crate::compaction",
            "crate::commit",
            "crate::read",
            "crate::state",
            "crate::engine",
        ],
        allowed: &[],
        why: "the WAL knows groups and frames, not who takes them in",
    },
    Rule {
        files: &["engine/src/file/"],
        except: &[],
        forbidden: &[
            "crate::entry",
            "crate::batch",
            "crate::wal",
            "crate::memtable",
            "crate::sstable",
            "crate::version",
            "crate::manifest",
            "crate::compaction",
            "crate::commit",
            "crate::read",
            "crate::state",
            "crate::engine",
        ],
        allowed: &[],
        why: "the file knows bytes and places, never keys",
    },
    Rule {
        files: &["engine/src/memtable/"],
        except: &[],
        forbidden: &[
            "crate::wal",
            "crate::sstable",
            "crate::manifest",
            "crate::compaction",
            "crate::commit",
            "crate::engine",
        ],
        allowed: &[],
        why: "a memtable takes bodies and gives entries, whoever they come from and go to",
    },
    Rule {
        files: &["engine/src/"],
        except: &["engine/src/file/os.rs", "engine/src/file/os/", "engine/src/memory/"],
        forbidden: &["std::fs", "std::os", "rustix", "memmap2", "libc"],
        // The owner of a map may be kept anywhere; only os.rs can make one.
        allowed: &["rustix::io::Errno", "rustix::process", "rustix::rand", "memmap2::Mmap"],
        why: "only file/os.rs touches the file system, and memory only asks for memory",
    },
    Rule {
        files: &["engine/src/"],
        except: &["engine/src/runtime/", "engine/src/sync.rs"],
        forbidden: &["std::thread", "std::time"],
        allowed: &["std::time::Duration"],
        why: "only runtime touches time and threads",
    },
    Rule {
        files: &["engine/src/"],
        except: &["engine/src/sync.rs"],
        forbidden: &["std::sync", "core::sync", "loom", "shuttle"],
        allowed: &["std::sync::Arc", "std::sync::Weak", "std::sync::OnceLock"],
        why: "only sync.rs names atomics and locks, so that loom and shuttle can replace them",
    },
    Rule {
        files: &["engine/src/"],
        except: &[],
        forbidden: &["std::collections::HashMap", "std::collections::HashSet", "std::hash"],
        allowed: &["std::hash::Hash", "std::hash::Hasher", "std::hash::BuildHasher"],
        why: "the order of a map with a random seed is another in each run: use a fixed one",
    },
    Rule {
        files: &["timeline/src/"],
        except: &[],
        forbidden: &["tidelog_engine::testing", "tidelog_engine::inspect"],
        allowed: &[],
        why: "the timeline crate uses only the engine's public API",
    },
];

/// Forbidden edges in production code.
pub fn check(repository: &Repository) -> Vec<Fault> {
    let mut faults = Vec::new();
    for file in repository.files.iter().filter(|file| file.is_production()) {
        let rules: Vec<&Rule> = RULES.iter().filter(|rule| rule.covers(&file.path)).collect();
        if rules.is_empty() {
            continue;
        }
        for named in named_paths(&file.path, &file.production) {
            for rule in rules.iter().filter(|rule| rule.forbids(&named.path)) {
                let what = format!("names {}, but {}", named.path, rule.why);
                faults.push(Fault::new(&file.path, named.line, what));
            }
        }
    }
    faults
}

impl Rule {
    fn covers(&self, file: &str) -> bool {
        let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| file.starts_with(prefix));
        starts(self.files) && !starts(self.except)
    }

    fn forbids(&self, path: &str) -> bool {
        let below = |roots: &[&str]| roots.iter().any(|root| is_below(path, root));
        below(self.forbidden) && !below(self.allowed)
    }
}

fn is_below(path: &str, root: &str) -> bool {
    path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::source::File;

    fn check_one(path: &str, text: &str, faults: usize) {
        let repository = Repository { files: vec![File::new(path, text)] };
        assert_eq!(check(&repository).len(), faults, "{path}: {text}");
    }

    #[test]
    fn an_sstable_may_name_its_meta_and_no_level() {
        check_one("engine/src/sstable/reader.rs", "use crate::version::{SstableMeta, Levels};", 1);
        check_one("engine/src/sstable/reader.rs", "use crate::version::meta::SstableMeta;", 0);
        check_one("engine/src/sstable/reader.rs", "fn f(v: &crate::version::Version) {}", 1);
    }

    #[test]
    fn locks_time_and_files_have_their_doors() {
        check_one("engine/src/cache/mod.rs", "use std::sync::{Arc, Mutex};", 1);
        check_one("engine/src/sync.rs", "use std::sync as imp;", 0);
        check_one("engine/src/wal/ring.rs", "use std::sync;", 1);
        check_one("engine/src/wal/ring.rs", "use std::time::{Duration, Instant};", 1);
        check_one("engine/src/wal/ring.rs", "use std::collections::{BTreeMap, HashMap};", 1);
        check_one("engine/src/wal/ring.rs", "use std::hash::BuildHasher;", 0);
        check_one("engine/src/runtime/system.rs", "use std::time::Instant;", 0);
        check_one("engine/src/file/superblock/mod.rs", "let f = std::fs::File::open(p);", 1);
        check_one("engine/src/file/os.rs", "use std::fs::File;", 0);
    }

    #[test]
    fn tests_and_comments_are_free() {
        check_one("engine/src/wal/ring.rs", "// crate::memtable::Run\n", 0);
        check_one("engine/src/wal/tests.rs", "use crate::memtable::Run;", 0);
        check_one("engine/src/wal/ring.rs", "#[cfg(test)]\nmod t { use crate::memtable::Run; }", 0);
    }
}
