//! Random operations against the reference: commits of every kind, snapshots held, flushes,
//! compactions, crashes and reopenings. proptest prints the case that failed and shrinks it.

use super::reference::{Contents, Step, Tables, commit, contents, shown};
use super::world::{Process, World, tiny, tiny_read};
use proptest::prelude::*;
use std::time::Duration;
use tidelog_engine::Clock;
use tidelog_engine::testing::CrashPolicy;
use tidelog_engine::{Compression, Direction, Durability, Options, TableOptions};

#[derive(Debug, Clone)]
enum Operation {
    Commit(Vec<Step>, Durability),
    /// The newest entries but some of a timeline, and what they become, with a commit of steps.
    Amend(Vec<(u8, u64, Option<Vec<u8>>)>, Vec<Step>),
    Background(usize),
    /// So many milliseconds pass.
    Pass(u64),
    Flush,
    Compact,
    Reopen,
    /// Everything is synced first, so nothing may be lost.
    PowerLoss(u64),
    Check,
}

fn step() -> impl Strategy<Value = Step> {
    let payload = prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..200),
        1 => (1000usize..20_000, any::<u8>()).prop_map(|(length, byte)| vec![byte; length]),
    ];
    let timelines = prop::collection::vec(0u8..10, 1..5);
    prop_oneof![
        8 => (timelines, payload, prop::option::weighted(0.4, 1u64..200)).prop_map(
            |(mut timelines, payload, ttl_ms)| {
                timelines.sort_unstable();
                timelines.dedup();
                match ttl_ms {
                    None => Step::Send { timelines, payload },
                    Some(ttl_ms) => Step::SendFor { timelines, payload, ttl_ms },
                }
            },
        ),
        2 => (0u8..8, prop::collection::vec(any::<u8>(), 0..60))
            .prop_map(|(key, value)| Step::Put { key, value }),
        1 => (0u8..8).prop_map(|key| Step::Delete { key }),
        1 => (0u8..8, any::<i64>()).prop_map(|(key, amount)| Step::Add { key, amount }),
        1 => (0u8..8, any::<i64>()).prop_map(|(key, value)| Step::Max { key, value }),
        1 => (0u8..10, 0u64..40).prop_map(|(timeline, before)| Step::Trim { timeline, before }),
        2 => (0u8..10, 1u64..40, 0u64..6).prop_map(|(timeline, from, more)| Step::DeleteRange {
            timeline, from, to: from + more
        }),
        1 => (0u8..10).prop_map(|timeline| Step::DeleteTimeline { timeline }),
        1 => (0u8..10).prop_map(|timeline| Step::KeepLast { timeline }),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    let durability = prop_oneof![Just(Durability::Sync), Just(Durability::Buffered)];
    prop_oneof![
        20 => (prop::collection::vec(step(), 1..5), durability)
            .prop_map(|(steps, durability)| Operation::Commit(steps, durability)),
        6 => (
            prop::collection::vec(
                (0u8..10, 0u64..30, prop::option::of(prop::collection::vec(any::<u8>(), 0..200))),
                1..4,
            ),
            prop::collection::vec(step(), 0..2),
        )
            .prop_map(|(amendments, steps)| Operation::Amend(amendments, steps)),
        4 => (0usize..40).prop_map(Operation::Background),
        4 => (0u64..80).prop_map(Operation::Pass),
        2 => Just(Operation::Flush),
        1 => Just(Operation::Compact),
        1 => Just(Operation::Reopen),
        1 => any::<u64>().prop_map(Operation::PowerLoss),
        2 => Just(Operation::Check),
    ]
}

struct Run {
    world: World,
    process: Option<Process>,
    options: Options,
    tables: Tables,
    expected: Contents,
    /// Snapshots and what they must go on showing; none outlives its process.
    held: Vec<(tidelog_engine::Snapshot, Contents)>,
}

impl Run {
    fn new(seed: u64, read: bool, compression: Compression) -> Run {
        let options = if read { tiny_read() } else { tiny() };
        let world = World::new(seed);
        let process = world.open(&options).unwrap();
        let timelines = TableOptions { compression, ..TableOptions::timeline() };
        let messages = process.engine.create_table("message", timelines).unwrap();
        let values = TableOptions { compression, ..TableOptions::keyed() };
        let values = process.engine.create_table("value", values).unwrap();
        let tables = Tables { messages, values };
        let mut expected = Contents::default();
        expected.pass(world.clock.wall_ms());
        Run { world, process: Some(process), options, tables, expected, held: Vec::new() }
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("a process runs between operations")
    }

    fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Commit(steps, durability) => {
                self.commit(steps, *durability, steps.len() == 4);
            }
            Operation::Amend(amendments, steps) => {
                let amendments = amendments.iter().cloned();
                // Of what the batch itself appends nothing can be amended.
                let mut batch: Vec<Step> = amendments
                    .filter_map(|(timeline, back, payload)| {
                        self.expected.amendment(timeline, back, payload)
                    })
                    .collect();
                batch.extend_from_slice(steps);
                if !batch.is_empty() {
                    self.commit(&batch, Durability::Sync, batch.len() == 4);
                }
            }
            Operation::Background(steps) => {
                self.process().scheduler.run_until_idle(*steps);
            }
            Operation::Pass(milliseconds) => {
                self.world.clock.advance(Duration::from_millis(*milliseconds));
                self.pass();
            }
            Operation::Flush => self.process().engine.flush().unwrap(),
            Operation::Compact => self.process().engine.compact().unwrap(),
            Operation::Reopen => self.reopen(),
            Operation::PowerLoss(seed) => self.power_loss(*seed),
            Operation::Check => self.check(),
        }
    }

    /// What has expired by now is expected no more.
    fn pass(&mut self) {
        let now_ms = self.world.clock.wall_ms();
        self.expected.pass(now_ms);
        self.held.iter_mut().for_each(|(_, expected)| expected.pass(now_ms));
    }

    fn commit(&mut self, steps: &[Step], durability: Durability, hold: bool) {
        let committed = commit(&self.process().engine, self.tables, steps, durability).unwrap();
        self.expected.pass(committed.time_ms);
        self.expected.apply(steps);
        self.pass();
        if hold {
            self.held.push((self.process().engine.snapshot(), self.expected.clone()));
        }
    }

    fn check(&mut self) {
        // Background work may have waited.
        self.pass();
        let found = contents(&self.process().engine, self.tables).unwrap();
        assert_eq!(found, self.expected);
        for (snapshot, expected) in &self.held {
            for key in self.expected.timelines.keys() {
                let then = expected.timelines.get(key).map_or(&[][..], |entries| &entries[..]);
                assert_eq!(snapshot.len(self.tables.messages, key).unwrap(), then.len() as u64);
                let seq = expected.latest.get(key).copied().unwrap_or(0);
                assert_eq!(snapshot.latest_seq(self.tables.messages, key).unwrap(), seq);
                let found: Vec<_> = snapshot
                    .scan(self.tables.messages, key, 0, u64::MAX, Direction::Forward)
                    .unwrap()
                    .map(|entry| entry.map(|entry| (entry.seq, shown(&entry))).unwrap())
                    .collect();
                assert_eq!(found, then);
            }
            let (from, to) = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
            let values = snapshot.values(self.tables.values, from, to).unwrap();
            let values: Vec<_> = values
                .map(|pair| pair.unwrap())
                .map(|(key, value)| (key.to_vec(), value.to_vec()))
                .collect();
            assert_eq!(values, expected.values.clone().into_iter().collect::<Vec<_>>());
        }
    }

    fn reopen(&mut self) {
        self.held.clear();
        let process = self.process.take().expect("a process runs");
        process.engine.close().unwrap();
        drop(process);
        self.process = Some(self.world.open(&self.options).unwrap());
        self.check();
    }

    fn power_loss(&mut self, seed: u64) {
        self.held.clear();
        let process = self.process.take().expect("a process runs");
        process.engine.sync().unwrap();
        process.kill();
        self.world = self.world.after(&CrashPolicy::Random { seed });
        self.process = Some(self.world.open(&self.options).unwrap());
        self.pass();
        let found = contents(&self.process().engine, self.tables).unwrap();
        assert_eq!(found, self.expected);
        // Seqs may jump from here on; the reference counts without jumps, so it starts anew.
        let (read, compression) = (self.options.read_mode, Compression::None);
        let read = read == tidelog_engine::ReadMode::Read;
        *self = Run::new(seed, read, compression);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn the_store_agrees_with_the_reference(
        seed in any::<u64>(),
        read in any::<bool>(),
        lz4 in any::<bool>(),
        operations in prop::collection::vec(operation(), 1..80),
    ) {
        let compression = if lz4 { Compression::Lz4 } else { Compression::None };
        let mut run = Run::new(seed, read, compression);
        for operation in &operations {
            run.apply(operation);
        }
        run.check();
        run.reopen();
    }
}
