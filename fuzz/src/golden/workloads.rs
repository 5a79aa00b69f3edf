//! What became of the golden store before anybody damages it.

use super::store::{self, Golden, options};
use tidelog_engine::{Durability, Engine, ReadMode, Result, TableId, WriteBatch};

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Workload {
    /// Its process was killed: the log holds records of every kind.
    Killed,
    /// It was opened again, and closed in order: the log is empty.
    Closed,
    /// It was opened again, compacted, written to and killed.
    Compacted,
}

/// All of them.
pub(crate) const WORKLOADS: [Workload; 3] =
    [Workload::Killed, Workload::Closed, Workload::Compacted];

impl Workload {
    /// Makes the store of a seed, and lets it become what it is to be.
    ///
    /// # Errors
    /// Those of the engine.
    pub(crate) fn make(self, seed: u64) -> Result<Golden> {
        let mut golden = store::make(seed)?;
        if self == Workload::Killed {
            return Ok(golden);
        }
        let process = golden.machine.open(&options(ReadMode::Map))?;
        match self {
            Workload::Killed => {}
            Workload::Closed => process.engine.close()?,
            Workload::Compacted => {
                process.engine.flush()?;
                process.engine.compact()?;
                process.scheduler.run_until_idle(10_000);
                write(&process.engine)?;
            }
        }
        process.kill();
        golden.machine = golden.machine.twin();
        Ok(golden)
    }
}

/// Leaves some records in the log.
fn write(engine: &Engine) -> Result<()> {
    let table = |name: &str| -> TableId { engine.table(name).expect("it was created").id };
    let (chat, value) = (table("chat"), table("value"));
    for number in 0..3u8 {
        let mut batch = WriteBatch::new();
        batch.append(chat, b"c1", &[number; 40], None)?;
        batch.put(value, b"late", &[number; 12])?;
        engine.commit(batch, Durability::Sync)?;
    }
    Ok(())
}
