//! After the stream: restarts and other TTLs, none of which may bring anything back.

use super::reader::scan;
use super::{Field, Run};
use crate::Result;
use crate::report::{Wrong, note};
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tidelog_engine::{Engine, TableId, TableOptions};

/// Closes, opens, alters, and looks each time.
pub(crate) fn run(run: &Run, engine: Engine, table: TableId, wrong: &Wrong) -> Result<()> {
    let ttl_ms = run.parameters.ttl_ms;
    let mut after = After {
        run,
        table,
        wrong,
        closing_ms: run.clock.true_ms(),
        ttl_ms,
        alive_floor_ms: 0,
        gone: vec![0; usize::try_from(run.parameters.timelines)?],
    };
    after.expire(0);
    engine.close()?;
    drop(engine);

    let engine = run.stage.open_with_clock(&run.clock)?;
    after.look(&engine, "a restart")?;
    after.alter(&engine, ttl_ms * 10)?;
    after.look(&engine, "a longer TTL")?;
    after.alter(&engine, ttl_ms / 2)?;
    after.look(&engine, "a shorter TTL")?;
    after.alter(&engine, ttl_ms * 10)?;
    after.look(&engine, "a TTL made longer again")?;
    engine.close()?;
    drop(engine);

    let engine = run.stage.open_with_clock(&run.clock)?;
    after.look(&engine, "another restart")?;
    Ok(engine.close()?)
}

struct After<'a> {
    run: &'a Run,
    table: TableId,
    wrong: &'a Wrong,
    /// When the store was first closed: its expiry clock stood still from then to its opening.
    closing_ms: u64,
    /// The TTL of the moment.
    ttl_ms: u64,
    alive_floor_ms: u64,
    /// The highest seq of each timeline that has certainly expired.
    gone: Vec<u64>,
}

impl After<'_> {
    /// Takes note of what has certainly expired by now, for a clock that may be behind.
    fn expire(&mut self, lag_ms: u64) {
        let Run { reference, clock, .. } = self.run;
        // A few milliseconds for what the two clocks cut off.
        let (now_ms, ttl_ms) = (clock.true_ms(), self.ttl_ms + lag_ms + 10);
        for (timeline, gone) in (0..).zip(&mut self.gone) {
            *gone = reference.expired(timeline, now_ms, ttl_ms).max(*gone);
        }
    }

    /// Gives the table another TTL. What has expired under the old one stays so, and what expires
    /// at once under the new one too.
    fn alter(&mut self, engine: &Engine, ttl_ms: u64) -> Result<()> {
        let options = TableOptions::timeline().ttl(Duration::from_millis(ttl_ms));
        engine.alter_table(self.table, options)?;
        let shorter_ms = self.ttl_ms.min(ttl_ms);
        let fence_ms = self.run.clock.true_ms().saturating_sub(shorter_ms);
        self.alive_floor_ms = self.alive_floor_ms.max(fence_ms);
        self.ttl_ms = ttl_ms;
        Ok(())
    }

    /// Scans every timeline as a whole.
    fn look(&mut self, engine: &Engine, after: &str) -> Result<()> {
        let lag_ms = self.run.clock.true_ms() - self.closing_ms;
        let field = Field {
            ttl_ms: AtomicU64::new(self.ttl_ms),
            lag_ms,
            alive_floor_ms: self.alive_floor_ms,
            ..Field::new(self.run, engine, self.table, self.wrong)
        };
        let before = self.wrong.count();
        for (timeline, gone) in (0..).zip(&self.gone) {
            scan(&field, timeline, usize::MAX, *gone)?;
        }
        let wrong = self.wrong.count() - before;
        note(format_args!("soak ttl: after {after}: {wrong} wrong answers"));
        self.expire(lag_ms);
        Ok(())
    }
}
