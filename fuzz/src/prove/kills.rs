//! Processes that work on a real file are killed with SIGKILL at random moments.
//!
//! A case is a file, with sixteen kills over it; case `n` of seed `s` is case 0 of seed `s + n`.
//! What must hold is told in [`crate::processes`]. The children are the program that runs the
//! cases, so its `main` begins with [`crate::processes::serve`]. Files of a failure are left in the
//! folder.

use super::{Cases, Counts, Failure, each};
use crate::processes::{KILLS_PER_FILE, run};
use std::path::{Path, PathBuf};

/// Files of one shard.
const SHARD_CASES: u64 = 2;

struct Kills {
    seed: u64,
    directory: PathBuf,
}

pub(super) fn cases(seed: u64, directory: &Path) -> Box<dyn Cases> {
    Box::new(Kills { seed, directory: directory.to_owned() })
}

impl Cases for Kills {
    fn shards(&self) -> Option<u64> {
        None
    }

    fn shard(&self, shard: u64) -> Result<Counts, Failure> {
        each(shard * SHARD_CASES..(shard + 1) * SHARD_CASES, |case| self.one(case))
    }

    fn one(&self, case: u64) -> Result<Counts, Failure> {
        let seed = self.seed.wrapping_add(case);
        let killed = run(seed, KILLS_PER_FILE, &self.directory);
        let killed = killed.map_err(|what| Failure { case, what })?;
        let mut counts = Counts::default();
        killed.fields().into_iter().for_each(|(name, count)| counts.add(name, count));
        Ok(counts)
    }

    fn about(&self) -> String {
        format!("{KILLS_PER_FILE} kills a file, without end")
    }
}
