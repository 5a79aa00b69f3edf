//! The short form of the kills: the long one is `prove kills`.

use std::path::Path;
use tidelog_fuzz::processes::{Counts, run_with};

#[test]
fn processes_that_are_killed_lose_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let victim = Path::new(env!("CARGO_BIN_EXE_victim"));
    let mut counts = Counts::default();
    for seed in [1, 2, 3, 4] {
        let of_seed = run_with(victim, seed, 12, folder.path());
        counts.add(&of_seed.unwrap_or_else(|what| panic!("{what}")));
    }
    assert_eq!((counts.files, counts.kills), (4, 48));
    assert!(counts.acknowledged > 100 && counts.checks > 4, "{counts}");
    assert!(counts.flushes > 0 && counts.kills_in_recovery > 0, "{counts}");
    // Groups that the kernel may have been writing beside their leader when it was killed.
    assert!(counts.kills_in_bulk > 0, "{counts}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "files are left");
}
