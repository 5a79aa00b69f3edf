//! The child: works on the store until it is killed, and says what was acknowledged.

use super::line::{Line, Stage, Work};
use super::payload::Author;
use super::plan::{Latest, Operation};
use super::setup::Setup;
use super::timeline::Timeline;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake};
use std::thread::{self, Thread};
use std::time::Duration;
use tidelog_engine::testing::Random;
use tidelog_engine::{CommitFuture, Committed, Engine, Result, TableId};

/// Operations of each writer in the life that ends by itself.
const LAST_OPERATIONS: u64 = 25;

/// A life of the process: openings and closings, one behind the other, until it is killed; or, the
/// last of a file, one of each.
pub(super) fn live(setup: &Setup, round: u32, last: bool) -> std::result::Result<(), String> {
    let mut random = Random::new(setup.seed ^ u64::from(round).rotate_left(33));
    let mut numbers = vec![0; usize::from(setup.writers)];
    loop {
        tell(&Line::Stage(Stage::Opening));
        let engine = Engine::open(&setup.path, setup.options.clone())
            .map_err(|error| format!("opening: {error}"))?;
        tell(&Line::Stage(Stage::Opened));
        let tables = setup.create_tables(&engine).map_err(|error| format!("a table: {error}"))?;
        let operations = match random.below(3) {
            _ if last => LAST_OPERATIONS,
            0 => 1 + random.below(10),
            _ => 10 + random.below(400),
        };
        let session = Session { setup, round, engine: &engine, tables, operations };
        session.work(&mut numbers, &mut random.fork())?;
        tell(&Line::Stage(Stage::Closing));
        if last || random.chance(3, 4) {
            engine.close().map_err(|error| format!("closing: {error}"))?;
        }
        drop(engine);
        tell(&Line::Stage(Stage::Closed));
        if last {
            tell(&Line::Done);
            return Ok(());
        }
    }
}

/// The parent may be gone: then nobody hears, and nothing is left to do.
fn tell(line: &Line) {
    if line.tell().is_err() {
        std::process::exit(4);
    }
}

/// The time between one opening and its closing.
struct Session<'a> {
    setup: &'a Setup,
    round: u32,
    engine: &'a Engine,
    tables: [TableId; 3],
    operations: u64,
}

impl Session<'_> {
    fn work(&self, numbers: &mut [u64], random: &mut Random) -> std::result::Result<(), String> {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let maintenance = scope.spawn(|| self.maintain(random, &stop));
            let writers: Vec<_> = (0..self.setup.writers)
                .zip(numbers)
                .map(|(writer, number)| scope.spawn(move || self.write(writer, number)))
                .collect();
            let mut outcomes: Vec<_> =
                writers.into_iter().map(thread::ScopedJoinHandle::join).collect();
            stop.store(true, Ordering::Relaxed);
            outcomes.push(maintenance.join());
            outcomes.into_iter().try_for_each(|outcome| match outcome {
                Ok(done) => done.map_err(|error| error.to_string()),
                Err(_) => Err("a thread panicked".to_owned()),
            })
        })
    }

    fn write(&self, writer: u8, number: &mut u64) -> Result<()> {
        let mut latest = Latest::new();
        let snapshot = self.engine.snapshot();
        for timeline in Timeline::of_writer(writer) {
            let table = self.tables[timeline.table()];
            latest.insert(timeline, snapshot.latest_seq(table, &timeline.key())?);
        }
        drop(snapshot);
        let window = usize::try_from(self.setup.window(writer)).expect("a window is small");
        let mut waiting = VecDeque::new();
        for _ in 0..self.operations {
            let author = Author { round: self.round, writer, number: *number };
            *number += 1;
            let operation = Operation::draw(self.setup, author, &mut latest);
            let batch = operation.batch(self.setup.seed, self.tables)?;
            if operation.bulk {
                tell(&Line::Bulk { writer, number: author.number });
            }
            if !self.setup.is_async(writer) {
                acknowledge(author, self.engine.commit(batch, operation.durability)?);
                continue;
            }
            waiting.push_back((author, self.engine.commit_async(batch, operation.durability)));
            if waiting.len() == window
                && let Some((author, future)) = waiting.pop_front()
            {
                acknowledge(author, wait(future)?);
            }
        }
        for (author, future) in waiting {
            acknowledge(author, wait(future)?);
        }
        Ok(())
    }

    /// What users do beside their commits, and what they look at.
    fn maintain(&self, random: &mut Random, stop: &AtomicBool) -> Result<()> {
        while !stop.load(Ordering::Relaxed) {
            thread::park_timeout(Duration::from_micros(random.below(12_000)));
            match random.below(4) {
                0 => {
                    tell(&Line::Stage(Stage::Flushing));
                    self.engine.flush()?;
                    tell(&Line::Stage(Stage::Flushed));
                }
                1 => {
                    tell(&Line::Stage(Stage::Compacting));
                    self.engine.compact()?;
                    tell(&Line::Stage(Stage::Compacted));
                }
                2 => self.engine.sync()?,
                _ => {}
            }
            let stats = self.engine.stats();
            tell(&Line::Work(Work {
                flushes: stats.flushes,
                compactions: stats.compactions,
                moved_bytes: stats.moved_bytes,
                moves: stats.pending.moves,
            }));
        }
        Ok(())
    }
}

fn acknowledge(author: Author, committed: Committed) {
    tell(&Line::acknowledged(author, committed.commit, committed.seqs));
}

/// The smallest executor.
fn wait(mut future: CommitFuture) -> Result<Committed> {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(outcome) = Pin::new(&mut future).poll(&mut context) {
            return outcome;
        }
        thread::park_timeout(Duration::from_secs(60));
    }
}
