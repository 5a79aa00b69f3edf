//! Memory of memtables, over a simulated disk.

use super::{Engine, Parts};
use crate::batch::WriteBatch;
use crate::options::{Durability, Options, TableOptions};
use crate::sync::Arc;
use crate::testing::{SeededEntropy, SimClock, SimDisk, SimOptions, SimScheduler};

/// What a memtable will take is touched by the flush worker, though there is nothing to flush.
#[test]
fn memory_that_will_be_taken_is_touched_by_a_worker() {
    let clock = SimClock::new(1_704_067_200_000);
    let scheduler = SimScheduler::new(3, clock.clone());
    let parts = Parts {
        disk: Arc::new(SimDisk::new(SimOptions::default())),
        cold: None,
        clock: Arc::new(clock),
        scheduler: Arc::new(scheduler.clone()),
        entropy: Arc::new(SeededEntropy::new(1)),
        name: "simulated.tide".to_owned(),
    };
    let engine = Engine::open_with(parts, Options::default()).unwrap();
    let table = engine.create_table("message", TableOptions::timeline()).unwrap();
    for _ in 0..30 {
        let mut batch = WriteBatch::new();
        batch.append(table, b"t", &vec![7; 200_000], None).unwrap();
        engine.commit(batch, Durability::Buffered).unwrap();
    }
    scheduler.run_until_idle(100);
    let memory = &engine.handle.core.memory;
    assert!(memory.has_free_slab(4 << 20), "the next one is there");
    assert!(!memory.touch(), "the worker has touched all that was asked for");
    assert_eq!(engine.stats().flushes, 0);
    engine.close().unwrap();
}
