//! How many bytes are written for each byte of payload and id under a time to live: the stream of
//! `soak ttl` at a tenth of its size, on a simulated clock. Bytes do not depend on speed.

use super::world::{Process, World, tiny};
use std::time::Duration;
use tidelog_engine::testing::Random;
use tidelog_engine::{Durability, Options, TableId, TableOptions, WriteBatch};

const ID_BYTES: usize = 16;
const PAYLOAD_BYTES: usize = 100;
const TIMELINES: u64 = 10_000;
const BATCH: u64 = 100;

/// A store of a tenth of the usual size.
fn tenth() -> Options {
    let usual = Options::default();
    Options {
        ring_bytes: usual.ring_bytes / 10 / 4096 * 4096,
        memtable_bytes: usual.memtable_bytes / 10,
        sstable_bytes: usual.sstable_bytes / 10,
        memory_budget: usual.memory_budget / 10,
        ..tiny()
    }
}

/// A stream that goes on, and what has been counted of it.
struct Stream<'a> {
    world: &'a World,
    process: &'a Process,
    table: TableId,
    random: Random,
    messages: u64,
}

/// What has been written by some moment.
#[derive(Debug, Clone, Copy)]
struct Written {
    messages: u64,
    bytes: u64,
    flushed: u64,
    compacted: u64,
}

impl Stream<'_> {
    /// Writes at `rate` messages a second until `flushes` more memtables are flushed.
    fn run(&mut self, rate: u64, flushes: u64) -> Written {
        let until = self.process.engine.stats().flushes + flushes;
        while self.process.engine.stats().flushes < until {
            let mut batch = WriteBatch::new();
            (0..BATCH).for_each(|_| self.append(&mut batch));
            self.process.engine.commit(batch, Durability::Buffered).unwrap();
            self.world.clock.advance(Duration::from_micros(1_000_000 * BATCH / rate));
            self.process.scheduler.run_until_idle(100);
        }
        let stats = self.process.engine.stats();
        Written {
            messages: self.messages,
            bytes: self.world.disk.counts().written_bytes,
            flushed: stats.flushed_bytes,
            compacted: stats.compacted_bytes,
        }
    }

    /// Each timeline once a round, in another order each round.
    fn append(&mut self, batch: &mut WriteBatch) {
        let (round, place) = (self.messages / TIMELINES, self.messages % TIMELINES);
        let timeline = (place * 6181 + round * 7919) % TIMELINES;
        let mut id = [0; ID_BYTES];
        id[..8].copy_from_slice(&timeline.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        id[8..].copy_from_slice(&timeline.to_be_bytes());
        let mut payload = [0; PAYLOAD_BYTES];
        self.random.fill(&mut payload);
        batch.append(self.table, &id, &payload, None).unwrap();
        self.messages += 1;
    }
}

#[test]
fn a_stream_under_a_time_to_live_is_written_little_more_than_twice() {
    let world = World::new(1);
    let process = world.open(&tenth()).unwrap();
    let table = TableOptions::timeline().ttl(Duration::from_secs(60));
    let table = process.engine.create_table("message", table).unwrap();
    let random = Random::new(7);
    let mut stream = Stream { world: &world, process: &process, table, random, messages: 0 };
    // The first flush also writes a record for each new timeline, once and for all.
    let first = stream.run(10_000, 1);
    let last = stream.run(10_000, 8);
    let messages = last.messages - first.messages;
    let per_message =
        |bytes: fn(&Written) -> u64| (bytes(&last) - bytes(&first)) as f64 / messages as f64;
    let (all, flushed) = (per_message(|written| written.bytes), per_message(|w| w.flushed));
    let compacted = per_message(|written| written.compacted);
    let amplification = all / (ID_BYTES + PAYLOAD_BYTES) as f64;
    let figures = format!(
        "{amplification:.3}: {all:.1} bytes a message, of which {flushed:.1} by flushes of {:.2} \
         messages a run, {compacted:.1} by compactions",
        messages as f64 / 8.0 / TIMELINES as f64
    );
    // Windows of one flush or two expire before a compaction would pay.
    assert!(compacted == 0.0, "{figures}");
    assert!(flushed <= 125.5, "{figures}");
    assert!(all - flushed <= 134.5, "log and roots: {figures}");
    assert!(amplification <= 2.24, "{figures}");
}
