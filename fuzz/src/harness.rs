//! The events of a fuzzer: each gets its own seed, its panics are caught, its memory is measured,
//! and one that does not end ends the process.

use crate::memory;
use crate::watch::Watch;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use tidelog_engine::testing::Random;

/// The slowest events take a second or two.
const EVENT_LIMIT: Duration = Duration::from_secs(300);

/// Runs `events` events. An event must not hold more than `memory_limit` bytes at once.
///
/// # Errors
/// The first failure, with the seed that repeats it as a single event.
pub(crate) fn each(
    seed: u64,
    events: u64,
    memory_limit: usize,
    event: impl Fn(&mut Random) -> Result<(), String>,
) -> Result<(), String> {
    let watch = Watch::new(EVENT_LIMIT, move |number| endless(number, seed.wrapping_add(number)));
    for number in 0..events {
        watch.begin(number);
        let own_seed = seed.wrapping_add(number);
        let mut random = Random::new(own_seed);
        let attempt = || catch_unwind(AssertUnwindSafe(|| event(&mut random)));
        let (outcome, peak) = memory::measure(attempt);
        let outcome = match outcome {
            Ok(Ok(())) if peak > memory_limit => {
                Err(format!("it held {peak} bytes, the limit is {memory_limit}"))
            }
            Ok(result) => result,
            Err(panic) => Err(format!("it panicked: {}", panic_message(&*panic))),
        };
        outcome.map_err(|what| {
            format!("event {number} (alone: --seed {own_seed} --events 1): {what}")
        })?;
    }
    Ok(())
}

#[expect(clippy::print_stderr, reason = "the process ends, and nobody else can say why")]
fn endless(number: u64, own_seed: u64) {
    let seconds = EVENT_LIMIT.as_secs();
    eprintln!("event {number} (alone: --seed {own_seed} --events 1) takes over {seconds} s");
    std::process::exit(1);
}

/// Fails with `what` where `condition` does not hold.
pub(crate) fn ensure(condition: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(what()) }
}

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without a message")
}
