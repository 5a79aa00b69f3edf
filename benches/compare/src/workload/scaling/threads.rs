//! Commits of one message by 1 to 16 threads with timelines of their own: 400,000 that wait for no
//! disk, where assigning seqs and publishing is the work, and 20,000 durable ones.

use super::super::Run;
use super::super::durable_threads::{Writer, all_at_once, finish};
use crate::Result;
use crate::engine::Setup;

const BUFFERED: u64 = 400_000;
const DURABLE: u64 = 20_000;

pub fn run(run: &Run) -> Result<()> {
    let kinds =
        [("scaling-threads-buffered", false, BUFFERED), ("scaling-threads-durable", true, DURABLE)];
    for (workload, durable, commits) in kinds {
        let directory = run.directory.join(workload);
        std::fs::create_dir_all(&directory)?;
        let peer = run.engine.open(&directory, &Setup { durable, ..Setup::default() })?;
        let threads = run.parameter;
        let commits = run.scaled(commits).div_ceil(threads);
        let mut writers = Writer::all(run, threads);
        let meter = all_at_once(run, &mut writers, |writer| {
            for _ in 0..commits {
                let entry = writer.draw(run);
                writer.time(|| peer.append(&[entry]))?;
            }
            Ok(())
        })?;
        finish(run, &*peer, workload, meter, &writers)?;
    }
    Ok(())
}
