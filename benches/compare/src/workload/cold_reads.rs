//! W4C: the reads of W4, 10,000 of each kind, with nothing of the database in memory: before each
//! kind the kernel's cache is dropped and the database is opened afresh. Beside latencies counts
//! what a read costs the device.

use super::reads::{Kind, Pass, pass, written};
use super::{Run, SEED};
use crate::Result;
use crate::engine::Setup;
use crate::measure::{Meter, Work, drop_caches};

const READS: u64 = 10_000;

pub fn run(run: &Run) -> Result<()> {
    let messages = written(run);
    for (kind, workload) in [(Kind::Newest, "w4c-newest"), (Kind::Forward, "w4c-forward")] {
        let remark = drop_caches(&run.directory)?;
        let peer = run.open(&Setup::default())?;
        let operations = run.scaled(READS);
        let meter = Meter::start(&run.directory)?;
        let Pass { latencies, duration, wrong } =
            pass(run, &*peer, &messages, kind, SEED + 3, operations)?;
        let duration = Some(duration);
        let mut record = meter.finish(Work {
            workload,
            operations,
            latencies,
            duration,
            is_cold: true,
            ..Work::default()
        })?;
        record.remark = Some(remark.to_owned());
        run.report(&*peer, record, wrong)?;
    }
    Ok(())
}
